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
import { keptCredentialFile } from '../host/kept-credentials.js';
import { realMountPoint } from '../host/mount-point.js';
import { findMount } from '../host/mount-table.js';
import { UsageError } from '../options/options.js';
import { checkUserName, isUserOurs, userStep } from './account.js';
import { checkBeforehand } from './beforehand.js';
import {
  credentialCure,
  credentialPlace,
  keepCredentials,
  readCredentials,
} from './credentials.js';
import { findExistingMounts, refuseOverlap, type ExistingMount } from './existing-mounts.js';
import { lineOf, makeFstab } from './fstab.js';
import { makeHelperLinks } from './helper-links.js';
import { valueOf } from './mount-words.js';
import { takeTurn } from './lock.js';
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
import { tryBeforehand, tryLine, tryUnit } from './trial.js';
import {
  environmentOf,
  hasOtherKeys,
  instanceOf,
  isActive,
  makeUnit,
  templateText,
} from './unit.js';
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

/** What the mount is to be, and what is needed to make it so. */
interface Plan {
  readonly request: SetupRequest;
  readonly mount: UserMount;
  readonly isNew: boolean;
  readonly onDemand: boolean;
  /** content for the file of S3 keys */
  readonly credentials: string | undefined;
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
  const oldPort = valueOf(before.words, 'metrics') ?? before.variables['S3JAIL_METRICS'];
  const port = valueOf(mount.options, 'metrics');
  const holdsPort = existing !== undefined && (port === undefined || port === oldPort);
  await checkBeforehand({ user, mountPoint, isTheirs: existing !== undefined, holdsPort }, options);
  const { variables } = before;
  const place = credentialPlace({ mount, options, variables, kept: credentials });
  runMode.print(`S3 keys: from ${place ?? 'the role of this instance, as none are kept'}`);
  const isTried = mount.init === 'fstab' || isSystemdRunning();
  if (place === undefined && !isTried) runMode.print(credentialCure(user, process.env));
  await perform(userStep(user), runMode);
  const plan = { request, mount, onDemand, isNew: existing === undefined, credentials };
  await (mount.init === 'systemd' ? makeUnitMount(plan, runMode) : makeFstabMount(plan, runMode));
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

async function makeUnitMount(plan: Plan, runMode: RunMode): Promise<void> {
  const { mount, onDemand, request, credentials } = plan;
  const { name } = mount;
  const { idleTime } = request;
  const unit = { mount, own: { S3JAIL_UID: name }, onDemand, idleTime };
  const environment = await environmentOf(unit);
  const isRunning = isSystemdRunning();
  const wasActive = isRunning && (await isActive(instanceOf(name)));
  const areKeysOther =
    credentials === undefined
      ? wasActive && (await hasOtherKeys(name, keptCredentialFile(name)))
      : credentials !== (await readIfThere(keptCredentialFile(name) ?? ''));
  const isChanged = environment.isChanged || areKeysOther;
  if (isRunning && (isChanged || !(wasActive || (onDemand && !plan.isNew)))) {
    const template = await templateText();
    const trial = { name, template, environment: environment.text, credentials };
    await tryMount(plan, runMode, () => tryUnit(trial, runMode.stop));
  }
  await makePlaces(mount.mountPoint, runMode);
  if (credentials !== undefined) await keepCredentials(name, credentials, runMode);
  await makeUnit(unit, environment.text, isChanged, runMode);
}

async function makeFstabMount(plan: Plan, runMode: RunMode): Promise<void> {
  const { mount, credentials } = plan;
  const { name, mountPoint } = mount;
  const planned = await lineOf(mount, [`uid=${name}`]);
  const areKeysOther =
    credentials !== undefined &&
    credentials !== (await readIfThere(keptCredentialFile(name) ?? ''));
  const isChanged = planned.isChanged || areKeysOther;
  if (isChanged || findMount(mountPoint) === undefined) {
    const { words, line } = planned;
    const trial = { name, source: line.source, options: words, credentials };
    await tryMount(plan, runMode, () => tryLine(trial, runMode.stop));
  }
  await makePlaces(mountPoint, runMode);
  if (credentials !== undefined) await keepCredentials(name, credentials, runMode);
  await makeFstab(planned, isChanged, runMode);
}

/** @throws Failure with what the mount said, and where its keys belong */
async function tryMount(
  { mount, credentials }: Plan,
  runMode: RunMode,
  attempt: () => Promise<void>,
): Promise<void> {
  try {
    await tryBeforehand(runMode, attempt);
  } catch (error) {
    if (!(error instanceof Failure) || error.exitCode !== 32) throw error;
    const isOfKeys = credentials === undefined && /\b(credentials|keys?)\b/.test(error.message);
    const cure = isOfKeys ? `; ${credentialCure(mount.name, process.env)}` : '';
    throw new Failure(32, `the mount cannot be made: ${error.message}${cure}`, { cause: error });
  }
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
