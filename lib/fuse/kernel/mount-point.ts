/**
 * The mount point: what it is mounted with, a dead mount that is in the way, and the read-ahead that
 * /sys keeps of a mount.
 */
import { writeFile } from 'node:fs/promises';
import { isDead } from '../../host/mount-point.js';
import { detach } from '../../host/mount-programs.js';
import { findMount } from '../../host/mount-table.js';
import { FsError, systemErrorCode } from '../../errors.js';
import type { Log } from '../../log.js';
import type { RootHelper } from '../driver.js';

/** What `findmnt -t` and the type column show; the kernel knows `fuse`, the rest is our mark. */
export const mountType = 'fuse.s3jail';

export interface MountOptionFacts {
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly allowOther: boolean;
  readonly readOnly: boolean;
}

/** The -o list; every part of it is ours or a number. 40755 is the octal mode the kernel starts with. */
export function mountOptions(facts: MountOptionFacts): string {
  const options = [
    'fd=3',
    'rootmode=40755',
    `user_id=${facts.owner.uid}`,
    `group_id=${facts.owner.gid}`,
    'nosuid',
    'nodev',
    'noatime',
  ];
  if (facts.allowOther) options.push('allow_other');
  if (facts.readOnly) options.push('ro');
  return options.join(',');
}

/**
 * Runs umount(8), or has it run.
 * @throws FsError EBUSY where the mount is in use, EPERM where we may not unmount
 */
export async function runUnmount(
  mountPoint: string,
  options: { lazy: boolean },
  helper?: RootHelper,
): Promise<void> {
  try {
    if (helper !== undefined) await helper.unmount(options);
    else await detach(mountPoint, options);
  } catch (error) {
    const still = findMount(mountPoint);
    if (still?.type !== mountType) return;
    if (helper === undefined && process.geteuid?.() !== 0) {
      throw new FsError('EPERM', `unmounting ${mountPoint} needs root`, { cause: error });
    }
    throw new FsError('EBUSY', `${mountPoint} is in use`, { cause: error });
  }
}

/**
 * Makes way on a directory that still carries a mount of ours whose process is gone: such a mount
 * answers ENOTCONN to everything. Mounts of others are never touched.
 * @throws Error a sentence for the operator if one of ours is alive there, or somebody else's is dead
 */
export async function clearDeadMount(mountPoint: string, log: Log): Promise<void> {
  for (;;) {
    const mount = findMount(mountPoint);
    if (mount === undefined) return;
    const dead = await isDead(mountPoint);
    if (mount.type !== mountType) {
      if (!dead) return;
      throw new Error(`${mountPoint} carries a dead mount of type ${mount.type}; unmount it first`);
    }
    if (!dead) throw new Error(`${mountPoint} is already mounted from ${mount.source}`);
    await runUnmount(mountPoint, { lazy: true });
    log.warn({ mountPoint, source: mount.source }, 'removed a dead mount left by an earlier run');
  }
}

/**
 * Raises the read-ahead of the mount's own backing device, 128 KiB by default, so that several of the
 * largest reads are under way at a time.
 * @returns whether /sys let us
 */
export async function raiseReadAhead(device: string | undefined, kib: number): Promise<boolean> {
  if (device === undefined) return false;
  try {
    await writeFile(`/sys/class/bdi/${device}/read_ahead_kb`, String(kib));
    return true;
  } catch (error) {
    // /sys is read-only or missing in many containers; the mount works without.
    if (systemErrorCode(error) !== undefined) return false;
    throw error;
  }
}
