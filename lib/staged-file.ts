/**
 * One file that is being written: its content until S3 has it, and its way there.
 *
 *   clean ──write, truncate──▶ dirty ──commit──▶ committing ──S3 said yes──▶ clean
 *                                │                    │
 *                                └──part failed───────┴──commit failed──▶ failed (sticky)
 *   clean | dirty ──unlink, discard, replaced by rename──▶ gone
 *
 * The content is an overlay. A byte comes, in this order, from: the spool, if its offset is in
 * `#local`; the base object, if it lies below `#baseEnd`; else it is zero.
 *
 * Invariants
 *  1. Every byte a write acknowledged is in the spool, or in a part S3 acknowledged.
 *  2. `#changed` holds every offset whose byte may differ from the base; outside it, and below
 *     `#baseEnd`, the base has the byte.
 *  3. The key changes only by a completed PUT or CompleteMultipartUpload: nothing is visible before.
 *  4. A base is only combined with changes under its ETag: the copy of its ranges, the reads of it and
 *     the commit all carry If-Match.
 *  5. `failed` answers the same errno to write, fsync and flush for ever; `gone` keeps working on
 *     local bytes, as an unlinked file does, and is never published.
 *  6. Leaving `dirty` or `committing` for anything but `dirty` frees what it held: the multipart upload
 *     is completed or aborted, and for `failed` the spool is disposed of; awaited, not forgotten.
 *
 * Locks: `#queue` serialises write, truncate, commit, discard and rename of this file. It is taken
 * after a path lock, never before. Parts in flight do not hold it.
 */
import type { Budget } from './budget.js';
import { copyPartSize, planEqualParts, planParts } from './commit-plan.js';
import type { PlannedPart } from './commit-plan.js';
import { crc32OfPieces } from './crc32.js';
import { FsError, isStoreError, toFsError } from './errors.js';
import { Locks } from './locks.js';
import type { Log } from './log.js';
import { PartStream } from './part-stream.js';
import type { LoadedRange } from './part-stream.js';
import { keyOf } from './path.js';
import type { Key, Path } from './path.js';
import { RangeSet } from './range-set.js';
import { Reader } from './reader.js';
import type { ReaderSettings } from './reader.js';
import { Spool } from './spool.js';
import { multipartLimits } from './store.js';
import type {
  ByteRange,
  Condition,
  CopySource,
  MultipartUpload,
  ObjectInfo,
  ObjectStore,
  UploadedPart,
  WriteOptions,
} from './store.js';
import type { TempSpace } from './temp-space.js';

/** What all staged files of a mount share. */
export interface StagingArea {
  readonly store: ObjectStore;
  readonly space: TempSpace;
  /** bytes of part bodies in memory */
  readonly memory: Budget;
  readonly reading: ReaderSettings;
  readonly partSize: number;
  readonly equalParts: boolean;
  /** whether the endpoint was seen not to know UploadPartCopy; learnt by the first file that needs it */
  readonly partCopies: { areRefused: boolean };
  /** smallest part but the last that the endpoint takes, bytes */
  readonly minPart: number;
  readonly uploadConcurrency: number;
  readonly contentTypeOf: (path: Path) => string | undefined;
  /** called under the file's lock the moment S3 has it */
  readonly onStored: (path: Path, info: ObjectInfo) => void;
  readonly log: Log;
}

/** What a file is opened on. */
export interface StagedOrigin {
  /** the object whose bytes are kept until overwritten */
  readonly base?: ObjectInfo | undefined;
  /** commit only if nothing is there (O_EXCL) */
  readonly exclusive?: boolean;
}

/** Part numbers kept free in front of an appending stream for the copied parts of the base. */
const prefixNumbers = 2000;
/**
 * The largest file: S3 takes 10,000 parts of 5 GiB. A sequential stream reaches what the ladder of
 * part sizes holds, 7.9 TiB for parts that start at 8 MiB.
 */
export const maxFileSize = multipartLimits.maxPart * multipartLimits.maxParts;

type State = 'clean' | 'dirty' | 'committing' | 'failed' | 'gone';

