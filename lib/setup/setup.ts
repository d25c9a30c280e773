/**
 * `s3jail setup`: all that an SFTP user on this machine needs, and its removal. User, mount point,
 * mount at boot (a unit of systemd, or a line of fstab), the helper for mount(8), and sshd's block.
 *
 * Everything is looked at first, then the mount is tried with what it will have at boot, then things are
 * changed, and changed back where one fails. Doing it again changes what was asked and no more. What it
 * finds and did not make (a user, lines of the administrator in its files) stays. Nothing in S3 is touched.
 */
import { dirname, join } from 'node:path';
import { findChrootFaults } from '../host/chroot-path.js';
import { findClosedAncestor } from '../host/closed-ancestor.js';
import { Failure, type ExitCode } from '../host/failure.js';
import { realMountPoint } from '../host/mount-point.js';
import { findMount } from '../host/mount-table.js';
import { UsageError } from '../options/options.js';
import { checkUserName, isUserOurs, userStep } from './account.js';
import { checkBeforehand } from './beforehand.js';
import { readCredentials, tellKeys } from './credentials.js';
import { findExistingMounts, refuseOverlap, type ExistingMount } from './existing-mounts.js';
import { makeHelperLinks } from './helper-links.js';
import { takeTurn } from './lock.js';
import { makeMount } from './make-mount.js';
import { isOnDemand } from './on-demand.js';
import { readPublicKeys } from './public-keys.js';
import { removeUser } from './remove.js';
import { blockStep, hasKeysFile, keysDirectory, reloadSshd, requireSshd } from './sshd.js';
import {
  directoryStep,
  fileStep,
  isSystemdRunning,
  perform,
  readIfThere,
  takeBack,
  type RunMode,
} from './steps.js';
import { keepUpdatedbOut } from './updatedb.js';
import { checkRequest, readBefore, type SetupRequest, type UserMount } from './user-mount.js';

/**
 * @param print takes lines for the operator
 * @throws UsageError, Failure
 */
export async function runSetup(
  request: SetupRequest,
  print: (line: string) => void,
): Promise<ExitCode> {
  if (process.geteuid?.() !== 0) throw new Failure(2, 'setup needs root: run it with sudo');
  checkUserName(request.user);
  return undoable({ dryRun: request.dryRun, print }, (runMode) =>
    request.source === undefined ? removeUser(request, runMode) : make(request, runMode),
  );
}

/** What was done is undone if the rest fails, or is no longer wanted. */
export async function undoable(
  { dryRun, print }: Pick<RunMode, 'dryRun' | 'print'>,
  work: (runMode: RunMode) => Promise<ExitCode>,
): Promise<ExitCode> {
  const stop = new AbortController();
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const onSignal = (signal: NodeJS.Signals): void => stop.abort(signal);
  for (const signal of signals) process.on(signal, onSignal);
  const runMode: RunMode = { dryRun, print, done: [], stop: stop.signal };
  let endTurn: (() => void) | undefined;
  try {
    endTurn = await takeTurn(stop.signal);
    return await work(runMode);
  } catch (error) {
    await takeBack(runMode);
    throw error;
  } finally {
    endTurn?.();
    for (const signal of signals) process.off(signal, onSignal);
  }
}

async function make(request: SetupRequest, runMode: RunMode): Promise<ExitCode> {
  requireSshd();
  const { user } = request;
  const isOurs = isUserOurs(user);
  const all = await findExistingMounts();
  const existing = all.find(({ name }) => name === user);
  const before = await readBefore(existing);
  const { mount, options } = checkRequest(request, existing, before);
  const keys = request.authorizedKeys && (await readPublicKeys(request.authorizedKeys));
  const credentials =
    request.credentials && (await readCredentials(request.credentials, process.env));
  refuseMove(existing, mount);
  const onDemand = checkOnDemand(request, mount);
  const others = all.filter((each) => each !== existing);
  if (!request.overlap) refuseOverlap(mount, others);
  const { mountPoint } = mount;
  await checkBeforehand({ whom: user, mount, existing, before }, options);
  const { variables } = before;
  tellKeys({ mount, options, variables, kept: credentials }, runMode.print);
  await perform(userStep(user), runMode);
  const plan = { mount, own: [`uid=${user}`], isNew: existing === undefined, credentials };
  const { idleTime } = request;
  const place = { makePlaces: () => makePlaces(mountPoint, runMode) };
  await makeMount({ ...plan, ...place, onDemand, idleTime }, runMode);
  const hasOwnKeys = isOurs || keys !== undefined || hasKeysFile(user);
  if (hasOwnKeys) await makeKeys(user, keys, runMode);
  await tellSshd({ name: user, mountPoint, hasOwnKeys }, runMode);
  return runMode.dryRun ? 0 : judge(user, mountPoint, runMode);
}

