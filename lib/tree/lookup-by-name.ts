/** Asks S3 what is at one path. */
import { allPages, listedAt } from '../store.js';
import { isStoreError } from '../errors.js';
import type { KnownDirectory, Entry, KnownFile } from './listing.js';
import { classifyKey, keyOf, markerOf } from '../path.js';
import type { Key, Path } from '../path.js';
import type { ObjectInfo, ObjectStore } from '../store.js';

export class NameLookup {
  readonly #store: ObjectStore;
  readonly #startedAt: number;

  /** @param startedAt time shown for directories that have none, ms */
  constructor(store: ObjectStore, startedAt: number) {
    this.#store = store;
    this.#startedAt = startedAt;
  }

  /**
   * HEAD and LIST side by side: a directory beats a file, and S3 has no request that tells both.
   * @param shown what a LIST of its directory says that is on its way, in place of one of its own
   */
  async lookup(
    path: Path,
    signal: AbortSignal,
    shown?: Promise<{ readonly entry: Entry | undefined } | undefined>,
  ): Promise<Entry | undefined> {
    const [file, directory] = await Promise.all([
      this.#file(keyOf(path), signal),
      shown === undefined ? this.#directory(path, signal) : this.#directoryIn(shown, path, signal),
    ]);
    if (directory !== undefined) return directory;
    if (file !== 'denied') return file;
    // Without ListBucket for the very key S3 says 403 for "absent", and also for an object that may not be
    // read, for keys that were just rotated, for a wrong clock.
    const listed = await listedAt(this.#store, keyOf(path), signal);
    return listed === undefined ? undefined : await this.headed(listed, signal);
  }

  /**
   * HEAD of what a LIST shows. Where it is refused all the same, which is not for keys or a clock of
   * before that LIST, the object is there and may not be read.
   */
  async headed(listed: ObjectInfo, signal: AbortSignal): Promise<KnownFile | undefined> {
    const file = await this.#file(listed.key, signal);
    if (file === 'denied') return { kind: 'file', info: { ...listed, denied: true } };
    if (file !== undefined) return file;
    const info = await listedAt(this.#store, listed.key, signal);
    return info === undefined ? undefined : { kind: 'file', info };
  }

  async #file(key: Key, signal: AbortSignal): Promise<KnownFile | 'denied' | undefined> {
    try {
      return { kind: 'file', info: await this.#store.head(key, signal) };
    } catch (error) {
      if (isStoreError(error, 'notFound')) return undefined;
      if (isStoreError(error, 'denied')) return 'denied';
      throw error;
    }
  }

  async #directoryIn(
    shown: Promise<{ readonly entry: Entry | undefined } | undefined>,
    path: Path,
    signal: AbortSignal,
  ): Promise<KnownDirectory | undefined> {
    const told = await shown;
    if (told === undefined) return await this.#directory(path, signal);
    return told.entry?.kind === 'directory' ? told.entry : undefined;
  }

  async #directory(path: Path, signal: AbortSignal): Promise<KnownDirectory | undefined> {
    const marker = markerOf(path);
    const query = { prefix: marker, oneLevel: false, maxKeys: 1, signal };
    for await (const page of allPages(this.#store, query)) {
      const first = page.objects[0];
      if (first !== undefined) return this.#directoryWith(first, marker, page.unordered);
    }
    return undefined;
  }

  #directoryWith(first: ObjectInfo, marker: Key, unordered: true | undefined): KnownDirectory {
    const found = classifyKey(marker, first.key);
    const isMarker = found.kind === 'marker';
    return {
      kind: 'directory',
      mtimeMs: isMarker ? first.mtimeMs : this.#startedAt,
      // A marker sorts before all keys below it, so a first key that is none means there is none.
      hasMarker: isMarker || unordered !== true ? isMarker : undefined,
      child: found.kind === 'entry' ? found.name : undefined,
    };
  }
}
