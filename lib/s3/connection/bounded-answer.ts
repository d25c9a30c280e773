/**
 * Limits of answers that are parsed, which is all of them but the content of objects: in bytes, and
 * in time.
 *
 * Whoever parses an answer has it in memory as a whole, so whoever answers decides how much of that is
 * taken: a broken gateway, or one that is not S3's at all, with an error page of 100 MB. And each byte
 * that arrives shows the socket's own timeout that the server is alive, so that one which trickles
 * would be listened to for ever.
 *
 * An error whose body is past the limits is one without a body where its status says enough by
 * itself. What stands for a fact about an object (404, 412) is not believed of such an answer.
 */
import { Readable, finished } from 'node:stream';

import type { HttpResponse } from '@smithy/types';

/** A page of 1,000 keys of 1,024 bytes, each escaped by `%XX`, has less than 5 MB. */
const longestDocument = 16 * 1024 * 1024;
/** S3's own have some hundred bytes; a proxy's may be a page of HTML. */
const longestError = 256 * 1024;

export interface AnsweredRequest {
  readonly method: string;
  readonly timeoutMs: number;
}

/**
 * Takes the whole body of an answer into memory, in its place.
 * @throws Error `AnswerOverrun` past the limits; what the connection broke with
 */
export async function takeBody(answer: HttpResponse, request: AnsweredRequest): Promise<void> {
  const body: unknown = answer.body;
  // Also of a HEAD, which has none: its connection is free once the end was read.
  if (!(body instanceof Readable)) return;
  const { statusCode } = answer;
  const isError = statusCode >= 300;
  try {
    answer.body = await collected(body, {
      bytes: isError ? longestError : longestDocument,
      ms: isError ? request.timeoutMs : documentMs(request),
    });
  } catch (error) {
    if (!(error instanceof AnswerOverrun) || !saysEnough(statusCode)) throw error;
    answer.body = Buffer.alloc(0);
  }
}

/**
 * Time for the body of a success. S3 begins to answer CompleteMultipartUpload and CopyObject at once
 * and keeps the connection with white space while it works, for minutes (S3 API reference).
 */
function documentMs({ method, timeoutMs }: AnsweredRequest): number {
  return (method === 'GET' ? 2 : 10) * timeoutMs;
}

/** Whether an error means the same whoever answers and whatever else he says. */
function saysEnough(status: number): boolean {
  return status >= 500 || status === 401 || status === 403 || status === 429;
}

/** Named for s3-errors.ts: nobody gains by asking again. */
class AnswerOverrun extends Error {
  override readonly name = 'AnswerOverrun';
}

function collected(body: Readable, most: { bytes: number; ms: number }): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    const timer = setTimeout(() => {
      body.destroy(new AnswerOverrun(`the answer has not ended within ${most.ms} ms`));
    }, most.ms);
    finished(body, { writable: false }, (error) => {
      clearTimeout(timer);
      if (error === undefined || error === null) resolve(Buffer.concat(pieces, bytes));
      else reject(error);
    });
    body.on('data', (piece: Buffer) => {
      bytes += piece.length;
      if (bytes <= most.bytes) pieces.push(piece);
      else body.destroy(new AnswerOverrun(`the answer has over ${most.bytes} bytes`));
    });
  });
}
