/**
 * A listing too large for memory: its rows are in a temporary file, page by page as they came, and
 * memory holds where each page begins. So it takes no more memory for a million entries than for
 * those of a page, and is complete before anybody reads it.
 *
 * It lives as long as it is referenced. Own changes since it was begun are kept beside it.
 */
import type { FileHandle } from 'node:fs/promises';
import { FsError } from '../errors.js';
import type { Entry, Row, Snapshot } from './listing.js';
import type { Path } from '../path.js';
import type { Holder } from '../limits/shares.js';
import type { SpaceOwner, TempSpace } from '../limits/temp-space.js';

interface Page {
  /** index of its first row */
  readonly first: number;
  /** place in the file, bytes */
  readonly at: number;
  readonly length: number;
}

/** Rows of a page; S3's pages have no more. */
const pageRows = 1000;

export class SpilledListing implements SpaceOwner {
  readonly holder: Holder;
  readonly path: Path;
  /** when its last page was asked for */
  fetchedAt: number;
  /** what S3 has now may be something else altogether */
  isOutdated = false;
  readonly changed = new Map<string, Entry | undefined>();
  /** names came in S3's order, so that not all of them need to be remembered */
  readonly isOrdered: boolean;
  readonly #space: TempSpace;
  readonly #file: FileHandle;
  readonly #onClosed: (listing: SpilledListing) => void;
  readonly #pages: Page[] = [];
  /** files that turned out to be directories after they were written */
  readonly #becameDirectory = new Map<string, Entry>();
  /** names written that may come again, as those of directories or on two pages: S3's order says which */
  #mayBecomeDirectory = new Map<string, Entry['kind']>();
  #rows = 0;
  #bytes = 0;
  #refCount = 1;

  private constructor(file: FileHandle, parts: SpilledListingParts) {
    this.#file = file;
    this.#space = parts.space;
    this.holder = parts.holder;
    this.path = parts.path;
    this.fetchedAt = parts.fetchedAt;
    this.#onClosed = parts.onClosed;
    this.isOrdered = parts.isOrdered;
  }

  /** The caller has the first reference. @throws system errors of the temp directory */
  static async create(parts: SpilledListingParts): Promise<SpilledListing> {
    return new SpilledListing(await parts.space.open(), parts);
  }

  get isRead(): boolean {
    return this.#refCount > 0;
  }

  /**
   * Adds a page of S3's, or several, each name once.
   * @throws FsError ENOSPC at `--temp-limit`
   */
  async append(entries: ReadonlyMap<string, Entry>): Promise<void> {
    const rows = [...entries].filter((row) => !this.#isKnown(row));
    for (let at = 0; at < rows.length; at += pageRows) {
      await this.#write(rows.slice(at, at + pageRows));
    }
    for (const [name, { kind }] of rows) this.#mayBecomeDirectory.set(name, kind);
    if (this.isOrdered) this.#forgetPassed(rows);
  }

  /** `a/` sorts behind `a`, and all that lies between begins with `a`. A page may repeat its end. */
  #forgetPassed(rows: readonly Row[]): void {
    const names = (kind: Entry['kind']): string[] =>
      rows.filter(([, entry]) => entry.kind === kind).map(([name]) => name);
    const lastFile = names('file').at(-1);
    const lastDirectory = names('directory').at(-1);
    for (const [name, kind] of this.#mayBecomeDirectory) {
      const isPassed =
        kind === 'file'
          ? lastFile !== undefined && !lastFile.startsWith(name)
          : lastDirectory !== undefined && name !== lastDirectory;
      if (isPassed) this.#mayBecomeDirectory.delete(name);
    }
  }

  /** Takes a reference. @param onShown told of a row that is read; what it returns is shown */
  open(onShown: (name: string, entry: Entry) => Entry): Snapshot {
    this.#refCount++;
    let recent: ReadPage | undefined;
    const page = async (index: number): Promise<readonly Row[]> => {
      if (recent?.index !== index) recent = { index, rows: await this.#page(index) };
      return recent.rows;
    };
    return {
      size: this.#rows,
      changed: new Map(this.changed),
      rows: async (from, count) => {
        const rows = await this.#read(from, count, page);
        return rows.map(([name, entry]) =>
          this.changed.has(name) ? [name, entry] : [name, onShown(name, entry)],
        );
      },
      rowsNow: () => undefined,
      close: () => this.release(),
    };
  }

  /** With the last reference the file goes. */
  release(): void {
    this.#refCount--;
    if (this.#refCount > 0) return;
    this.#onClosed(this);
    this.#space.release(this.#bytes, this);
    // Nothing is lost with an unlinked file of which nobody reads any more.
    this.#file.close().catch(() => undefined);
  }

  #isKnown([name, entry]: Row): boolean {
    const kind = this.#mayBecomeDirectory.get(name);
    if (kind === 'file' && entry.kind === 'directory') this.#becameDirectory.set(name, entry);
    return kind !== undefined;
  }

  async #write(rows: readonly Row[]): Promise<void> {
    const text = Buffer.from(JSON.stringify(rows));
    await this.#space.reserve(text.length, this);
    this.#bytes += text.length;
    await this.#file.write(text, 0, text.length, this.#bytes - text.length);
    this.#pages.push({ first: this.#rows, at: this.#bytes - text.length, length: text.length });
    this.#rows += rows.length;
  }

  async #read(
    from: number,
    count: number,
    page: (index: number) => Promise<readonly Row[]>,
  ): Promise<Row[]> {
    const rows: Row[] = [];
    const end = Math.min(this.#rows, from + count);
    let index = this.#pages.findLastIndex(({ first }) => first <= from);
    for (let at = from; at < end; at = from + rows.length, index++) {
      const first = this.#pages[index]?.first ?? 0;
      rows.push(...(await page(index)).slice(at - first, end - first));
    }
    return rows;
  }

  async #page(index: number): Promise<Row[]> {
    const { at = 0, length = 0 } = this.#pages[index] ?? {};
    const bytes = Buffer.allocUnsafe(length);
    const { bytesRead } = await this.#file.read(bytes, 0, length, at);
    if (bytesRead < length) throw new FsError('EIO', 'the temporary file of a listing is cut off');
    // Written by this class.
    const rows = JSON.parse(bytes.toString()) as Row[];
    return rows.map(([name, entry]) => [name, this.#becameDirectory.get(name) ?? entry]);
  }
}

/** The page a handle read last, of which the kernel takes less at a time. */
interface ReadPage {
  readonly index: number;
  readonly rows: readonly Row[];
}

export interface SpilledListingParts {
  readonly path: Path;
  readonly fetchedAt: number;
  readonly space: TempSpace;
  readonly holder: Holder;
  readonly isOrdered: boolean;
  /** told when the last reference is gone */
  readonly onClosed: (listing: SpilledListing) => void;
}
