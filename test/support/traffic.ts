/**
 * Bodies on their way through the fault proxy: counted, slowed down, and spoiled.
 */
import type { IncomingMessage } from 'node:http';
import type { ChosenFaults } from './faults.js';

/** What a spoiled answer does to the connection. */
export interface Cuts {
  /** resolves when the waiting is over */
  stall(): Promise<void>;
  /** ends the connection after the bytes sent so far */
  cut(): void;
}

/** Yields a request's body as the server is to get it. */
export async function* shapeRequest(
  request: IncomingMessage,
  { breaking, paces }: ChosenFaults,
  counter: { bytesIn: number },
): AsyncGenerator<Buffer> {
  const chunked = request.headers['content-encoding']?.includes('aws-chunked') === true;
  let flipAt = breaking?.kind === 'flip-request' && !chunked ? breaking.at : undefined;
  let first = true;
  for await (const piece of request as AsyncIterable<Buffer>) {
    if (first && chunked && breaking?.kind === 'flip-request') {
      flipAt = breaking.at + piece.indexOf('\r\n') + 2;
    }
    first = false;
    for (const pace of paces) await pace.up.pass(piece.length);
    flipBit(piece, counter.bytesIn, flipAt);
    counter.bytesIn += piece.length;
    yield piece;
  }
}

/** Yields an answer's body as the client is to get it. */
export async function* shapeResponse(
  answer: IncomingMessage,
  { breaking, paces }: ChosenFaults,
  counter: { bytesOut: number },
  cuts: Cuts,
): AsyncGenerator<Buffer> {
  const flipAt = breaking?.kind === 'flip-response' ? breaking.at : undefined;
  const end =
    breaking?.kind === 'truncate' || breaking?.kind === 'stall'
      ? breaking.afterBytes
      : Number.POSITIVE_INFINITY;
  for await (const whole of answer as AsyncIterable<Buffer>) {
    const piece = whole.subarray(0, Math.max(0, end - counter.bytesOut));
    for (const pace of paces) await pace.down.pass(piece.length);
    flipBit(piece, counter.bytesOut, flipAt);
    counter.bytesOut += piece.length;
    if (piece.length > 0) yield piece;
    if (piece.length < whole.length) {
      if (breaking?.kind === 'stall') await cuts.stall();
      cuts.cut();
      return;
    }
  }
  if (breaking?.kind === 'overlong') yield Buffer.alloc(breaking.bytes);
}

function flipBit(piece: Buffer, position: number, at: number | undefined): void {
  if (at === undefined || at < position || at >= position + piece.length) return;
  const index = at - position;
  piece.writeUInt8(piece.readUInt8(index) ^ 1, index);
}
