/**
 * The homes that are in use, with what is open and what has moved: for `status`, and for who has to know
 * whose answers are still asked for. A home that nobody uses any more is forgotten, the longest unused
 * first; it costs nothing but its line until then.
 */
import type { HandleId } from '../operations.js';
import type { HomeOwner } from './user-database.js';

/** What `status` tells of a home. */
export interface HomeUse {
  readonly name: string;
  /** files and directories */
  readonly handles: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** to S3 */
  readonly requests: number;
}

export interface Use {
  readonly name: string;
  handles: number;
  bytesRead: number;
  bytesWritten: number;
  requests: number;
}

/** A home as somebody uses it, and as a file or directory in it was opened. */
export interface Opened {
  readonly use: Use;
  /** when it was opened: it is shown as its home's, also once that is nobody's */
  readonly owner: HomeOwner;
}

/** Homes without anything open that are remembered. */
const idleMax = 1000;

export class HomesInUse {
  /** the least recently used first */
  readonly #uses = new Map<string, Use>();
  readonly #opened = new Map<HandleId, Opened>();

  get names(): Iterable<string> {
    return this.#uses.keys();
  }

  /** Whether anything is open at all. */
  get isOpen(): boolean {
    return this.#opened.size > 0;
  }

  /** Those with anything open. */
  get open(): string[] {
    return [...this.#uses.values()].filter(({ handles }) => handles > 0).map(({ name }) => name);
  }

  /** Those with most open first, then those used last. @param most how many */
  report(most: number): HomeUse[] {
    const uses = [...this.#uses.values()].reverse();
    return uses
      .sort((one, other) => other.handles - one.handles)
      .slice(0, most)
      .map((use) => ({ ...use }));
  }

  get size(): number {
    return this.#uses.size;
  }

  /** Somebody uses a home. */
  touch(name: string): Use {
    const use = this.#uses.get(name) ?? unused(name);
    this.#uses.delete(name);
    this.#uses.set(name, use);
    if (this.#uses.size > idleMax) this.#forgetOne();
    return use;
  }

  /** A request to S3 was about this home. */
  noteRequest(name: string): void {
    const use = this.#uses.get(name);
    if (use !== undefined) use.requests += 1;
  }

  add(handle: HandleId, opened: Opened): void {
    opened.use.handles += 1;
    // It may have been forgotten while it was opened.
    this.#uses.set(opened.use.name, opened.use);
    this.#opened.set(handle, opened);
  }

  get(handle: HandleId): Opened | undefined {
    return this.#opened.get(handle);
  }

  remove(handle: HandleId): void {
    const opened = this.#opened.get(handle);
    if (opened === undefined) return;
    opened.use.handles -= 1;
    this.#opened.delete(handle);
  }

  #forgetOne(): void {
    for (const { name, handles } of this.#uses.values()) {
      if (handles > 0) continue;
      this.#uses.delete(name);
      return;
    }
  }
}

function unused(name: string): Use {
  return { name, handles: 0, bytesRead: 0, bytesWritten: 0, requests: 0 };
}
