/** Whether sshd would take the mount point as ChrootDirectory, or the directory above it. */
import { realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { findChrootFaults } from '../host/chroot-path.js';
import { findClosedAncestor } from '../host/closed-ancestor.js';
import { accessOf } from '../options/access.js';
import { systemErrorCode } from '../errors.js';
import type { MountOptions } from '../options/table.js';
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
  const { chroot, private: isPrivate } = options;
  const what = 'mount point';
  try {
    if (!(await stat(mountPoint)).isDirectory()) {
      findings.fail(what, `${mountPoint} is no directory; name one`);
    } else {
      findings.ok(what, `${mountPoint} is a directory`);
      const closed = await findClosedAncestor(await realpath(mountPoint));
      findings.ok('access', accessOf(options, closed));
    }
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    findings.fail(what, `${mountPoint}: ${code}; make it with mkdir -p ${mountPoint}`);
  }
  if (!chroot && !isPrivate) return;
  const faults = await findChrootFaults(dirname(mountPoint));
  for (const { component, reason, cure } of faults) {
    findings.fail('chroot', `sshd refuses it: ${component} ${reason}; ${cure}`);
  }
  if (faults.length === 0)
    findings.ok(
      'chroot',
      `sshd takes ${isPrivate ? dirname(mountPoint) : mountPoint} as ChrootDirectory`,
    );
}
