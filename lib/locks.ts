/**
 * FIFO locks by name. Holders of different names run side by side; a caller of several names gets
 * them together, in one order for everybody, so that two renames in opposite directions cannot
 * wait for each other.
 */
export class Locks {
  /** the tail of each name's queue: settles when its last holder is done */
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `work` while holding all `names`. */
  async hold<T>(names: readonly string[], work: () => Promise<T>): Promise<T> {
    const wanted = [...new Set(names)].sort();
    let release: () => void = () => undefined;
    const done = new Promise<void>((resolve) => (release = resolve));
    const before = wanted.flatMap((name) => this.#tails.get(name) ?? []);
    // All places are taken in this one step, so no two callers can interleave theirs.
    const tail = Promise.all([...before, done]).then(() => undefined);
    for (const name of wanted) this.#tails.set(name, tail);
    await Promise.all(before);
    try {
      return await work();
    } finally {
      release();
      for (const name of wanted) {
        if (this.#tails.get(name) === tail) this.#tails.delete(name);
      }
    }
  }
}
