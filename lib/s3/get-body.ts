/**
 * Reading an object or a range of it, through connections that break.
 *
 * The SDK retries until an answer begins; what happens to the body afterwards is up to its reader
 * (a reset, a stall or a short body comes out of the stream). So the body is read here, and fetched
 * again from where it stopped, by Range and under If-Match of the version the first answer named.
 * No byte is handed on that is not of the range and version asked for, and the last piece is held
 * back until the end has come where it has to, and until the checksum is right where S3 stores one
 * for the whole object (a ranged GET has none).
 */
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

import { GetObjectCommand } from '@aws-sdk/client-s3';
import type { GetObjectCommandInput, GetObjectCommandOutput } from '@aws-sdk/client-s3';

import { StoreError, isStoreError } from '../errors.js';
import type { StoreErrorKind } from '../errors.js';
import type { Key } from '../path.js';
import type { ByteRange, Content, ETag, GetOptions, ObjectInfo, Sink } from '../store.js';
import type { Connection } from './connection/connection.js';
import { Taker, pour, pull } from './content.js';
import { entityTag, infoOfAnswer } from './object-info.js';
import { backoffMs } from './connection/retry-budget.js';
import { isSilence, toStoreError } from './connection/s3-errors.js';
import { wrongSum } from '../second-reading.js';
import { checksumOf } from './stored-checksum.js';
import type { WantedSum } from './stored-checksum.js';
import { believedAnswer } from './told-checksum.js';

const action = 'GetObject';
/** Answers in a row that broke with hardly a byte gained. */
const maxBreaks = 5;
/** Of these, silences until the timeout, as in retry.ts: whoever waits is told within three timeouts. */
const maxSilences = 3;
/** Bytes that count as progress: a server that resets after every packet is not waited for. */
const progressBytes = 64 * 1024;
const backoff = { baseMs: 100, longestMs: 1600 };

/** What of a GET is the same for each of its requests. */
export interface GetTarget {
  readonly key: Key;
  /** Bucket, full key and what else every request carries */
  readonly input: GetObjectCommandInput;
}

interface Answer {
  readonly output: GetObjectCommandOutput;
  readonly body: Readable;
  readonly info: ObjectInfo;
  /** the bytes of the object that `body` will yield */
  readonly start: number;
  readonly end: number;
}

/**
 * GetObject. The body has to be read or its iterator returned, else its connection stays busy until
 * the timeout.
 * @throws StoreError, here or from the body
 */
export async function getObject(
  connection: Connection,
  target: GetTarget,
  options: GetOptions,
): Promise<{ info: ObjectInfo; body: Content }> {
  const reader = new ObjectReader(connection, target, options);
  return await reader.open();
}

class ObjectReader {
  readonly #connection: Connection;
  readonly #target: GetTarget;
  readonly #range: ByteRange | undefined;
  readonly #size: number | undefined;
  readonly #signal: AbortSignal | undefined;
  #etag: ETag | undefined;
  #breaks = 0;
  #silences = 0;
  /** being read */
  #body: Readable | undefined;
  #isLeft = false;

  constructor(connection: Connection, target: GetTarget, options: GetOptions) {
    this.#connection = connection;
    this.#target = target;
    this.#range = options.range;
    this.#size = options.size;
    this.#signal = options.signal;
    this.#etag = options.ifMatch;
  }

  async open(): Promise<{ info: ObjectInfo; body: Content }> {
    const first = await this.#ask(this.#range);
    this.#etag ??= first.info.etag;
    const drain = (sink: Sink): Promise<void> => this.#deliver(first, sink);
    const iterate = (): AsyncIterator<Uint8Array> => pull(drain, () => this.#leave());
    return { info: first.info, body: { drain, [Symbol.asyncIterator]: iterate } };
  }

  /** The reader wants no more. */
  #leave(): void {
    this.#isLeft = true;
    this.#body?.destroy();
  }

