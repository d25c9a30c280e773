/**
 * One range of one version of an object on its way into memory, and who waits for it.
 *
 * Bytes are handed out as they come, and their memory is given back from the front while the rest is
 * still coming. Where memory is short, the GET is not made shorter, which would cost more of them: it
 * waits with the bytes that nobody asked for yet, so that S3 sends no more until there is room.
 *
 * A GET that lags far behind others of its size is hedged by a second one for what is missing;
 * whichever is complete first wins, the other is ended.
 *
 * States:
 *
 *   coming ──last byte──▶ complete ──drop──▶ dropped
 *     │ └──GET failed, or bytes wrong that were seen──▶ failed ──drop──▶ dropped
 *     └──drop──▶ dropped
 *
 * `settled` resolves when `coming` is left. `failed` and `dropped` both have `#failure`: `take` throws
 * it. A chunk whose bytes came wrong and were not seen goes back to `#received = origin`, still coming.
 *
 * Invariants (`check` tells of the first that is broken):
 *  1. origin ≤ start ≤ received ≤ end, while it has not failed.
 *  2. The segments hold [start, received) without a gap; all but the last have `segmentBytes`.
 *  3. What it holds of the memory is `#reserved` and the charge of its segments, each given back once.
 *  4. A byte that was handed out is never fetched a second time into this chunk.
 *  5. Bytes a taker waits for are not trimmed; `drop` alone takes them away, and wakes the taker.
 *
 * Callers: any reader may call `take`; only the shared object that owns the chunk calls `hand`, `trim` and
 * `drop`, and looks it up no more after `drop`; none may be called while the segments are iterated, since
 * giving memory back wakes others at once.
 */
import { crc32 } from 'node:zlib';
import { FsError, isStoreError } from '../errors.js';
import type { Lend } from '../operations.js';
import type { HedgePolicy } from './hedging.js';
import type { ReadMemory } from './memory.js';
import { Progress } from './progress.js';
import { Segment, segmentBytes } from './segment.js';
import type { Holder } from '../limits/shares.js';
import type { ByteRange, ObjectInfo, ObjectStore } from '../store.js';

/** For every abort: the one that AbortController makes has a stack, which costs more than all else about it. */
const isOver = Object.assign(new Error('the bytes are not wanted'), { name: 'AbortError' });

/** GETs of bytes whose checksum is wrong. */
const maxAttempts = 3;

export interface ChunkParts {
  readonly store: ObjectStore;
  readonly info: ObjectInfo;
  readonly range: ByteRange;
  readonly memory: ReadMemory;
  /** whose memory it is */
  readonly holder: Holder;
  /** bytes of the memory taken for it already; the rest is taken as it comes */
  readonly charge: number;
  readonly hedging: HedgePolicy;
  /** whether its checksum is wanted */
  readonly isSummed: boolean;
}

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  /** from who tells when the bytes are not looked at any more; else they are never changed */
  readonly lend?: Lend | undefined;
}

export class Chunk implements ByteRange {
  /** where it began, before memory was given back */
  readonly origin: number;
  readonly end: number;
  /** resolves when all bytes are here or none will come */
  readonly settled: Promise<void>;
  readonly #parts: ChunkParts;
  readonly #abort = new AbortController();
  /** those in memory, in order */
  #segments: Segment[] = [];
  /** offset in the object of the first of them */
  #start: number;
  /** offset in the object of the first byte that is not here yet */
  #received: number;
  /** memory taken for segments to come */
  #reserved: number;
  #crc = 0;
  /** bytes were handed out, or are not in memory any more */
  #wasSeen = false;
  readonly #takers = new Set<ByteRange>();
  /** it may have to wait for memory, so how long it takes says nothing of S3 */
  readonly #isMemoryBound: boolean;
  #failure: { error: unknown } | undefined;
  /** bytes came, memory came free, or it ended */
  readonly #progress = new Progress();

  /** Begins to fetch at once. */
  constructor(parts: ChunkParts) {
    const { start, end } = parts.range;
    this.origin = start;
    this.end = end;
    this.#parts = parts;
    this.#start = start;
    this.#received = start;
    this.#reserved = parts.charge;
    this.#isMemoryBound = parts.charge < end - start;
    this.settled = this.#run();
  }

  /** The first byte that is in memory or on its way. */
  get start(): number {
    return this.#start;
  }

  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  get isComplete(): boolean {
    return this.#received === this.end;
  }

