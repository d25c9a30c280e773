/**
 * `s3jail setup --homes`: one mount for all users of a group, as setup.ts makes one for a single user. A
 * user is then made by useradd(8) or a directory service, and needs nothing of this program.
 */
import { chmod, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findGroup } from '../host/accounts.js';
import { Failure, type ExitCode } from '../host/failure.js';
import { homesName as name } from '../host/kept-credentials.js';
import { splitOptionList, UsageError } from '../options/options.js';
import type { MountOptions } from '../options/mount-options.js';
import { checkBeforehand } from './beforehand.js';
import { readCredentials, tellKeys } from './credentials.js';
import { findExistingMounts, refuseOverlap, type ExistingMount } from './existing-mounts.js';
import { homesBlockPath, homesBlockStep, homesKeysDirectory } from './homes-sshd.js';
import { makeMount } from './make-mount.js';
import { valueOf } from './mount-words.js';
import { removeMount, removeShared } from './remove.js';
import { makePlaces, undoable } from './setup.js';
import { reloadSshd, requireSshd } from './sshd.js';
import {
  directoryRemovalStep,
  directoryStep,
  isSystemdRunning,
  perform,
  unlessAbsent,
  type RunMode,
  type Step,
} from './steps.js';
import {
  chrootPlace,
  endpointUrlOf,
  initOf,
  planOf,
  readBefore,
  type Before,
  type SetupRequest,
  type UserMount,
} from './user-mount.js';

const usualPlace = '/srv/sftp/homes';
const usualGroup = 'sftp';

export type HomesRequest = Pick<
  SetupRequest,
  'source' | 'mountPoint' | 'init' | 'credentials' | 'lists' | 'overlap' | 'dryRun'
> & {
  /** whose members have a home, by name or number; undefined leaves it as it is */
  readonly group: string | undefined;
};

/** @throws UsageError, Failure */
export async function runHomesSetup(
  request: HomesRequest,
  print: (line: string) => void,
): Promise<ExitCode> {
  if (process.geteuid?.() !== 0) throw new Failure(2, 'setup needs root: run it with sudo');
  return undoable({ dryRun: request.dryRun, print }, (runMode) =>
    request.source === undefined ? remove(request, runMode) : make(request, runMode),
  );
}

async function make(request: HomesRequest, runMode: RunMode): Promise<ExitCode> {
  requireSshd();
  const all = await findExistingMounts();
  const mountPoint = placeOf(request, all);
  const existing = homesAmong(all, mountPoint);
  const before = await readBefore(existing);
  const group = groupOf(request, before);
  const own = ['homes', `homes-group=${group.name}`];
  const { mount, options } = checkHomes(request, { existing, mountPoint, own, before });
  if (!request.overlap) {
    refuseOverlap(
      mount,
      all.filter((each) => each !== existing),
    );
  }
  const whom = `the members of ${group.name}`;
  await checkBeforehand({ whom, mount, existing, before }, options);
  const credentials =
    request.credentials && (await readCredentials(request.credentials, process.env));
  const { variables } = before;
  tellKeys({ mount, options, variables, kept: credentials }, runMode.print);
  const plan = { mount, own, isNew: existing === undefined, credentials };
  const place = { makePlaces: () => makeHomesPlaces(mountPoint, runMode) };
  await makeMount({ ...plan, ...place, onDemand: false, idleTime: undefined }, runMode);
  await perform(directoryStep(homesKeysDirectory, 0o755), runMode);
  const block = { group: group.name, mountPoint, members: group.members };
  const isChanged = await perform(await homesBlockStep(block), runMode);
  if (isChanged && !runMode.dryRun) await reloadSshd(isSystemdRunning());
  runMode.print(
    `each member of ${group.name} has a home in ${mountPoint}, and logs in with the keys in ` +
      `${homesKeysDirectory}/USER`,
  );
  return 0;
}

/** @throws Failure where there is no such group */
function groupOf(request: HomesRequest, before: Before): NonNullable<ReturnType<typeof findGroup>> {
  const known =
    valueOf(before.words, 'homes-group') ?? before.variables['S3JAIL_HOMES_GROUP'] ?? usualGroup;
  const asked = request.group ?? known;
  const group = findGroup(asked);
  if (group !== undefined) return group;
  const cure = `groupadd --system ${asked} makes it`;
  throw new Failure(1, `--homes-group ${asked}: there is no such group; ${cure}`);
}

function placeOf(request: HomesRequest, all: readonly ExistingMount[]): string {
  const known = all.find((mount) => mount.name === name)?.mountPoint;
  return chrootPlace(request.mountPoint ?? known ?? usualPlace);
}

function homesAmong(all: readonly ExistingMount[], mountPoint: string): ExistingMount | undefined {
  return all.find((mount) => mount.name === name || mount.mountPoint === mountPoint);
}

interface Found {
  readonly existing: ExistingMount | undefined;
  readonly mountPoint: string;
  readonly own: readonly string[];
  readonly before: Before;
}

function checkHomes(
  request: HomesRequest,
  { existing, mountPoint, own, before }: Found,
): { mount: UserMount; options: MountOptions } {
  const isHomes = before.variables['S3JAIL_HOMES'] !== undefined || before.words.includes('homes');
  if (existing !== undefined && (!isHomes || existing.mountPoint !== mountPoint)) {
    throw new Failure(
      1,
      `${existing.mountPoint} is the mount of ${existing.name}; take that away first (s3jail setup … --remove)`,
    );
  }
  const asked = request.lists.flatMap((list) => splitOptionList(list) ?? [list]);
  const fixed = asked.find((word) => /^homes\b/.test(word));
  if (fixed !== undefined) throw new UsageError([`-o ${fixed}: setup --homes says that itself`]);
  const init = initOf(request, existing);
  const words = [...own, ...asked];
  const source = request.source ?? '';
  const planned = planOf({ source, mountPoint, words, before, user: 'root' });
  const endpointUrl = endpointUrlOf(before, words);
  const mount = { name, source: planned.source, mountPoint, options: asked, init, endpointUrl };
  return { mount, options: planned.options };
}

async function makeHomesPlaces(mountPoint: string, runMode: RunMode): Promise<void> {
  await makePlaces(mountPoint, runMode);
  const parent = dirname(mountPoint);
  if (parent === dirname(usualPlace)) await perform(closingStep(parent), runMode);
  else runMode.print(`chmod 0700 ${parent} makes homes faster, if nobody else needs it`);
}

/** Nobody but root, who sshd is when it changes its root, passes: the kernel may keep what it was told. */
function closingStep(path: string): Step {
  let before = 0o700;
  return {
    what: `close ${path} to all but root`,
    isDone: async () => {
      before = ((await unlessAbsent(stat(path)))?.mode ?? 0o700) & 0o7777;
      return before === 0o700;
    },
    run: () => chmod(path, 0o700),
    undo: () => chmod(path, before),
  };
}

async function remove(request: HomesRequest, runMode: RunMode): Promise<ExitCode> {
  const mountPoint = placeOf(request, await findExistingMounts());
  const mount = { name, mountPoint, init: undefined };
  await removeMount(mount, homesBlockPath, runMode);
  await perform(directoryRemovalStep(homesKeysDirectory), runMode);
  await removeShared({ name, mountPoint }, runMode);
  runMode.print(`users, their keys in ${join(homesKeysDirectory, 'USER')} and objects stay`);
  return 0;
}
