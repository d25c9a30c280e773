/**
 * One file that is being written: its states, and the order in which things happen to it. Its bytes
 * are staged-content.ts's, its way to S3 publication.ts's.
 *
 *   clean ──write, truncate──▶ dirty ──commit──▶ committing ──S3 said yes──▶ clean
 *                                │                    │
 *                                └──part failed───────┴──commit failed──▶ failed (sticky)
 *   clean | dirty ──unlink, discard, replaced by rename──▶ gone
 *
 * Invariants
 *  1. Every byte a write acknowledged is in the spool, or in a part S3 acknowledged.
 *  2. What the content calls unchanged equals the base, byte for byte.
 *  3. The key changes only by a completed PUT or CompleteMultipartUpload: nothing is visible before.
 *  4. A base is only combined with changes under its ETag: the copy of its ranges, the reads of it and
 *     the commit all carry If-Match.
 *  5. `failed` answers the same errno to write, fsync and flush for ever; `gone` keeps working on
 *     local bytes, as an unlinked file does, and is never published.
 *  6. Leaving `dirty` or `committing` for anything but `dirty` frees what it held: the multipart upload
 *     is completed or aborted, and for `failed` the spool is disposed of; awaited, not forgotten.
 *
 * An upload that is interrupted is `dirty` still: `setAside` writes it down (held-copy.ts), and who
 * opens the file again goes on with it. Bytes that are only in its parts are neither read nor changed;
 * whoever tried is refused from then on, and what had arrived before stays.
 *
 * Locks: `hold` serialises write, truncate, commit, discard and rename of this file (name-locks.ts).
 * Parts in flight do not hold it.
 */
import { FsError, isFsError, isStoreError, toFsError } from '../errors.js';
import { givenTimeName, textOfTime, timeOfMs, timeOfText } from '../file-time.js';
import { HeldCopy } from './held-copy.js';
import type { HeldRecord } from './held-record.js';
import { Locks } from '../concurrency/locks.js';
import { keyOf, pathOfKey } from '../path.js';
import type { Path } from '../path.js';
import { Publication } from './publication.js';
import { StagedContent } from './staged-content.js';
import type { WriteContext } from './write-context.js';
import { multipartLimits } from '../store.js';
import type { Condition, ObjectInfo, Stored } from '../store.js';
import type { SpaceHolder } from '../limits/temp-space.js';

/** What a file is opened on. */
export interface StagedOrigin {
  /** the object whose bytes are kept until overwritten */
  readonly base?: ObjectInfo | undefined;
  /** commit only if nothing is there: that was asked for (O_EXCL), or is what this mount believes */
  readonly absent?: 'exclusive' | 'believed' | undefined;
  /** what is there now, where nothing is asked of it unless the upload is interrupted */
  readonly began?: Condition | undefined;
}

/**
 * The largest file: S3 takes 10,000 parts of 5 GiB. A sequential stream reaches what the ladder of
 * part sizes holds, 7.9 TiB for parts that start at 8 MiB.
 */
export const maxFileSize = multipartLimits.maxPart * multipartLimits.maxParts;

type State = 'clean' | 'dirty' | 'committing' | 'failed' | 'gone';

export class StagedFile implements SpaceHolder {
  readonly #context: WriteContext;
  readonly #queue = new Locks();
  readonly #content: StagedContent;
  readonly #publication: Publication;
  #path: Path;
  #state: State;
  #mtimeMs: number;
  /** since the last change; stored with it */
  #givenTime: bigint | undefined;
  /** of the content, as Clock.nowMs */
  #changedMs: number;
  #condition: Condition | undefined;
  /** nothing was to be there (O_EXCL), and nothing of this file is yet */
  #isExclusive: boolean;
  #failure: FsError | undefined;
  readonly #held: HeldCopy;
  /** what the name held when this was begun, if that is known */
  #began: Condition | undefined;
  /** why nobody goes on with it before it is opened again */
  #refusal: FsError | undefined;
  /** reads under way */
  #reading = 0;
  /** callers of `holdAhead` that wait or work */
  #ahead = 0;
  /** breaks off the commit under way, to be begun anew */
  #makeWay: AbortController | undefined;