export class StagedFile {
  readonly #area: StagingArea;
  readonly #spool: Spool;
  readonly #queue = new Locks();
  readonly #local = new RangeSet();
  readonly #changed = new RangeSet();
  /** sent to S3 in parts and given back to the disk */
  readonly #released = new RangeSet();
  #path: Path;
  #state: State;
  #size: number;
  #mtimeMs: number;
  #base: ObjectInfo | undefined;
  #baseEnd: number;
  #baseReader: Reader | undefined;
  #condition: Condition | undefined;
  #metadata: Record<string, string> = {};
  #stream: PartStream | undefined;
  #failure: FsError | undefined;

  constructor(area: StagingArea, path: Path, origin: StagedOrigin) {
    this.#area = area;
    this.#path = path;
    this.#spool = new Spool(area.space);
    this.#base = origin.base;
    this.#baseEnd = origin.base?.size ?? 0;
    this.#size = this.#baseEnd;
    this.#mtimeMs = origin.base?.mtimeMs ?? Date.now();
    // A file without a base is new: closing it publishes it even if nothing was ever written.
    this.#state = origin.base === undefined ? 'dirty' : 'clean';
    if (origin.base !== undefined) this.#condition = { etag: origin.base.etag };
    else if (origin.exclusive === true) this.#condition = { absent: true };
    area.space.join(this);
  }

  get path(): Path {
    return this.#path;
  }

  /** bytes */
  get size(): number {
    return this.#size;
  }

  /** Bytes that left in parts and were acknowledged, and are not stored yet. */
  get sentBytes(): number {
    const ranges = this.#stream?.sentRanges ?? [];
    return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  get mtimeMs(): number {
    return this.#mtimeMs;
  }

  /** The version of the object as it was last committed or opened; undefined for a new file. */
  get base(): ObjectInfo | undefined {
    return this.#base;
  }

  /** Whether bytes of the base are part of the content. */
  get needsBase(): boolean {
    return !this.isDirty || this.#unchanged(this.#size).length > 0;
  }

  /** Whether S3 does not yet have what this file holds. */
  get isDirty(): boolean {
    return this.#state === 'dirty' || this.#state === 'committing';
  }

  /** Whether the path still means this file. */
  get isAttached(): boolean {
    return this.#state !== 'gone' && this.#state !== 'failed';
  }

  /** @throws FsError EFBIG, ENOSPC, or the sticky failure */
  async write(data: Uint8Array, offset: number | 'end'): Promise<void> {
    await this.#exclusively(async () => {
      this.#refuseIfFailed();
      const start = offset === 'end' ? this.#size : offset;
      const end = start + data.length;
      this.#refuseIfTooLarge(end);
      try {
        await this.#spool.write(start, data);
      } catch (error) {
        // What the client was told is missing must not be published as if it were complete.
        throw await this.#fail(error);
      }
      this.#local.add(start, end);
      this.#released.remove(start, end);
      this.#markChanged(Math.min(start, this.#size), end);
      if (start > this.#size) this.#stream?.touch(this.#size, start);
      this.#size = Math.max(this.#size, end);
      await this.#streamFullParts();
    });
  }

