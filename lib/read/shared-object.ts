/**
 * The bytes of one version of an object that are in memory or on their way, for all its readers.
 *
 * Chunks never overlap. What of one a reader keeps or waits for stays, and it is ended the moment
 * nobody does. A chunk's checksum outlives it, so that when the whole object has passed,
 * in whatever order, it can be compared with the one S3 keeps of it: ranged GETs carry none.
 */
import { combineCrc32 } from '../crc32.js';
import { FsError } from '../errors.js';
import { Chunk } from './chunk.js';
import type { HedgePolicy } from './hedging.js';
import type { Lend } from '../operations.js';
import type { ReadMemory } from './memory.js';
import { crc32OfSecond, wrongSum } from '../second-reading.js';
import type { Holder } from '../limits/shares.js';
import type { ByteRange, ObjectInfo, ObjectStore } from '../store.js';

/** Checksums remembered of one object: random reads of a large one would go on for ever. */
const mostSums = 20_000;

/** What one reader wants kept of the object. */
export interface Retention {
  /** in memory */
  readonly keeps: ByteRange;
  /** from here on also what was delivered to nobody yet */
  readonly undeliveredFrom: number;
}

export interface SharedObjectParts {
  readonly store: ObjectStore;
  readonly info: ObjectInfo;
  readonly memory: ReadMemory;
  /** whose memory it is */
  readonly holder: Holder;
  readonly hedging: HedgePolicy;
  /** nobody should find it any more: the last reader has left, or its bytes are wrong */
  readonly onUnused: () => void;
}

export class SharedObject {
  readonly info: ObjectInfo;
  readonly #parts: SharedObjectParts;
  readonly #retentions = new Set<Retention>();
  /** ascending */
  #chunks: Chunk[] = [];
  /** checksums of chunks that came, by their start */
  readonly #sums = new Map<number, { end: number; crc: number }>();
  #isWrong = false;

  constructor(parts: SharedObjectParts) {
    this.#parts = parts;
    this.info = parts.info;
  }

  /** Whether what came was not what S3 keeps. */
  get isWrong(): boolean {
    return this.#isWrong;
  }

  /** Ascending, without overlaps. */
  get present(): readonly ByteRange[] {
    if (this.#chunks.some(({ hasFailed }) => hasFailed)) this.sweep();
    return this.#chunks;
  }

  /** Bytes of the memory that its chunks have. */
  get held(): number {
    return this.#chunks.reduce((sum, { held }) => sum + held, 0);
  }

  /** @throws Error where its chunks overlap or one is not in order; for tests */
  check(): void {
    let at = 0;
    for (const chunk of this.#chunks) {
      chunk.check();
      if (chunk.start < at) throw new Error(`chunks overlap at ${chunk.start}`);
      at = chunk.end;
    }
  }

  join(retention: Retention): void {
    this.#retentions.add(retention);
  }

  leave(retention: Retention): void {
    this.#retentions.delete(retention);
    this.sweep();
    if (this.#retentions.size === 0) this.#parts.onUnused();
  }

  at(offset: number): Chunk | undefined {
    return this.#chunks.find((chunk) => chunk.start <= offset && chunk.end > offset);
  }

  /** The bytes of [start, end), or undefined where not all of them are in memory. */
  takeNow(start: number, end: number, lend: Lend | undefined): Uint8Array[] | undefined {
    const parts: { chunk: Chunk; from: number; to: number }[] = [];
    for (let from = start; from < end;) {
      const chunk = this.at(from);
      const to = Math.min(end, chunk?.end ?? end);
      if (chunk?.has(from, to) !== true) return undefined;
      parts.push({ chunk, from, to });
      from = to;
    }
    return parts.flatMap(({ chunk, from, to }) => chunk.hand(from, to, lend));
  }

  /** Begins to fetch a range that is not present. @returns whether there was memory for it */
  tryFetch(range: ByteRange): boolean {
    const charge = range.end - range.start;
    const { memory, holder } = this.#parts;
    if (!memory.tryTake(charge, holder)) return false;
    this.#begin(range, charge);
    return true;
  }

  /** The same where there is none: its bytes come as there is room, or as somebody waits for them. */
  fetchSlowly(range: ByteRange): void {
    this.#begin(range, 0);
  }

  /** Drops what no reader keeps, and what failed. */
  sweep(): void {
    const kept: Chunk[] = [];
    for (const chunk of this.#chunks) {
      if (!chunk.hasFailed) chunk.trim((segment) => this.#isWanted(segment));
      // A read that failed for one chunk may still wait for another; with its reader it ends.
      const isAwaited = chunk.isAwaited && this.#retentions.size > 0;
      const isLeft = chunk.start < chunk.end && !chunk.hasFailed;
      if (isLeft && (isAwaited || this.#isWanted(chunk))) kept.push(chunk);
      else chunk.drop();
    }
    this.#chunks = kept;
  }

  /**
   * Once all bytes have passed: compares them with the checksum that S3 keeps. Where it keeps none of
   * a kind known here, where attributes came by a listing, which names none, or where bytes were never
   * fetched, there is nothing to compare.
   * @throws FsError EIO where it differs
   */
  async verify(): Promise<void> {
    const first = this.at(0);
    // One GET of the whole was compared by the store.
    if (first?.end === this.info.size) return;
    const stored = this.info.crc32;
    if (stored === undefined) return;
    const sum = await this.#sumOfAll();
    if (sum === undefined || stored === sum) return;
    // Whoever opens it from now on fetches it anew.
    this.#isWrong = true;
    this.#parts.onUnused();
    const again = await crc32OfSecond(this.#parts.store, this.info);
    const isConfirmed = again === undefined ? undefined : again === sum;
    throw new FsError('EIO', `${this.info.key}: ${wrongSum(isConfirmed)}`);
  }

  #begin(range: ByteRange, charge: number): void {
    const { store, memory, holder, hedging } = this.#parts;
    const { info } = this;
    // What one GET brings as a whole is compared by the store.
    const isWhole = range.start === 0 && range.end === info.size;
    const isSummed = info.crc32 !== undefined && !isWhole && this.#sums.size < mostSums;
    const chunk = new Chunk({ store, info, range, memory, holder, charge, hedging, isSummed });
    const before = this.#chunks.findIndex(({ start }) => start > chunk.start);
    this.#chunks.splice(before < 0 ? this.#chunks.length : before, 0, chunk);
    if (!isSummed) return;
    void chunk.settled.then(() => {
      if (chunk.isComplete) this.#sums.set(chunk.origin, { end: chunk.end, crc: chunk.crc });
    });
  }

  #isWanted({ start, end, isServed }: ByteRange & { readonly isServed: boolean }): boolean {
    for (const { keeps, undeliveredFrom } of this.#retentions) {
      const from = isServed ? keeps.start : Math.min(keeps.start, undeliveredFrom);
      if (start < keeps.end && end > from) return true;
    }
    return false;
  }

  async #sumOfAll(): Promise<number | undefined> {
    let sum = 0;
    for (let at = 0; at < this.info.size;) {
      // Only a chunk that begins here can close the gap.
      if (!this.#sums.has(at)) await this.#chunks.find(({ origin }) => origin === at)?.settled;
      const next = this.#sums.get(at);
      if (next === undefined) return undefined;
      sum = combineCrc32(sum, next.crc, next.end - at);
      at = next.end;
    }
    return sum;
  }
}
