/**
 * Asking for what is stored. Google Cloud Storage decodes objects with Content-Encoding gzip for
 * clients that do not accept gzip ("decompressive transcoding" in its documentation): such an
 * answer has no length, ignores ranges, and its bytes are not those that a listing measures.
 *
 * The header invites others to encode what they send, a compressing proxy above all, so it goes to Google's
 * hosts, and to others once an answer without a length came to have one by it. It is not signed,
 * because Google's front ends change it before they compare the signature.
 */
import { Readable } from 'node:stream';

import type { HttpRequest, HttpResponse } from '@smithy/types';

import type { AttemptStep } from './steps.js';

const header = 'accept-encoding';
const readers: ReadonlySet<unknown> = new Set(['HeadObjectCommand', 'GetObjectCommand']);

export class StoredEncoding {
  #isDecoded = false;

  /** Asks. */
  readonly step: AttemptStep = (next, context) => async (args) => {
    if (!readers.has(context['commandName'])) return await next(args);
    const request = args.request as HttpRequest;
    const asks = this.#isDecoded || isGoogle(request.hostname);
    if (asks) request.headers[header] = 'gzip';
    const first = await next(args);
    if (asks || hasLength(first.response)) return first;
    dispose(first.response as HttpResponse);
    request.headers[header] = 'gzip';
    const second = await next(args);
    this.#isDecoded = hasLength(second.response);
    return second;
  };
}

/** Unread, a body would keep its connection. */
function dispose(answer: { readonly body?: unknown }): void {
  if (answer.body instanceof Readable) answer.body.destroy();
}

function isGoogle(hostname: string): boolean {
  return /(?:^|\.)storage\.googleapis\.com$/.test(hostname);
}

function hasLength(answer: unknown): boolean {
  const { headers } = answer as HttpResponse;
  return 'content-length' in headers || 'content-range' in headers;
}
