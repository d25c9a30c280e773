/**
 * The directory to mount on: is it one, is it free, and has a dead mount of ours to go first.
 */
import { lstat, readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { systemErrorCode } from '../errors.js';
import { Failure, messageOf } from './failure.js';
import type { Log } from '../log.js';
import { probeMount } from './mount-probe.js';
import { detach } from './mount-programs.js';
import { findMount, isAutomount, isOurs, soleUserOf, type MountEntry } from './mount-table.js';

/** How long a mount may take to show that it lives. */
const deadCheckMs = 5000;

/**
 * The path as the mount table will have it: without symbolic links. The last component is not
 * resolved where that fails, as with a dead mount.
 * @param path absolute
 */
export async function realMountPoint(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    // ENOTCONN: the mount there is dead. ENOENT: told by the check that follows.
    if (!['ENOTCONN', 'ENOENT'].includes(systemErrorCode(error) ?? '')) {
      throw unusable(path, error);
    }
  }
  try {
    return join(await realpath(dirname(path)), basename(path));
  } catch (error) {
    throw unusable(path, error);
  }
}

/**
 * A mount point as an operator wrote it. A mount that hangs must not be looked into: what the mount table
 * has is taken as it is.
 */
export async function knownMountPoint(path: string): Promise<string> {
  const place = resolve(path);
  return findMount(place) === undefined ? await realMountPoint(place) : place;
}

/**
 * Makes sure that `mountPoint` can be mounted on. A dead mount of this program, left behind by a
 * process that was killed, is taken away first.
 * @param mountPoint as realMountPoint gives it
 * @throws Failure with exit code 32 and what to do
 */
export async function prepareMountPoint(
  mountPoint: string,
  { isPrivate, log }: { isPrivate: boolean; log: Log },
): Promise<void> {
  for (let entry = findMount(mountPoint); entry !== undefined; entry = findMount(mountPoint)) {
    if (isAutomount(entry)) break;
    if (!isOurs(entry) || !(await isDead(mountPoint))) throw occupied(mountPoint, entry);
    log.warn(
      { mountPoint, source: entry.source },
      'removing the dead mount of a process that is gone',
    );
    await detach(mountPoint, { lazy: true });
  }
  await checkDirectory(mountPoint);
  if (isPrivate) await checkClosed(mountPoint);
}

/**
 * Whether `prepareMountPoint` would find the place fit, without changing anything.
 * @throws Failure as that does
 */
export async function inspectMountPoint(mountPoint: string): Promise<void> {
  const entry = findMount(mountPoint);
  if (entry === undefined || isAutomount(entry)) await checkDirectory(mountPoint);
  else if (!isOurs(entry) || !(await isDead(mountPoint))) throw occupied(mountPoint, entry);
}

/**
 * While a private mount is away, its user must not be able to write in the bare directory: uploads
 * would land on this machine's disk unnoticed.
 */
async function checkClosed(mountPoint: string): Promise<void> {
  const { uid, mode } = await lstat(mountPoint);
  if (uid === 0 && (mode & 0o022) === 0) return;
  throw new Failure(
    32,
    `mount point ${mountPoint} of a --private mount has to belong to root and be closed to others; ` +
      `chown root ${mountPoint} && chmod 0555 ${mountPoint}`,
  );
}

/**
 * Whether the process behind a FUSE mount is gone; the kernel then answers ENOTCONN, or ECONNABORTED to
 * what was under way. Anything else comes from one that lives, silence too.
 */
export async function isDead(mountPoint: string): Promise<boolean> {
  const entry = findMount(mountPoint);
  // Anybody else is answered by the kernel alone. Only root can ask for others.
  const owner = process.geteuid?.() === 0 && entry !== undefined ? soleUserOf(entry) : undefined;
  try {
    await probeMount({ mountPoint, owner }, deadCheckMs);
    return false;
  } catch (error) {
    return /endpoint is not connected|connection abort/.test(messageOf(error));
  }
}

function occupied(mountPoint: string, entry: MountEntry): Failure {
  if (isOurs(entry)) {
    return new Failure(
      32,
      `${mountPoint} is mounted already, with ${entry.source}; s3jail unmount ${mountPoint} ends that`,
    );
  }
  const what = `${entry.source} (${entry.type})`;
  return new Failure(
    32,
    `${mountPoint} is a mount point of ${what} already; choose another directory`,
  );
}

async function checkDirectory(mountPoint: string): Promise<void> {
  const entries = await listDirectory(mountPoint);
  if (entries.length === 0) return;
  throw new Failure(
    32,
    `${mountPoint} is not empty, and the mount would hide what it holds (${entries.length} ` +
      `entries, perhaps files that arrived while it was not mounted); move them away first`,
  );
}

async function listDirectory(mountPoint: string): Promise<string[]> {
  try {
    const stats = await lstat(mountPoint);
    if (!stats.isDirectory()) throw new Failure(32, `mount point ${mountPoint} is not a directory`);
    return await readdir(mountPoint);
  } catch (error) {
    throw error instanceof Failure ? error : unusable(mountPoint, error);
  }
}

function unusable(mountPoint: string, error: unknown): Failure {
  const code = systemErrorCode(error);
  const known: Readonly<Record<string, string>> = {
    ENOENT: `does not exist; make it with mkdir -p`,
    ENOTDIR: 'leads through something that is not a directory',
    EACCES: 'may not be entered by this user',
    ELOOP: 'leads through a circle of symbolic links',
    ENAMETOOLONG: 'is too long a name',
  };
  const reason = known[code ?? ''] ?? `cannot be used (${code ?? String(error)})`;
  return new Failure(32, `mount point ${mountPoint} ${reason}`, { cause: error });
}
