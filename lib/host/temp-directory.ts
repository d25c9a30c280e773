/**
 * The directory for the temporary files of one mount, below a place that all users may share.
 *
 * BASE/s3jail-UID is this user's alone (0700, never a symbolic link), or BASE/s3jail-UID.XXXXXX where
 * somebody else has taken that name; in it every mount has a directory named after the mount point and
 * its process. What a process that was killed left behind goes at the next start of a mount on the same
 * place; a mount that gives up root also takes over what one of root's left. What mounts of other users
 * left is theirs. While it is empty, cleaners of temporary files (tmpfiles.d(5)) take it away; then it is
 * made anew.
 */
import {
  appendFileSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { systemErrorCode } from '../errors.js';
import { Failure, messageOf } from './failure.js';
import { mountName } from './mount-name.js';
import type { UserAccount } from './accounts.js';
import { makePrivateDirectory, ownDirectoryIn, privateDirectoriesIn } from './private-directory.js';
import { isAlive, ownIdentity } from './process-identity.js';
import { asUser } from './run-as.js';
import type { TempPlace } from '../temp-space.js';

export interface TempDirectory {
  /** where it is now */
  readonly path: string;
  /** file beside it that outlives the process, for the mount point's journal of uploads */
  readonly journalPath: string;
  /** directory beside it that outlives the process too, for uploads that wait; made by its `renew` */
  readonly held: TempPlace;
  /** Makes it again where somebody has taken it away. @throws Error (system error), Failure */
  renew(): void;
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
    return made;
  } catch (error) {
    const cure = `${user.name} (--run-as) has to be able to write in ${base} (--temp-dir)`;
    throw new Failure(2, `${messageOf(error)}; ${cure}`, { cause: error });
  }
}

/**
 * What a process of root's left on this place: files go, those of uploads that waited too, which the
 * journal of uploads, which goes on, has the mount abort.
 */
function takeOver(base: string, mountPoint: string, journal: (uploads: string) => void): void {
  for (const path of privateDirectoriesIn(base, nameOf(0), 0)) {
    const directory = openIfRoots(path);
    if (directory === undefined) continue;
    try {
      // The user may own BASE, and put a link there now; but not into what is open.
      const roots = `/proc/self/fd/${directory}`;
      removeLeftovers(roots, mountPoint);
      rmSync(join(roots, heldNameOf(mountPoint)), { recursive: true, force: true });
      const uploads = join(roots, `${stemOf(mountPoint)}.uploads`);
      if (!existsSync(uploads)) continue;
      journal(readFileSync(uploads, 'utf8'));
      rmSync(uploads);
    } finally {
      closeSync(directory);
    }
  }
}

function openIfRoots(path: string): number | undefined {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  let directory: number;
  try {
    directory = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  } catch (error) {
    // Taken away since it was looked at, or something else there now.
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(systemErrorCode(error) ?? '')) return undefined;
    throw error;
  }
  const { uid, mode } = fstatSync(directory);
  if (uid === 0 && (mode & 0o077) === 0) return directory;
  closeSync(directory);
  return undefined;
}

function makeOwn(base: string, mountPoint: string): TempDirectory {
  try {
    if (!existsSync(base)) mkdirSync(base, { mode: 0o700 });
    const own = process.geteuid?.() ?? 0;
    for (const each of privateDirectoriesIn(base, nameOf(own), own)) {
      removeLeftovers(each, mountPoint);
    }
    return new OwnDirectory(base, mountPoint);
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

class OwnDirectory implements TempDirectory {
  readonly #base: string;
  readonly #owner = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  readonly #stem: string;
  readonly #name: string;
  readonly #heldName: string;
  #outer: string;

  constructor(base: string, mountPoint: string) {
    const { pid, startTime } = ownIdentity();
    this.#base = base;
    this.#stem = stemOf(mountPoint);
    this.#name = `${this.#stem}.${pid}.${startTime}`;
    this.#heldName = heldNameOf(mountPoint);
    this.#outer = ownDirectoryIn(base, nameOf(this.#owner.uid));
    makePrivateDirectory(this.path);
  }

  get path(): string {
    return join(this.#outer, this.#name);
  }

  get journalPath(): string {
    return join(this.#outer, `${this.#stem}.uploads`);
  }

  get held(): TempPlace {
    const outer = (): string => this.#outer;
    const name = this.#heldName;
    return {
      get path() {
        return join(outer(), name);
      },
      renew: () => {
        this.#outer = ownDirectoryIn(this.#base, nameOf(this.#owner.uid));
        makePrivateDirectory(join(outer(), name));
      },
    };
  }

  renew(): void {
    this.#outer = ownDirectoryIn(this.#base, nameOf(this.#owner.uid));
    makePrivateDirectory(this.path);
  }

  /** As its user, also where this process is root yet. */
  remove(): void {
    asUser(this.#owner, () => rmSync(this.path, { recursive: true, force: true }));
  }
}

const heldEnding = '.held';

function heldNameOf(mountPoint: string): string {
  return `${stemOf(mountPoint)}${heldEnding}`;
}

function nameOf(uid: number): string {
  return `s3jail-${uid}`;
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
