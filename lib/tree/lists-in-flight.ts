/**
 * LISTs that bring more than was asked for: pages that answer for the children of a directory which are
 * asked for next, be it lookups (lookup-by-page.ts) or listings (subtree-walks.ts).
 *
 * They are sent where access is sequential, and one in flight is shared by all whose child lies behind
 * its start. What this mount changes meanwhile is logged for each: of that the page may be remembered
 * for nothing.
 */
import { joined } from '../concurrency/earlier-answer.js';
import { isStoreError } from '../errors.js';
import { isWithin, parentOf, sortsAfter } from '../path.js';
import type { Path } from '../path.js';

/** What this mount changed while a page was in flight, or since it is remembered. */
export class MutationLog {
  readonly #changed = new Set<Path>();
  readonly #forgotten: Path[] = [];

  /** Whether the page is void for `path`: it, an entry of it, or all that is known of it changed. */
  has(path: Path): boolean {
    return this.#changed.has(path) || this.#forgotten.some((gone) => isWithin(path, gone));
  }

  noteChange(path: Path): void {
    this.#changed.add(parentOf(path)).add(path);
  }

  /** What is known of `path` and below is void. */
  forget(path: Path): void {
    this.#forgotten.push(path);
    this.#changed.add(parentOf(path));
  }
}

interface ListInFlight<T> {
  readonly from: Path;
  readonly changes: MutationLog;
  readonly answer: Promise<T | undefined>;
}

export class ListsInFlight<T> {
  /** the last of each directory */
  readonly #latest = new Map<Path, ListInFlight<T>>();
  readonly #logs = new Set<MutationLog>();

  noteChange(path: Path): void {
    for (const log of this.#logs) log.noteChange(path);
  }

  forget(path: Path): void {
    for (const log of this.#logs) log.forget(path);
  }

  /** Whether one of this directory is in flight. */
  has(directory: Path): boolean {
    return this.#latest.has(directory);
  }

  /**
   * The answer of a LIST in flight that covers `child`, or where there is none or it fails, that of a later
   * one, or what `otherwise` gives.
   */
  async join(
    directory: Path,
    child: Path,
    otherwise: () => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const find = (): Promise<T | undefined> | undefined => this.covering(directory, child);
    return await joined(find(), () => find() ?? otherwise());
  }

  /** The answer of a LIST in flight that began at `child` or before it, and after its last change. */
  covering(directory: Path, child: Path): Promise<T | undefined> | undefined {
    const list = this.#latest.get(directory);
    if (list === undefined || sortsAfter(list.from, child)) return undefined;
    return list.changes.has(child) ? undefined : list.answer;
  }

  /**
   * Sends one that begins at `from`, to be shared until its end.
   * @param send is told of every change till then
   * @returns undefined where the credentials allow HeadObject but not ListBucket
   */
  async fetch(
    directory: Path,
    from: Path,
    send: (changes: MutationLog) => Promise<T>,
  ): Promise<T | undefined> {
    const changes = new MutationLog();
    this.#logs.add(changes);
    const answer = unlessDenied(send(changes)).finally(() => {
      this.#logs.delete(changes);
      if (this.#latest.get(directory)?.changes === changes) this.#latest.delete(directory);
    });
    this.#latest.set(directory, { from, changes, answer });
    return await answer;
  }
}

async function unlessDenied<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isStoreError(error, 'denied')) return undefined;
    throw error;
  }
}
