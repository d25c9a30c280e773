/**
 * One range of one version of an object on its way into memory, and who waits for it.
 *
 * Bytes are handed out as they come. A GET that lags far behind others of its size gets a rival for
 * what is missing; whichever is complete first wins, the other is ended.
 */
import { FsError, isStoreError } from './errors.js';
import type { Lag } from './lag.js';
import type { Lend } from './operations.js';
import type { SpareBuffers } from './spare-buffers.js';
import type { ByteRange, ObjectInfo, ObjectStore } from './store.js';

/** GETs of bytes whose checksum is wrong. */
const maxAttempts = 3;
const nothing = Buffer.alloc(0);

export interface ChunkParts {
  readonly store: ObjectStore;
  readonly info: ObjectInfo;
  readonly range: ByteRange;
  /** bytes charged to the memory budget for it, given back when it is dropped */
  readonly charge: number;
  readonly lag: Lag;
  readonly buffers: SpareBuffers;
}

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  /** from who tells when the bytes are not looked at any more; else they are never changed */
  readonly lend?: Lend | undefined;
}

export class Chunk implements ByteRange {
  readonly start: number;
  readonly end: number;
  readonly charge: number;
  /** resolves when all bytes are here or none will come */
  readonly settled: Promise<void>;
  readonly #parts: ChunkParts;
  readonly #abort = new AbortController();
  #bytes: Buffer;
  #received = 0;
  #takers = 0;
  /** bytes handed out, repeated ones too */
  #served = 0;
  /** bytes were handed out for good */
  #isKept = false;
  /** how often bytes were handed out that did not come back yet */
  #lent = 0;
  /** dropped, and nothing is under way */
  #isOver = false;
  #failure: { error: unknown } | undefined;
  #waiting: (() => void)[] = [];

  /** Begins to fetch at once. */
  constructor(parts: ChunkParts) {
    const { start, end } = parts.range;
    this.start = start;
    this.end = end;
    this.charge = parts.charge;
    this.#parts = parts;
    this.#bytes = parts.buffers.take(end - start);
    this.settled = this.#run();
  }

  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  get isComplete(): boolean {
    return this.#received === this.#bytes.length;
  }

  /** Whether somebody waits for bytes of it. */
  get isAwaited(): boolean {
    return this.#takers > 0;
  }

  /** Whether as many bytes were handed out as it has: the kernel keeps them and asks once. */
  get isServed(): boolean {
    return this.#served >= this.#bytes.length;
  }

  /** All bytes of a complete chunk. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /**
   * Bytes of [start, end) of the object, once they are here.
   * @throws FsError EINTR; whatever the GET failed with
   */
  async take(start: number, end: number, { signal, lend }: ReadOptions = {}): Promise<Uint8Array> {
    this.#takers++;
    try {
      while (this.#received < end - this.start) {
        if (this.#failure !== undefined) throw this.#failure.error;
        if (signal?.aborted === true) throw new FsError('EINTR', 'the read was interrupted');
        await this.#progress(signal);
      }
      this.#served += end - start;
      this.#noteLoan(lend);
      return this.#bytes.subarray(start - this.start, end - this.start);
    } finally {
      this.#takers--;
    }
  }

  /** Ends what is under way. Nobody finds it any more; who has bytes of it may look at them still. */
  drop(): void {
    this.#abort.abort();
    void this.settled.then(() => {
      this.#isOver = true;
      this.#recycle();
    });
  }

  #noteLoan(lend: Lend | undefined): void {
    if (lend === undefined) {
      this.#isKept = true;
      return;
    }
    this.#lent++;
    lend(() => {
      this.#lent--;
      this.#recycle();
    });
  }

  #recycle(): void {
    if (!this.#isOver || this.#isKept || this.#lent > 0 || this.#takers > 0) return;
    this.#isOver = false;
    this.#parts.buffers.give(this.#bytes);
    // Whoever looks at it in spite of all that finds nothing, rather than another file.
    this.#bytes = nothing;
  }

  async #run(): Promise<void> {
    const beganMs = performance.now();
    try {
      await this.#fetch();
      this.#parts.lag.note(this.#bytes.length, performance.now() - beganMs);
    } catch (error) {
      this.#failure = { error };
    } finally {
      this.#abort.abort();
      this.#wake();
    }
  }

  /** Bytes that are not what S3 stored are fetched again, as long as nobody has seen them. */
  async #fetch(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#race();
        return;
      } catch (error) {
        const isRetried =
          isStoreError(error, 'corrupt') && this.#served === 0 && attempt < maxAttempts;
        if (!isRetried) throw error;
        this.#received = 0;
      }
    }
  }

  /** One GET, or it and its rival: the first that is complete ends it, or the failure of all. */
  async #race(): Promise<void> {
    let stopWatching: () => void = () => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        let running = 0;
        const begin = (from: number): void => {
          running++;
          this.#pull(from).then(resolve, (error: unknown) => {
            running--;
            if (running === 0) reject(error instanceof Error ? error : new Error(String(error)));
          });
        };
        begin(0);
        stopWatching = this.#parts.lag.watch(this.#bytes.length, () => begin(this.#received));
      });
    } finally {
      stopWatching();
    }
  }

  /** Reads from `from`, an offset in this chunk, to the end. */
  async #pull(from: number): Promise<void> {
    const { store, info } = this.#parts;
    const isWhole = this.start + from === 0 && this.end === info.size;
    const { body } = await store.get(info.key, {
      // Without a range S3's checksum comes along, and is compared.
      ...(isWhole ? {} : { range: { start: this.start + from, end: this.end } }),
      ifMatch: info.etag,
      signal: this.#abort.signal,
    });
    let at = from;
    for await (const piece of body) {
      // A rival was faster: the memory may be another chunk's by now.
      if (this.#abort.signal.aborted) throw new FsError('EINTR', 'the bytes are not wanted');
      if (at + piece.length > this.#bytes.length) throw new FsError('EIO', 'a body is too long');
      this.#bytes.set(piece, at);
      at += piece.length;
      if (at <= this.#received) continue;
      this.#received = at;
      this.#wake();
    }
    if (at !== this.#bytes.length) throw new FsError('EIO', 'a body ended early');
  }

  async #progress(signal?: AbortSignal): Promise<void> {
    let wake: () => void = () => undefined;
    const woken = new Promise<void>((resolve) => {
      wake = () => {
        resolve();
      };
    });
    this.#waiting.push(wake);
    signal?.addEventListener('abort', wake, { once: true });
    await woken;
    signal?.removeEventListener('abort', wake);
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
