/**
 * The open /dev/fuse: whole requests in, whole messages out; and the buffers requests come in.
 *
 * Requests are read on the main thread (polled-reads.ts). Where that cannot be, each read blocks a thread
 * of libuv's pool until the kernel has a request, so the number of reads outstanding has to leave threads
 * for everything else. A message must be one write(2): small ones are written at once on the main thread,
 * which is cheaper than handing them to another; the copy of a large one, and notices that may have to
 * wait for a lock in the kernel, go through the pool.
 */
import { close, read, writeSync, writev, writevSync } from 'node:fs';
import { promisify } from 'node:util';
import { systemErrorCode } from '../../errors.js';
import { PolledReads } from './polled-reads.js';
import type { Receiver } from './polled-reads.js';
import { requestBufferBytes } from './protocol.js';

const readAsync = promisify(read);
const writevAsync = promisify(writev);
const closeAsync = promisify(close);

/** libuv's writev splits at IOV_MAX (1,024), and half a message is none. */
const piecesMax = 512;

/** What a session needs of /dev/fuse. Failures are Node system errors with their `code`. */
export interface Device {
  /** Waits for one request. @returns its length */
  read(buffer: Buffer): Promise<number>;
  /** Hands over each request as it comes, until none can come any more. @throws why, a system error */
  receive(receiver: Receiver): Promise<void>;
  /** Writes one message now. Only for what the kernel takes without waiting. */
  writeNow(pieces: readonly Uint8Array[]): void;
  /** Writes one message off the main thread. */
  write(pieces: readonly Uint8Array[]): Promise<void>;
  close(): Promise<void>;
}

/**
 * The device on an open descriptor, which it owns from now on.
 * @param readers reads outstanding at a time, where the pool has to read
 */
export function deviceOn(descriptor: number, readers: number): Device {
  let polled: PolledReads | undefined;
  const readOne = async (buffer: Buffer): Promise<number> =>
    (await readAsync(descriptor, buffer, 0, buffer.length, null)).bytesRead;
  return {
    read: readOne,
    receive: async (receiver) => {
      polled = PolledReads.on(descriptor);
      if (polled !== undefined) await polled.receive(receiver);
      else await Promise.all(Array.from({ length: readers }, () => readAll(readOne, receiver)));
    },
    writeNow: (pieces) => {
      const [only] = pieces;
      if (pieces.length === 1 && only !== undefined) writeSync(descriptor, only);
      else writevSync(descriptor, joined(pieces));
    },
    write: async (pieces) => {
      await writevAsync(descriptor, joined(pieces));
    },
    close: () => polled?.close() ?? closeAsync(descriptor),
  };
}

/** One of the readers of the pool. @throws the system error that ends it */
async function readAll(
  readOne: (buffer: Buffer) => Promise<number>,
  receiver: Receiver,
): Promise<void> {
  let buffer = receiver.room();
  let next = readOne(buffer);
  for (;;) {
    let length: number;
    try {
      length = await next;
    } catch (error) {
      if (!passing.includes(systemErrorCode(error))) throw error;
      next = readOne(buffer);
      continue;
    }
    // The next read is under way before this request is looked at.
    const filled = buffer;
    buffer = receiver.room();
    next = readOne(buffer);
    receiver.take(filled, length);
  }
}

/** ENOENT: the request was taken back before it was read; EIO: it was too large to be one. */
const passing: readonly unknown[] = ['ENOENT', 'EINTR', 'EAGAIN', 'EIO'];

function joined(pieces: readonly Uint8Array[]): Uint8Array[] {
  return pieces.length <= piecesMax ? [...pieces] : [Buffer.concat(pieces)];
}

/**
 * Request buffers, each large enough for any request, used again and again: the data of a WRITE is a
 * view of one and must stay as it is until the core has taken it.
 */
export class RequestBuffers {
  readonly #spare: Buffer[] = [];
  readonly #spareMax: number;
  #lent = 0;

  /** @param spareMax how many to keep for the next burst; more are left to the garbage collector */
  constructor(spareMax: number) {
    this.#spareMax = spareMax;
  }

  get lent(): number {
    return this.#lent;
  }

  take(): Buffer {
    this.#lent += 1;
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(requestBufferBytes);
  }

  give(buffer: Buffer): void {
    this.#lent -= 1;
    if (this.#spare.length < this.#spareMax) this.#spare.push(buffer);
  }
}
