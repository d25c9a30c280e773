/**
 * A directory above a mount point that nobody but root can pass: what is mounted below it is reached by
 * those alone whom root put there, as sshd does with ChrootDirectory. Where there is one, the kernel may
 * answer names and attributes from its memory without asking each time who it is that calls.
 *
 * Looked at before the mount is used and, while it is, every few seconds; an idle mount looks at nothing.
 * Other mount namespaces are not looked at: whoever makes one is root.
 */
import { readFile, lstat } from 'node:fs/promises';
import { systemClock, type Clock } from '../clock.js';
import { systemErrorCode } from '../errors.js';
import type { Log } from '../log.js';
import { componentsOf } from './chroot-path.js';
import { parseMountInfo } from './mount-table.js';

/** So long an operator who opens the directory may wait for it to count. */
const lookAgainMs = 5000;

/** Whoever is not root needs one of these to walk through a directory (path_resolution(7)). */
const passableByOthers = 0o011;

/**
 * The uppermost directory above `path` that lets only root through. One that a group may pass counts as
 * open; with an access control list, the group's bits are what any entry of it can give at most (acl(5)).
 * @param path absolute, without symbolic links
 */
export async function findClosedAncestor(path: string): Promise<string | undefined> {
  for (const ancestor of componentsOf(path).slice(0, -1)) {
    try {
      const { uid, mode } = await lstat(ancestor);
      if (uid === 0 && (mode & passableByOthers) === 0) return ancestor;
    } catch (error) {
      // Moved away, or not to be seen by this process: nothing is known of it.
      if (systemErrorCode(error) === undefined) throw error;
      return undefined;
    }
  }
  return undefined;
}

export class ClosedAncestor {
  readonly #mountPoint: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #onOpened: (() => void)[] = [];
  #path: string | undefined;
  #lookedAtMs = -Infinity;
  #looking: Promise<void> | undefined;

  /** @param mountPoint absolute, without symbolic links */
  constructor(mountPoint: string, log: Log, clock: Clock = systemClock) {
    this.#mountPoint = mountPoint;
    this.#log = log;
    this.#clock = clock;
  }

  /** The directory; undefined where there is none, as when it was last looked for. */
  get path(): string | undefined {
    return this.#path;
  }

  /** Whether there is one, from a look that is seconds old at most while this is asked. */
  get isThere(): boolean {
    if (this.#clock.nowMs() - this.#lookedAtMs > lookAgainMs) void this.look();
    return this.#path !== undefined;
  }

  /** Has `listener` called when the directory was found open that was closed before. */
  onOpened(listener: () => void): void {
    this.#onOpened.push(listener);
  }

  /** Looks now. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
    return this.#looking;
  }

  async #look(): Promise<void> {
    this.#lookedAtMs = this.#clock.nowMs();
    const before = this.#path;
    try {
      this.#path = await this.#find();
    } catch (error) {
      this.#path = undefined;
      this.#log.warn({ err: error }, 'the directories above the mount point cannot be looked at');
    }
    if (before === undefined || this.#path !== undefined) return;
    this.#log.warn({}, `${before} lets others than root through now; callers are asked for again`);
    for (const listener of this.#onOpened) listener();
  }

  /** A bind mount shows the file system at another place too, which has to be closed as well. */
  async #find(): Promise<string | undefined> {
    const own = await findClosedAncestor(this.#mountPoint);
    if (own === undefined) return undefined;
    const table = parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
    const device = table.findLast((entry) => entry.mountPoint === this.#mountPoint)?.device;
    const others = table.filter((entry) => device !== undefined && entry.device === device);
    for (const { mountPoint } of others) {
      if ((await findClosedAncestor(mountPoint)) === undefined) return undefined;
    }
    return own;
  }
}
