/**
 * Reads one version of one object, for one handle.
 *
 * Every GET carries the ETag the handle was opened on, so the bytes handed out are of one version or
 * an error. Sequential reads fetch whole parts on a fixed grid, each once, and run ahead as far as
 * they have come; a read elsewhere fetches what it asks for and stops running ahead. The kernel may
 * reorder neighbouring reads, so a small step back or ahead still counts as sequential.
 */
import type { Budget } from './budget.js';
import { FsError, isStoreError, toFsError } from './errors.js';
import type { ByteRange, ObjectInfo, ObjectStore } from './store.js';

export interface ReaderSettings {
  /** bytes fetched by one GET of a sequential read */
  readonly partSize: number;
  /** GETs in flight for one reader */
  readonly concurrency: number;
  /** bytes all readers of the mount may hold */
  readonly memory: Budget;
}

/** The kernel's read-ahead may arrive this far out of order (a request is at most 1 MiB). */
const tolerance = 2 * 1024 * 1024;

/** One GET under way or done, with the bytes that have come so far. */
class Fetch implements ByteRange {
  readonly start: number;
  readonly end: number;
  readonly #abort = new AbortController();
  readonly #bytes: Buffer;
  #received = 0;
  #takers = 0;
  #served = 0;
  #failure: { error: unknown } | undefined;
  #waiting: (() => void)[] = [];
  /** whether the memory budget was charged for it */
  readonly isCharged: boolean;

  constructor(store: ObjectStore, info: ObjectInfo, range: ByteRange, isCharged: boolean) {
    this.start = range.start;
    this.end = range.end;
    this.isCharged = isCharged;
    this.#bytes = Buffer.allocUnsafeSlow(range.end - range.start);
    void this.#run(store, info);
  }

  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  /** Whether somebody waits for bytes of it. */
  get isAwaited(): boolean {
    return this.#takers > 0;
  }

  /** Whether as many bytes were handed out as it has: the kernel keeps them and asks once. */
  get isServed(): boolean {
    return this.#served >= this.end - this.start;
  }

