/**
 * Which questions about what is in a directory come one after another, so that one answer to many of
 * them is cheaper than further questions. No I/O.
 */
import { LRUCache } from 'lru-cache';
import type { Path } from '../path.js';

/** Directories watched. */
const maxDirectories = 1000;
/** How long a directory whose common answer did not help is asked about child by child. */
export const uselessMs = 60_000;

interface Trace {
  /** the last child that was asked for */
  readonly child: Path;
  readonly atMs: number;
  readonly uselessUntilMs: number;
}

export class QuestionTrace {
  readonly #directories = new LRUCache<Path, Trace>({ max: maxDirectories });
  readonly #memoryMs: number;

  /** @param memoryMs questions further apart than this do not belong together */
  constructor(memoryMs: number) {
    this.#memoryMs = memoryMs;
  }

  /**
   * S3 is to be asked for `child` of `directory`.
   * @returns whether another child was asked for just before, and a common answer is of use
   */
  note(directory: Path, child: Path, nowMs: number): boolean {
    const last = this.#directories.get(directory);
    const { uselessUntilMs = 0 } = last ?? {};
    this.#directories.set(directory, { child, atMs: nowMs, uselessUntilMs });
    if (last === undefined || last.child === child) return false;
    return nowMs - last.atMs < this.#memoryMs && nowMs >= uselessUntilMs;
  }

  /** The common answer did not bring `child`, or not all that it should. */
  noteUseless(directory: Path, child: Path, nowMs: number): void {
    const uselessUntilMs = nowMs + uselessMs;
    this.#directories.set(directory, { child, atMs: nowMs, uselessUntilMs });
  }
}