  /** Bytes of [offset, offset + length) as far as the file reaches. */
  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array[]> {
    const end = Math.min(offset + length, this.#size);
    const pieces: Uint8Array[] = [];
    for (const piece of this.#local.split(offset, Math.max(offset, end))) {
      if (piece.inside) {
        const bytes = new Uint8Array(piece.end - piece.start);
        await this.#spool.read(bytes, piece.start);
        pieces.push(bytes);
        continue;
      }
      this.#refuseIfReleased(piece);
      const baseEnd = Math.min(piece.end, Math.max(piece.start, this.#baseEnd));
      if (baseEnd > piece.start)
        pieces.push(...(await this.#readBase(piece.start, baseEnd, signal)));
      if (piece.end > baseEnd) pieces.push(new Uint8Array(piece.end - baseEnd));
    }
    return pieces;
  }

  /** Cuts or grows the file; a grown part reads as zeros. @throws FsError as write */
  async truncate(size: number): Promise<void> {
    await this.#exclusively(async () => {
      this.#refuseIfFailed();
      this.#refuseIfTooLarge(size);
      if (size === this.#size && size !== 0) return;
      const before = this.#size;
      this.#stream?.touch(Math.min(size, before), Infinity);
      this.#size = size;
      if (size < before) {
        this.#baseEnd = Math.min(this.#baseEnd, size);
        this.#local.remove(size, Infinity);
        this.#changed.remove(size, Infinity);
        this.#released.remove(size, Infinity);
        await this.#spool.truncate(size);
      }
      this.#markChanged(Math.min(size, before), size);
      if (size === 0) await this.#startAfresh();
    });
  }

  /**
   * Makes S3 hold what this file holds, if it does not already.
   * @returns the object stored, or undefined if there was nothing to do
   * @throws FsError, sticky from then on
   */
  async commit(): Promise<ObjectInfo | undefined> {
    return await this.#exclusively(async () => {
      this.#refuseIfFailed();
      if (this.#state !== 'dirty') return undefined;
      this.#state = 'committing';
      try {
        const info = await this.#store();
        this.#becomeClean(info);
        this.#area.onStored(this.#path, info);
        return info;
      } catch (error) {
        throw await this.#fail(error);
      }
    });
  }

  /** Forgets all that was not committed; the path no longer means this file. */
  async discard(): Promise<void> {
    await this.#exclusively(async () => {
      if (this.#state === 'failed') return;
      this.#state = 'gone';
      await this.#dropStream();
    });
  }

  /**
   * Gives the file another name. Nothing is sent; parts that already left belong to an upload of the
   * old key, so they leave again.
   * @param moved the base, where the server has copied it to the new key already
   * @throws FsError EBUSY if bytes of such parts are no longer local
   */
  async rename(path: Path, moved?: ObjectInfo): Promise<void> {
    await this.#exclusively(async () => {
      if (!this.#released.isEmpty) {
        throw new FsError(
          'EBUSY',
          `${this.#path} cannot be renamed before it is closed: its first parts are in S3 already`,
        );
      }
      await this.#dropStream();
      this.#path = path;
      // Renaming replaces whatever the new name held.
      this.#condition = moved === undefined ? undefined : { etag: moved.etag };
      if (moved === undefined) return;
      this.#base = moved;
      this.#baseReader?.close();
      this.#baseReader = undefined;
    });
  }

  /** A modification time to store with the next commit, in rclone's form. */
  setMtime(mtimeMs: number): void {
    this.#metadata['mtime'] = (mtimeMs / 1000).toFixed(9);
    this.#mtimeMs = mtimeMs;
  }