  /** Bytes of [start, end), once they are here. */
  async take(start: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
    this.#takers++;
    try {
      while (this.#received < end - this.start) {
        if (this.#failure !== undefined) throw this.#failure.error;
        if (signal?.aborted === true) throw new FsError('EINTR', 'the read was interrupted');
        await this.#progress(signal);
      }
      this.#served += end - start;
      return this.#bytes.subarray(start - this.start, end - this.start);
    } finally {
      this.#takers--;
    }
  }

  cancel(): void {
    this.#abort.abort();
  }

  async #run(store: ObjectStore, info: ObjectInfo): Promise<void> {
    try {
      const { body } = await store.get(info.key, {
        range: { start: this.start, end: this.end },
        ifMatch: info.etag,
        signal: this.#abort.signal,
      });
      for await (const chunk of body) {
        this.#bytes.set(chunk, this.#received);
        this.#received += chunk.length;
        this.#wake();
      }
      if (this.#received !== this.end - this.start) throw new FsError('EIO', 'a body ended early');
    } catch (error) {
      this.#failure = { error };
      this.#wake();
    }
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

export class Reader {
  readonly #store: ObjectStore;
  readonly #info: ObjectInfo;
  readonly #settings: ReaderSettings;
  /** in order of use, the latest last */
  #fetches: Fetch[] = [];
  /** end of the furthest read of the current sequential run */
  #position = 0;
  /** bytes read in the current sequential run */
  #run = 0;

  constructor(store: ObjectStore, info: ObjectInfo, settings: ReaderSettings) {
    this.#store = store;
    this.#info = info;
    this.#settings = settings;
  }

  /** The version this reader reads. */
  get info(): ObjectInfo {
    return this.#info;
  }

  /**
   * Bytes of [offset, offset + length) as far as the object reaches; none, and no request, past it.
   * @throws FsError ESTALE if the object is another one now, EIO, EACCES, EINTR
   */
  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array[]> {
    const end = Math.min(offset + length, this.#info.size);
    if (offset >= end) return [];
    const isSequential = this.#follow(offset, end);
    const wanted: { fetch: Fetch; start: number; end: number }[] = [];
    for (let at = offset; at < end;) {
      const fetch = this.#covering(at) ?? this.#demand(at, end, isSequential);
      const stop = Math.min(end, fetch.end);
      wanted.push({ fetch, start: at, end: stop });
      at = stop;
    }
    if (isSequential) this.#runAhead();
    this.#evict(new Set(wanted.map(({ fetch }) => fetch)));
    try {
      return await Promise.all(
        wanted.map(({ fetch, start, end: stop }) => fetch.take(start, stop, signal)),
      );
    } catch (error) {
      this.#forget((fetch) => fetch.hasFailed);
      throw readFailure(error, this.#info.key);
    }
  }

  /** Cancels what is under way and frees the memory. */
  close(): void {
    this.#forget(() => true);
  }

  /** Keeps track of the access pattern. @returns whether this read goes on where others were */
  #follow(offset: number, end: number): boolean {
    const isSequential = Math.abs(offset - this.#position) <= tolerance;
    this.#run = isSequential ? this.#run + Math.max(0, end - this.#position) : 0;
    this.#position = isSequential ? Math.max(this.#position, end) : end;
    return isSequential;
  }

  #covering(offset: number): Fetch | undefined {
    const index = this.#fetches.findLastIndex(
      (fetch) => fetch.start <= offset && fetch.end > offset && !fetch.hasFailed,
    );
    const fetch = this.#fetches[index];
    if (fetch === undefined) return undefined;
    this.#fetches.splice(index, 1);
    this.#fetches.push(fetch);
    return fetch;
  }

  /** A fetch that has to be made because somebody waits for it. */
  #demand(offset: number, end: number, isSequential: boolean): Fetch {
    const part = this.#partEnd(offset);
    const whole = isSequential
      ? { start: this.#sequentialStart(offset), end: part }
      : { start: offset, end: Math.min(part, end) };
    if (this.#settings.memory.tryTake(whole.end - whole.start)) return this.#begin(whole, true);
    // Memory is short: as little as will do, uncharged, since the caller cannot go on without.
    return this.#begin({ start: offset, end: Math.min(part, end) }, false);
  }

  /** Where a part asked for by a read that came before its neighbours has to begin. */
  #sequentialStart(offset: number): number {
    const start = Math.floor(offset / this.#settings.partSize) * this.#settings.partSize;
    const isFree = this.#fetches.every((fetch) => fetch.end <= start || fetch.start > offset);
    return isFree && offset - start <= tolerance ? start : offset;
  }

  /** Starts the parts that lie as far ahead as the run is long. */
  #runAhead(): void {
    const { partSize, concurrency, memory } = this.#settings;
    const window = Math.min(this.#run, concurrency * partSize);
    const limit = Math.min(this.#info.size, this.#position + window);
    for (let at = this.#partEnd(this.#position - 1); at < limit; at = this.#partEnd(at)) {
      if (this.#covering(at) !== undefined) continue;
      const range = { start: at, end: this.#partEnd(at) };
      if (!memory.tryTake(range.end - range.start)) return;
      this.#begin(range, true);
    }
  }

  /** End of the part that `offset` lies in: of the grid, the object, or where other bytes begin. */
  #partEnd(offset: number): number {
    const { partSize } = this.#settings;
    const end = Math.min(this.#info.size, (Math.floor(offset / partSize) + 1) * partSize);
    const next = this.#fetches
      .filter((fetch) => fetch.start > offset && !fetch.hasFailed)
      .map((fetch) => fetch.start);
    return Math.min(end, ...next);
  }

  #begin(range: ByteRange, isCharged: boolean): Fetch {
    const fetch = new Fetch(this.#store, this.#info, range, isCharged);
    this.#fetches.push(fetch);
    return fetch;
  }

  /** Drops what lies behind a sequential reader, and the least recently used beyond a few. */
  #evict(inUse: ReadonlySet<Fetch>): void {
    const behind = this.#position - tolerance;
    const most = this.#settings.concurrency + 2;
    let surplus = this.#fetches.length - most;
    this.#forget((fetch) => {
      if (inUse.has(fetch) || fetch.isAwaited) return false;
      const isPassed = this.#run > 0 && fetch.end <= behind && fetch.isServed;
      return isPassed || surplus-- > 0;
    });
  }

  #forget(isUseless: (fetch: Fetch) => boolean): void {
    this.#fetches = this.#fetches.filter((fetch) => {
      if (!isUseless(fetch)) return true;
      fetch.cancel();
      if (fetch.isCharged) this.#settings.memory.give(fetch.end - fetch.start);
      return false;
    });
  }
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
