/**
 * Small files read one after another, as by `get -r`, rsync or tar: once several were read in the order
 * of their listing, those that follow are fetched before anybody asks for them.
 *
 * Each is fetched by the one GET that its reader would make, under the same ETag, into the memory that
 * all readers share; its reader finds it there, if it was opened on the same version. More are fetched
 * ahead the longer files are read in order, so that few are fetched in vain.
 */
import { LRUCache } from 'lru-cache';
import { filesFrom } from '../tree/listing.js';
import type { Entry } from '../tree/listing.js';
import { childPath, nameOf, parentOf } from '../path.js';
import type { Path } from '../path.js';
import type { MemoryUser } from '../read/memory.js';
import type { Retention, SharedObject } from '../read/shared-object.js';
import type { SharedObjects } from '../read/shared-objects.js';
import type { ObjectInfo, ObjectStore } from '../store.js';

export interface FilePrefetchSettings {
  readonly store: ObjectStore;
  readonly objects: SharedObjects;
  /** bytes; larger files are not fetched ahead, nor more than this altogether */
  readonly partSize: number;
  /** most files ahead */
  readonly concurrency: number;
  /** the entries of a directory in the order of its listing, if it was listed; may be out of date */
  readonly listed: (directory: Path) => ReadonlyMap<string, Entry> | undefined;
  /** what a reader of a path would get from S3, where that is known */
  readonly stored: (path: Path) => ObjectInfo | undefined;
}

/** Files that have to be read in order before one is fetched ahead. */
const longEnough = 4;
/** Several who share the work, as parallel downloads do, are this far out of order. */
const tolerance = 4;
/** How long a file waits for its reader. */
const keepMs = 10_000;
/** Directories watched, and names of each that are remembered at a time. */
const maxSequences = 4;
const maxNames = 10_000;

interface Sequence {
  /** from the file on with which it began */
  readonly names: readonly string[];
  /** index of the furthest that was read */
  at: number;
  /** how many were read in order */
  length: number;
}

/** A file nobody reads yet. */
interface Held extends Retention {
  readonly object: SharedObject;
  readonly bytes: number;
  readonly timer: NodeJS.Timeout;
}

export class FilePrefetch implements MemoryUser {
  /** for whoever reads next */
  readonly holder = undefined;
  readonly #settings: FilePrefetchSettings;
  readonly #sequences = new LRUCache<Path, Sequence>({ max: maxSequences });
  readonly #held = new Map<Path, Held>();
  #heldBytes = 0;

  constructor(settings: FilePrefetchSettings) {
    this.#settings = settings;
  }

  /** `path` is read from its beginning; its reader has asked for its bytes already. */
  note(path: Path, { size }: ObjectInfo): void {
    this.#drop(path);
    const directory = parentOf(path);
    const sequence = this.#sequences.get(directory) ?? { names: [], at: 0, length: 0 };
    const index = indexNear(sequence, nameOf(path));
    if (index === undefined) {
      this.#dropIn(directory);
      this.#begin(directory, nameOf(path));
      return;
    }
    if (index <= sequence.at) return;
    sequence.at = index;
    sequence.length++;
    // While a large file is read, what is fetched now would grow old.
    if (size <= this.#settings.partSize) this.#fetch(directory, sequence);
  }

  evict(): void {
    for (const path of [...this.#held.keys()]) this.#drop(path);
  }

  #begin(directory: Path, name: string): void {
    const names = filesFrom(this.#settings.listed(directory), name, {
      most: maxNames,
      // Nobody reads empty files.
      isMeant: ({ size }) => size > 0,
    });
    if (names.length === 0) this.#sequences.delete(directory);
    else this.#sequences.set(directory, { names, at: 0, length: 1 });
  }

  #fetch(directory: Path, { names, at, length }: Sequence): void {
    const { concurrency, partSize, stored } = this.#settings;
    if (length < longEnough) return;
    const count = Math.min(concurrency, 2 ** (length - longEnough));
    for (const name of names.slice(at + 1, at + 1 + count)) {
      const path = childPath(directory, name);
      const info = stored(path);
      if (this.#held.has(path) || info === undefined || info.size === 0) continue;
      if (this.#heldBytes + info.size > partSize || !this.#hold(path, info)) return;
    }
  }

  /** @returns whether there was memory for it */
  #hold(path: Path, info: ObjectInfo): boolean {
    const { objects, store } = this.#settings;
    objects.memory.touch(this);
    const all = { start: 0, end: info.size };
    const object = objects.of(store, info);
    const timer = setTimeout(() => this.#drop(path), keepMs).unref();
    const held = { object, bytes: info.size, timer, keeps: all, undeliveredFrom: 0 };
    object.join(held);
    this.#held.set(path, held);
    this.#heldBytes += info.size;
    // Somebody may be reading it already.
    if (object.at(0) !== undefined || object.tryFetch(all)) return true;
    this.#drop(path);
    return false;
  }

  #drop(path: Path): void {
    const held = this.#held.get(path);
    if (held === undefined) return;
    clearTimeout(held.timer);
    this.#held.delete(path);
    this.#heldBytes -= held.bytes;
    held.object.leave(held);
    if (this.#held.size === 0) this.#settings.objects.memory.leave(this);
  }

  #dropIn(directory: Path): void {
    for (const path of [...this.#held.keys()]) if (parentOf(path) === directory) this.#drop(path);
  }
}

/** @returns undefined where `name` is none of those that are near */
function indexNear({ names, at }: Sequence, name: string): number | undefined {
  const from = Math.max(0, at - tolerance);
  const index = names.slice(from, at + 1 + tolerance).indexOf(name);
  return index < 0 ? undefined : from + index;
}
