/**
 * The local disk that all staged files of a mount share: one directory, one limit.
 *
 * Temp files are unlinked the moment they are opened, so that nothing is left behind however the
 * process ends, and nobody can open them by name. A writer who finds the space full waits while parts
 * are on their way to S3 or others hold some of it, and gets ENOSPC when nothing is given back in time.
 *
 * Files of which each waits for the others' bytes would all fail. So what one file needs to come to its
 * end is kept free for the one that has come farthest: when it is stored, the next one takes its place.
 *
 * Homes share it as shares.ts says; who has more waits for its own bytes to leave, and not longer than a
 * writer waits at all. The file of a home that has come farthest gets on all the same, since only what
 * it still lacks lets any of them leave.
 */
import { randomUUID } from 'node:crypto';
import { promises as fs } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock, type Clock } from '../clock.js';
import { FsError, systemErrorCode } from '../errors.js';
import { Shares, type Holder } from './shares.js';

/** A directory that can be made again. */
export interface TempPlace {
  readonly path: string;
  renew(): void;
}

/** On whose behalf space is taken. */
export interface SpaceOwner {
  /** whose share it is */
  readonly holder?: Holder;
}

/** Somebody who can give local bytes back. */
export interface SpaceHolder {
  /**
   * Frees what it can at once.
   * @param how `spare`: but for what is likely to be needed again
   * @param bytes that somebody waits for
   */
  reclaim(how: 'spare' | 'all', bytes: number): void;
  /** Whether more can be freed once uploads under way are done. */
  readonly expectsRelease: boolean;
}

/**
 * Left free on the temp file system for everybody else; below it the disk counts as full although
 * `--temp-limit` is not reached.
 */
export const keepFree = 64 * 1024 * 1024;
/** A segment of a spool, and parts of the usual size that are on their way and behind it. */
const usuallyEnough = 32 * 1024 * 1024;
/** The file system's free space is looked at again after this many bytes. */
const checkEvery = 32 * 1024 * 1024;

export class TempSpace {
  readonly #shares: Shares;
  readonly #holders = new Set<SpaceHolder>();
  readonly #waitMs: number;
  readonly #clock: Clock;
  readonly #place: TempPlace;
  readonly #holds = new Map<SpaceOwner | undefined, number>();
  /** bytes with which a file that is sent in parts gets on, whatever its size */
  readonly #enough: number;
  #givenBackMs = -Infinity;
  #peak = 0;
  #diskFree = 0;
  #sinceCheck = checkEvery;
  #wake: (() => void)[] = [];

  /**
   * @param place existing directory, only for this mount
   * @param limit bytes
   * @param waitMs how long a writer waits before ENOSPC, since bytes were given back last
   */
  constructor(place: string | TempPlace, limit: number, waitMs: number, clock = systemClock) {
    this.#place = typeof place === 'string' ? { path: place, renew: () => undefined } : place;
    this.#shares = new Shares(limit);
    this.#waitMs = waitMs;
    this.#enough = Math.min(usuallyEnough, limit / 2);
    this.#clock = clock;
  }

  get directory(): string {
    return this.#place.path;
  }

  get limit(): number {
    return this.#shares.capacity;
  }

  get used(): number {
    return this.#shares.used;
  }

  get peak(): number {
    return this.#peak;
  }

  join(holder: SpaceHolder): void {
    this.#holders.add(holder);
  }

  leave(holder: SpaceHolder): void {
    this.#holders.delete(holder);
  }