  constructor(context: WriteContext, path: Path, { base, absent, began }: StagedOrigin) {
    this.#context = context;
    this.#path = path;
    const name = (): Path => this.#path;
    this.#content = new StagedContent(context, name, base);
    this.#publication = new Publication(context, this.#content, {
      path: name,
      terms: () => ({ condition: this.#condition, metadata: this.#metadata }),
      onFailure: (error) => void this.hold(() => this.#failQuietly(error)),
    });
    this.#mtimeMs = base?.mtimeMs ?? context.clock.dateMs();
    this.#changedMs = context.clock.nowMs();
    // A file without a base is new: closing it publishes it even if nothing was ever written.
    this.#state = base === undefined ? 'dirty' : 'clean';
    if (base !== undefined) this.#condition = { etag: base.etag };
    else if (absent !== undefined) this.#condition = { absent: true };
    this.#isExclusive = absent === 'exclusive';
    this.#began = this.#condition ?? began;
    this.#held = new HeldCopy(context, this.#content, this.#publication);
    context.space.join(this);
  }

  /** One that an earlier process has written down. No request is made. */
  static resumed(context: WriteContext, record: HeldRecord): StagedFile {
    const { base, condition, givenTime, key, mtimeMs } = record;
    const file = new StagedFile(context, pathOfKey(key), { base, began: condition });
    file.#held.resume(record);
    file.#state = 'dirty';
    file.#condition = condition;
    file.#mtimeMs = mtimeMs;
    file.#givenTime = timeOfText(givenTime);
    return file;
  }

  get path(): Path {
    return this.#path;
  }

  /** bytes */
  get size(): number {
    return this.#content.size;
  }

  /** Bytes that left in parts and were acknowledged, and are not stored yet. */
  get sentBytes(): number {
    return this.#publication.sentRanges.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** Of the last change, or as it was set since. */
  get time(): bigint {
    return this.#givenTime ?? timeOfMs(this.#mtimeMs);
  }

  /** For how long nobody has written to it. */
  get idleMs(): number {
    return this.#context.clock.nowMs() - this.#changedMs;
  }

  /** The version of the object as it was last committed or opened; undefined for a new file. */
  get base(): ObjectInfo | undefined {
    return this.#content.base;
  }

  /** Whether bytes of the base are part of the content. */
  get needsBase(): boolean {
    return !this.isDirty || this.#content.unchanged(this.size).length > 0;
  }

  /** Whether S3 does not yet have what this file holds. */
  get isDirty(): boolean {
    return this.#state === 'dirty' || this.#state === 'committing';
  }

  /** What is written down of it, if its upload was interrupted and is not complete yet. */
  get heldRecord(): HeldRecord | undefined {
    return this.isDirty ? this.#held.record : undefined;
  }

  /** Whether that is all of it. */
  get isSetAside(): boolean {
    return this.heldRecord !== undefined && this.#held.isCurrent;
  }

  /** Whether S3 has what this file holds, and nobody is changing that. */
  get isStored(): boolean {
    return this.#state === 'clean' && this.#queue.isIdle;
  }

  /** Whether the path still means this file. */
  get isAttached(): boolean {
    return this.#state !== 'gone' && this.#state !== 'failed';
  }

  /**
   * Runs `work` while nothing else happens to the file.
   * @throws FsError EINTR when `signal` aborts before it is its turn
   */
  async hold<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return await this.#queue.hold(['content'], work, signal);
  }

  /**
   * The same for a caller that removes or cuts the file: a commit under way, of a huge hole perhaps, is
   * broken off and begins anew behind them, with what they have left. One whose bytes have left this
   * machine goes on: they could not be sent again.
   */
  async holdAhead<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#ahead++;
    if (!this.#content.hasReleased) this.#makeWay?.abort();
    try {
      return await this.hold(work, signal);
    } finally {
      this.#ahead--;
    }
  }

  /** @throws FsError EFBIG, ENOSPC, or the sticky failure */
  async write(data: Uint8Array, offset: number | 'end'): Promise<void> {
    await this.hold(async () => {
      this.#refuseIfFailed();
      const before = this.size;
      const start = offset === 'end' ? before : offset;
      const end = start + data.length;
      this.#refuseIfTooLarge(end);
      await this.#goOn(start, end);
      try {
        await this.#content.write(data, start);
        this.#noteChange(Math.min(start, before), end);
        if (this.#state !== 'gone') await this.#publication.advance();
      } catch (error) {
        // What the client was told is missing must not be published as if it were complete.
        throw await this.#fail(error);
      }
    });
  }

  /**
   * The same, without waiting for anything, for what comes at the end of the file while nobody holds it.
   * @returns false where it has to be waited for, or fails: nothing has happened then
   */
  writeNow(data: Uint8Array, offset: number | 'end'): boolean {
    const start = this.size;
    const end = start + data.length;
    if (this.#held.isAsleep || this.#refusal !== undefined) return false;
    if (!this.#queue.isIdle || (this.#state !== 'dirty' && this.#state !== 'clean')) return false;
    if ((offset !== 'end' && offset !== start) || end > this.#sizeMax) return false;
    if (!this.#publication.mayAdvanceNow(end) || !this.#content.append(data, start)) return false;
    this.#noteChange(start, end);
    this.#publication.advanceNow();
    return true;
  }

  /** Bytes of [offset, offset + length) as far as the file reaches. */
  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array[]> {
    this.#reading++;
    try {
      if (this.#held.isAsleep) await this.hold(() => this.#held.wake(), signal);
      this.#held.refuseInParts(offset, Math.min(this.size, offset + length), 'read');
      return await this.#content.read(offset, length, signal);
    } finally {
      this.#reading--;
    }
  }

  /**
   * Cuts or grows the file; a grown part reads as zeros. A commit under way makes way.
   * @returns whether S3 had all of it before: then it is for the caller to store it again
   * @throws FsError as write
   */
  async truncate(size: number, signal?: AbortSignal): Promise<boolean> {
    return await this.holdAhead(async () => {
      this.#refuseIfFailed();
      this.#refuseIfTooLarge(size);
      const wasStored = this.#state === 'clean';
      const before = this.size;
      if (size === before && size !== 0) return wasStored;
      if (size !== 0) await this.#goOn(Math.min(size, before), before);
      this.#publication.touch(Math.min(size, before), Infinity);
      await this.#content.truncate(size);
      this.#noteChange(Math.min(size, before), size);
      if (size === 0) await this.#startAfresh();
      return wasStored;
    }, signal);
  }

  /**
   * Makes S3 hold what this file holds, if it does not already.
   * @param signal gives it up: the file fails with EINTR, and what S3 has stays
   * @returns the object stored, or undefined if there was nothing to do
   * @throws FsError, sticky from then on
   */
  async commit(signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    for (;;) {
      const outcome = await this.hold(() => this.#commitNow(signal), signal);
      if (outcome !== 'made way') return outcome;
    }
  }

  async #commitNow(signal: AbortSignal | undefined): Promise<ObjectInfo | 'made way' | undefined> {
    this.#refuseIfFailed();
    if (this.#refusal !== undefined) throw this.#refusal;
    if (this.#state !== 'dirty') return undefined;
    await this.#goOn(0, 0);
    if (this.#ahead > 0 && !this.#content.hasReleased) return 'made way';
    this.#state = 'committing';
    const way = new AbortController();
    this.#makeWay = way;
    // AbortSignal.any would do the same at the price of four of these.
    const giveUp = (): void => way.abort();
    signal?.addEventListener('abort', giveUp, { once: true });
    if (signal?.aborted === true) giveUp();
    try {
      this.#held.publishing();
      const info = this.#infoOf(await this.#publication.publish(way.signal));
      this.#becomeClean(info);
      this.#context.onStored(this.#path, info);
      return info;
    } catch (error) {
      const hasMadeWay =
        way.signal.aborted && isFsError(error, 'EINTR') && signal?.aborted !== true;
      if (!hasMadeWay || this.#content.hasReleased) throw await this.#fail(error);
      await this.#publication.drop();
      this.#held.notPublished();
      this.#state = 'dirty';
      return 'made way';
    } finally {
      this.#makeWay = undefined;
      signal?.removeEventListener('abort', giveUp);
    }
  }

  /** Forgets all that was not committed; the path no longer means this file. For who holds it. */
  async discard(): Promise<void> {
    if (this.#state === 'failed') return;
    this.#state = 'gone';
    const isAsleep = this.#held.isAsleep;
    this.#held.remove();
    await this.#publication.drop();
    // Nobody has it open who would close it.
    if (isAsleep) this.#free();
  }

  /**
   * Its writer is gone: what arrived is written down, to be gone on with. Nothing is published.
   * @param signal does not wait for the parts on their way
   * @throws FsError where that cannot be; nothing has changed then
   */
  async setAside(signal?: AbortSignal): Promise<void> {
    await this.hold(async () => {
      if (!this.isDirty) return;
      this.#refusal = undefined;
      if (!this.isSetAside) await this.#writeDown(signal);
      if (this.#reading === 0) this.#held.sleep();
    });
  }

  /** While nobody has it open: what fills parts leaves, so that less of it is on the local disk. */
  async moveIntoParts(): Promise<void> {
    await this.hold(async () => {
      const record = this.heldRecord;
      if (record === undefined || !this.#held.isAsleep) return;
      await this.#held.wake();
      await this.#publication.advance();
      if (this.#publication.isSending) await this.#writeDown(undefined, record.heldAtMs);
      this.#held.sleep();
    });
  }

  async #writeDown(signal: AbortSignal | undefined, heldAtMs?: number): Promise<void> {
    const condition = this.#condition ?? this.#began;
    if (condition === undefined) {
      throw new FsError('EBUSY', `what ${this.#path} replaces is not known`);
    }
    await this.#held.save(
      {
        key: keyOf(this.#path),
        condition,
        mtimeMs: this.#mtimeMs,
        givenTime: this.#givenTime === undefined ? undefined : textOfTime(this.#givenTime),
        heldAtMs: heldAtMs ?? this.#context.clock.dateMs(),
      },
      signal,
    );
    this.#condition = condition;
    this.#isExclusive = false;
  }

  /**
   * Before the bytes of [start, end) change: the local ones are at hand, and none is in parts alone.
   * @throws FsError, from then on until the file is set aside again
   */
  async #goOn(start: number, end: number): Promise<void> {
    if (this.#refusal !== undefined) throw this.#refusal;
    try {
      await this.#held.wake();
      this.#held.refuseInParts(start, end, 'changed');
    } catch (error) {
      this.#refusal = toFsError(error);
      throw error;
    }
  }

  /** @throws FsError EBUSY where `rename` would lose bytes: they are in parts of the old key only */
  refuseIfBound(): void {
    if (!this.#content.hasReleased && this.heldRecord === undefined) return;
    throw new FsError(
      'EBUSY',
      `${this.#path} cannot be renamed before it is closed: its first parts are in S3 already`,
    );
  }

  /**
   * Gives the file another name. Nothing is sent; parts that already left belong to an upload of the
   * old key, so they leave again. For who holds it and has called `refuseIfBound`.
   * @param moved the base, where the server has copied it to the new key already
   */
  async rename(path: Path, moved?: ObjectInfo): Promise<void> {
    await this.#publication.drop();
    this.#path = path;
    // Renaming replaces whatever the new name held.
    this.#isExclusive = false;
    this.#condition = moved === undefined ? undefined : { etag: moved.etag };
    this.#began = this.#condition;
    if (moved !== undefined) this.#content.moveBase(moved);
  }

  /** Sets the time that is stored with the next commit. */
  setTime(time: bigint | 'now'): void {
    if (time === 'now') this.#mtimeMs = this.#context.clock.dateMs();
    this.#givenTime = time === 'now' ? undefined : time;
  }

  /** The last handle is closed: frees everything. */
  async close(): Promise<void> {
    await this.hold(async () => {
      await this.#publication.drop();
      this.#free();
    });
  }

  /** Programs that come back to what they wrote come back to the beginning, to fill in a header. */
  reclaim(how: 'spare' | 'all'): void {
    const kept = how === 'spare' ? this.#context.partSize : 0;
    this.#content.release(this.#publication.sentRanges, kept);
  }

  get expectsRelease(): boolean {
    return this.#publication.isSending || this.#state === 'committing';
  }

  #refuseIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  get #sizeMax(): number {
    const { equalStreams, partSize } = this.#context;
    return equalStreams ? partSize * multipartLimits.maxParts : maxFileSize;
  }

  #refuseIfTooLarge(size: number): void {
    if (size <= this.#sizeMax) return;
    const cure = this.#context.equalStreams ? ' in parts of this size; raise --part-size' : '';
    throw new FsError('EFBIG', `${this.#path} would be larger than S3 can store${cure}`);
  }

  #noteChange(start: number, end: number): void {
    this.#publication.touch(start, end);
    this.#held.noteChange();
    this.#mtimeMs = this.#context.clock.dateMs();
    this.#changedMs = this.#context.clock.nowMs();
    this.#givenTime = undefined;
    if (this.#state === 'clean') this.#state = 'dirty';
  }

  /** Cut to nothing: no byte of the base is left, so it no longer matters who replaces it. */
  async #startAfresh(): Promise<void> {
    await this.#publication.drop();
    this.#content.dropBase();
    this.#held.remove();
    this.#refusal = undefined;
    if (!this.#isExclusive) this.#condition = undefined;
  }

  get #metadata(): Record<string, string> {
    const time = this.#givenTime;
    return time === undefined ? {} : { [givenTimeName]: textOfTime(time) };
  }

  #infoOf({ etag, crc32 }: Stored): ObjectInfo {
    const key = keyOf(this.#path);
    const givenTime = this.#givenTime ?? 'none';
    const info = { key, size: this.size, etag, mtimeMs: this.#mtimeMs, givenTime } as const;
    return crc32 === undefined ? info : { ...info, crc32 };
  }

  #becomeClean(info: ObjectInfo): void {
    this.#state = 'clean';
    this.#content.becomeBase(info);
    this.#held.remove();
    this.#isExclusive = false;
    this.#condition = { etag: info.etag };
    this.#began = this.#condition;
    this.#givenTime = undefined;
  }

  async #fail(error: unknown): Promise<FsError> {
    const failure = this.#commitFailure(error);
    if (isStoreError(error, 'changed')) this.#context.onLost(this.#path);
    if (this.#state === 'gone') return failure;
    this.#failure ??= failure;
    this.#state = 'failed';
    await this.#publication.drop();
    this.#held.remove();
    this.#free();
    return this.#failure;
  }

  /** A part failed for good while nobody waits for it: the next call hears of it. */
  async #failQuietly(error: unknown): Promise<void> {
    if (this.#failure !== undefined || this.#state !== 'dirty') return;
    const failure = await this.#fail(error);
    this.#context.log.warn(
      { path: this.#path, errno: failure.code, error: failure.message },
      'a part could not be stored; the upload is given up',
    );
  }

  #commitFailure(error: unknown): FsError {
    if (!isStoreError(error, 'changed')) return toFsError(error);
    return this.#isExclusive
      ? new FsError('EEXIST', `${this.#path} was created by somebody else`, { cause: error })
      : new FsError('ESTALE', `${this.#path} was replaced by somebody else`, { cause: error });
  }

  #free(): void {
    this.#content.dispose();
    this.#context.space.leave(this);
    this.#context.space.nudge();
  }
}
