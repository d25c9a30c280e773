/**
 * The bytes that were appended to a file last, in memory until they are worth a write to its temp file:
 * SFTP clients write 32 KiB at a time, and a file of a few KiB need not come to the disk at all.
 *
 * Taking bytes waits for nothing, and neither does handing them out. Its memory is part of
 * --memory-limit; where none is left, nothing is taken and the bytes go to the temp file as they come.
 */
import type { Budget } from '../limits/budget.js';
import type { Holder } from '../limits/shares.js';
import type { ByteRange } from '../store.js';

/** What a small file takes, and what a longer one gathers for each write to its temp file. */
export const tailBytes = { least: 64 * 1024, most: 1024 * 1024 } as const;

export class Tail {
  readonly #memory: Budget;
  readonly #holder: Holder;
  #buffer: Buffer | undefined;
  #start = 0;
  #length = 0;

  /** @param holder whose memory it is */
  constructor(memory: Budget, holder: Holder) {
    this.#memory = memory;
    this.#holder = holder;
  }

  /** The offsets in the file that are here; undefined where none are. */
  get range(): ByteRange | undefined {
    if (this.#length === 0) return undefined;
    return { start: this.#start, end: this.#start + this.#length };
  }

  /** Their bytes, valid until the next `append` or `clear`. */
  get bytes(): Uint8Array {
    return this.#buffer?.subarray(0, this.#length) ?? new Uint8Array(0);
  }

  /** @returns whether `data` was taken, whole, as what follows at `offset` of the file */
  append(data: Uint8Array, offset: number): boolean {
    if (this.#length === 0) this.#start = offset;
    else if (offset !== this.#start + this.#length) return false;
    const buffer = this.#bufferFor(this.#length + data.length);
    if (buffer === undefined) return false;
    buffer.set(data, this.#length);
    this.#length += data.length;
    return true;
  }

  /** Cuts off what lies at `size` of the file or behind it. */
  cut(size: number): void {
    this.#length = Math.min(this.#length, Math.max(0, size - this.#start));
  }

  /** The bytes are elsewhere, or not wanted; the memory is kept for the next. */
  clear(): void {
    this.#length = 0;
  }

  /** Gives the memory back. */
  dispose(): void {
    this.#memory.give(this.#buffer?.length ?? 0, this.#holder);
    this.#buffer = undefined;
    this.#length = 0;
  }

  /** A buffer that holds the present bytes and has room for `length` of them. */
  #bufferFor(length: number): Buffer | undefined {
    const held = this.#buffer?.length ?? 0;
    if (length <= held) return this.#buffer;
    if (length > tailBytes.most) return undefined;
    const size = length <= tailBytes.least ? tailBytes.least : tailBytes.most;
    if (!this.#memory.tryTake(size - held, this.#holder)) return undefined;
    const buffer = Buffer.allocUnsafeSlow(size);
    buffer.set(this.bytes);
    this.#buffer = buffer;
    return buffer;
  }
}
