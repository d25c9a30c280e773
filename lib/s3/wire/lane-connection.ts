/**
 * One kept connection that carries one GET at a time and reads into a buffer that all of them share.
 *
 * What makes a large answer dear is not its bytes but a Buffer for each read of the socket, which drives
 * V8 into one full collection after another; `onread` (net.connect, tls.connect) reads into memory that
 * is used again. This is all that speaks: answers with a length, and errors. Of any other answer the
 * connection ends, and its request goes by Node's own parser.
 */
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';

import type { Clock } from '../../clock.js';
import { BrokenAnswer, chunkedBody, longestHead, parseHead } from './answer-head.js';
import type { AnswerHead } from './answer-head.js';
import { LentBody } from './lent-body.js';

/** An error answer that does not tell its length is read up to this. */
const longestError = 64 * 1024;

/** What Node calls with each read; whether it goes on reading. */
export interface OnRead {
  readonly buffer: Buffer;
  callback(length: number, buffer: Buffer): boolean;
}

export interface LaneTimes {
  readonly connectMs: number;
  /** until the head of an answer is here, and for silence in its body */
  readonly answerMs: number;
  readonly idleMs: number;
  /** older ones carry no further request */
  readonly longestLifeMs: number;
}

export interface LaneParts {
  readonly buffer: Buffer;
  readonly times: LaneTimes;
  readonly clock: Clock;
  /** Begins to connect. */
  open(onread: OnRead): Socket;
  /** It is free for the next request. */
  onFree(): void;
  onEnd(error: Error | undefined): void;
}

export interface LaneAnswer {
  readonly head: AnswerHead;
  readonly body: Readable;
}

interface Asked {
  /** undefined: it has to go another way */
  readonly resolve: (answer: LaneAnswer | undefined) => void;
  readonly reject: (error: Error) => void;
  /** until the head is here, and all of an error that does not tell its length */
  readonly timer: NodeJS.Timeout;
}

type State =
  | { readonly name: 'idle' }
  | { readonly name: 'head'; readonly asked: Asked }
  | { readonly name: 'error'; readonly asked: Asked; readonly head: AnswerHead }
  | { readonly name: 'body'; readonly body: LentBody }
  | { readonly name: 'ended' };

const nothing = Buffer.alloc(0);

export class LaneConnection {
  readonly #parts: LaneParts;
  readonly #socket: Socket;
  readonly #bornMs: number;
  #state: State = { name: 'idle' };
  /** of a head or an error that has not come whole */
  #text = nothing;
  #mayStay = false;
  #idleMs: number;
  #stopListening: () => void = () => undefined;

