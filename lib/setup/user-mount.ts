/** What `s3jail setup` is asked to make, checked before anything is made. */
import { dirname, join, resolve } from 'node:path';
import { findAccount } from '../host/accounts.js';
import { parseVariables, readDefaults, type Variables } from '../host/environment-file.js';
import { Failure } from '../host/failure.js';
import { planMount } from '../options/mount-plan.js';
import { splitOptionList, UsageError, variableOf } from '../options/options.js';
import { showSource, type Source } from '../options/source.js';
import type { MountOptions } from '../options/mount-options.js';
import { fstabLines } from './config-files.js';
import { environmentFile, endpointOf, fstab, type ExistingMount } from './existing-mounts.js';
import { isSameOption, valueOf, variablesOf } from './mount-words.js';
import { isSystemdRunning, readIfThere } from './steps.js';

export interface SetupRequest {
  readonly user: string;
  /** undefined to remove */
  readonly source: string | undefined;
  readonly mountPoint: string | undefined;
  /** what mounts at boot; by default systemd where that is running */
  readonly init: 'systemd' | 'fstab' | undefined;
  /** mount when somebody looks, or no more so; undefined leaves it as it is */
  readonly onDemand: boolean | undefined;
  /** how long such a mount may stay unused, as systemd.time(7) has it */
  readonly idleTime: string | undefined;
  /** file of public keys to copy */
  readonly authorizedKeys: string | undefined;
  /** file of S3 keys to keep for the mount, or `environment` */
  readonly credentials: string | undefined;
  /** `-o` lists for the mount */
  readonly lists: readonly string[];
  /** take a prefix that contains another user's, or is contained */
  readonly overlap: boolean;
  readonly dryRun: boolean;
}

/** A user's mount. */
export interface UserMount {
  /** of the unit's instance, the environment file and the kept credentials */
  readonly name: string;
  readonly source: Source;
  /** absolute; where its user sees it */
  readonly mountPoint: string;
  /** words of `-o` that were asked for */
  readonly options: readonly string[];
  readonly init: 'systemd' | 'fstab';
  readonly endpointUrl: string | undefined;
}

/** Where a user's mount is, if nothing else is said. */
export function usualMountPoint(user: string): string {
  return join('/srv/sftp', user);
}

/** What is there of a mount already, as one set of options. */
export interface Before {
  /** defaults of this machine, and what its own environment file says */
  readonly variables: Variables;
  /** words of its line of fstab */
  readonly words: readonly string[];
}

export async function readBefore(existing: ExistingMount | undefined): Promise<Before> {
  const defaults = await readDefaults();
  if (existing === undefined) return { variables: defaults, words: [] };
  if (existing.init === 'systemd') {
    const own = parseVariables((await readIfThere(environmentFile(existing.name))) ?? '');
    return { variables: { ...defaults, ...own }, words: [] };
  }
  const lines = fstabLines((await readIfThere(fstab)) ?? '');
  const line = lines.find(({ mountPoint }) => mountPoint === existing.mountPoint);
  return { variables: defaults, words: splitOptionList(line?.options ?? '') ?? [] };
}

/**
 * @param existing the mount that the user has
 * @throws UsageError with what is wrong with the mount
 */
export function checkRequest(
  request: SetupRequest,
  existing: ExistingMount | undefined,
  before: Before,
): { mount: UserMount; options: MountOptions } {
  const { user, lists } = request;
  const words = lists.flatMap((list) => splitOptionList(list) ?? [list]);
  const fixed = words.find((word) => /^(uid|private|chroot|no-chroot)\b/.test(word));
  if (fixed !== undefined) {
    throw new UsageError([`-o ${fixed}: setup makes a chroot for ${user}; leave it out`]);
  }
  const known = request.mountPoint ?? existing?.mountPoint ?? usualMountPoint(user);
  const mountPoint = chrootPlace(known);
  const init = initOf(request, existing);
  refuseMove(user, existing, init);
  const planned = planOf({ source: request.source ?? '', mountPoint, words, before, user });
  const endpointUrl = endpointUrlOf(before, words);
  const mount = { name: user, source: planned.source, mountPoint, options: words, init };
  return { mount: { ...mount, endpointUrl }, options: planned.options };
}

/** The absolute path of a mount point that sshd can chroot into. @throws UsageError */
export function chrootPlace(path: string): string {
  const mountPoint = resolve(path);
  if (/^\/[\w@%+=:,./-]+$/.test(mountPoint) && dirname(mountPoint) !== '/') return mountPoint;
  throw new UsageError([
    '--mount-point: sshd takes letters, digits and @%+=:,./- here, and a directory above it',
  ]);
}

export function initOf(
  request: Pick<SetupRequest, 'init'>,
  existing: ExistingMount | undefined,
): UserMount['init'] {
  return request.init ?? existing?.init ?? (isSystemdRunning() ? 'systemd' : 'fstab');
}

/** @param words of `-o` that are asked for */
export function endpointUrlOf(before: Before, words: readonly string[]): string | undefined {
  return (
    valueOf([...before.words, ...words], 'endpoint-url') ??
    endpointOf({ ...before.variables, ...variablesOf(words) } as Variables)
  );
}

function refuseMove(
  user: string,
  existing: ExistingMount | undefined,
  init: UserMount['init'],
): void {
  if (existing === undefined || existing.init === init) return;
  const place = existing.init === 'systemd' ? environmentFile(user) : fstab;
  throw new Failure(
    1,
    `--init ${init}: ${user} has a mount in ${place}; s3jail setup ${user} --remove takes it away first`,
  );
}

/** As it will be mounted: by root, with what stands in files and no more. @throws UsageError */
export function planOf(mount: {
  source: string;
  mountPoint: string;
  words: readonly string[];
  before: Before;
  user: string;
}): { source: Source; options: MountOptions } {
  const { source, mountPoint, before, user } = mount;
  const all = [...before.words, ...mount.words];
  const sourceFile = valueOf(all, 'source-file') ?? before.variables['S3JAIL_SOURCE_FILE'];
  // What the argument says already, and an account that is still to be made.
  const left = ['source-file', ...(findAccount(user) === undefined ? ['uid', 'run-as'] : [])];
  const words = all.filter((word) => !left.some((name) => isSameOption(word, name)));
  const unset = [...left.map(variableOf), 'S3JAIL_SOURCE'].map((name) => [name, ''] as const);
  const environment: Variables = { ...before.variables, ...Object.fromEntries(unset) };
  const ambient = {
    uid: 0,
    gid: 0,
    tmpdir: undefined,
    hasEndpointVariable: 'AWS_ENDPOINT_URL' in environment || 'AWS_ENDPOINT_URL_S3' in environment,
  };
  const request = { operands: [source, mountPoint], commandLine: [], lists: words, sloppy: false };
  const { source: parsed, options } = planMount(request, { environment, ambient });
  return { source: parsed, options: { ...options, sourceFile } };
}

/** SOURCE as files name it; one that says the same with keys in it stays. */
export function sourceText({ source }: UserMount, written?: string): string {
  const shown = showSource(source);
  if (written === undefined) return shown;
  return written.replace(/^s3:\/\/[^/@]*@[^/]+\//, 's3://').replace(/\/*$/, '/') === shown
    ? written
    : shown;
}
