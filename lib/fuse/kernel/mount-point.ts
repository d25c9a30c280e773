/**
 * The mount point: mounting and unmounting through mount(8) and umount(8), which are started directly
 * and never through a shell, and what /proc and /sys tell of a mount.
 *
 * mount(2) has no binding in Node, and mount(8) brings SELinux and namespace care with it. `-i` keeps it
 * from calling a helper for the type, `-n` from writing /etc/mtab. The source is an argument of its
 * own, so no character of it can become an option; the kernel escapes it where it is listed.
 */
import { execFile, spawn } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { bareEnvironment } from '../../host/bare-environment.js';
import { FsError, systemErrorCode } from '../../errors.js';
import type { Log } from '../../log.js';
import type { RootHelper } from '../driver.js';

const execFileAsync = promisify(execFile);

/** What `findmnt -t` and the type column show; the kernel knows `fuse`, the rest is our mark. */
export const mountType = 'fuse.s3jail';

const deadCheckMs = 5000;

/** One line of /proc/self/mountinfo. */
export interface MountInfo {
  /** MAJOR:MINOR, as st_dev has it */
  readonly device: string;
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
}

/** The kernel writes space, tab, newline, backslash and `#` as three octal digits (seq_escape). */
function unescape(text: string): string {
  if (!text.includes('\\')) return text;
  const bytes = Buffer.from(text);
  const raw: number[] = [];
  for (let at = 0; at < bytes.length; at += 1) {
    const octal = /^\\([0-7]{3})/.exec(bytes.toString('latin1', at, at + 4))?.[1];
    raw.push(octal === undefined ? (bytes[at] ?? 0) : parseInt(octal, 8));
    if (octal !== undefined) at += 3;
  }
  return Buffer.from(raw).toString('utf8');
}

/** Parses /proc/PID/mountinfo (proc_pid_mountinfo(5)); lines that are none are left out. */
export function parseMountInfo(text: string): MountInfo[] {
  const mounts: MountInfo[] = [];
  for (const line of text.split('\n')) {
    const fields = line.split(' ');
    const separator = fields.indexOf('-', 6);
    const [, , device, , mountPoint] = fields;
    const [type, source] = fields.slice(separator + 1);
    if (separator < 0 || device === undefined || mountPoint === undefined) continue;
    if (type === undefined || source === undefined) continue;
    mounts.push({
      device,
      mountPoint: unescape(mountPoint),
      type: unescape(type),
      source: unescape(source),
    });
  }
  return mounts;
}

/** The topmost mount on a directory, if it is one. */
export async function mountAt(mountPoint: string): Promise<MountInfo | undefined> {
  const mounts = parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
  return mounts.reverse().find((mount) => mount.mountPoint === mountPoint);
}

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
 * Runs umount(8), or has it run. `-c` keeps it from looking at the mount point itself, which only we
 * could answer.
 * @throws FsError EBUSY where the mount is in use, EPERM where we may not unmount
 */
export async function runUnmount(
  mountPoint: string,
  options: { lazy: boolean },
  helper?: RootHelper,
): Promise<void> {
  const flags = options.lazy ? ['-i', '-n', '-c', '-l'] : ['-i', '-n', '-c'];
  try {
    if (helper !== undefined) await helper.unmount(options);
    else await execFileAsync('umount', [...flags, '--', mountPoint], { env: bareEnvironment });
  } catch (error) {
    const still = await mountAt(mountPoint);
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
    const mount = await mountAt(mountPoint);
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

async function isDead(mountPoint: string): Promise<boolean> {
  const alive = new Promise<'alive'>((resolve) => {
    setTimeout(() => resolve('alive'), deadCheckMs).unref();
  });
  try {
    await Promise.race([stat(mountPoint), alive]);
    return false;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOTCONN') return true;
    // Any other errno is an answer, so somebody is there to give it.
    if (systemErrorCode(error) !== undefined) return false;
    throw error;
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