  /** A new, already unlinked temp file, mode 0600. */
  async open(): Promise<FileHandle> {
    return await this.#inPlace(async () => {
      const path = join(this.directory, `staged-${randomUUID()}`);
      const file = await fs.open(path, 'wx+', 0o600);
      await fs.unlink(path);
      return file;
    });
  }

  /**
   * Claims `bytes`, waiting for others to be released where that may help.
   * @param owner on whose behalf, told again by `release`
   * @throws FsError ENOSPC
   */
  async reserve(bytes: number, owner?: SpaceOwner): Promise<void> {
    if (bytes <= 0) return;
    const beganMs = this.#clock.nowMs();
    // Last what is true at the moment of taking: others may have taken while the disk was looked at.
    while (!((await this.#fitsAfter('spare', bytes)) && this.#isAllowed(bytes, owner))) {
      const left = Math.max(beganMs, this.#givenBackMs) + this.#waitMs - this.#clock.nowMs();
      const isShared = this.used > (this.#holds.get(owner) ?? 0);
      const hope = isShared || [...this.#holders].some((holder) => holder.expectsRelease);
      if (!hope || left <= 0) {
        if (await this.#fitsAfter('all', bytes)) break;
        throw new FsError(
          'ENOSPC',
          `temp directory ${this.directory} is full: ${this.used} bytes staged, limit ${this.limit}, ${this.#diskFree} bytes free on its file system`,
        );
      }
      await this.#released(Math.min(left, 1000));
    }
    this.#holds.set(owner, (this.#holds.get(owner) ?? 0) + bytes);
    this.#shares.take(bytes, owner?.holder);
    this.#sinceCheck += bytes;
    this.#diskFree -= bytes;
    this.#peak = Math.max(this.#peak, this.used);
  }

  release(bytes: number, owner?: SpaceOwner): void {
    if (bytes <= 0) return;
    const left = (this.#holds.get(owner) ?? 0) - bytes;
    if (left > 0) this.#holds.set(owner, left);
    else this.#holds.delete(owner);
    this.#givenBackMs = this.#clock.nowMs();
    this.#shares.give(bytes, owner?.holder);
    this.#diskFree += bytes;
    this.nudge();
  }

  /**
   * Counts bytes that lie on this disk for as long as nobody writes them, such as those of an earlier
   * process. Never waits, and stands in nobody's way but by the room it takes.
   */
  keep(bytes: number, holder: Holder): void {
    this.#shares.take(bytes, holder);
    this.#peak = Math.max(this.#peak, this.used);
  }

  /** They are gone. */
  letGo(bytes: number, holder: Holder): void {
    if (bytes <= 0) return;
    this.#givenBackMs = this.#clock.nowMs();
    this.#shares.give(bytes, holder);
    this.nudge();
  }

  /** Lets waiting writers look again: bytes were released, or nothing is left to wait for. */
  nudge(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const wake of waiting) wake();
  }

  /** Whether the file that has come farthest then can still come to its end, and the share is kept. */
  #isAllowed(bytes: number, owner: SpaceOwner | undefined): boolean {
    const own = (this.#holds.get(owner) ?? 0) + bytes;
    const farthest = Math.max(own, ...this.#holds.values());
    const kept = Math.max(0, this.#enough - farthest);
    if (bytes + kept > this.#shares.left) return false;
    if (this.#shares.isFair(bytes, owner?.holder, kept)) return true;
    return own <= this.#enough && this.#leads(owner);
  }

  /** Whether it is the one of its holder's files that has come farthest, of several the first. */
  #leads(owner: SpaceOwner | undefined): boolean {
    const fellows = [...this.#holds].filter(([other]) => other?.holder === owner?.holder);
    const farthest = Math.max(...fellows.map(([, held]) => held));
    return fellows.find(([, held]) => held === farthest)?.[0] === owner;
  }

  async #fitsAfter(how: 'spare' | 'all', bytes: number): Promise<boolean> {
    if (await this.#fits(bytes)) return true;
    for (const holder of this.#holders) holder.reclaim(how, bytes);
    return await this.#fits(bytes);
  }

  async #fits(bytes: number): Promise<boolean> {
    if (bytes > this.#shares.left) return false;
    if (this.#sinceCheck >= checkEvery || this.#diskFree < keepFree + bytes) {
      const stats = await this.#inPlace(() => fs.statfs(this.directory));
      this.#diskFree = stats.bavail * stats.bsize;
      this.#sinceCheck = 0;
    }
    return this.#diskFree >= keepFree + bytes;
  }

  /** Nothing lies in the directory, so that whoever cleans up after others may have removed it. */
  async #inPlace<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error;
      this.#place.renew();
      return await work();
    }
  }

  async #released(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
      this.#wake.push(resolve);
    });
    clearTimeout(timer);
  }
}
