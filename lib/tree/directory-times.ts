/**
 * The dates of directories. S3 has none, but that of a marker where there is one: a directory keeps
 * what was first shown of it, and moves on when an entry comes, goes or is replaced, by this mount or,
 * as fresh answers show, by others. So readers of a Maildir and other watchers see that there is news.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../clock.js';
import type { Path } from '../path.js';

const maxDirectories = 20_000;

export class DirectoryTimes {
  readonly #shown = new LRUCache<Path, number>({ max: maxDirectories });
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param toldMs what S3 says, or stands in for that, ms since 1970 */
  show(path: Path, toldMs: number): number {
    const shown = this.#shown.get(path) ?? toldMs;
    this.#shown.set(path, shown);
    return shown;
  }

  /** An entry of it changed. */
  move(path: Path): void {
    const beforeMs = this.#shown.get(path) ?? 0;
    const nowMs = Math.floor(this.#clock.dateMs());
    // Twice in a millisecond is twice.
    this.#shown.set(path, nowMs === beforeMs ? nowMs + 1 : nowMs);
  }
}
