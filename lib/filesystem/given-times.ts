/**
 * The times that users gave to files, which S3 keeps in the metadata, where no listing shows them.
 *
 * They are asked for when somebody asks for attributes, by one HEAD for each version; where that goes
 * on in the order of a listing, as for `ls -l`, for the names that follow at the same time.
 * A listing without attributes asks for none.
 */
import { LRUCache } from 'lru-cache';
import { unlessAborted } from '../concurrency/abort.js';
import { joined } from '../concurrency/earlier-answer.js';
import { isStoreError } from '../errors.js';
import { filesFrom } from '../tree/listing.js';
import type { Entry } from '../tree/listing.js';
import { childPath, keyOf, nameOf, parentOf } from '../path.js';
import type { Path } from '../path.js';
import type { ObjectInfo, ObjectStore } from '../store.js';

export interface GivenTimesParts {
  readonly store: ObjectStore;
  /** the entries of a directory in the order of its listing, if it was listed; may be out of date */
  readonly listed: (directory: Path) => ReadonlyMap<string, Entry> | undefined;
  /** what is known to be in S3 at a path, without asking */
  readonly known: (path: Path) => Entry | undefined;
  /** told what HEAD says of a path */
  readonly onTold: (path: Path, info: ObjectInfo) => void;
}

/** HEADs at a time for a caller that stats one name after another. */
const ahead = 16;
/** Directories watched, and names of each that are remembered at a time. */
const maxSequences = 8;
const maxNames = 1000;

interface Sequence {
  /** from the file on with which it began */
  readonly names: readonly string[];
  /** index of the last that was asked for */
  at: number;
}

export class GivenTimes {
  readonly #parts: GivenTimesParts;
  readonly #sequences = new LRUCache<Path, Sequence>({ max: maxSequences });
  readonly #pending = new Map<Path, Promise<ObjectInfo | undefined>>();

  constructor(parts: GivenTimesParts) {
    this.#parts = parts;
  }

  /**
   * `info` with the time that was given to it.
   * @throws StoreError; not where S3 does not tell, or has no such version any more
   */
  async complete(path: Path, info: ObjectInfo, signal?: AbortSignal): Promise<ObjectInfo> {
    if (info.givenTime !== undefined) return info;
    const known = this.#parts.known(path);
    const { givenTime } = known?.kind === 'file' && known.info.etag === info.etag ? known.info : {};
    if (givenTime !== undefined) return { ...info, givenTime };
    const pending = this.#pending.get(path);
    const asking = joined(pending, () => this.#ask(path, info));
    for (const next of this.#following(path)) this.#ask(...next).catch(() => undefined);
    const told = await unlessAborted(asking, signal);
    return told?.etag === info.etag ? told : info;
  }

  #ask(path: Path, info: ObjectInfo): Promise<ObjectInfo | undefined> {
    const pending = this.#pending.get(path);
    if (pending !== undefined) return pending;
    const asking = this.#head(path, info).finally(() => this.#pending.delete(path));
    this.#pending.set(path, asking);
    return asking;
  }

  async #head(path: Path, info: ObjectInfo): Promise<ObjectInfo | undefined> {
    const { store, onTold } = this.#parts;
    const tell = (told: ObjectInfo): ObjectInfo => {
      onTold(path, told);
      return told;
    };
    try {
      const { etag, size, givenTime, crc32 } = await store.head(keyOf(path));
      if (etag !== info.etag || size !== info.size) return undefined;
      return tell({ ...info, givenTime, ...(crc32 === undefined ? {} : { crc32 }) });
    } catch (error) {
      if (isStoreError(error, 'notFound')) return undefined;
      if (!isStoreError(error, 'denied')) throw error;
      // Nor will it be told the next time.
      return tell({ ...info, givenTime: 'none' });
    }
  }

  /** What is likely to be asked for after `path`, and not known yet. */
  #following(path: Path): (readonly [Path, ObjectInfo])[] {
    const directory = parentOf(path);
    const name = nameOf(path);
    const sequence = this.#sequences.get(directory);
    const near = sequence?.names.slice(sequence.at, sequence.at + 2 * ahead).indexOf(name) ?? -1;
    if (sequence === undefined || near < 0) {
      this.#begin(directory, name);
      return [];
    }
    sequence.at += near;
    return sequence.names.slice(sequence.at + 1, sequence.at + 1 + ahead).flatMap((following) => {
      const other = childPath(directory, following);
      const entry = this.#parts.known(other);
      if (entry?.kind !== 'file' || entry.info.givenTime !== undefined) return [];
      return [[other, entry.info] as const];
    });
  }

  #begin(directory: Path, name: string): void {
    const names = filesFrom(this.#parts.listed(directory), name, { most: maxNames });
    if (names.length > 0) this.#sequences.set(directory, { names, at: 0 });
  }
}
