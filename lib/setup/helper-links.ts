/** The links by which mount(8) finds its helper for mounts of this program. */
import { existsSync } from 'node:fs';
import { readlink, rm, symlink } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { systemErrorCode } from '../errors.js';
import { perform, type RunMode } from './steps.js';

/** One for each of the two names that a mount has: that of fstab, and that of the kernel's table. */
const links = ['/sbin/mount.s3jail', '/sbin/mount.fuse.s3jail'];
const program = fileURLToPath(new URL('../../bin/mount.s3jail.cjs', import.meta.url));

export async function makeHelperLinks(runMode: RunMode): Promise<void> {
  for (const path of links) {
    const isDone = () => Promise.resolve(existsSync(path));
    const run = async (): Promise<void> => {
      // A link that leads nowhere: an installation that is gone.
      await rm(path, { force: true });
      await symlink(program, path);
    };
    const undo = () => rm(path, { force: true });
    await perform({ what: `make ${path}, which mount(8) calls`, isDone, run, undo }, runMode);
  }
}

/** Those that lead to this installation. */
export async function removeHelperLinks(runMode: RunMode): Promise<void> {
  for (const path of links) {
    const isDone = async () => (await linkTarget(path)) !== program;
    await perform({ what: `remove ${path}`, isDone, run: () => rm(path) }, runMode);
  }
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    // ENOENT: nothing there. EINVAL: a file of somebody else's.
    if (['ENOENT', 'EINVAL'].includes(systemErrorCode(error) ?? '')) return undefined;
    throw error;
  }
}
