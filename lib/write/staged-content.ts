/**
 * The bytes of a staged file: an overlay on the object it began from.
 *
 * A byte comes, in this order, from: the tail, if its offset is there; the spool, if it is in `#local`;
 * the base object, if it lies below `#baseEnd`; else it is zero. The tail is the end of the file, and
 * `#local` has it too; what is to follow it elsewhere than in memory goes to the spool behind it, so
 * `#spill` comes before every other change. Reads run beside it: the tail is cleared in the turn of the
 * event loop in which the spool has its bytes. `#changed` holds every offset whose byte may differ from
 * the base; outside it, and below `#baseEnd`, the base has the byte. The base is read under its ETag
 * only, and every byte of the spool is compared with the checksum of what was written.
 */
import { crc32 } from 'node:zlib';
import { combineCrc32 } from '../crc32.js';
import { FsError, isStoreError } from '../errors.js';
import type { HeldContent } from './held-record.js';
import type { Path } from '../path.js';
import { RangeSet } from './range-set.js';
import { Reader } from '../read/reader.js';
import { Spool } from './spool.js';
import { Tail, tailBytes } from './tail.js';
import type { WriteContext } from './write-context.js';
import type { ByteRange, ObjectInfo, Source } from '../store.js';

const nowhere = { start: Infinity, end: Infinity };

/** A longer write is worth a write to the temp file of its own. */
const appendMax = tailBytes.most / 4;

/** Bytes of a range, ready to send. */
export interface LoadedRange {
  readonly bytes: Uint8Array;
  readonly crc32: number;
}

export class StagedContent {
  readonly #context: WriteContext;
  readonly #path: () => Path;
  readonly #spool: Spool;
  readonly #tail: Tail;
  readonly #local = new RangeSet();
  readonly #changed = new RangeSet();
  /** sent to S3 in parts and given back to the disk */
  readonly #released = new RangeSet();
  #size: number;
  #base: ObjectInfo | undefined;
  #baseEnd: number;
  #baseReader: Reader | undefined;

  /** @param path what the file is called now, for messages */
  constructor(context: WriteContext, path: () => Path, base: ObjectInfo | undefined) {
    this.#context = context;
    this.#path = path;
    const holder = context.holderOf(path());
    this.#spool = new Spool(context.space, holder);
    this.#tail = new Tail(context.tails, holder);
    this.#base = base;
    this.#baseEnd = base?.size ?? 0;
    this.#size = this.#baseEnd;
  }

  /** bytes */
  get size(): number {
    return this.#size;
  }

  /** The version of the object as it was last committed or opened; undefined for a new file. */
  get base(): ObjectInfo | undefined {
    return this.#base;
  }

  /** Offset up to which bytes of the base may show. */
  get baseEnd(): number {
    return this.#baseEnd;
  }

  /** Whether bytes are in S3 alone, in parts of an upload that is not complete. */
  get hasReleased(): boolean {
    return !this.#released.isEmpty;
  }

  /** Ranges whose bytes may differ from the base, ascending. */
  get changed(): readonly ByteRange[] {
    return this.#changed.ranges;
  }

  /** Whether bytes of a range are in S3 alone, in parts of an upload that is not complete. */
  isReleased(start: number, end: number): boolean {
    return this.#released.touches(start, end);
  }

