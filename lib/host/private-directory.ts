/**
 * Directories that belong to one user alone, in places where everybody may write.
 */
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { systemErrorCode } from '../errors.js';
import { Failure, messageOf } from './failure.js';
import type { UserAccount } from './accounts.js';
import { asUser } from './run-as.js';

/**
 * Makes `path` with mode 0700, or takes the one that is there if it is ours, a real directory and
 * closed to others. In /var/tmp anybody may have made it first, as a trap: a symbolic link or a
 * directory of theirs is refused, never repaired.
 * @throws Failure with exit code 2
 */
export function makePrivateDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') {
      throw new Failure(2, `cannot make the directory ${path}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
  if (isPrivateDirectory(path, process.geteuid?.() ?? 0)) return;
  throw new Failure(
    2,
    `${path} has to be a directory of this user with mode 0700, and it is not; ` +
      `find out who made it, then remove it`,
  );
}

/** Whether a path is a directory of this user, and closed to all others. */
export function isPrivateDirectory(path: string, uid: number): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats?.isDirectory() === true && stats.uid === uid && (stats.mode & 0o077) === 0;
}

/**
 * Makes or finds a directory of this user's alone in a place where everybody may write: BASE/NAME, or
 * BASE/NAME.XXXXXX where somebody else has taken that name. A trap is not touched, and hinders nobody.
 * @throws Error (system error)
 */
export function ownDirectoryIn(base: string, name: string): string {
  const [found] = privateDirectoriesIn(base, name, process.geteuid?.() ?? 0);
  if (found !== undefined) return found;
  const path = join(base, name);
  try {
    mkdirSync(path, { mode: 0o700 });
    return path;
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw error;
    return mkdtempSync(`${path}.`);
  }
}

/** What `ownDirectoryIn` made for a user. */
export function privateDirectoriesIn(base: string, name: string, uid: number): string[] {
  const others = existsSync(base) ? readdirSync(base).sort() : [];
  return [name, ...others.filter((other) => other.startsWith(`${name}.`))]
    .map((each) => join(base, each))
    .filter((path) => isPrivateDirectory(path, uid));
}

/**
 * Makes `path` as root for another user, in a directory of its own that only root can write to. The
 * user makes it, for whom that directory is open this moment: not every root has the right to give
 * files away, the one of the systemd unit has not.
 * @throws Failure with exit code 2
 */
export function makePrivateDirectoryFor(user: UserAccount, path: string): void {
  if (isPrivateDirectory(path, user.uid)) return;
  const outer = dirname(path);
  try {
    // Of one of the user's group, who was quicker while the outer one was open.
    rmSync(path, { recursive: true, force: true });
    mkdirSync(outer, { recursive: true });
    asUser({ ...user, uid: 0 }, () => chownSync(outer, 0, user.gid));
    chmodSync(outer, 0o770);
    asUser(user, () => mkdirSync(path, { mode: 0o700 }));
    chmodSync(outer, 0o711);
  } catch (error) {
    throw new Failure(2, `cannot make ${path} for ${user.name}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
