/**
 * Whether names of a directory are asked for one after another, so that a page of its listing is
 * cheaper than further questions. No I/O.
 */
import { LRUCache } from 'lru-cache';
import type { Path } from './path.js';

/** Questions of one directory before its listing is tried. */
const enough = 2;
/** Directories watched. */
const maxDirectories = 1000;
/** How long a directory whose page did not help is asked for name by name. */
const uselessMs = 60_000;

interface Asked {
  readonly count: number;
  readonly atMs: number;
  readonly uselessUntilMs: number;
}

export class LookupTrace {
  readonly #directories = new LRUCache<Path, Asked>({ max: maxDirectories });
  readonly #memoryMs: number;

  /** @param memoryMs questions further apart than this do not belong together */
  constructor(memoryMs: number) {
    this.#memoryMs = memoryMs;
  }

  /** S3 is to be asked for a name in `directory`. @returns whether to ask for a page of it instead */
  note(directory: Path, nowMs: number): boolean {
    const {
      count = 0,
      atMs = -Infinity,
      uselessUntilMs = 0,
    } = this.#directories.get(directory) ?? {};
    const before = nowMs - atMs < this.#memoryMs ? count : 0;
    this.#directories.set(directory, { count: before + 1, atMs: nowMs, uselessUntilMs });
    return before >= enough && nowMs >= uselessUntilMs;
  }

  /** A page did not bring the name, or not all of `directory`. */
  noteUseless(directory: Path, nowMs: number): void {
    this.#directories.set(directory, { count: 0, atMs: nowMs, uselessUntilMs: nowMs + uselessMs });
  }
}
