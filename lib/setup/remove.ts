/** `s3jail setup --remove`: takes away what setup made for a user, and with the last what all shared. */
import { dirname, join, resolve } from 'node:path';
import { defaultLogFile } from '../host/default-log-file.js';
import type { ExitCode } from '../host/failure.js';
import { userRemovalStep } from './account.js';
import { removeCredentials, removeCredentialStore } from './credentials.js';
import { environmentFile, findExistingMounts } from './existing-mounts.js';
import { removeFstab } from './fstab.js';
import { removeHelperLinks } from './helper-links.js';
import { blockPath, keysDirectory, reloadSshd } from './sshd.js';
import {
  directoryRemovalStep,
  isSystemdRunning,
  perform,
  removalStep,
  type RunMode,
} from './steps.js';
import { removeSharedUnits, removeUnit } from './unit.js';
import { letUpdatedbIn } from './updatedb.js';
import { usualMountPoint, type SetupRequest, type UserMount } from './user-mount.js';

/** Told to stop, it stops between two steps; done again, it goes on. */
export async function removeUser(request: SetupRequest, runMode: RunMode): Promise<ExitCode> {
  const { user } = request;
  const existing = (await findExistingMounts()).find(({ name }) => name === user);
  const known = existing?.mountPoint ?? usualMountPoint(user);
  const mountPoint = resolve(request.mountPoint ?? known);
  const mount = { name: user, mountPoint, init: existing?.init };
  await removeMount(mount, blockPath(user), runMode);
  await perform(removalStep(join(keysDirectory, user)), runMode);
  await perform(userRemovalStep(user), runMode);
  await removeShared({ name: user, mountPoint }, runMode);
  return 0;
}

/**
 * One mount, with all that is its own and no user's.
 * @param block what sshd was told
 */
export async function removeMount(
  mount: { name: string; mountPoint: string; init: UserMount['init'] | undefined },
  block: string,
  runMode: RunMode,
): Promise<void> {
  const { name, mountPoint, init } = mount;
  const hasBlock = await perform(removalStep(block), runMode);
  if (hasBlock && !runMode.dryRun) await reloadSshd(isSystemdRunning());
  if (init !== 'fstab') await removeUnit(name, mountPoint, runMode);
  await removeFstab(mountPoint, runMode);
  await perform(removalStep(environmentFile(name)), runMode);
  await removeCredentials(name, runMode);
  await perform(directoryRemovalStep(mountPoint), runMode);
  await removeLog(defaultLogFile(mountPoint), runMode);
}

/** What all mounts had in common, where none is left but the one that goes. */
export async function removeShared(
  { name, mountPoint }: { name: string; mountPoint: string },
  runMode: RunMode,
): Promise<void> {
  const others = await findExistingMounts();
  if (others.some((other) => other.name !== name && other.mountPoint !== mountPoint)) return;
  const shared = dirname(mountPoint);
  if (shared === dirname(usualMountPoint(name)))
    await perform(directoryRemovalStep(shared), runMode);
  await removeSharedUnits(runMode);
  await perform(directoryRemovalStep(keysDirectory), runMode);
  await removeCredentialStore(runMode);
  await removeHelperLinks(runMode);
  await letUpdatedbIn(runMode);
  await perform(directoryRemovalStep('/run/s3jail'), runMode);
}

/** That of a mount in the background; one that the administrator named stays. */
async function removeLog(path: string, runMode: RunMode): Promise<void> {
  await perform(removalStep(path), runMode);
  await perform(directoryRemovalStep(dirname(path)), runMode);
}