  /** The last handle is closed: frees everything. */
  async close(): Promise<void> {
    await this.#exclusively(async () => {
      await this.#dropStream();
      this.#free();
    });
  }

  /** Gives local bytes back that S3 has acknowledged. */
  reclaim(): void {
    // Together: what the disk gives back may be larger than a part.
    const sent = new RangeSet();
    for (const { start, end } of this.#stream?.sentRanges ?? []) sent.add(start, end);
    for (const { start, end } of sent.ranges) {
      for (const gone of this.#releaseWithin(start, end)) this.#released.add(gone.start, gone.end);
    }
  }

  get expectsRelease(): boolean {
    return this.#stream?.isSending === true || this.#state === 'committing';
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    return await this.#queue.hold(['content'], work);
  }

  #refuseIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #refuseIfTooLarge(size: number): void {
    const { equalParts, partSize } = this.#area;
    const most = equalParts ? partSize * multipartLimits.maxParts : maxFileSize;
    if (size <= most) return;
    const cure = equalParts ? ' in parts of this size; raise --part-size' : '';
    throw new FsError('EFBIG', `${this.#path} would be larger than S3 can store${cure}`);
  }

  #markChanged(start: number, end: number): void {
    this.#changed.add(start, end);
    this.#stream?.touch(start, end);
    this.#mtimeMs = Date.now();
    delete this.#metadata['mtime'];
    if (this.#state === 'clean') this.#state = 'dirty';
  }

  /** Cut to nothing: no byte of the base is left, so it no longer matters who replaces it. */
  async #startAfresh(): Promise<void> {
    await this.#dropStream();
    this.#baseReader?.close();
    this.#baseReader = undefined;
    this.#base = undefined;
    if (this.#condition !== undefined && 'etag' in this.#condition) this.#condition = undefined;
    if (this.#state === 'clean') this.#state = 'dirty';
  }

  #becomeClean(info: ObjectInfo): void {
    this.#state = 'clean';
    this.#stream = undefined;
    this.#baseReader?.close();
    this.#baseReader = undefined;
    this.#base = info;
    this.#baseEnd = this.#size;
    this.#changed.clear();
    this.#released.clear();
    this.#condition = { etag: info.etag };
    this.#metadata = {};
    // The base has every byte now; what is local only saves fetching it again.
    this.#releaseWithin(0, this.#size);
  }

  #releaseWithin(start: number, end: number): ByteRange[] {
    const ranges = this.#spool.release(start, end);
    for (const gone of ranges) this.#local.remove(gone.start, gone.end);
    return ranges;
  }

  async #fail(error: unknown): Promise<FsError> {
    const failure = this.#commitFailure(error);
    if (this.#state === 'gone') return failure;
    this.#failure ??= failure;
    this.#state = 'failed';
    await this.#dropStream();
    this.#free();
    return this.#failure;
  }

  #commitFailure(error: unknown): FsError {
    if (!isStoreError(error, 'changed')) return toFsError(error);
    const exclusive = this.#condition !== undefined && 'absent' in this.#condition;
    return exclusive
      ? new FsError('EEXIST', `${this.#path} was created by somebody else`, { cause: error })
      : new FsError('ESTALE', `${this.#path} was replaced by somebody else`, { cause: error });
  }

  #free(): void {
    this.#spool.dispose();
    this.#local.clear();
    this.#baseReader?.close();
    this.#baseReader = undefined;
    this.#area.space.leave(this);
    this.#area.space.nudge();
  }

  async #dropStream(): Promise<void> {
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream !== undefined) await this.#logAbort(stream.abort());
  }

  async #logAbort(aborting: Promise<void>): Promise<void> {
    try {
      await aborting;
    } catch (error) {
      // The upload is recorded and will be aborted at the next start; the file's fate is settled.
      this.#area.log.warn(
        { path: this.#path, error: toFsError(error).message },
        'a multipart upload could not be aborted',
      );
    }
  }

  // --- parts that leave early ---

  async #streamFullParts(): Promise<void> {
    if (this.#state === 'gone') return;
    this.#stream ??= await this.#startStream();
    this.#stream?.advance(this.#size, (range) => this.#isLocal(range));
  }

  /** A stream, once the file is a run of new bytes longer than a part, alone or behind its base. */
  async #startStream(): Promise<PartStream | undefined> {
    const { partSize, minPart, equalParts } = this.#area;
    const start = this.#baseEnd >= minPart ? this.#baseEnd : 0;
    if (this.#size <= start + partSize) return undefined;
    // Parts of one size do not begin where a base happens to end: composed at the commit.
    if (start > 0 && equalParts) return undefined;
    if (start > 0) {
      // Appending to a base long enough to be copied as it is.
      if (this.#changed.touches(0, start)) return undefined;
    } else if (!this.#local.covers(0, this.#baseEnd)) {
      // A base too short to be a part of its own travels with the new bytes.
      if (this.#changed.touches(0, this.#baseEnd)) return undefined;
      await this.#fetchBase();
    }
    if (!this.#local.covers(start, start + partSize)) return undefined;
    return this.#newStream(start);
  }

  #newStream(start: number): PartStream {
    const { store, partSize, equalParts, uploadConcurrency, memory } = this.#area;
    return new PartStream({
      store,
      start,
      firstNumber: start === 0 ? 1 : prefixNumbers + 1,
      partSize,
      equalParts,
      concurrency: uploadConcurrency,
      memory,
      create: async () =>
        store.createUpload(keyOf(this.#path), await this.#writeOptions(start > 0)),
      load: (range) => this.#load(range),
      onSent: () => this.#area.space.nudge(),
      onFailure: (error) => void this.#exclusively(() => this.#failQuietly(error)),
    });
  }

  /** A part failed for good while nobody waits for it: the next call hears of it. */
  async #failQuietly(error: unknown): Promise<void> {
    if (this.#failure !== undefined || this.#state !== 'dirty') return;
    const failure = await this.#fail(error);
    this.#area.log.warn(
      { path: this.#path, errno: failure.code, error: failure.message },
      'a part could not be stored; the upload is given up',
    );
  }

  async #fetchBase(): Promise<void> {
    let offset = 0;
    for (const piece of await this.#readBase(0, this.#baseEnd)) {
      await this.#spool.write(offset, piece);
      offset += piece.length;
    }
    this.#local.add(0, this.#baseEnd);
  }

  #isLocal({ start, end }: ByteRange): boolean {
    return this.#local.covers(start, end);
  }

  // --- commit ---

  async #store(): Promise<ObjectInfo> {
    const size = this.#size;
    const key = keyOf(this.#path);
    const stored = await this.#withPartCopies(() => this.#choosePublication(key, size));
    return {
      key,
      size,
      etag: stored.etag,
      mtimeMs: this.#metadata['mtime'] === undefined ? Date.now() : this.#mtimeMs,
    };
  }

  /** Where the endpoint cannot copy parts, their bytes are sent instead, then and from then on. */
  async #withPartCopies<T>(publish: () => Promise<T>): Promise<T> {
    const { partCopies, log } = this.#area;
    try {
      return await publish();
    } catch (error) {
      const isRefused = isStoreError(error, 'unsupported') && error.action === 'UploadPartCopy';
      if (!isRefused || partCopies.areRefused) throw error;
      partCopies.areRefused = true;
      log.warn(
        { path: this.#path },
        'the endpoint cannot copy parts: a file that is changed is sent as a whole',
      );
      return await publish();
    }
  }

  async #choosePublication(key: Key, size: number): Promise<{ etag: ObjectInfo['etag'] }> {
    const { store, partSize } = this.#area;
    const stream = this.#stream;
    if (stream !== undefined && size > stream.start + partSize) {
      return await this.#completeStream(stream, size);
    }
    await this.#dropStream();
    const unchanged = this.#unchanged(size);
    const options = await this.#writeOptions(unchanged.length > 0);
    const condition = this.#condition;
    if (size <= partSize) {
      const { pieces, crc32 } = await this.#load({ start: 0, end: size });
      return await store.put(key, pieces, { ...options, condition, crc32 });
    }
    if (unchanged.length === 0 || this.#area.partCopies.areRefused) {
      const source = { size, read: (into: Uint8Array, at: number) => this.#fill(into, at) };
      return await store.upload(key, source, { ...options, condition });
    }
    const upload = await store.createUpload(key, options);
    return await this.#completeOrAbort(upload, () =>
      this.#composeParts(upload, this.#plan(size, unchanged), 1),
    );
  }

  async #completeStream(stream: PartStream, size: number): Promise<{ etag: ObjectInfo['etag'] }> {
    const upload = await stream.upload();
    return await this.#completeOrAbort(upload, async () => {
      const [prefix, streamed] = await Promise.all([
        this.#composeParts(upload, this.#planPrefix(stream.start), 1),
        stream.finish(size),
      ]);
      return [...prefix, ...streamed.parts];
    });
  }

  #plan(size: number, unchanged: readonly ByteRange[]): PlannedPart[] {
    const { equalParts, partSize } = this.#area;
    if (equalParts) return planEqualParts(size, unchanged, partSize);
    return planParts(size, unchanged, this.#planLimits(multipartLimits.maxParts));
  }

  /** Parts in front of a stream. The last of them is not the file's last, so it needs full size. */
  #planPrefix(start: number): PlannedPart[] {
    if (start === 0) return [];
    const limits = { ...this.#planLimits(prefixNumbers), shortTail: false };
    const copied = this.#area.partCopies.areRefused ? [] : this.#unchanged(start);
    return planParts(start, copied, limits);
  }

  #planLimits(maxParts: number) {
    const { partSize, minPart } = this.#area;
    return {
      minPart,
      uploadPart: partSize,
      copyPart: copyPartSize,
      maxParts,
      shortTail: true,
    };
  }

  async #completeOrAbort(
    upload: MultipartUpload,
    makeParts: () => Promise<UploadedPart[]>,
  ): Promise<{ etag: ObjectInfo['etag'] }> {
    const { store } = this.#area;
    try {
      return await store.completeUpload(upload, await makeParts(), { condition: this.#condition });
    } catch (error) {
      // A stream is aborted with the file's failure; this upload has no other owner.
      if (this.#stream === undefined) await this.#logAbort(store.abortUpload(upload));
      throw error;
    }
  }

  async #composeParts(
    upload: MultipartUpload,
    plan: readonly PlannedPart[],
    firstNumber: number,
  ): Promise<UploadedPart[]> {
    const { store, memory, uploadConcurrency } = this.#area;
    const abort = new AbortController();
    const queue = plan.map((part, index) => ({ part, index }));
    const parts: UploadedPart[] = [];
    const worker = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        const { part, index } = next;
        const number = firstNumber + index;
        parts[index] =
          part.source === 'copy'
            ? await store.copyPart(upload, number, this.#copySource(), part, abort.signal)
            : await memory.hold(part.end - part.start, async () => {
                const { pieces, crc32 } = await this.#load(part);
                return store.uploadPart(upload, number, pieces, { crc32, signal: abort.signal });
              });
      }
    };
    const workers = Array.from({ length: uploadConcurrency }, worker);
    try {
      await Promise.all(workers);
    } catch (error) {
      abort.abort();
      await Promise.allSettled(workers);
      throw error;
    }
    return parts;
  }

  #copySource(): CopySource {
    if (this.#base === undefined)
      throw new FsError('EIO', `${this.#path} has no base to copy from`);
    return { key: this.#base.key, etag: this.#base.etag, size: this.#base.size };
  }

  /** Ranges below `end` that equal the base. */
  #unchanged(end: number): ByteRange[] {
    if (this.#base === undefined) return [];
    return this.#changed
      .split(0, Math.min(end, this.#baseEnd))
      .filter((piece) => !piece.inside)
      .map(({ start, end: stop }) => ({ start, end: stop }));
  }

  /** @param keepsBase whether bytes of the base live on, and with them its description */
  async #writeOptions(keepsBase: boolean): Promise<WriteOptions> {
    const contentType = this.#area.contentTypeOf(this.#path);
    if (!keepsBase || this.#base === undefined) {
      return { contentType, metadata: { ...this.#metadata } };
    }
    const base =
      this.#base.metadata === undefined ? await this.#area.store.head(this.#base.key) : this.#base;
    if (base.etag !== this.#base.etag) {
      throw new FsError('ESTALE', `${this.#path} was replaced by somebody else`);
    }
    this.#base = base;
    // A time that rclone stored was the time of the old content.
    const kept = Object.entries(base.metadata ?? {}).filter(([name]) => name !== 'mtime');
    return {
      contentType: base.contentType ?? contentType,
      metadata: { ...Object.fromEntries(kept), ...this.#metadata },
      storageClass: base.storageClass,
    };
  }

  // --- bytes ---

  async #load({ start, end }: ByteRange): Promise<LoadedRange> {
    if (this.#local.covers(start, end)) {
      const bytes = new Uint8Array(end - start);
      const crc32 = await this.#spool.read(bytes, start);
      return { pieces: [bytes], crc32 };
    }
    const pieces = await this.read(start, end - start);
    return { pieces, crc32: crc32OfPieces(pieces) };
  }

  async #fill(into: Uint8Array, offset: number): Promise<void> {
    let done = 0;
    for (const piece of await this.read(offset, into.length)) {
      into.set(piece, done);
      done += piece.length;
    }
    if (done !== into.length) throw new FsError('EIO', `${this.#path} ended while it was uploaded`);
  }

  async #readBase(start: number, end: number, signal?: AbortSignal): Promise<Uint8Array[]> {
    if (this.#base === undefined)
      throw new FsError('EIO', `${this.#path} has no base to read from`);
    this.#baseReader ??= new Reader(this.#area.store, this.#base, this.#area.reading);
    return await this.#baseReader.read(start, end - start, signal);
  }

  /** Bytes given back to the disk cannot be had again before the upload is complete. */
  #refuseIfReleased({ start, end }: ByteRange): void {
    if (!this.#released.touches(start, end)) return;
    throw new FsError(
      'ENOSPC',
      `bytes ${start} to ${end} of ${this.#path} have left the temp directory and are needed again; raise --temp-limit`,
    );
  }
}
