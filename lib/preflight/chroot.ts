/** Whether sshd would take the mount point as ChrootDirectory, or the directory above it. */
import { dirname, join } from 'node:path';
import { findChrootFaults } from '../host/chroot-path.js';
import { findClosedAncestor } from '../host/closed-ancestor.js';
import { accessOf } from '../options/access.js';
import { Failure } from '../host/failure.js';
import { inspectMountPoint, realMountPoint } from '../host/mount-point.js';
import type { MountOptions } from '../options/mount-options.js';
import type { Findings } from './findings.js';

/**
 * The mount covers the owner and mode of the mount point itself, so what counts are the directories
 * above it.
 * @param mountPoint absolute
 */
export async function checkMountPoint(
  mountPoint: string,
  options: MountOptions,
  findings: Findings,
): Promise<void> {
  const { chroot, homes, private: isPrivate } = options;
  const what = 'mount point';
  try {
    const place = await realMountPoint(mountPoint);
    await inspectMountPoint(place);
    findings.ok(what, `${mountPoint} is an empty directory`);
    findings.ok('access', accessOf(options, await findClosedAncestor(place)));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    findings.fail(what, error.message);
  }
  if (!chroot && !isPrivate) return;
  const faults = await findChrootFaults(dirname(mountPoint));
  for (const { component, reason, cure } of faults) {
    findings.fail('chroot', `sshd refuses it: ${component} ${reason}; ${cure}`);
  }
  if (faults.length > 0) return;
  const place = isPrivate ? dirname(mountPoint) : mountPoint;
  findings.ok('chroot', `sshd takes ${homes ? join(place, '%u') : place} as ChrootDirectory`);
}
