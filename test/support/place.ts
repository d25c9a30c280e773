/**
 * A directory for one test: on disk, root's, and with no parent that others can write to, as sshd
 * wants it of a chroot and of its keys. Goes away with the test, mounts in it first.
 */
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { detachMounts } from '../../lib/demo/mount-process.js';
import { readMountTable } from '../../lib/host/mount-table.js';

export async function makePlace(t: Test): Promise<string> {
  const directory = await mkdtemp('/var/lib/s3jail-test-');
  await chmod(directory, 0o755);
  t.teardown(() => removePlace(directory));
  return directory;
}

/** A directory in `place` that only root can write to. */
export async function makeDirectory(place: string, name: string): Promise<string> {
  const path = join(place, name);
  await mkdir(path, { mode: 0o755, recursive: true });
  return path;
}

async function removePlace(directory: string): Promise<void> {
  await detachMounts(directory);
  // A mount still there would have its objects deleted through it.
  const mounts = readMountTable().filter((entry) => entry.mountPoint.startsWith(directory));
  if (mounts.length > 0) throw new Error(`${directory} still holds a mount`);
  await rm(directory, { recursive: true, force: true });
}