  /** Whether somebody waits for bytes of it. */
  get isAwaited(): boolean {
    return this.#takers.size > 0;
  }

  /** Whether all of it that is in memory was handed out, and nothing is on its way. */
  get isServed(): boolean {
    return this.isComplete && this.#segments.every(({ isServed }) => isServed);
  }

  /** Bytes of the memory that it has. */
  get held(): number {
    return this.#segments.reduce((sum, { charge }) => sum + charge, this.#reserved);
  }

  /** @throws Error where an invariant of the head is broken; for tests */
  check(): void {
    if (this.hasFailed) return;
    const { origin, start, end } = this;
    const isOrdered = origin <= start && start <= this.#received && this.#received <= end;
    const length = this.#segments.reduce((sum, segment) => sum + segment.length, 0);
    const isWhole = this.#segments.slice(0, -1).every((each) => each.length === segmentBytes);
    if (isOrdered && isWhole && start + length >= this.#received) return;
    throw new Error(`chunk ${origin}: ${start}+${length}, received ${this.#received} of ${end}`);
  }

  /** CRC-32 of all its bytes, once complete, if it was wanted. */
  get crc(): number {
    return this.#crc;
  }

  /**
   * Bytes of [start, end) of the object, once they are here.
   * @throws FsError EINTR; whatever the GET failed with
   */
  async take(
    start: number,
    end: number,
    { signal, lend }: ReadOptions = {},
  ): Promise<Uint8Array[]> {
    const taker = { start, end };
    this.#takers.add(taker);
    // It may be waiting for memory, and does not have to any more.
    if (this.#received < end) this.#progress.wake();
    try {
      while (this.#received < end || this.#start > start) {
        if (this.#failure !== undefined) throw this.#failure.error;
        if (signal?.aborted === true) throw new FsError('EINTR', 'the read was interrupted');
        await this.#progress.next(signal);
      }
      return this.hand(start, end, lend);
    } finally {
      this.#takers.delete(taker);
      if (this.#isMemoryBound && !this.isComplete) this.#progress.wake();
    }
  }

  /** Whether all bytes of [start, end) are in memory. */
  has(start: number, end: number): boolean {
    return !this.hasFailed && this.#start <= start && end <= this.#received;
  }

  /** Gives back the memory of the first segments, up to one that somebody wants or waits for. */
  trim(isWanted: (part: ByteRange & { readonly isServed: boolean }) => boolean): void {
    for (;;) {
      const [segment] = this.#segments;
      if (segment === undefined) return;
      const { isServed } = segment;
      const range = { start: this.#start, end: this.#start + segment.length };
      if (range.end > this.#received || this.#isAwaited(range)) return;
      if (isWanted({ ...range, isServed })) return;
      this.#wasSeen = true;
      this.#segments.shift();
      this.#start = range.end;
      this.#release(segment);
    }
  }

  /** Ends the GET. No new views are handed out; views that are lent stay valid until they come back. */
  drop(): void {
    this.#abort.abort(isOver);
    for (const segment of this.#segments) this.#release(segment);
    this.#segments = [];
    this.#start = this.end;
    this.#giveBack(this.#reserved);
    this.#reserved = 0;
    this.#failure ??= { error: new FsError('EINTR', 'the bytes are not wanted') };
    this.#progress.wake();
  }

  #isAwaited({ start, end }: ByteRange): boolean {
    for (const taker of this.#takers) if (taker.start < end && taker.end > start) return true;
    return false;
  }

  /** The bytes of [start, end), of which `has` says that they are here. */
  hand(start: number, end: number, lend: Lend | undefined): Uint8Array[] {
    this.#wasSeen = true;
    const pieces: Uint8Array[] = [];
    for (let at = start; at < end;) {
      const { segment, from } = this.#segmentAt(at);
      if (segment === undefined) throw new Error(`no bytes at ${at}`);
      const length = Math.min(end - at, segment.length - from);
      pieces.push(segment.hand(from, from + length, lend));
      at += length;
    }
    return pieces;
  }

  #segmentAt(offset: number): { segment: Segment | undefined; from: number } {
    const index = Math.floor((offset - this.#start) / segmentBytes);
    return { segment: this.#segments[index], from: offset - this.#start - index * segmentBytes };
  }

  #release(segment: Segment): void {
    segment.release();
    this.#giveBack(segment.charge);
  }

  #giveBack(bytes: number): void {
    const { memory, holder } = this.#parts;
    if (bytes > 0) memory.give(bytes, holder);
  }

  async #run(): Promise<void> {
    try {
      await this.#fetch();
    } catch (error) {
      this.#failure ??= { error };
    } finally {
      this.#abort.abort(isOver);
      this.#progress.wake();
    }
  }

  /** Bytes that are not what S3 stored are fetched again, as long as nobody has seen them. */
  async #fetch(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#get();
        return;
      } catch (error) {
        const isRetried = isStoreError(error, 'corrupt') && !this.#wasSeen && attempt < maxAttempts;
        if (!isRetried) throw error;
        this.#received = this.origin;
        this.#crc = 0;
      }
    }
  }

  /** From the first byte that is missing to the end; hedged, unless memory may be what it waits for. */
  async #get(): Promise<void> {
    const pull = (): Promise<void> => this.#pull(this.#received);
    if (this.#isMemoryBound) await pull();
    else await this.#parts.hedging.race(this.end - this.origin, pull);
  }

  /** Reads from `from` to the end. */
  async #pull(from: number): Promise<void> {
    const { store, info } = this.#parts;
    const { signal } = this.#abort;
    const isWhole = from === 0 && this.end === info.size;
    const { body } = await store.get(info.key, {
      // Without a range S3's checksum comes along, and is compared.
      ...(isWhole ? { size: info.size } : { range: { start: from, end: this.end } }),
      ifMatch: info.etag,
      signal,
    });
    let at = from;
    await body.drain((bytes) => {
      at += bytes.length;
      if (at > this.end) throw new FsError('EIO', 'a body is too long');
      return this.#store(bytes, at) ? undefined : this.#storeLater(Buffer.from(bytes), at);
    });
    if (at !== this.end) throw new FsError('EIO', 'a body ended early');
  }

  /**
   * Stores what is missing of the bytes before `end`: what the other GET has brought is passed over.
   * @returns whether there was memory for all of them
   */
  #store(bytes: Uint8Array, end: number): boolean {
    while (this.#received < end) {
      if (this.#abort.signal.aborted) throw new FsError('EINTR', 'the bytes are not wanted');
      const { segment, from } = this.#segmentAt(this.#received);
      if (segment !== undefined) this.#add(bytes.subarray(this.#received - end), { segment, from });
      else if (!this.#makeRoom()) return false;
    }
    return true;
  }

  async #storeLater(bytes: Uint8Array, end: number): Promise<void> {
    do {
      const forget = this.#parts.memory.onRoom(() => this.#progress.wake());
      await this.#progress.next();
      forget();
    } while (!this.#store(bytes, end));
  }

  /** As many of `bytes`, which are those that come next, as fit into the segment. */
  #add(bytes: Uint8Array, { segment, from }: { segment: Segment; from: number }): void {
    const added = bytes.subarray(0, segment.length - from);
    segment.write(added, from);
    if (this.#parts.isSummed) this.#crc = crc32(added, this.#crc);
    this.#received += added.length;
    this.#progress.wake();
  }

  /** Memory for the bytes that come next. @returns whether there was some */
  #makeRoom(): boolean {
    const { memory } = this.#parts;
    const length = Math.min(segmentBytes, this.end - this.#received);
    const charge = this.#charge(length);
    if (charge === undefined) return false;
    // The memory may have come from this very chunk, whose reader was evicted.
    if (this.#abort.signal.aborted) this.#giveBack(charge);
    else this.#segments.push(new Segment(length, charge, memory.buffers));
    return true;
  }

  /**
   * Takes memory for the next segment.
   * @returns bytes taken; 0 where one who waits cannot go on without, and nothing else is held for it;
   *   undefined where it has to wait
   */
  #charge(length: number): number | undefined {
    if (this.#reserved >= length) {
      this.#reserved -= length;
      return length;
    }
    const { memory, holder } = this.#parts;
    if (memory.tryTake(length, holder)) return length;
    const taker = this.#firstWaiting();
    if (taker === undefined || taker.start >= this.#received + length) return undefined;
    // What lies before it makes room, unless somebody is about to take that.
    this.trim(({ end }) => end > taker.start);
    if (memory.tryTake(length, holder)) return length;
    return this.#start + segmentBytes > taker.start ? 0 : undefined;
  }

  /** The taker that waits for the first of the bytes that are not here yet. */
  #firstWaiting(): ByteRange | undefined {
    let first: ByteRange | undefined;
    for (const taker of this.#takers) {
      if (taker.end <= this.#received) continue;
      if (first === undefined || taker.start < first.start) first = taker;
    }
    return first;
  }
}
