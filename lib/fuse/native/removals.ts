/**
 * Removals of open files, put off until it is known what they are.
 *
 * libfuse 2 hides an open file both when it is removed and when another file is renamed over it, and
 * only in the second case a rename follows, after the hiding was answered. A removal at once would
 * make every rename over an open file a delete and then a rename: for a moment nobody would find the
 * name, and a rename that fails would have destroyed what it was to replace. So a removal waits
 * until libfuse's thread has had time to send that rename, which takes its place.
 */
import { isWithin, type Path } from '../../path.js';

/** libfuse sends the rename within microseconds; this leaves room for a machine under load. */
const graceMs = 20;

interface Removal {
  /** settles when the path is gone, replaced, or could not be removed; never rejects */
  readonly done: Promise<void>;
  /** a rename takes over; false where the removal has begun */
  replace(): boolean;
}

export class Removals {
  readonly #remove: (path: Path) => Promise<void>;
  readonly #pending = new Map<Path, Removal>();

  /** @param remove removes the path and reports its own failures; must not reject */
  constructor(remove: (path: Path) => Promise<void>) {
    this.#remove = remove;
  }

  /** Removes `path`, unless a rename over it comes first. */
  schedule(path: Path): void {
    let isReplaced = false;
    let hasBegun = false;
    let settle: () => void = () => undefined;
    const done = new Promise<void>((resolve) => (settle = resolve));
    const finish = (): void => {
      this.#pending.delete(path);
      settle();
    };
    const begin = (): void => {
      if (isReplaced) return;
      hasBegun = true;
      void this.#remove(path).finally(finish);
    };
    // The hop past the poll phase lets a rename through that arrived while the loop was busy.
    setTimeout(() => setImmediate(begin), graceMs);
    this.#pending.set(path, {
      done,
      replace: () => {
        if (hasBegun) return false;
        isReplaced = true;
        finish();
        return true;
      },
    });
  }

  /** A rename over `path` is here: it replaces the removal, or waits for one that has begun. */
  async replace(path: Path): Promise<void> {
    const removal = this.#pending.get(path);
    if (removal !== undefined && !removal.replace()) await removal.done;
  }

  /** Waits for removals of `path` or of anything below it. */
  async settled(path: Path): Promise<void> {
    const waits = [...this.#pending].filter(([removed]) => isWithin(removed, path));
    await Promise.all(waits.map(([, { done }]) => done));
  }
}
