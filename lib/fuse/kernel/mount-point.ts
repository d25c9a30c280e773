/**
 * The mount point: mounting and unmounting through mount(8) and umount(8), which are started directly
 * and never through a shell, and the read-ahead that /sys keeps of a mount.
 *
 * mount(2) has no binding in Node, and mount(8) brings SELinux and namespace care with it. `-i` keeps it
 * from calling a helper for the type, `-n` from writing /etc/mtab. The source is an argument of its
 * own, so no character of it can become an option; the kernel escapes it where it is listed.
 */
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { bareEnvironment } from '../../host/bare-environment.js';
import { isDead } from '../../host/mount-point.js';
import { detach, findMount } from '../../host/mount-table.js';
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
 * Runs mount(8) with the device as its descriptor 3.
 * @throws Error a sentence for the operator with what mount(8) said
 */
export function runMount(request: {
  descriptor: number;
  mountPoint: string;
  source: string;
  options: string;
}): Promise<void> {
  const { descriptor, mountPoint, source, options } = request;
  return new Promise((resolve, reject) => {
    const child = spawn(
      'mount',
      ['-i', '-n', '-t', mountType, '-o', options, '--', source, mountPoint],
      {
        stdio: ['ignore', 'ignore', 'pipe', descriptor],
        env: bareEnvironment,
      },
    );
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(0, 2000);
    });
    child.once('error', (error) => {
      reject(new Error(`mount(8) did not start: ${error.message}`, { cause: error }));
    });
    child.once('close', (status) => {
      if (status === 0) resolve();
      else
        reject(new Error(`mount(8) on ${mountPoint} failed: ${said.trim() || 'no reason given'}`));
    });
  });
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
