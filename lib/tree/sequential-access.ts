/**
 * Detects sequential access within a directory: its children are looked up, or listed, one after
 * another, so that one LIST page replaces many requests. No I/O.
 */
import { LRUCache } from 'lru-cache';
import type { Path } from '../path.js';

/** Directories watched. */
const maxDirectories = 1000;
/** How long a directory whose page did not help is asked about child by child. */
export const suppressedMs = 60_000;

interface Access {
  /** the last child that was asked for */
  readonly child: Path;
  readonly atMs: number;
  readonly suppressedUntilMs: number;
}

export class SequentialAccess {
  readonly #directories = new LRUCache<Path, Access>({ max: maxDirectories });
  readonly #memoryMs: number;

  /** @param memoryMs requests further apart than this do not belong together */
  constructor(memoryMs: number) {
    this.#memoryMs = memoryMs;
  }

  /**
   * S3 is to be asked for `child` of `directory`.
   * @returns `first` where no child was asked for lately, `next` where another one was; undefined where
   *   it was this one, or pages are suppressed
   */
  note(directory: Path, child: Path, nowMs: number): 'first' | 'next' | undefined {
    const last = this.#directories.get(directory);
    const { suppressedUntilMs = 0 } = last ?? {};
    this.#directories.set(directory, { child, atMs: nowMs, suppressedUntilMs });
    if (nowMs < suppressedUntilMs) return undefined;
    if (last === undefined || nowMs - last.atMs >= this.#memoryMs) return 'first';
    return last.child === child ? undefined : 'next';
  }

  /** The page did not bring `child`, or not all that it should: none is asked for a while. */
  suppress(directory: Path, child: Path, nowMs: number): void {
    const suppressedUntilMs = nowMs + suppressedMs;
    this.#directories.set(directory, { child, atMs: nowMs, suppressedUntilMs });
  }
}