/** Another mount point is another mount: sessions, logs and temporary files go by it. */
function refuseMove(existing: ExistingMount | undefined, mount: UserMount): void {
  if (existing === undefined || existing.mountPoint === mount.mountPoint) return;
  const { name } = mount;
  throw new Failure(
    1,
    `--mount-point: the mount of ${name} is on ${existing.mountPoint}; s3jail setup ${name} --remove ` +
      'takes it away first',
  );
}

/** @returns whether the mount is to be made on demand */
function checkOnDemand({ user, onDemand, idleTime }: SetupRequest, { init }: UserMount): boolean {
  const isWanted = onDemand ?? (init === 'systemd' && isOnDemand(user));
  if (isWanted && init === 'fstab') {
    throw new UsageError(['--on-demand: systemd mounts on demand; it needs --init systemd']);
  }
  if (idleTime === undefined) return isWanted;
  if (!isWanted) throw new UsageError(['--idle-time is for mounts that are made --on-demand']);
  if (!/^(\d+(s|sec|m|min|h|hr|d) ?)+$/.test(idleTime)) {
    throw new UsageError([
      `--idle-time ${JSON.stringify(idleTime)} is no time such as 10min or 1h`,
    ]);
  }
  return isWanted;
}

/** The mount point and the directory above it, what mount(8) asks for, and no updatedb(8) in it. */
export async function makePlaces(mountPoint: string, runMode: RunMode): Promise<void> {
  // Closed to all but root, who sshd is when it changes its root, it makes the mount's answers cheap.
  await perform(directoryStep(dirname(mountPoint), 0o700), runMode);
  if (findMount(mountPoint) === undefined) await perform(directoryStep(mountPoint, 0o755), runMode);
  await makeHelperLinks(runMode);
  await keepUpdatedbOut(runMode);
}

async function makeKeys(user: string, keys: string | undefined, runMode: RunMode): Promise<void> {
  await perform(directoryStep(keysDirectory, 0o755), runMode);
  const path = join(keysDirectory, user);
  const content = keys ?? (await readIfThere(path)) ?? '';
  await perform(fileStep(`write the public keys ${path}`, { path, content, mode: 0o644 }), runMode);
  if (content === '') runMode.print(`${user} cannot log in yet: add public keys to ${path}`);
}

async function tellSshd(
  user: { name: string; mountPoint: string; hasOwnKeys: boolean },
  runMode: RunMode,
): Promise<void> {
  const isChanged = await perform(await blockStep(user), runMode);
  if (!isChanged || runMode.dryRun) return;
  if (await reloadSshd(isSystemdRunning())) runMode.print('told sshd to read its configuration');
  else runMode.print('sshd reads this when it starts: reload it if it is running');
}

/** What the operator should know although all is made. */
async function judge(user: string, mountPoint: string, { print }: RunMode): Promise<ExitCode> {
  const faults = await findChrootFaults(mountPoint);
  if ((await findClosedAncestor(await realMountPoint(mountPoint))) === undefined) {
    print(
      `others than root may enter ${dirname(mountPoint)}, so each step of ${user} has to be checked; ` +
        `chmod 0700 ${dirname(mountPoint)} makes the mount faster if nobody else needs it`,
    );
  }
  for (const { component, reason, cure } of faults) {
    print(`sshd will refuse ${user}: ${component} ${reason}; ${cure}`);
  }
  return faults.length === 0 ? 0 : 2;
}
