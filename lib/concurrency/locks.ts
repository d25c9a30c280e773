/**
 * FIFO locks by name. Holders of different names run side by side; a caller of several names gets
 * them together, in one order for everybody, so that two renames in opposite directions cannot
 * wait for each other. A name can be held with all names below it, those of its path.
 */
import { unlessAborted } from './abort.js';

interface Wanted {
  readonly names: readonly string[];
  readonly trees: readonly string[];
}

export class Locks {
  /** the tail of each name's queue: settles when its last holder is done */
  readonly #tails = new Map<string, Promise<void>>();
  /** the same for the names that are held with all below them */
  readonly #trees = new Map<string, Promise<void>>();

  /** Whether nothing is held or waited for. */
  get isIdle(): boolean {
    return this.#tails.size === 0;
  }

  /** Whether nobody holds `name` or waits for it. */
  isFree(name: string): boolean {
    if (this.#tails.size === 0) return true;
    return this.#before({ names: [name], trees: [] }).length === 0;
  }

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
    return await this.#hold({ names, trees: [] }, work, signal);
  }

  /** The same for all `names` and everything below them. */
  async holdTrees<T>(
    names: readonly string[],
    work: () => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    return await this.#hold({ names, trees: names }, work, signal);
  }

  async #hold<T>(wanted: Wanted, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    let release: () => void = () => undefined;
    const done = new Promise<void>((resolve) => (release = resolve));
    const before = this.#before(wanted);
    // All places are taken in this one step, so no two callers can interleave theirs.
    const tail = Promise.all([...before, done]).then(() => undefined);
    for (const name of wanted.names) this.#tails.set(name, tail);
    for (const name of wanted.trees) this.#trees.set(name, tail);
    void tail.then(() => this.#forget(wanted, tail));
    try {
      if (before.length > 0) await unlessAborted(Promise.all(before), signal);
      return await work();
    } finally {
      release();
    }
  }

  /** What has to end first. */
  #before({ names, trees }: Wanted): Promise<void>[] {
    const before = names.flatMap((name) => this.#tails.get(name) ?? []);
    for (const [tree, tail] of this.#trees) {
      if (names.some((name) => isBelow(name, tree))) before.push(tail);
    }
    if (trees.length === 0) return before;
    for (const [name, tail] of this.#tails) {
      if (trees.some((tree) => isBelow(name, tree))) before.push(tail);
    }
    return before;
  }

  /** Not before the tail has settled: a queue that was left may still have holders in front. */
  #forget({ names, trees }: Wanted, tail: Promise<void>): void {
    for (const name of names) if (this.#tails.get(name) === tail) this.#tails.delete(name);
    for (const name of trees) if (this.#trees.get(name) === tail) this.#trees.delete(name);
  }
}

function isBelow(name: string, tree: string): boolean {
  return name.startsWith(`${tree}/`);
}
