/** What the mount needs of this machine, looked at before anything is changed. */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { findChrootFaults } from '../host/chroot-path.js';
import { Failure } from '../host/failure.js';
import { inspectMountPoint, realMountPoint } from '../host/mount-point.js';
import { findMount, isAutomount, isOurs } from '../host/mount-table.js';
import type { MountOptions } from '../options/mount-options.js';
import { Findings } from '../preflight/findings.js';
import { checkOutputs, checkTempDirectory } from '../preflight/machine.js';

/** @throws Failure with all that is wrong */
export async function checkBeforehand(
  place: { user: string; mountPoint: string; isTheirs: boolean; holdsPort: boolean },
  options: MountOptions,
): Promise<void> {
  const { user, mountPoint, isTheirs, holdsPort } = place;
  const faults: string[] = [];
  const findings = new Findings((line) => {
    if (line.startsWith('FAIL')) faults.push(line.replace(/^FAIL */, ''));
  });
  checkTempDirectory(options, findings);
  await checkOutputs(holdsPort ? { ...options, metrics: undefined } : options, findings);
  const live = findMount(mountPoint);
  const isInUse = isTheirs && live !== undefined && (isOurs(live) || isAutomount(live));
  const there = nearestPresent(mountPoint);
  for (const { component, reason, cure } of await findChrootFaults(
    there === mountPoint ? dirname(there) : there,
  )) {
    faults.push(`sshd will refuse ${user}: ${component} ${reason}; ${cure}`);
  }
  if (there === mountPoint && !isInUse) {
    await inspectMountPoint(await realMountPoint(mountPoint)).catch((error: unknown) => {
      if (!(error instanceof Failure)) throw error;
      faults.push(error.message);
    });
  }
  if (faults.length > 0) throw new Failure(2, faults.join('; '));
}

function nearestPresent(path: string): string {
  return existsSync(path) || findMount(path) !== undefined ? path : nearestPresent(dirname(path));
}
