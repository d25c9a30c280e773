/**
 * Reads one version of one object, for one handle.
 *
 * Every GET carries the ETag the handle was opened on, so the bytes handed out are of one version or
 * an error. What is fetched is read-plan.ts's to say; what is in memory is shared with other handles
 * on the same version. A file that was read from its beginning to its end is compared with the checksum
 * S3 keeps of it, and its last read fails where they differ.
 */
import { FsError, isStoreError, mayBeOver, toFsError } from '../errors.js';
import type { Chunk, ReadOptions } from './chunk.js';
import { freshRun, planRead } from './read-plan.js';
import type { ReadRun } from './read-plan.js';
import type { MemoryUser } from './memory.js';
import type { Retention, SharedObject } from './shared-object.js';
import type { SharedObjects } from './shared-objects.js';
import type { Lend } from '../operations.js';
import type { Holder } from '../limits/shares.js';
import type { ByteRange, ObjectInfo, ObjectStore } from '../store.js';

export interface ReaderSettings {
  /** bytes fetched by one GET of a sequential read */
  readonly partSize: number;
  /** GETs in flight for one reader */
  readonly concurrency: number;
  readonly objects: SharedObjects;
}

const nothing: ByteRange = { start: 0, end: 0 };

export class Reader implements Retention, MemoryUser {
  /** The version this reader reads. */
  info: ObjectInfo;
  readonly holder: Holder;
  readonly #store: ObjectStore;
  readonly #settings: ReaderSettings;
  /** from the first read on: many files are opened and not read */
  #object: SharedObject | undefined;
  #run: ReadRun = freshRun;
  /** bytes were handed out: whatever is read from now on is of the same version */
  #isFixed = false;
  #renewal: Promise<void> | undefined;
  #keeps = nothing;
  #undeliveredFrom = 0;

  constructor(store: ObjectStore, info: ObjectInfo, settings: ReaderSettings) {
    this.#store = store;
    this.info = info;
    this.holder = settings.objects.holderOf(info.key);
    this.#settings = settings;
  }

  get keeps(): ByteRange {
    return this.#keeps;
  }

  get undeliveredFrom(): number {
    return this.#undeliveredFrom;
  }

  /**
   * Bytes of [offset, offset + length) as far as the object reaches; none, and no request, past it.
   * @throws FsError ESTALE if the object is another one now, EIO, EACCES, EINTR
   */
  async read(offset: number, length: number, options: ReadOptions = {}): Promise<Uint8Array[]> {
    const end = Math.min(offset + length, this.info.size);
    if (offset >= end) return [];
    const wanted = { start: offset, end };
    const { info } = this;
    const object = this.#join();
    const earlier = new Set<ByteRange>(object.present);
    const chunks = this.#fetch(object, wanted);
    try {
      const pieces = await Promise.all(
        chunks.map((chunk) =>
          chunk.take(Math.max(offset, chunk.start), Math.min(end, chunk.end), options),
        ),
      );
      if (end === this.info.size && this.#run.isFromStart) await object.verify();
      if (this.info !== info) return await this.read(offset, length, options);
      this.#isFixed = true;
      return pieces.flat();
    } catch (error) {
      object.sweep();
      // A GET that was sent ahead, or for another reader.
      const isEarlier = chunks.some((chunk) => chunk.hasFailed && earlier.has(chunk));
      if (isEarlier && isStoreError(error) && mayBeOver(error.kind))
        return await this.read(offset, length, options);
      if (isStoreError(error, 'changed') && (await this.#renewed(info))) {
        return await this.read(offset, length, options);
      }
      throw readFailure(error, this.info.key);
    }
  }

  /** As read, of what is in memory. */
  readNow(offset: number, length: number, lend: Lend | undefined): Uint8Array[] | undefined {
    const end = offset + length;
    const object = this.#object;
    // Who reads the end of a whole hears whether its checksum is right.
    if (object === undefined || end >= this.info.size) return undefined;
    const pieces = object.takeNow(offset, end, lend);
    if (pieces === undefined) return undefined;
    this.#isFixed = true;
    // Planning may give the memory back of what was just handed out.
    this.#join();
    this.#plan(object, { start: offset, end });
    return pieces;
  }

  /** Whether the file as a whole turned out to be wrong: what was read of it is not to be kept. */
  get isWrong(): boolean {
    return this.#object?.isWrong === true;
  }

  /** Ends what is under way for this reader alone and frees the memory. */
  close(): void {
    this.#keeps = nothing;
    this.#settings.objects.memory.leave(this);
    this.#object?.leave(this);
    this.#object = undefined;
  }

  evict(): void {
    this.#keeps = nothing;
    this.#object?.sweep();
  }

  /**
   * Whether another version is read now than `info`. There are endpoints whose listings name versions
   * otherwise than all their other answers; and as long as no byte was handed out, a version that came
   * since the listing serves as well, if it has the size that was shown.
   */
  async #renewed(info: ObjectInfo): Promise<boolean> {
    const isListed = info.metadata === undefined;
    if (isListed && !this.#isFixed) this.#renewal ??= this.#renew(info);
    await this.#renewal;
    return this.info !== info;
  }

  async #renew(info: ObjectInfo): Promise<void> {
    const now = await this.#store.head(info.key).catch((error: unknown) => {
      // What the read itself met is told.
      if (isStoreError(error)) return info;
      throw error;
    });
    if (this.#isFixed || now.etag === info.etag || now.size !== info.size) return;
    this.close();
    this.#run = freshRun;
    this.info = now;
  }

  #join(): SharedObject {
    const { objects } = this.#settings;
    objects.memory.touch(this);
    if (this.#object === undefined) {
      this.#object = objects.of(this.#store, this.info);
      this.#object.join(this);
    }
    return this.#object;
  }

  /** Begins what has to be fetched. @returns the chunks that hold `wanted`, in order */
  #fetch(object: SharedObject, wanted: ByteRange): Chunk[] {
    this.#plan(object, wanted);
    return chunksOf(object, wanted);
  }

  #plan(object: SharedObject, wanted: ByteRange): void {
    const { partSize, concurrency, objects } = this.#settings;
    const { size } = this.info;
    const share = objects.memory.shareOf(this);
    const { present } = object;
    const plan = planRead({ run: this.#run, wanted, size, partSize, concurrency, share, present });
    this.#run = plan.run;
    this.#keeps = plan.keep;
    this.#undeliveredFrom = plan.late;
    // What the reader has passed, or left behind by a jump, makes room first.
    object.sweep();
    for (const range of plan.demand) if (!object.tryFetch(range)) object.fetchSlowly(range);
    for (const range of plan.ahead) {
      if (!object.tryFetch(range)) break;
    }
  }
}

function chunksOf(object: SharedObject, wanted: ByteRange): Chunk[] {
  const chunks: Chunk[] = [];
  for (let at = wanted.start; at < wanted.end;) {
    const chunk = object.at(at);
    if (chunk === undefined) throw new Error(`nothing was fetched at ${at}`);
    chunks.push(chunk);
    at = chunk.end;
  }
  return chunks;
}

/** A version that is gone cannot be read further, whether it was replaced or deleted. */
function readFailure(error: unknown, key: string): FsError {
  if (isStoreError(error, 'changed', 'notFound')) {
    return new FsError('ESTALE', `${key} was replaced or deleted while it was read`, {
      cause: error,
    });
  }
  return toFsError(error);
}