  constructor(parts: LaneParts) {
    this.#parts = parts;
    const { times, buffer, clock } = parts;
    this.#bornMs = clock.nowMs();
    this.#idleMs = times.idleMs;
    this.#socket = parts.open({ buffer, callback: (length, into) => this.#onRead(length, into) });
    this.#socket.setTimeout(times.connectMs);
    this.#socket
      .on('connect', () => this.#socket.setTimeout(times.answerMs))
      .on('timeout', () => this.#onSilence())
      .on('error', (error) => this.#end(error))
      .on('end', () => this.#onClose())
      .on('close', () => this.#onClose());
  }

  /** Whether the name may lead elsewhere by now. */
  get isOld(): boolean {
    const { clock, times } = this.#parts;
    return clock.nowMs() - this.#bornMs > times.longestLifeMs;
  }

  /**
   * Sends a request without a body. One at a time.
   * @returns undefined where the answer is one that has to be read in another way
   * @throws BrokenAnswer, TimeoutError, AbortError, Error (system error)
   */
  get(request: Buffer, signal?: AbortSignal): Promise<LaneAnswer | undefined> {
    return new Promise((resolve, reject) => {
      const { connectMs, answerMs } = this.#parts.times;
      const waitMs = this.#socket.connecting ? connectMs + answerMs : answerMs;
      const timer = setTimeout(() => this.#onSilence(), waitMs);
      this.#state = { name: 'head', asked: { resolve, reject, timer } };
      this.#socket.ref();
      if (!this.#socket.connecting) this.#socket.setTimeout(answerMs);
      if (this.#listen(signal)) this.#socket.write(request);
    });
  }

  /** Ends it, whatever it is doing. */
  destroy(error?: Error): void {
    this.#end(error);
  }

  #onRead(length: number, buffer: Buffer): boolean {
    try {
      return this.#take(buffer.subarray(0, length));
    } catch (error) {
      this.#end(error as Error);
      return false;
    }
  }

  #take(bytes: Buffer): boolean {
    const state = this.#state;
    switch (state.name) {
      case 'ended':
        return false;
      case 'idle':
        throw new BrokenAnswer('an answer nobody asked for');
      case 'head':
        return this.#takeHead(bytes, state);
      case 'error':
        return this.#takeError(bytes, state);
      case 'body':
        return state.body.receive(bytes);
    }
  }

  #takeHead(bytes: Buffer, { asked }: State & { name: 'head' }): boolean {
    const text = this.#gather(bytes);
    const end = text.indexOf('\r\n\r\n');
    if (end > longestHead || (end < 0 && text.length > longestHead)) {
      throw new BrokenAnswer(`the head of an answer has over ${longestHead} bytes`);
    }
    if (end < 0) return true;
    this.#text = nothing;
    const head = parseHead(text.toString('latin1', 0, end));
    const rest = text.subarray(end + 4);
    const { status, length } = head;
    const isError = status >= 300 && status !== 304;
    if (length !== undefined && (isError || status === 200 || status === 206)) {
      return this.#beginBody(rest, { asked, head, length });
    }
    if (isError) {
      const state: State = { name: 'error', asked, head };
      this.#state = state;
      return this.#takeError(rest, state);
    }
    this.#leave(asked);
    return false;
  }

  #beginBody(
    rest: Buffer,
    { asked, head, length }: { asked: Asked; head: AnswerHead; length: number },
  ): boolean {
    const { times } = this.#parts;
    clearTimeout(asked.timer);
    // Node's agents leave the server a second, too.
    this.#idleMs = Math.min(times.idleMs, (head.keepsMs ?? Infinity) - 1000);
    this.#mayStay = !head.closes && !this.isOld && this.#idleMs > 0;
    const body: LentBody = new LentBody(length, {
      pause: () => this.#pause(),
      resume: () => this.#resume(),
      complete: () => this.#complete(),
      abandon: () => this.#end(undefined),
    });
    this.#state = { name: 'body', body };
    asked.resolve({ head, body });
    return body.receive(rest);
  }

  #takeError(bytes: Buffer, { asked, head }: State & { name: 'error' }): boolean {
    const text = this.#gather(bytes);
    const whole = head.isChunked ? chunkedBody(text) : undefined;
    if (whole !== undefined) this.#answerError(whole, { asked, head });
    else if (text.length <= longestError) return true;
    else this.#leave(asked);
    return false;
  }

  #answerError(body: Buffer, { asked, head }: { asked: Asked; head: AnswerHead }): void {
    clearTimeout(asked.timer);
    asked.resolve({ head, body: Readable.from([body], { objectMode: false }) });
    this.#state = { name: 'idle' };
    this.#end(undefined);
  }

  /** To another way. */
  #leave({ resolve, timer }: Asked): void {
    clearTimeout(timer);
    resolve(undefined);
    this.#state = { name: 'idle' };
    this.#end(undefined);
  }

  /** What came before and `bytes`; kept, since the buffer is used again. */
  #gather(bytes: Buffer): Buffer {
    this.#text = Buffer.concat([this.#text, bytes]);
    return this.#text;
  }

  #pause(): void {
    this.#socket.setTimeout(0);
  }

  #resume(): void {
    if (this.#state.name !== 'body') return;
    this.#socket.setTimeout(this.#parts.times.answerMs);
    this.#socket.resume();
  }

  #complete(): void {
    this.#stopListening();
    this.#state = { name: 'idle' };
    // Once the callback it is in has returned, which stops the reading.
    setImmediate(() => {
      if (this.#state.name !== 'idle') return;
      if (!this.#mayStay) {
        this.#end(undefined);
        return;
      }
      this.#socket.setTimeout(this.#idleMs);
      this.#socket.unref();
      this.#socket.resume();
      this.#parts.onFree();
    });
  }

  /** @returns whether it goes on */
  #listen(signal: AbortSignal | undefined): boolean {
    if (signal === undefined) return true;
    const abort = (): void => {
      this.#end(Object.assign(new Error('the request was aborted'), { name: 'AbortError' }));
    };
    signal.addEventListener('abort', abort, { once: true });
    this.#stopListening = () => signal.removeEventListener('abort', abort);
    if (signal.aborted) abort();
    return !signal.aborted;
  }

  #onSilence(): void {
    const { name } = this.#state;
    if (name === 'idle' && !this.#socket.connecting) {
      this.#end(undefined);
      return;
    }
    const { connectMs, answerMs } = this.#parts.times;
    const what = this.#socket.connecting
      ? `no connection within ${connectMs} ms`
      : `no answer within ${answerMs} ms`;
    this.#end(Object.assign(new Error(what), { name: 'TimeoutError' }));
  }

  #onClose(): void {
    const state = this.#state;
    if (state.name === 'error' && !state.head.isChunked) {
      this.#answerError(this.#text, state);
      return;
    }
    const gone = Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' });
    this.#end(state.name === 'idle' ? undefined : gone);
  }

  #end(error: Error | undefined): void {
    const state = this.#state;
    if (state.name === 'ended') return;
    this.#state = { name: 'ended' };
    this.#stopListening();
    this.#text = nothing;
    this.#socket.destroy();
    const failure = error ?? new Error('the connection was given up');
    if (state.name === 'head' || state.name === 'error') {
      clearTimeout(state.asked.timer);
      state.asked.reject(failure);
    }
    if (state.name === 'body') state.body.breakOff(failure);
    this.#parts.onEnd(error);
  }
}
