/**
 * The body of an answer whose length is known, handed to a sink as it comes.
 *
 * Bytes are lent: they lie in a buffer that the next read of any socket overwrites, so a sink uses
 * them before it returns. What arrives while nobody takes is copied, which is little: a paused TLS
 * socket delivers at most two more records. To those who do not know sinks it is a Readable.
 */
import { Readable } from 'node:stream';

import type { Sink } from '../../store.js';
import { BrokenAnswer } from './answer-head.js';

/** What may have to be copied of a connection that was paused. */
const longestOverrun = 1024 * 1024;

/** The connection a body comes by. */
export interface BodySource {
  /** Nothing is taken until `resume`: silence is not the server's. */
  pause(): void;
  resume(): void;
  /** All bytes are here. */
  complete(): void;
  /** Nobody wants the rest. */
  abandon(): void;
}

interface Drain {
  readonly sink: Sink;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class LentBody extends Readable {
  readonly #source: BodySource;
  /** bytes that have not arrived */
  #left: number;
  /** arrived before there was room */
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #drain: Drain | undefined;
  /** the sink has no room, or is inside its call */
  #isBusy = false;
  #failure: Error | undefined;
  #isOver = false;
  /** tells the sink of a Readable that its reader wants more */
  #wantMore: (() => void) | undefined;

  constructor(length: number, source: BodySource) {
    super();
    this.#left = length;
    this.#source = source;
  }

  /**
   * Hands all bytes to `sink`, in order; it is not called while it has no room. Once, and not after
   * it was read as a stream.
   * @throws what the sink threw; what the connection broke with
   */
  drain(sink: Sink): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#drain = { sink, resolve, reject };
      this.#pump();
    });
  }

  /**
   * Bytes that arrived, which are lent.
   * @returns whether more may come
   * @throws BrokenAnswer where they are not this body's
   */
  receive(bytes: Buffer): boolean {
    if (this.#failure !== undefined) return false;
    if (bytes.length > this.#left) throw new BrokenAnswer('bytes after the end of an answer');
    // The head came alone.
    if (bytes.length === 0 && this.#left > 0) return false;
    this.#left -= bytes.length;
    const isLast = this.#left === 0;
    // What is complete needs its connection no more, whatever the sink does.
    if (isLast) this.#source.complete();
    const drain = this.#drain;
    if (drain === undefined || this.#isBusy) this.#keep(bytes);
    else if (bytes.length > 0) this.#deliver(drain, bytes);
    if (isLast || this.#hasFailed()) this.#pump();
    return drain !== undefined && !this.#isBusy && !isLast && !this.#hasFailed();
  }

  /** The connection has ended before the body. */
  breakOff(error: Error): void {
    this.#failure ??= error;
    this.#pump();
  }

  override _read(): void {
    if (this.#drain !== undefined) {
      this.#wantMore?.();
      return;
    }
    const push: Sink = (bytes) =>
      this.push(Buffer.from(bytes))
        ? undefined
        : new Promise((resolve) => {
            this.#wantMore = resolve;
          });
    this.drain(push).then(
      () => this.push(null),
      (error: unknown) => this.destroy(error as Error),
    );
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#wantMore?.();
    if (this.#left > 0) this.#source.abandon();
    this.#waiting = [];
    this.#failure ??= error ?? new Error('the body was given up');
    this.#pump();
    callback(error);
  }

  /** Asked after every call of the sink, which may have given up. */
  #hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  #keep(bytes: Buffer): void {
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes > longestOverrun) throw new Error('a paused connection goes on');
    this.#waiting.push(Buffer.from(bytes));
  }

  /** @returns whether there is room for more */
  #deliver({ sink }: Drain, bytes: Buffer): boolean {
    this.#isBusy = true;
    let room: Promise<void> | undefined;
    try {
      room = sink(bytes);
    } catch (error) {
      this.#refuse(error);
    }
    if (room === undefined) {
      this.#isBusy = false;
      return true;
    }
    // Else the connection carries another answer by now.
    if (this.#left > 0) this.#source.pause();
    void room
      .catch((error: unknown) => this.#refuse(error))
      .then(() => {
        this.#isBusy = false;
        this.#pump();
      });
    return false;
  }

  /** The sink takes no more. */
  #refuse(error: unknown): void {
    this.#waiting = [];
    this.#failure = error instanceof Error ? error : new Error(String(error));
    if (this.#left > 0) this.#source.abandon();
  }

  /** Goes on as far as it goes. */
  #pump(): void {
    const drain = this.#drain;
    if (drain === undefined || this.#isBusy || this.#isOver) return;
    while (this.#waiting.length > 0) {
      const [bytes] = this.#waiting.splice(0, 1) as [Buffer];
      this.#waitingBytes -= bytes.length;
      if (!this.#deliver(drain, bytes)) return;
    }
    if (this.#failure !== undefined) {
      this.#isOver = true;
      drain.reject(this.#failure);
    } else if (this.#left === 0) {
      this.#isOver = true;
      drain.resolve();
    } else {
      this.#source.resume();
    }
  }
}