  /** Ranges of local bytes that are in none of `sent`, ascending. */
  localOutside(sent: readonly ByteRange[]): readonly ByteRange[] {
    const rest = new RangeSet();
    for (const { start, end } of this.#local.ranges) rest.add(start, end);
    for (const { start, end } of sent) rest.remove(start, end);
    return rest.ranges;
  }

  /** Whether bytes that left are in none of `sent`. */
  lacks(sent: readonly ByteRange[]): boolean {
    const rest = new RangeSet();
    for (const { start, end } of this.#released.ranges) rest.add(start, end);
    for (const { start, end } of sent) rest.remove(start, end);
    return !rest.isEmpty;
  }

  /**
   * The local bytes are written down elsewhere: they go from here, until `wake` brings them back.
   * @param local where they belong
   * @param sent what is in parts
   */
  sleep(local: readonly ByteRange[], sent: readonly ByteRange[]): void {
    this.#spool.dispose();
    this.#tail.dispose();
    this.#closeReader();
    this.#local.clear();
    for (const { start, end } of local) this.#local.add(start, end);
    for (const { start, end } of sent) this.#released.add(start, end);
  }

  /** Takes local bytes back. @throws FsError ENOSPC, or the disk's own error */
  async wake(start: number, bytes: Uint8Array): Promise<void> {
    await this.#spool.write(start, bytes);
  }

  /** Takes over what another process had made of the base. */
  resume({ size, baseEnd, changed }: HeldContent): void {
    this.#size = size;
    this.#baseEnd = baseEnd;
    for (const { start, end } of changed) this.#changed.add(start, end);
  }

  /** @throws FsError ENOSPC, or the disk's own error */
  async write(data: Uint8Array, start: number): Promise<void> {
    await this.#spill();
    if (this.append(data, start)) return;
    await this.#spool.write(start, data);
    this.#noteWritten(start, start + data.length);
  }

  /**
   * Takes bytes at the end of the file without waiting for anything. For who holds the file.
   * @returns false where they have to be written
   */
  append(data: Uint8Array, start: number): boolean {
    if (start !== this.#size || data.length > appendMax || !this.#tail.append(data, start)) {
      return false;
    }
    this.#noteWritten(start, start + data.length);
    return true;
  }

  #noteWritten(start: number, end: number): void {
    this.#local.add(start, end);
    this.#released.remove(start, end);
    this.#changed.add(Math.min(start, this.#size), end);
    this.#size = Math.max(this.#size, end);
  }

  /** Moves what is in memory to the temp file. @throws as write */
  async #spill(): Promise<void> {
    const { range } = this.#tail;
    if (range === undefined) return;
    await this.#spool.write(range.start, this.#tail.bytes);
    this.#tail.clear();
  }

