/**
 * FIFO locks by name. Holders of different names run side by side; a caller of several names gets
 * them together, in one order for everybody, so that two renames in opposite directions cannot
 * wait for each other.
 */
import { unlessAborted } from './abort.js';

export class Locks {
  /** the tail of each name's queue: settles when its last holder is done */
  readonly #tails = new Map<string, Promise<void>>();

  /**
   * Runs `work` while holding all `names`.
   * @param signal gives up the place in the queue; it stops no work that has begun
   * @throws FsError EINTR when that signal aborts
   */
  async hold<T>(
    names: readonly string[],
    work: () => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const wanted = [...new Set(names)].sort();
    let release: () => void = () => undefined;
    const done = new Promise<void>((resolve) => (release = resolve));
    const before = wanted.flatMap((name) => this.#tails.get(name) ?? []);
    // All places are taken in this one step, so no two callers can interleave theirs.
    const tail = Promise.all([...before, done]).then(() => undefined);
    for (const name of wanted) this.#tails.set(name, tail);
    void tail.then(() => this.#forget(wanted, tail));
    try {
      if (before.length > 0) await unlessAborted(Promise.all(before), signal);
      return await work();
    } finally {
      release();
    }
  }

  /** Not before the tail has settled: a queue that was left may still have holders in front. */
  #forget(names: readonly string[], tail: Promise<void>): void {
    for (const name of names) {
      if (this.#tails.get(name) === tail) this.#tails.delete(name);
    }
  }
}
