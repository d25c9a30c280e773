/**
 * The directory for the temporary files of one mount, below a place that all users may share.
 *
 * BASE/s3jail-UID is this user's alone (0700, never a symbolic link), or BASE/s3jail-UID.XXXXXX where
 * somebody else has taken that name; in it every mount has a directory named after the mount point and
 * its process. What a process that was killed left behind goes at the next start of a mount on the same
 * place; a mount that gives up root also takes over what one of root's left. What mounts of other users
 * left is theirs. While it is empty, cleaners of temporary files (tmpfiles.d(5)) take it away; then it is
 * made anew.
 *
 * Containers may share it, each with the same mount point: names say of which PID namespace they are. A
 * container that is started again has another one. What those before it left, uploads that wait above all,
 * is told from what others use by a lock (life-lock.ts), and taken over by the next mount of the same
 * SOURCE on the same mount point.
 */
import {
  appendFileSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { systemErrorCode } from '../errors.js';
import { Failure, messageOf } from './failure.js';
import { lockOfGone, takeLifeLock, type LifeLock } from './life-lock.js';
import { mountName } from './mount-name.js';
import type { UserAccount } from './accounts.js';
import { makePrivateDirectory, ownDirectoryIn, privateDirectoriesIn } from './private-directory.js';
import { isAlive, ownIdentity, ownPidNamespace, type ProcessIdentity } from './process-identity.js';
import { asUser } from './run-as.js';
import type { TempPlace } from '../limits/temp-space.js';

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

/** Whose the files are. */
export interface TempOwner {
  readonly mountPoint: string;
  /** endpoint, bucket and prefix: what waits to be uploaded means nothing elsewhere */
  readonly scope: string;
}

/**
 * @param base `--temp-dir`; made if only its last component is missing
 * @param user who this process, now root, is going to be
 * @throws Failure with exit code 2
 */
export function makeTempDirectory(
  base: string,
  owner: TempOwner,
  user?: UserAccount,
): TempDirectory {
  if (user === undefined) return makeOwn(base, owner);
  try {
    const made = asUser(user, () => makeOwn(base, owner));
    takeOver(base, owner, (uploads) =>
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
function takeOver(base: string, owner: TempOwner, journal: (uploads: string) => void): void {
  for (const path of privateDirectoriesIn(base, nameOf(0), 0)) {
    const directory = openIfRoots(path);
    if (directory === undefined) continue;
    try {
      // The user may own BASE, and put a link there now; but not into what is open.
      const roots = `/proc/self/fd/${directory}`;
      const take = (stem: string): void => {
        rmSync(join(roots, `${stem}${heldEnding}`), { recursive: true, force: true });
        moveJournal(join(roots, `${stem}${journalEnding}`), journal);
      };
      const own = stemOf(owner.mountPoint);
      removeLeftovers(roots, own);
      take(own);
      rmSync(join(roots, `${own}${lockEnding}`), { force: true });
      eachGone(roots, owner, take);
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

function makeOwn(base: string, owner: TempOwner): TempDirectory {
  try {
    if (!existsSync(base)) mkdirSync(base, { mode: 0o700 });
    const made = new OwnDirectory(base, owner);
    const uid = process.geteuid?.() ?? 0;
    for (const each of privateDirectoriesIn(base, nameOf(uid), uid)) {
      removeLeftovers(each, stemOf(owner.mountPoint));
      eachGone(each, owner, (stem) => made.adopt(join(each, stem)));
    }
    return made;
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
  readonly #owner: TempOwner;
  readonly #user = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  readonly #stem: string;
  readonly #name: string;
  #outer: string;
  #lock: LifeLock | undefined;

  constructor(base: string, owner: TempOwner) {
    const { pid, startTime } = ownIdentity();
    this.#base = base;
    this.#owner = owner;
    this.#stem = stemOf(owner.mountPoint);
    this.#name = `${this.#stem}.${pid}.${startTime}`;
    this.#outer = ownDirectoryIn(base, nameOf(this.#user.uid));
    this.#takeLock();
    makePrivateDirectory(this.path);
  }

  get path(): string {
    return join(this.#outer, this.#name);
  }

  get journalPath(): string {
    return this.#at(journalEnding);
  }

  get held(): TempPlace {
    const path = (): string => this.#at(heldEnding);
    return {
      get path() {
        return path();
      },
      renew: () => {
        this.#renewOuter();
        makePrivateDirectory(path());
      },
    };
  }

  renew(): void {
    this.#renewOuter();
    makePrivateDirectory(this.path);
  }

  /**
   * Takes what a process that is gone left; what waits is in its directory before the journal speaks of it.
   * @param left path without ending
   */
  adopt(left: string): void {
    moveHeld(`${left}${heldEnding}`, this.#at(heldEnding));
    moveJournal(`${left}${journalEnding}`, (uploads) =>
      appendFileSync(this.journalPath, uploads, { mode: 0o600 }),
    );
  }

  /** As its user, also where this process is root yet. */
  remove(): void {
    asUser(this.#user, () => {
      rmSync(this.path, { recursive: true, force: true });
      const held = this.#at(heldEnding);
      const isHeld = namesIn(held).length > 0;
      if (!isHeld) rmSync(held, { recursive: true, force: true });
      // What waits is found by the lock.
      const waits = isHeld || existsSync(this.journalPath);
      if (!waits) rmSync(this.#at(lockEnding), { force: true });
      this.#lock?.close();
    });
  }

  #at(ending: string): string {
    return join(this.#outer, `${this.#stem}${ending}`);
  }

  #renewOuter(): void {
    this.#outer = ownDirectoryIn(this.#base, nameOf(this.#user.uid));
    if (this.#lock !== undefined && !existsSync(this.#at(lockEnding))) {
      this.#lock.close();
      this.#takeLock();
    }
  }

  /** @throws Failure with exit code 2 */
  #takeLock(): void {
    const lock = takeLifeLock(this.#at(lockEnding));
    const { mountPoint, scope } = this.#owner;
    if (lock === 'taken') {
      throw new Failure(
        2,
        `another mount on ${mountPoint} uses ${this.#outer}; give one of them another --temp-dir`,
      );
    }
    this.#lock = lock;
    if (lock === undefined) return;
    ftruncateSync(lock.file);
    writeSync(lock.file, scope);
  }
}

const heldEnding = '.held';
const journalEnding = '.uploads';
const lockEnding = '.lock';

function nameOf(uid: number): string {
  return `s3jail-${uid}`;
}

/** What all names of this mount point and PID namespace begin with. */
function stemOf(mountPoint: string): string {
  return `${mountName(mountPoint)}.${ownPidNamespace()}`;
}

function removeLeftovers(
  directory: string,
  stem: string,
  isGone = (process: ProcessIdentity): boolean => !isAlive(process),
): void {
  for (const name of readdirSync(directory)) {
    if (!name.startsWith(`${stem}.`)) continue;
    const match = /^(\d+)\.(\d+)$/.exec(name.slice(stem.length + 1));
    const [, pid, startTime] = match ?? [];
    if (pid === undefined || startTime === undefined) continue;
    if (!isGone({ pid: Number(pid), startTime })) continue;
    rmSync(join(directory, name), { recursive: true, force: true });
  }
}

/** Hands out the stems of other PID namespaces whose process is gone; nobody else has them meanwhile. */
function eachGone(directory: string, owner: TempOwner, take: (stem: string) => void): void {
  const own = stemOf(owner.mountPoint);
  const start = `${mountName(owner.mountPoint)}.`;
  for (const name of readdirSync(directory)) {
    const stem = name.slice(0, -lockEnding.length);
    const isStem = name === `${stem}${lockEnding}` && name.startsWith(start) && stem !== own;
    if (!isStem || !/^\d+$/.test(stem.slice(start.length))) continue;
    const lock = lockOfGone(join(directory, name));
    if (lock === undefined) continue;
    try {
      if (readFileSync(lock.file, 'utf8') !== owner.scope) continue;
      removeLeftovers(directory, stem, () => true);
      take(stem);
      rmSync(join(directory, name));
    } finally {
      lock.close();
    }
  }
}

/** Of a key that waits in both, ours stays. */
function moveHeld(from: string, to: string): void {
  const keyOf = (name: string): string => name.replace(/\.(json|publishing)$/, '');
  const known = new Set(namesIn(to).map(keyOf));
  // A record appears after its bytes.
  const names = namesIn(from).sort((one, other) => rank(one) - rank(other));
  if (names.length > 0) makePrivateDirectory(to);
  for (const name of names) {
    if (!known.has(keyOf(name))) renameSync(join(from, name), join(to, name));
  }
  rmSync(from, { recursive: true, force: true });
}

function rank(name: string): number {
  return /\.(json|publishing)$/.test(name) ? 1 : 0;
}

function moveJournal(from: string, journal: (uploads: string) => void): void {
  if (!existsSync(from)) return;
  journal(readFileSync(from, 'utf8'));
  rmSync(from);
}

function namesIn(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}
