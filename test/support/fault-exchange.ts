/**
 * What the fault proxy does to one request and its answer: answers of its own, spoiled ones, and none.
 */
import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { children, plainDocument } from '../../lib/endpoint/wire/xml.js';
import type { ChosenFaults, Fault, ProxyAction, WholeAnswer } from './faults.js';
import type { ClosedGate } from './gate.js';

/** A request that came through. */
export interface LoggedRequest {
  readonly action: ProxyAction;
  readonly method: string;
  readonly bucket: string;
  readonly key: string;
  /** as sent, without `?` */
  readonly query: string;
  /** without the authorization header */
  readonly headers: IncomingHttpHeaders;
  /** undefined for anonymous requests */
  readonly accessKeyId: string | undefined;
  /** what befell it */
  readonly fault: Fault['kind'] | undefined;
  /** what the client got to see; undefined while there is none */
  status: number | undefined;
  /** body bytes from the client */
  bytesIn: number;
  /** body bytes to the client */
  bytesOut: number;
}

/** One request, its answer, and what is to befall them. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly faults: ChosenFaults;
  readonly entry: LoggedRequest;
  /** the client waits for 100 Continue before it sends its body */
  readonly expectsContinue: boolean;
  readonly gate: ClosedGate | undefined;
  /** aborted when the faults are cleared */
  readonly patience: AbortSignal;
}

/** Takes the whole body first: an early answer would be another fault. */
export async function answerItself(
  { request, response, entry, expectsContinue }: Exchange,
  fault: Extract<Fault, { kind: 'status' | 'error-in-200' }>,
): Promise<void> {
  if (expectsContinue) response.writeContinue();
  for await (const piece of request as AsyncIterable<Buffer>) entry.bytesIn += piece.length;
  const body = plainDocument(
    'Error',
    children({ Code: fault.code, Message: 'injected by the test', RequestId: 'INJECTED' }),
  );
  entry.status = fault.kind === 'status' ? fault.status : 200;
  response.statusCode = entry.status;
  response.setHeader('content-type', 'application/xml');
  response.setHeader('x-amz-request-id', 'INJECTED');
  if (fault.kind === 'status' && fault.retryAfterSeconds !== undefined) {
    response.setHeader('retry-after', fault.retryAfterSeconds);
  }
  entry.bytesOut = request.method === 'HEAD' ? 0 : body.length;
  response.end(body);
}

export async function answerForeign(
  { request, response, entry, expectsContinue }: Exchange,
  fault: Extract<Fault, { kind: 'foreign' }>,
): Promise<void> {
  if (expectsContinue) response.writeContinue();
  for await (const piece of request as AsyncIterable<Buffer>) entry.bytesIn += piece.length;
  answerWith({ request, response, entry }, fault.answer(request.headers));
}

/**
 * A connection that is being ended already can only be cut: libuv resets none with a shutdown pending,
 * and Node then waits for its handle at the end of the process, busily and for ever.
 */
export function reset({ request: { socket } }: Exchange): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

export async function answerInPieces(
  { request, response, entry }: Exchange,
  { status, piece, count, everyMs }: Extract<Fault, { kind: 'pieces' }>,
): Promise<void> {
  for await (const bytes of request as AsyncIterable<Buffer>) entry.bytesIn += bytes.length;
  entry.status = status;
  response.writeHead(status, { 'content-type': 'application/xml' });
  const pieces = async function* (): AsyncGenerator<string | Buffer> {
    for (let sent = 0; sent < count; sent++) {
      entry.bytesOut += piece.length;
      yield piece;
      if (everyMs > 0) await sleep(everyMs);
    }
  };
  await pipeline(pieces, response);
}

export async function rewriteAnswer(
  exchange: Exchange,
  answer: IncomingMessage,
  fault: Extract<Fault, { kind: 'rewrite' }>,
): Promise<void> {
  const { headers, statusCode = 502 } = answer;
  const whole = { status: statusCode, headers, body: await text(answer) };
  answerWith(exchange, fault.rewrite(whole, exchange.entry.query));
}

/** The length is what the body comes to; that of an answer to HEAD is the object's. */
function answerWith(
  { request, response, entry }: Pick<Exchange, 'request' | 'response' | 'entry'>,
  { status, headers, body }: WholeAnswer,
): void {
  entry.status = status;
  entry.bytesOut = Buffer.byteLength(body);
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) response.setHeader(name, value);
  }
  if (request.method !== 'HEAD' && status !== 204) {
    response.setHeader('content-length', entry.bytesOut);
  }
  response.writeHead(status).end(body);
}

/** Waits until the faults are cleared or the client has given up. */
export async function stall({ response, patience }: Exchange): Promise<void> {
  if (patience.aborted || response.destroyed) return;
  await Promise.race([once(patience, 'abort'), once(response, 'close')]);
}

export function answerHeaders({ rawHeaders }: IncomingMessage, fault: Fault | undefined): string[] {
  const headers: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name = '', sent = ''] = rawHeaders.slice(at, at + 2);
    const value = spoiled(name.toLowerCase(), sent, fault);
    if (value !== undefined) headers.push(name, value);
  }
  return headers;
}

function spoiled(name: string, value: string, fault: Fault | undefined): string | undefined {
  if (fault?.kind === 'etag' && name === 'etag') return fault.etag;
  // Without it the body goes out in chunks, and ends where it likes.
  if (fault?.kind === 'overlong' && name === 'content-length') return undefined;
  if (fault?.kind !== 'range' || name !== 'content-range') return value;
  return value.replace(/\d+/, (start) => String(Number(start) + 1));
}
