/**
 * `s3jail setup`: all that an SFTP user on this machine needs, and its removal. User, mount point,
 * mount at boot (a unit of systemd, or a line of fstab), the helper for mount(8), and sshd's block.
 *
 * Doing it again changes only what differs. What it finds and did not make (a user, lines of the
 * administrator in its files) stays. Nothing in S3 is touched.
 */
import { dirname, join, resolve } from 'node:path';
import { findChrootFaults } from '../host/chroot-path.js';
import { findClosedAncestor } from '../host/closed-ancestor.js';
import { Failure, type ExitCode } from '../host/failure.js';
import { realMountPoint } from '../host/mount-point.js';
import { findMount } from '../host/mount-table.js';
import { checkUserName, isUserOurs, userRemovalStep, userStep } from './account.js';
import { makeFstab, removeFstab } from './fstab.js';
import { makeHelperLinks, removeHelperLinks } from './helper-links.js';
import {
  endpointIn,
  environmentFile,
  findExistingMounts,
  refuseOverlap,
} from './existing-mounts.js';
import { readPublicKeys } from './public-keys.js';
import { blockPath, blockStep, keysDirectory, reloadSshd, requireSshd } from './sshd.js';
import {
  directoryRemovalStep,
  directoryStep,
  fileStep,
  isSystemdRunning,
  readIfThere,
  removalStep,
  perform,
  type RunMode,
} from './steps.js';
import { readVariable } from './config-files.js';
import { makeUnit, removeTemplate, removeUnit } from './unit.js';
import { checkRequest, usualMountPoint, type SetupRequest, type UserMount } from './user-mount.js';

/**
 * @param print takes lines for the operator
 * @throws UsageError, Failure
 */
export async function runSetup(
  request: SetupRequest,
  print: (line: string) => void,
): Promise<ExitCode> {
  const runMode = { dryRun: request.dryRun, print };
  if (process.geteuid?.() !== 0) throw new Failure(2, 'setup needs root: run it with sudo');
  checkUserName(request.user);
  if (request.source === undefined) return remove(request, runMode);
  requireSshd();
  const userMount = checkRequest(request);
  const keys = request.authorizedKeys && (await readPublicKeys(request.authorizedKeys));
  if (!request.overlap) {
    const endpointUrl = endpointIn(userMount.options.join(','));
    refuseOverlap({ ...userMount, endpointUrl }, await findExistingMounts());
  }
  return make(userMount, keys, runMode);
}

/** @param keys text of the file of public keys that was named */
async function make(
  userMount: UserMount,
  keys: string | undefined,
  runMode: RunMode,
): Promise<ExitCode> {
  const { user, mountPoint } = userMount;
  const hasOwnKeys = isUserOurs(user) || keys !== undefined;
  await perform(userStep(user), runMode);
  // Closed to all but root, who sshd is when it changes its root, it makes the mount's answers cheap.
  await perform(directoryStep(dirname(mountPoint), 0o700), runMode);
  if (findMount(mountPoint) === undefined) await perform(directoryStep(mountPoint, 0o755), runMode);
  await makeHelperLinks(runMode);
  await (userMount.init === 'systemd'
    ? makeUnit(userMount, runMode)
    : makeFstab(userMount, runMode));
  if (hasOwnKeys) await makeKeys(user, keys, runMode);
  await tellSshd({ name: user, mountPoint, hasOwnKeys }, runMode);
  if (runMode.dryRun) return 0;
  const faults = await findChrootFaults(mountPoint);
  if ((await findClosedAncestor(await realMountPoint(mountPoint))) === undefined) {
    runMode.print(
      `others than root may enter ${dirname(mountPoint)}, so each step of ${user} has to be checked; ` +
        `chmod 0700 ${dirname(mountPoint)} makes the mount faster if nobody else needs it`,
    );
  }
  for (const { component, reason, cure } of faults) {
    runMode.print(`sshd will refuse ${user}: ${component} ${reason}; ${cure}`);
  }
  return faults.length === 0 ? 0 : 2;
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
  const isChanged = await perform(blockStep(user), runMode);
  if (!isChanged || runMode.dryRun) return;
  if (await reloadSshd(isSystemdRunning())) runMode.print('told sshd to read its configuration');
  else runMode.print('sshd reads this when it starts: reload it if it is running');
}

/** Takes away what `make` made for this user, and with the last one what all of them shared. */
async function remove(request: SetupRequest, runMode: RunMode): Promise<ExitCode> {
  const { user } = request;
  const text = await readIfThere(environmentFile(user));
  const isUnit = text !== undefined;
  const known = isUnit ? readVariable(text, 'MOUNTPOINT') : undefined;
  const mountPoint = resolve(request.mountPoint ?? known ?? usualMountPoint(user));
  await perform(removalStep(blockPath(user)), runMode);
  if (!runMode.dryRun) await reloadSshd(isSystemdRunning());
  if (isUnit) await removeUnit(user, runMode);
  await removeFstab(mountPoint, runMode);
  await perform(removalStep(environmentFile(user)), runMode);
  await perform(directoryRemovalStep(mountPoint), runMode);
  await perform(removalStep(join(keysDirectory, user)), runMode);
  await perform(userRemovalStep(user), runMode);
  const others = await findExistingMounts();
  const isLast = others.every((other) => other.name === user || other.mountPoint === mountPoint);
  if (!isLast) return 0;
  const shared = dirname(mountPoint);
  if (shared === dirname(usualMountPoint(user)))
    await perform(directoryRemovalStep(shared), runMode);
  await removeTemplate(runMode);
  await perform(directoryRemovalStep(keysDirectory), runMode);
  await removeHelperLinks(runMode);
  return 0;
}
