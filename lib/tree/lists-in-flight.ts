/**
 * LISTs under way that bring more than somebody waits for, and what this mount changes meanwhile: of
 * that their answer says nothing that may be remembered.
 */
import { isStoreError } from '../errors.js';
import { isWithin, parentOf } from '../path.js';
import type { Path } from '../path.js';

/** One of them. */
export class Walk {
  readonly #changed = new Set<Path>();
  readonly #forgotten: Path[] = [];

  /** Whether `path` itself was changed, or an entry of it. */
  hasChanged(path: Path): boolean {
    return this.#changed.has(path);
  }

  /** Whether all that is known of `path` is void. */
  hasForgotten(path: Path): boolean {
    return this.#forgotten.some((gone) => isWithin(path, gone));
  }

  noteChange(path: Path): void {
    this.#changed.add(parentOf(path)).add(path);
  }

  forget(path: Path): void {
    this.#forgotten.push(path);
  }
}

export class Underway {
  readonly #walks = new Set<Walk>();

  noteChange(path: Path): void {
    for (const walk of this.#walks) walk.noteChange(path);
  }

  forget(path: Path): void {
    for (const walk of this.#walks) walk.forget(path);
  }

  /**
   * Does `work` and tells `walk` of every change till its end.
   * @returns what `work` brings; undefined for who may look at names but not list them
   */
  async during<T>(walk: Walk, work: () => Promise<T>): Promise<T | undefined> {
    this.#walks.add(walk);
    try {
      return await work();
    } catch (error) {
      if (!isStoreError(error, 'denied')) throw error;
      return undefined;
    } finally {
      this.#walks.delete(walk);
    }
  }
}
