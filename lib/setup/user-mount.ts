/** What `s3jail setup` is asked to make, checked before anything is made. */
import { join, resolve } from 'node:path';
import { planMount } from '../options/mount-plan.js';
import { splitOptionList, UsageError } from '../options/options.js';
import { showSource, type Source } from '../options/source.js';
import { isSystemdRunning } from './steps.js';

export interface SetupRequest {
  readonly user: string;
  /** undefined to remove */
  readonly source: string | undefined;
  readonly mountPoint: string | undefined;
  /** what mounts at boot; by default systemd where that is running */
  readonly init: 'systemd' | 'fstab' | undefined;
  /** file of public keys to copy */
  readonly authorizedKeys: string | undefined;
  /** `-o` lists for the mount */
  readonly lists: readonly string[];
  /** take a prefix that contains another user's, or is contained */
  readonly overlap: boolean;
  readonly dryRun: boolean;
}

/** A user's mount. */
export interface UserMount {
  readonly user: string;
  readonly source: Source;
  /** absolute */
  readonly mountPoint: string;
  /** words of `-o` */
  readonly options: readonly string[];
  readonly init: 'systemd' | 'fstab';
}

/** Where a user's mount is, if nothing else is said. */
export function usualMountPoint(user: string): string {
  return join('/srv/sftp', user);
}

/** @throws UsageError with what is wrong with the mount */
export function checkRequest(request: SetupRequest): UserMount {
  const { user, lists } = request;
  const options = lists.flatMap((list) => splitOptionList(list) ?? [list]);
  const fixed = options.find((option) => /^(uid|private|chroot|no-chroot)\b/.test(option));
  if (fixed !== undefined) {
    throw new UsageError([`-o ${fixed}: setup makes a chroot for ${user}; leave it out`]);
  }
  const mountPoint = resolve(request.mountPoint ?? usualMountPoint(user));
  if (!/^\/[\w@%+=:,./-]+$/.test(mountPoint)) {
    throw new UsageError(['--mount-point: sshd takes letters, digits and @%+=:,./- here']);
  }
  const source = checkMount(request.source ?? '', mountPoint, options);
  const init = request.init ?? (isSystemdRunning() ? 'systemd' : 'fstab');
  return { user, source, mountPoint, options, init };
}

/** As it will be mounted: by root, with nothing in the environment. */
function checkMount(source: string, mountPoint: string, options: readonly string[]): Source {
  const operands = [source, mountPoint];
  const ambient = { uid: 0, gid: 0, tmpdir: undefined, hasEndpointVariable: false };
  const request = { operands, commandLine: [], lists: options, sloppy: false };
  return planMount(request, { environment: {}, ambient }).source;
}

/** SOURCE as files name it. */
export function sourceText({ source }: UserMount): string {
  return showSource(source);
}
