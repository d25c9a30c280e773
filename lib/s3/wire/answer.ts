/**
 * An answer as what the SDK would make of it: an output with metadata, or an exception with the code,
 * the status and the headers that s3-errors.ts and the loop of retries decide by.
 */
import { Readable } from 'node:stream';

import type { ServiceOutputTypes } from '@aws-sdk/client-s3';
import type { HttpResponse, ResponseMetadata } from '@smithy/types';

import type { WireAction } from './actions.js';
import { errorDocument } from './error-document.js';

/** @throws Error for a refusal, and for a success that is no answer of the action's */
export function outputOf(action: WireAction, answer: HttpResponse): ServiceOutputTypes {
  if (isErrorInSuccess(answer)) answer.statusCode = 503;
  const $metadata = metadataOf(answer);
  if (answer.statusCode >= 300) throw refusal(answer, $metadata);
  try {
    return Object.assign(action.output(answer), { $metadata });
  } catch (error) {
    if (answer.body instanceof Readable) answer.body.destroy();
    throw error instanceof Error ? withAnswer(error, answer, $metadata) : error;
  }
}

/** S3 begins some answers before it knows how they end; the SDK takes these for a 503 too. */
function isErrorInSuccess({ statusCode, body }: HttpResponse): boolean {
  if (statusCode >= 300 || !Buffer.isBuffer(body)) return false;
  return body.subarray(-16).toString('latin1').trimEnd().endsWith('</Error>');
}

/** As the S3 API and its relatives name their ids. */
function metadataOf({ statusCode, headers }: HttpResponse): ResponseMetadata {
  const requestId = headers['x-amz-request-id'] ?? headers['x-amzn-requestid'];
  const extendedRequestId = headers['x-amz-id-2'];
  return {
    httpStatusCode: statusCode,
    ...(requestId === undefined ? {} : { requestId }),
    ...(extendedRequestId === undefined ? {} : { extendedRequestId }),
  };
}

/** An error document, or a bare status where there is none. */
function refusal(answer: HttpResponse, $metadata: ResponseMetadata): Error {
  const said = Buffer.isBuffer(answer.body) ? errorDocument(answer.body) : {};
  const name = said['Code'] ?? (answer.statusCode === 404 ? 'NotFound' : 'Unknown');
  const requestId = $metadata.requestId ?? said['RequestId'];
  const error = new Error(said['Message'] ?? 'UnknownError');
  const told = { name, Region: said['Region'], ServerTime: said['ServerTime'] };
  const metadata = { ...$metadata, ...(requestId === undefined ? {} : { requestId }) };
  return withAnswer(Object.assign(error, told), answer, metadata);
}

function withAnswer<Thrown extends Error>(
  error: Thrown,
  answer: HttpResponse,
  $metadata: ResponseMetadata,
): Thrown {
  // Not to be shown with the error: it may hold much.
  Object.defineProperty(error, '$response', { value: answer, enumerable: false });
  return Object.assign(error, { $metadata });
}
