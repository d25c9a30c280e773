/**
 * The directory for the temporary files of one mount, below a place that all users may share.
 *
 * BASE/s3jail-UID is this user's alone (0700, never a symbolic link); in it every mount has a
 * directory named after the mount point and its process. What a process that was killed left behind
 * goes at the next start of a mount on the same place; a mount that gives up root also takes over what
 * one of root's left. What mounts of other users left is theirs.
 */
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { Failure, messageOf } from './failure.js';
import { mountName } from './mount-name.js';
import type { UserAccount } from './option-values.js';
import { makePrivateDirectory } from './private-directory.js';
import { isAlive, ownIdentity } from './process-identity.js';
import { asUser } from './run-as.js';

export interface TempDirectory {
  readonly path: string;
  /** file beside it that outlives the process, for the mount point's journal of uploads */
  readonly journalPath: string;
  /** Removes it with all it holds. */
  remove(): void;
}

/**
 * @param base `--temp-dir`; made if only its last component is missing
 * @param user who this process, now root, is going to be
 * @throws Failure with exit code 2
 */
export function makeTempDirectory(
  base: string,
  mountPoint: string,
  user?: UserAccount,
): TempDirectory {
  if (user === undefined) return makeOwn(base, mountPoint);
  try {
    const made = asUser(user, () => makeOwn(base, mountPoint));
    takeOver(base, mountPoint, (uploads) =>
      asUser(user, () => appendFileSync(made.journalPath, uploads, { mode: 0o600 })),
    );
    return { ...made, remove: () => asUser(user, () => made.remove()) };
  } catch (error) {
    const cure = `${user.name} (--run-as) has to be able to write in ${base} (--temp-dir)`;
    throw new Failure(2, `${messageOf(error)}; ${cure}`, { cause: error });
  }
}

/** What a process of root's left on this place: files go, its journal of uploads goes on. */
function takeOver(base: string, mountPoint: string, journal: (uploads: string) => void): void {
  const roots = join(base, 's3jail-0');
  const stats = lstatSync(roots, { throwIfNoEntry: false });
  // In /var/tmp anybody may have made it.
  if (stats?.isDirectory() !== true || stats.uid !== 0) return;
  removeLeftovers(roots, mountPoint);
  const uploads = join(roots, `${stemOf(mountPoint)}.uploads`);
  if (!existsSync(uploads)) return;
  journal(readFileSync(uploads, 'utf8'));
  rmSync(uploads);
}

function makeOwn(base: string, mountPoint: string): TempDirectory {
  try {
    if (!existsSync(base)) mkdirSync(base, { mode: 0o700 });
    const own = join(base, `s3jail-${process.geteuid?.() ?? 0}`);
    makePrivateDirectory(own);
    removeLeftovers(own, mountPoint);
    const { pid, startTime } = ownIdentity();
    const path = join(own, `${stemOf(mountPoint)}.${pid}.${startTime}`);
    makePrivateDirectory(path);
    const journalPath = join(own, `${stemOf(mountPoint)}.uploads`);
    return { path, journalPath, remove: () => rmSync(path, { recursive: true, force: true }) };
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(
      2,
      `cannot use ${base} for temporary files (--temp-dir): ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
}

/**
 * Names begin with mount point and process id space: in another container, which may share the
 * directory, a process that lives looks as if it were gone.
 */
function stemOf(mountPoint: string): string {
  const space = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
  return `${mountName(mountPoint)}.${space}`;
}

function removeLeftovers(directory: string, mountPoint: string): void {
  const stem = stemOf(mountPoint);
  for (const name of readdirSync(directory)) {
    if (!name.startsWith(`${stem}.`)) continue;
    const match = /^(\d+)\.(\d+)$/.exec(name.slice(stem.length + 1));
    const [, pid, startTime] = match ?? [];
    if (pid === undefined || startTime === undefined) continue;
    if (isAlive({ pid: Number(pid), startTime })) continue;
    rmSync(join(directory, name), { recursive: true, force: true });
  }
}