  /** Cuts or grows; a grown part reads as zeros. */
  async truncate(size: number): Promise<void> {
    this.#tail.cut(size);
    await this.#spill();
    const before = this.#size;
    this.#size = size;
    if (size < before) {
      this.#baseEnd = Math.min(this.#baseEnd, size);
      for (const set of [this.#local, this.#changed, this.#released]) set.remove(size, Infinity);
      await this.#spool.truncate(size);
    }
    this.#changed.add(Math.min(size, before), size);
  }

  /** Bytes of [offset, offset + length) as far as the file reaches. */
  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array[]> {
    const end = Math.min(offset + length, this.#size);
    if (end <= offset) return [];
    const bytes = new Uint8Array(end - offset);
    await this.fill(bytes, offset, { signal });
    return [bytes];
  }

  /**
   * Sends a range by `send`. Where S3 compares the bytes with the checksum of what was written, they
   * are compared here only once it has refused them: the disk's fault is EIO, the wire's is S3's.
   */
  async sendLoaded<T>(
    { start, end }: ByteRange,
    send: (loaded: LoadedRange) => Promise<T>,
  ): Promise<T> {
    const { buffers } = this.#context.reading.objects.memory;
    const bytes = buffers.take(end - start);
    const compare = !this.#context.store.comparesCrc32;
    const crc32 = await this.fill(bytes, start, { compare });
    try {
      const answer = await send({ bytes, crc32 });
      // After a failure a broken connection may still hold them.
      buffers.give(bytes);
      return answer;
    } catch (error) {
      if (!compare && isStoreError(error, 'corrupt')) await this.fill(bytes, start);
      throw error;
    }
  }

  /**
   * Fills `into` with the bytes from `offset` on.
   * @param options.compare false: whoever gets the bytes compares them with the checksum
   * @returns their CRC32; for local bytes the one that was computed when they were written
   * @throws FsError ENOSPC if some of them were released, EIO if the disk changed them
   */
  async fill(
    into: Uint8Array,
    offset: number,
    { compare = true, signal }: { compare?: boolean; signal?: AbortSignal | undefined } = {},
  ): Promise<number> {
    let sum = 0;
    for (const { start, end, inside } of this.#local.split(offset, offset + into.length)) {
      const part = into.subarray(start - offset, end - offset);
      const partSum = inside
        ? await this.#fillLocal(part, start, compare)
        : await this.#fillUnstaged(part, start, signal);
      sum = combineCrc32(sum, partSum, part.length);
    }
    return sum;
  }

  async #fillLocal(into: Uint8Array, offset: number, compare: boolean): Promise<number> {
    let sum = 0;
    for (let done = 0; done < into.length;) {
      const at = offset + done;
      // Looked at anew for each part: it may have gone to the spool meanwhile.
      const { start, end } = this.#tail.range ?? nowhere;
      const isInTail = at >= start && at < end;
      const until = isInTail ? end : at < start ? start : Infinity;
      const part = into.subarray(done, Math.min(into.length, until - offset));
      if (isInTail) part.set(this.#tail.bytes.subarray(at - start, at - start + part.length));
      const partSum = isInTail ? crc32(part) : await this.#spool.read(part, at, compare);
      sum = combineCrc32(sum, partSum, part.length);
      done += part.length;
    }
    return sum;
  }

  /** A range to be read piece by piece, again for each attempt to send it. */
  source({ start, end }: ByteRange): Source {
    const read = async (into: Uint8Array, offset: number): Promise<void> => {
      await this.fill(into, start + offset);
    };
    return { size: end - start, read };
  }

  isLocal({ start, end }: ByteRange): boolean {
    return this.#local.covers(start, end);
  }

  isChanged({ start, end }: ByteRange): boolean {
    return this.#changed.touches(start, end);
  }

  /** Ranges below `end` that equal the base, ascending. */
  unchanged(end: number): ByteRange[] {
    if (this.#base === undefined) return [];
    return this.#changed
      .split(0, Math.min(end, this.#baseEnd))
      .filter((piece) => !piece.inside)
      .map(({ start, end: stop }) => ({ start, end: stop }));
  }

  /** Stages the base itself; it is short. */
  async fetchBase(): Promise<void> {
    let offset = 0;
    for (const piece of await this.#readBase(0, this.#baseEnd)) {
      await this.#spool.write(offset, piece);
      offset += piece.length;
    }
    this.#local.add(0, this.#baseEnd);
  }

  /**
   * Gives local bytes back to the disk that are in acknowledged parts.
   * @param sent the parts
   * @param kept bytes at the beginning of the file that stay
   */
  release(sent: readonly ByteRange[], kept: number): void {
    // Together: what the disk gives back may be larger than a part.
    const together = new RangeSet();
    for (const { start, end } of sent) together.add(Math.max(start, kept), end);
    for (const { start, end } of together.ranges) {
      for (const gone of this.#releaseWithin(start, end)) this.#released.add(gone.start, gone.end);
    }
  }

  /** No byte of the base is left. */
  dropBase(): void {
    this.#closeReader();
    this.#base = undefined;
  }

  /** The base is at another key now. */
  moveBase(moved: ObjectInfo): void {
    this.#closeReader();
    this.#base = moved;
  }

  /** S3 has all of it: what is local only saves fetching it again. */
  becomeBase(info: ObjectInfo): void {
    this.#closeReader();
    this.#base = info;
    this.#baseEnd = this.#size;
    this.#changed.clear();
    this.#released.clear();
    this.#releaseWithin(0, this.#size);
  }

  dispose(): void {
    this.#spool.dispose();
    this.#tail.dispose();
    this.#local.clear();
    this.#closeReader();
  }

  #releaseWithin(start: number, end: number): ByteRange[] {
    const ranges = this.#spool.release(start, end);
    for (const gone of ranges) {
      this.#local.remove(gone.start, gone.end);
      const { range } = this.#tail;
      if (range !== undefined && range.start >= gone.start && range.end <= gone.end) {
        this.#tail.clear();
      }
    }
    return ranges;
  }

  /** Bytes of the base, and zeros behind its end. */
  async #fillUnstaged(into: Uint8Array, start: number, signal?: AbortSignal): Promise<number> {
    this.#refuseIfReleased({ start, end: start + into.length });
    const fromBase = Math.min(into.length, Math.max(0, this.#baseEnd - start));
    let done = 0;
    if (fromBase > 0) {
      for (const piece of await this.#readBase(start, start + fromBase, signal)) {
        into.set(piece, done);
        done += piece.length;
      }
      if (done !== fromBase) throw new FsError('EIO', `${this.#path()}: the base ended early`);
    }
    into.fill(0, fromBase);
    return crc32(into);
  }

  async #readBase(start: number, end: number, signal?: AbortSignal): Promise<Uint8Array[]> {
    if (this.#base === undefined) {
      throw new FsError('EIO', `${this.#path()} has no base to read from`);
    }
    this.#baseReader ??= new Reader(this.#context.store, this.#base, this.#context.reading);
    return await this.#baseReader.read(start, end - start, { signal });
  }

  #closeReader(): void {
    this.#baseReader?.close();
    this.#baseReader = undefined;
  }

  /** Bytes given back to the disk cannot be had again before the upload is complete. */
  #refuseIfReleased({ start, end }: ByteRange): void {
    if (!this.#released.touches(start, end)) return;
    throw new FsError(
      'ENOSPC',
      `bytes ${start} to ${end} of ${this.#path()} have left the temp directory and are needed again; raise --temp-limit`,
    );
  }
}
