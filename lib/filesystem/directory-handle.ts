/**
 * What one directory handle shows: the rows of a listing, in their order, and behind them what this
 * mount knows better: files being written, and what changed since the listing was begun. Each name
 * comes once, at an offset that stays.
 */
import type { Entry, Row, Snapshot } from '../tree/listing.js';
import type { Attributes, DirectoryEntry } from '../operations.js';
import type { Path } from '../path.js';

/** How a name is shown; undefined where it is not. */
export type Show = (name: string, entry: Entry) => Attributes | undefined;

export interface DirectoryHandleParts {
  readonly path: Path;
  readonly listing: Snapshot;
  readonly show: Show;
  /** attributes of the files being written in it, by name */
  readonly written: ReadonlyMap<string, Attributes>;
}

export class DirectoryHandle {
  readonly kind = 'directory';
  readonly path: Path;
  readonly #listing: Snapshot;
  readonly #show: Show;
  /** names whose rows count for nothing */
  readonly #known = new Set<string>();
  readonly #tail: { name: string; attributes: Attributes }[] = [];

  constructor({ path, listing, show, written }: DirectoryHandleParts) {
    this.path = path;
    this.#listing = listing;
    this.#show = show;
    for (const [name, attributes] of written) {
      this.#known.add(name);
      this.#tail.push({ name, attributes });
    }
    for (const [name, entry] of listing.changed) {
      if (this.#known.has(name)) continue;
      this.#known.add(name);
      const attributes = entry === undefined ? undefined : show(name, entry);
      if (attributes !== undefined) this.#tail.push({ name, attributes });
    }
  }

  /** Entries from `offset` on, at most `count`; fewer only at the end. @throws FsError EIO */
  async read(offset: number, count: number): Promise<DirectoryEntry[]> {
    const { size } = this.#listing;
    const found: DirectoryEntry[] = [];
    let next = offset;
    while (next < size && found.length < count) {
      const rows = await this.#listing.rows(next, count - found.length);
      next = this.#addRows(found, rows, next);
    }
    this.#addTail(found, next, count);
    return found;
  }

  /** The same; undefined where the rows are not in memory. */
  readNow(offset: number, count: number): DirectoryEntry[] | undefined {
    const { size } = this.#listing;
    const found: DirectoryEntry[] = [];
    let next = offset;
    while (next < size && found.length < count) {
      const rows = this.#listing.rowsNow(next, count - found.length);
      if (rows === undefined) return undefined;
      next = this.#addRows(found, rows, next);
    }
    this.#addTail(found, next, count);
    return found;
  }

  /** @param from offset of the rows @returns the one behind them */
  #addRows(found: DirectoryEntry[], rows: readonly Row[], from: number): number {
    let next = from;
    for (const [name, entry] of rows) {
      next++;
      const attributes = this.#known.has(name) ? undefined : this.#show(name, entry);
      if (attributes !== undefined) found.push({ name, attributes, next });
    }
    return next;
  }

  #addTail(found: DirectoryEntry[], from: number, count: number): void {
    const { size } = this.#listing;
    for (let next = from; next >= size && found.length < count; next++) {
      const last = this.#tail[next - size];
      if (last === undefined) return;
      found.push({ ...last, next: next + 1 });
    }
  }

  close(): void {
    this.#listing.close();
  }
}
