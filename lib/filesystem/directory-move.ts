/**
 * Renames a directory that is not empty: every key below it is copied, then every source deleted.
 *
 * Not atomic, and said so in the documentation: until the last copy is there both names show
 * content. Nothing is deleted before all copies exist, so a rename that was cut off can simply be
 * repeated.
 *
 * First of all the target is claimed: its marker is written if there is none, so of two hosts that
 * rename something to one name one hears EEXIST. While the move lasts the marker's metadata names it:
 * what a repeated rename finds in its way is its own only with that record, and a source that is there
 * already is left alone only if it is the same to the byte. Every copy is made under the condition
 * that nothing is at its key.
 */
import { createHash } from 'node:crypto';
import { allPages } from '../store.js';
import { FsError, isStoreError } from '../errors.js';
import { inParallel } from '../concurrency/in-parallel.js';
import type { Log } from '../log.js';
import { copyMarker, findMarker, lookInto, moveInto } from './markers.js';
import type { Key } from '../path.js';
import type { ObjectInfo, ObjectStore } from '../store.js';

/** Copies and deletes are requests without bytes; this many keep a server busy, not drowned. */
const concurrency = 16;

export interface DirectoryMoveOptions {
  readonly store: ObjectStore;
  /** marker keys of the old and the new directory */
  readonly from: Key;
  readonly to: Key;
  /** this mount, among all that use the bucket, also after a restart */
  readonly mountId: string;
  readonly log: Log;
}

export class DirectoryMove {
  readonly #options: DirectoryMoveOptions;
  readonly #record: string;

  constructor(options: DirectoryMoveOptions) {
    this.#options = options;
    const { mountId, from, to } = options;
    const hash = createHash('sha256').update(JSON.stringify([mountId, from, to]));
    this.#record = hash.digest('hex');
  }

  /**
   * Makes the target this move's own, before anything is copied.
   * @param isThere whether a directory was there a moment ago
   * @throws FsError ENOTEMPTY, EEXIST where somebody else has just made it; StoreError
   */
  async claim(isThere: boolean): Promise<void> {
    const { store, from, to } = this.#options;
    const there = isThere ? await findMarker(store, to) : undefined;
    const move = moveInto(there);
    if (move === this.#record) return;
    if (isThere && !(await lookInto(store, to)).isEmpty) throw notEmpty(to);
    if (move !== undefined) throw new FsError('EEXIST', `/${to} is the target of another move`);
    const like = (await findMarker(store, from)) ?? there;
    const condition = there === undefined ? { absent: true as const } : { etag: there.etag };
    try {
      await copyMarker(store, like, to, { condition, move: this.#record });
    } catch (error) {
      if (!isStoreError(error, 'changed')) throw error;
      throw new FsError('EEXIST', `/${to} was made by somebody else`, { cause: error });
    }
  }

  /** Copies, then deletes. @throws StoreError; then the source is complete, or all copies exist */
  async run(): Promise<void> {
    const { store, from, to, log } = this.#options;
    const sources = await listAll(store, from);
    const copies = new Map((await listAll(store, to)).map((object) => [object.key, object]));
    const counts = { from, to, objects: sources.length };
    log.info(counts, 'renaming a directory: copying');
    let copied = 0;
    await inParallel(concurrency, sources, async (source) => {
      if (source.key !== from) await this.#copy(source, copies);
      copied++;
      if (copied % 1000 === 0) log.info({ ...counts, copied }, 'renaming a directory: copying');
    });
    log.info(counts, 'renaming a directory: deleting the old keys');
    const others = sources.filter(({ key }) => key !== from);
    const remove = ({ key, etag }: ObjectInfo): Promise<void> =>
      store.delete(key, { ifMatch: etag });
    await inParallel(concurrency, others, remove);
    const marker = sources.find(({ key }) => key === from);
    if (marker !== undefined) await remove(marker);
    await this.#finish(marker !== undefined);
  }

  async #copy(source: ObjectInfo, copies: ReadonlyMap<Key, ObjectInfo>): Promise<void> {
    const { store, from, to } = this.#options;
    const target = (to + source.key.slice(from.length)) as Key;
    const there = copies.get(target);
    if (there !== undefined) {
      if (await this.#isSame(source, there)) return;
      throw notEmpty(target);
    }
    const condition = { absent: true } as const;
    if (target.endsWith('/')) await copyMarker(store, source, target, { condition });
    else await store.copy(source, target, { storageClass: source.storageClass, condition });
  }

  /** An ETag that is no MD5 of the content differs from one copy to the next; then CRC32s tell. */
  async #isSame(source: ObjectInfo, copy: ObjectInfo): Promise<boolean> {
    if (source.size !== copy.size) return false;
    if (source.etag === copy.etag) return true;
    const { store } = this.#options;
    const [one, other] = await Promise.all([store.head(source.key), store.head(copy.key)]);
    return one.crc32 !== undefined && one.crc32 === other.crc32;
  }

  /** The record goes, and with it a marker that was written for it alone. */
  async #finish(hadMarker: boolean): Promise<void> {
    const { store, to } = this.#options;
    const marker = await findMarker(store, to);
    // Somebody else has removed or replaced it meanwhile.
    if (marker === undefined || moveInto(marker) !== this.#record) return;
    await (hadMarker
      ? copyMarker(store, marker, to, { condition: { etag: marker.etag } })
      : store.delete(to, { ifMatch: marker.etag }));
  }
}

function notEmpty(key: Key): FsError {
  return new FsError('ENOTEMPTY', `/${key} is in the way of a directory that is renamed`);
}

async function listAll(store: ObjectStore, prefix: Key): Promise<ObjectInfo[]> {
  const objects: ObjectInfo[] = [];
  for await (const page of allPages(store, { prefix, oneLevel: false })) {
    objects.push(...page.objects);
  }
  return objects;
}
