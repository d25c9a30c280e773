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
import type { ExistingMount } from './existing-mounts.js';
import { valueOf } from './mount-words.js';
import type { Before, UserMount } from './user-mount.js';

export interface Beforehand {
  /** the users that it is for, as the operator reads it */
  readonly whom: string;
  readonly mount: UserMount;
  readonly existing: ExistingMount | undefined;
  readonly before: Before;
}

/** @throws Failure with all that is wrong */
export async function checkBeforehand(
  { whom, mount, existing, before }: Beforehand,
  options: MountOptions,
): Promise<void> {
  const { mountPoint } = mount;
  const oldPort = valueOf(before.words, 'metrics') ?? before.variables['S3JAIL_METRICS'];
  const port = valueOf(mount.options, 'metrics');
  const holdsPort = existing !== undefined && (port === undefined || port === oldPort);
  const faults: string[] = [];
  const findings = new Findings((line) => {
    if (line.startsWith('FAIL')) faults.push(line.replace(/^FAIL */, ''));
  });
  checkTempDirectory(options, findings);
  await checkOutputs(holdsPort ? { ...options, metrics: undefined } : options, findings);
  const live = findMount(mountPoint);
  const isInUse =
    existing !== undefined && live !== undefined && (isOurs(live) || isAutomount(live));
  const there = nearestPresent(mountPoint);
  for (const { component, reason, cure } of await findChrootFaults(
    there === mountPoint ? dirname(there) : there,
  )) {
    faults.push(`sshd will refuse ${whom}: ${component} ${reason}; ${cure}`);
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
