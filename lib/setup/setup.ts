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
import { endpointIn, environmentFile, findNeighbours, refuseOverlap } from './neighbours.js';
import { readPublicKeys } from './public-keys.js';
import { blockPath, blockStep, keysDirectory, reloadSshd, requireSshd } from './sshd.js';
import {
  directoryRemovalStep,
  directoryStep,
  fileStep,
  isSystemdRunning,
  readIfThere,
  removalStep,
  take,
  type Conduct,
} from './steps.js';
import { readVariable } from './tables.js';
import { makeUnit, removeTemplate, removeUnit } from './unit.js';
import { checkWanted, usualMountPoint, type SetupRequest, type Wanted } from './wanted.js';

/**
 * @param print takes lines for the operator
 * @throws UsageError, Failure
 */
export async function runSetup(
  request: SetupRequest,
  print: (line: string) => void,
): Promise<ExitCode> {
  const conduct = { dryRun: request.dryRun, print };
  if (process.geteuid?.() !== 0) throw new Failure(2, 'setup needs root: run it with sudo');
  checkUserName(request.user);
  if (request.source === undefined) return remove(request, conduct);
  requireSshd();
  const wanted = checkWanted(request);
  const keys = request.authorizedKeys && (await readPublicKeys(request.authorizedKeys));
  if (!request.overlap) {
    const endpointUrl = endpointIn(wanted.options.join(','));
    refuseOverlap({ ...wanted, endpointUrl }, await findNeighbours());
  }
  return make(wanted, keys, conduct);
}

/** @param keys text of the file of public keys that was named */
async function make(wanted: Wanted, keys: string | undefined, conduct: Conduct): Promise<ExitCode> {
  const { user, mountPoint } = wanted;
  const hasOwnKeys = isUserOurs(user) || keys !== undefined;
  await take(userStep(user), conduct);
  // Closed to all but root, who sshd is when it changes its root, it makes the mount's answers cheap.
  await take(directoryStep(dirname(mountPoint), 0o700), conduct);
  if (findMount(mountPoint) === undefined) await take(directoryStep(mountPoint, 0o755), conduct);
  await makeHelperLinks(conduct);
  await (wanted.init === 'systemd' ? makeUnit(wanted, conduct) : makeFstab(wanted, conduct));
  if (hasOwnKeys) await makeKeys(user, keys, conduct);
  await tellSshd({ name: user, mountPoint, hasOwnKeys }, conduct);
  if (conduct.dryRun) return 0;
  const faults = await findChrootFaults(mountPoint);
  if ((await findClosedAncestor(await realMountPoint(mountPoint))) === undefined) {
    conduct.print(
      `others than root may enter ${dirname(mountPoint)}, so each step of ${user} has to be checked; ` +
        `chmod 0700 ${dirname(mountPoint)} makes the mount faster if nobody else needs it`,
    );
  }
  for (const { component, reason, cure } of faults) {
    conduct.print(`sshd will refuse ${user}: ${component} ${reason}; ${cure}`);
  }
  return faults.length === 0 ? 0 : 2;
}

async function makeKeys(user: string, keys: string | undefined, conduct: Conduct): Promise<void> {
  await take(directoryStep(keysDirectory, 0o755), conduct);
  const path = join(keysDirectory, user);
  const content = keys ?? (await readIfThere(path)) ?? '';
  await take(fileStep(`write the public keys ${path}`, { path, content, mode: 0o644 }), conduct);
  if (content === '') conduct.print(`${user} cannot log in yet: add public keys to ${path}`);
}

async function tellSshd(
  user: { name: string; mountPoint: string; hasOwnKeys: boolean },
  conduct: Conduct,
): Promise<void> {
  const isChanged = await take(blockStep(user), conduct);
  if (!isChanged || conduct.dryRun) return;
  if (await reloadSshd(isSystemdRunning())) conduct.print('told sshd to read its configuration');
  else conduct.print('sshd reads this when it starts: reload it if it is running');
}

/** Takes away what `make` made for this user, and with the last one what all of them shared. */
async function remove(request: SetupRequest, conduct: Conduct): Promise<ExitCode> {
  const { user } = request;
  const text = await readIfThere(environmentFile(user));
  const isUnit = text !== undefined;
  const known = isUnit ? readVariable(text, 'MOUNTPOINT') : undefined;
  const mountPoint = resolve(request.mountPoint ?? known ?? usualMountPoint(user));
  await take(removalStep(blockPath(user)), conduct);
  if (!conduct.dryRun) await reloadSshd(isSystemdRunning());
  if (isUnit) await removeUnit(user, conduct);
  await removeFstab(mountPoint, conduct);
  await take(removalStep(environmentFile(user)), conduct);
  await take(directoryRemovalStep(mountPoint), conduct);
  await take(removalStep(join(keysDirectory, user)), conduct);
  await take(userRemovalStep(user), conduct);
  const others = await findNeighbours();
  const isLast = others.every((other) => other.name === user || other.mountPoint === mountPoint);
  if (!isLast) return 0;
  const shared = dirname(mountPoint);
  if (shared === dirname(usualMountPoint(user))) await take(directoryRemovalStep(shared), conduct);
  await removeTemplate(conduct);
  await take(directoryRemovalStep(keysDirectory), conduct);
  await removeHelperLinks(conduct);
  return 0;
}
