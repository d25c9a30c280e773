/** Asks S3 what is at one path. */
import { isStoreError } from './errors.js';
import type { DirectoryEntry, Entry, FileEntry } from './listing.js';
import { classifyKey, keyOf, markerOf } from './path.js';
import type { Path } from './path.js';
import type { ObjectStore } from './store.js';

export class NameLookup {
  readonly #store: ObjectStore;
  readonly #startedAt: number;

  /** @param startedAt time shown for directories that have none, ms */
  constructor(store: ObjectStore, startedAt: number) {
    this.#store = store;
    this.#startedAt = startedAt;
  }

  /** HEAD and LIST side by side: a directory beats a file, and S3 has no request that tells both. */
  async ask(path: Path, signal: AbortSignal): Promise<Entry | undefined> {
    const [file, directory] = await Promise.all([
      this.file(path, signal),
      this.#directory(path, signal),
    ]);
    if (directory !== undefined) return directory;
    // Without ListBucket for the very key S3 says 403 for "absent". The LIST went through, so the
    // credentials are good and there is nothing to see here.
    return file === 'denied' ? undefined : file;
  }

  /** HEAD alone. @returns `denied` also for what is not there, where S3 does not tell */
  async file(path: Path, signal: AbortSignal): Promise<FileEntry | 'denied' | undefined> {
    try {
      return { kind: 'file', info: await this.#store.head(keyOf(path), signal) };
    } catch (error) {
      if (isStoreError(error, 'notFound')) return undefined;
      if (isStoreError(error, 'denied')) return 'denied';
      throw error;
    }
  }

  async #directory(path: Path, signal: AbortSignal): Promise<DirectoryEntry | undefined> {
    const marker = markerOf(path);
    const page = await this.#store.list({ prefix: marker, oneLevel: false, maxKeys: 1, signal });
    const first = page.objects[0];
    if (first === undefined) return undefined;
    // A marker sorts before all keys below it, so a first key that is none means there is none.
    const found = classifyKey(marker, first.key);
    return {
      kind: 'directory',
      mtimeMs: found.kind === 'marker' ? first.mtimeMs : this.#startedAt,
      hasMarker: found.kind === 'marker',
      child: found.kind === 'entry' ? found.name : undefined,
    };
  }
}
