/**
 * What is at a path, and one directory as S3 listed it: in memory, where own changes are patched in.
 * Directories too large for that are spilled-listing.ts's.
 */
import type { ObjectInfo } from '../store.js';

export interface KnownFile {
  readonly kind: 'file';
  readonly info: ObjectInfo;
}

export interface KnownDirectory {
  readonly kind: 'directory';
  /** milliseconds; the marker's, or the mount's start where there is none to ask */
  readonly mtimeMs: number;
  /** whether a marker object is there; undefined where nobody looked */
  readonly hasMarker?: boolean | undefined;
  /** a name known to be inside */
  readonly child?: string | undefined;
}

export type Entry = KnownFile | KnownDirectory;

export type Row = readonly [name: string, entry: Entry];

/** A directory as an open handle sees it: the rows do not change until it is closed. */
export interface Snapshot {
  /** rows there are */
  readonly size: number;
  /** newer than the rows: what a name here holds, if anything; some of them may be in no row */
  readonly changed: ReadonlyMap<string, Entry | undefined>;
  /** At most `count` rows from index `from` on; fewer only at the end. @throws FsError EIO */
  rows(from: number, count: number): Promise<readonly Row[]>;
  /** The same; undefined where they are not in memory. */
  rowsNow(from: number, count: number): readonly Row[] | undefined;
  close(): void;
}

/**
 * The files that are listed from `name` on, for callers that read or stat them in that order.
 * @param listed the entries of their directory, in the order of its listing
 * @returns at most `most`; none where `name` is no file among them
 */
export function filesFrom(
  listed: ReadonlyMap<string, Entry> | undefined,
  name: string,
  { most, isMeant = () => true }: { most: number; isMeant?: (file: ObjectInfo) => boolean },
): string[] {
  const names: string[] = [];
  for (const [other, entry] of listed ?? []) {
    if (entry.kind !== 'file' || !isMeant(entry.info)) continue;
    if (names.length === 0 && other !== name) continue;
    names.push(other);
    if (names.length === most) break;
  }
  return names;
}

/** Of an entry with its place in the maps, beside the text of its name and attributes. */
const entryBytes = 300;

const nothing: ReadonlyMap<string, undefined> = new Map();

export class Listing {
  hasMarker = false;
  readonly begunAt: number;
  /** when its last page was asked for: a long one takes longer than what it says is valid */
  fetchedAt: number;
  readonly #entries = new Map<string, Entry>();
  #bytes = entryBytes;
  #readers = 0;
  /** shared by all handles that were opened since the last change */
  #rows: readonly Row[] | undefined;

  constructor(begunAt: number) {
    this.begunAt = begunAt;
    this.fetchedAt = begunAt;
  }

  get entries(): ReadonlyMap<string, Entry> {
    return this.#entries;
  }

  /** About what it takes in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether a handle is open on it. */
  get isRead(): boolean {
    return this.#readers > 0;
  }

  /** @param entry undefined: there is nothing any more */
  set(name: string, entry: Entry | undefined): void {
    const before = this.#entries.get(name);
    if (before !== undefined) this.#bytes -= bytesOf(name, before);
    if (entry === undefined) this.#entries.delete(name);
    else {
      this.#entries.set(name, entry);
      this.#bytes += bytesOf(name, entry);
    }
    this.#rows = undefined;
  }

  open(): Snapshot {
    this.#rows ??= [...this.#entries];
    const rows = this.#rows;
    const rowsNow = (from: number, count: number): readonly Row[] => rows.slice(from, from + count);
    this.#readers++;
    return {
      size: rows.length,
      changed: nothing,
      rows: (from, count) => Promise.resolve(rowsNow(from, count)),
      rowsNow,
      close: () => {
        this.#readers--;
      },
    };
  }
}

function bytesOf(name: string, entry: Entry): number {
  const text = entry.kind === 'file' ? entry.info.key.length + entry.info.etag.length : 0;
  return entryBytes + name.length + text;
}
