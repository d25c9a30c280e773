/**
 * Whether a request was refused for the time in its signature, as after a step of the host's clock, or
 * after it slept.
 *
 * The SDK takes the server's clock from every answer and signs by that, but credits the correction to
 * the one request whose refusal brought it: the others under way are refused too, and so are those of
 * a HEAD, whose refusal has no code. Here each compares: it makes sense to send it again if its
 * signature would have another time now, whoever found that out.
 */
import type { S3Client } from '@aws-sdk/client-s3';
import type { HttpRequest } from '@smithy/types';

import { systemClock } from '../../clock.js';
import { errorFacts, isRefusedSignature } from './s3-errors.js';
import type { AttemptStep } from './steps.js';

/** More than a request is on its way; AWS allows 15 minutes (S3 API, RequestTimeTooSkewed). */
const outdatedMs = 60_000;

export class SigningTime {
  #client: S3Client | undefined;
  /** by what came of the request, milliseconds since 1970 */
  readonly #signed = new WeakMap<object, number>();

  /** The requests are those of a client, which has the server's clock. */
  attach(client: S3Client): void {
    this.#client = client;
  }

  /** Notes when a request was signed. */
  readonly step: AttemptStep = (next) => async (args) => {
    try {
      return await next(args);
    } catch (error) {
      const dateMs = signedAtMs(args.request as HttpRequest);
      if (dateMs !== undefined && error instanceof Error) this.#signed.set(error, dateMs);
      throw error;
    }
  };

  /** Whether the refused request would be signed with another time now. */
  isOutdated(error: unknown): boolean {
    if (!(error instanceof Error) || !isRefusedSignature(errorFacts(error))) return false;
    const signedMs = this.#signed.get(error);
    if (signedMs === undefined || this.#client === undefined) return false;
    const nowMs = systemClock.dateMs() + this.#client.config.systemClockOffset;
    return Math.abs(nowMs - signedMs) > outdatedMs;
  }
}

/** Signature Version 4 has it in a header, `20260131T235959Z`. */
function signedAtMs({ headers }: HttpRequest): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(headers['x-amz-date'] ?? '');
  if (match === null) return undefined;
  const [year, month, ...rest] = match.slice(1).map(Number) as [number, number, ...number[]];
  return Date.UTC(year, month - 1, ...rest);
}
