/**
 * Buffers used again: memory fresh from the kernel costs a page fault for each 4 KiB, and the garbage
 * collector runs all the time where much of it comes and goes. Only a buffer
 * without references may be given back; any other is left to the garbage collector.
 */

/** Smaller ones are cheap, and of many sizes. */
const leastBytes = 256 * 1024;
/** A mount at rest keeps nothing. */
const idleMs = 2000;

export class BufferPool {
  readonly #capacity: number;
  #spare: Buffer[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param capacity bytes kept for whoever comes next */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** A buffer of exactly `length` bytes, with anything in it. */
  take(length: number): Buffer {
    const index = this.#spare.findIndex((buffer) => buffer.length === length);
    const [buffer] = index === -1 ? [] : this.#spare.splice(index, 1);
    if (buffer === undefined) return Buffer.allocUnsafeSlow(length);
    this.#bytes -= length;
    return buffer;
  }

  give(buffer: Buffer): void {
    if (buffer.length < leastBytes || this.#bytes + buffer.length > this.#capacity) return;
    this.#spare.push(buffer);
    this.#bytes += buffer.length;
    if (this.#timer !== undefined) {
      this.#timer.refresh();
      return;
    }
    this.#timer = setTimeout(() => this.#drop(), idleMs).unref();
  }

  #drop(): void {
    this.#spare = [];
    this.#bytes = 0;
    this.#timer = undefined;
  }
}
