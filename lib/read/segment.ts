/**
 * A few bytes of a chunk in memory: what the memory budget is given back by, since a chunk is long and
 * most of it is read long before its end has come.
 */
import type { Lend } from '../operations.js';
import type { BufferPool } from './buffer-pool.js';

/** All but the last of a chunk have this length. */
export const segmentBytes = 256 * 1024;

const nothing = Buffer.alloc(0);

export class Segment {
  readonly length: number;
  /** bytes of the memory budget that it holds */
  readonly charge: number;
  readonly #buffers: BufferPool;
  #bytes: Buffer;
  /** bytes handed out, repeated ones too */
  #served = 0;
  /** bytes were handed out for good */
  #isKept = false;
  /** how often bytes were handed out that did not come back yet */
  #lent = 0;
  #isReleased = false;

  constructor(length: number, charge: number, buffers: BufferPool) {
    this.length = length;
    this.charge = charge;
    this.#buffers = buffers;
    this.#bytes = buffers.take(length);
  }

  /** Whether as many bytes were handed out as it has: the kernel keeps them and asks once. */
  get isServed(): boolean {
    return this.#served >= this.length;
  }

  write(bytes: Uint8Array, at: number): void {
    this.#bytes.set(bytes, at);
  }

  /** @param lend from who tells when the bytes are not looked at any more; else they are never changed */
  hand(start: number, end: number, lend: Lend | undefined): Uint8Array {
    this.#served += end - start;
    if (lend === undefined) {
      this.#isKept = true;
    } else {
      this.#lent++;
      lend(() => {
        this.#lent--;
        this.#recycle();
      });
    }
    return this.#bytes.subarray(start, end);
  }

  /** No new views are handed out; views that are lent stay valid until they come back. */
  release(): void {
    this.#isReleased = true;
    this.#recycle();
  }

  #recycle(): void {
    if (!this.#isReleased || this.#isKept || this.#lent > 0) return;
    this.#isReleased = false;
    this.#buffers.give(this.#bytes);
    // Whoever looks at it in spite of all that finds nothing, rather than another file.
    this.#bytes = nothing;
  }
}