  async #takeLater(
    taker: Taker,
    { turn, piece }: { turn: Promise<void>; piece: Uint8Array },
  ): Promise<void> {
    const kept = Buffer.from(piece);
    await turn;
    await taker.take(kept);
  }

  /** Asks until an answer begins that is the right one; what is wrong with others is counted. */
  async #ask(range: ByteRange | undefined): Promise<Answer> {
    for (;;) {
      const answer = await this.#connection.send(
        new GetObjectCommand({
          ...this.#target.input,
          ...(range === undefined ? {} : { Range: `bytes=${range.start}-${range.end - 1}` }),
          ...(this.#etag === undefined ? {} : { IfMatch: this.#etag }),
        }),
        {
          key: this.#target.key,
          signal: this.#signal,
          answerBytes: range === undefined ? this.#size : range.end - range.start,
        },
      );
      const output = await believedAnswer(this.#connection, this.#target.key, answer);
      try {
        return this.#checked(output, range);
      } catch (error) {
        dispose(output);
        if (!isStoreError(error, 'corrupt')) throw error;
        await this.#afterBreak(error);
      }
    }
  }

  #checked(output: GetObjectCommandOutput, range: ByteRange | undefined): Answer {
    const body: unknown = output.Body;
    if (!(body instanceof Readable)) throw this.#fault('corrupt', 'the answer has no body');
    const etag = entityTag(output.ETag);
    if (etag === undefined) throw this.#fault('corrupt', 'there is no ETag in the answer');
    const span = spanOf(output);
    if (span === undefined)
      throw this.#fault('corrupt', 'the answer does not say which bytes it has');
    const end = Math.min(range?.end ?? span.size, span.size);
    if (span.start !== (range?.start ?? 0) || span.end !== end) {
      throw this.#fault('corrupt', `asked for ${showRange(range)}, got ${showRange(span)}`);
    }
    // Last: what is not S3's may have a tag of its own, and be no version of anything.
    if (this.#etag !== undefined && etag !== this.#etag) {
      if (output.LastModified === undefined) throw this.#fault('corrupt', 'the answer has no time');
      throw this.#fault('changed', 'the answer is of another version');
    }
    const info = infoOfAnswer(this.#target.key, output, action, span.size);
    return { output, body, info, start: span.start, end };
  }

  async #deliver(first: Answer, sink: Sink): Promise<void> {
    const { start, end } = first;
    const wanted = this.#range === undefined ? checksumOf(first.output) : undefined;
    const sum = wanted?.start();
    const taker = new Taker(sink);
    let answer: Answer | undefined = first;
    let held: Uint8Array | undefined;
    let at = start;
    let lastBreak = start;
    const take: Sink = (piece) => {
      if (piece.length === 0) return undefined;
      if (at + piece.length > end) throw this.#fault('corrupt', 'more bytes than asked for');
      at += piece.length;
      sum?.update(piece);
      const turn = this.#count(piece);
      if (at === end) held = Buffer.from(piece);
      else if (turn === undefined) return taker.take(piece);
      else return this.#takeLater(taker, { turn, piece });
      return turn;
    };
    for (;;) {
      answer ??= await this.#ask({ start: at, end });
      try {
        await pour((this.#body = answer.body), take);
        if (at < end) throw this.#fault('unavailable', `the body ended at ${at} of ${end} bytes`);
        break;
      } catch (error) {
        answer.body.destroy();
        answer = undefined;
        if (taker.hasFailed || this.#isLeft) throw error;
        // A connection that broke after the last byte: nothing is missing.
        if (at === end && !isStoreError(error, 'corrupt')) break;
        // Bytes beyond a complete range: an answer to some other question.
        if (at === end) throw error;
        if (at - lastBreak >= progressBytes) this.#breaks = this.#silences = 0;
        lastBreak = at;
        await this.#afterBreak(error);
      }
    }
    const came = sum?.value();
    if (wanted !== undefined && came !== undefined && came !== wanted.value) {
      const again = await this.#sumOfSecond(wanted, { start, end });
      throw this.#fault('corrupt', wrongSum(again === undefined ? undefined : came === again));
    }
    if (held !== undefined) await taker.take(held);
  }

  #count({ length }: Uint8Array): Promise<void> | undefined {
    this.#connection.counters.bytesReceived += length;
    return this.#connection.downloads.turn(length, this.#signal);
  }

  /** The checksum of the same bytes fetched once more; undefined where they do not come. */
  async #sumOfSecond(wanted: WantedSum, range: ByteRange): Promise<string | undefined> {
    try {
      const sum = wanted.start();
      const { body } = await this.#ask(range);
      await pour(body, (piece) => {
        sum.update(piece);
        return this.#count(piece);
      });
      return sum.value();
    } catch (error) {
      this.#connection.log.debug(
        { key: this.#target.key, error: this.#failureOf(error).message },
        'what came with a wrong checksum could not be fetched again',
      );
      return undefined;
    }
  }

  /** Waits before the next try, or throws where there shall be none. */
  async #afterBreak(error: unknown): Promise<void> {
    const failure = this.#failureOf(error);
    this.#breaks += 1;
    if (isSilence(error)) this.#silences += 1;
    const isOver = this.#breaks > maxBreaks || this.#silences >= maxSilences;
    const mayPass = failure.kind === 'unavailable' || failure.kind === 'corrupt';
    const { log, retryBudget } = this.#connection;
    if (!mayPass || isOver || !retryBudget.take(this.#breaks)) throw failure;
    log.debug({ key: this.#target.key, error: failure.message }, 'reading on after a break');
    // An abort during the wait is noticed by the next request.
    await delay(backoffMs(this.#breaks, backoff), undefined, { ref: true });
  }

  #failureOf(error: unknown): StoreError {
    if (this.#signal?.aborted === true) return this.#fault('aborted', 'given up');
    if (error instanceof StoreError) return error;
    // Whatever a stream throws is the connection's end: reset, silence, a broken encoding.
    const failure = toStoreError(error, { action, key: this.#target.key });
    return failure.kind === 'invalid'
      ? this.#fault('unavailable', failure.message, error)
      : failure;
  }

  #fault(kind: StoreErrorKind, what: string, cause?: unknown): StoreError {
    const { key } = this.#target;
    return new StoreError(kind, `${action} ${JSON.stringify(key)}: ${what}`, {
      action,
      key,
      cause,
    });
  }
}

/** The bytes an answer says it has, and the size of the object. */
function spanOf(output: GetObjectCommandOutput): (ByteRange & { size: number }) | undefined {
  const length = output.ContentLength;
  if (output.$metadata.httpStatusCode !== 206) {
    return length === undefined ? undefined : { start: 0, end: length, size: length };
  }
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(output.ContentRange ?? '');
  if (match === null) return undefined;
  const [start, last, size] = match.slice(1).map(Number) as [number, number, number];
  const span = { start, end: last + 1, size };
  return length === undefined || length === span.end - start ? span : undefined;
}

function dispose(output: GetObjectCommandOutput): void {
  if (output.Body instanceof Readable) output.Body.destroy();
}

function showRange(range: ByteRange | undefined): string {
  return range === undefined ? 'the whole object' : `bytes ${range.start} to ${range.end - 1}`;
}
