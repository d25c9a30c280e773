/**
 * Sending again what the retries of a single request (retry.ts) could not help: with other keys, where
 * the bucket is, and for what is staged on the local disk as long as it may wait.
 *
 * Keys are rotated and sessions end while requests are under way. One of the refusals brings the new
 * ones, and each request that was signed with the old ones is sent again once.
 *
 * Servers restart, and services ask to slow down for longer than a count of tries. The bytes of an
 * upload are here: nothing is lost by waiting, and everything by giving up. So a request of an upload
 * is sent again until S3 has been away, or has refused for its load, for the timeout; silence, which
 * takes a timeout to be noticed, is not waited for any longer. Reads and
 * look-ups fail after the retries.
 */
import { setTimeout as delay } from 'node:timers/promises';

import type { ResponseMetadata } from '@smithy/types';

import { mayBeOver } from '../../errors.js';
import type { Log } from '../../log.js';
import type { BucketRegion } from './bucket-region.js';
import type { CredentialSource } from './credentials.js';
import { backoffMs } from './retry-budget.js';
import { errorFacts, isSilence, keyDoubt, kindOf } from './s3-errors.js';
import type { Sender } from './sender.js';

/** Each round has retries of its own. */
const roundBackoff = { baseMs: 1000, longestMs: 5000 };

export interface ResendingParts {
  readonly region: BucketRegion;
  /** known from the first request on */
  readonly isAws: () => boolean;
  /** how long S3 may be away while what is to be stored waits */
  readonly patienceMs: number;
  readonly log: Log;
}

export interface ResendOptions {
  readonly signal?: AbortSignal | undefined;
  /** may wait for S3 to come back */
  readonly isPatient: boolean;
  /** that sign it */
  readonly credentials: CredentialSource;
}

interface Answer {
  readonly $metadata: ResponseMetadata;
}

/** Sends a request with all its retries. */
type Send<Output> = (sender: Sender) => Promise<Output>;

export class Resending {
  readonly #parts: ResendingParts;
  #isAway = false;

  constructor(parts: ResendingParts) {
    this.#parts = parts;
  }

  /** @throws what `send` throws, with all that was sent in its count of attempts */
  async send<Output extends Answer>(send: Send<Output>, options: ResendOptions): Promise<Output> {
    const counted = countingAttempts(send);
    let awaySinceMs: number | undefined;
    for (let round = 1; ; round++) {
      try {
        const output = await this.#corrected(counted, options);
        this.#isAway = false;
        return output;
      } catch (error) {
        awaySinceMs ??= performance.now();
        const waitedMs = performance.now() - awaySinceMs;
        const isOver = !options.isPatient || waitedMs >= this.#parts.patienceMs;
        if (isOver || !mayComeBack(error)) throw error;
        this.#noteAway(error);
        await delay(backoffMs(round, roundBackoff), undefined, { signal: options.signal });
      }
    }
  }

  async #corrected<Output>(
    send: Send<Output>,
    { credentials, signal }: ResendOptions,
  ): Promise<Output> {
    const { region } = this.#parts;
    const { version } = credentials;
    try {
      return await region.follow(send, signal);
    } catch (error) {
      if (!(await this.#hasOtherKeys(error, credentials, version))) throw error;
    }
    return await region.follow(send, signal);
  }

  async #hasOtherKeys(
    error: unknown,
    credentials: CredentialSource,
    version: number,
  ): Promise<boolean> {
    const facts = errorFacts(error);
    const doubt = keyDoubt(facts);
    if (doubt === undefined) return false;
    if (credentials.version !== version) return true;
    // AWS has other words for unknown keys, wherever the answer has room for any.
    if (doubt === 'possible' && facts.code !== undefined && this.#parts.isAws()) return false;
    return await credentials.renew(version, doubt);
  }

  #noteAway(error: unknown): void {
    if (this.#isAway) return;
    this.#isAway = true;
    const { code, status, system } = errorFacts(error);
    this.#parts.log.warn({ code, status, system }, 'S3 is away; what is to be stored waits for it');
  }
}

function mayComeBack(error: unknown): boolean {
  return mayBeOver(kindOf(errorFacts(error))) && !isSilence(error);
}

/** What the SDK counts for one call, for all of them: a write that was sent twice may be done. */
function countingAttempts<Output extends Answer>(send: Send<Output>): Send<Output> {
  let before = 0;
  return async (sender) => {
    try {
      const output = await send(sender);
      before += output.$metadata.attempts ?? 1;
      output.$metadata.attempts = before;
      return output;
    } catch (error) {
      before += errorFacts(error).attempts;
      if (error instanceof Error) noteAttempts(error, before);
      throw error;
    }
  };
}

function noteAttempts(error: Error & { $metadata?: ResponseMetadata }, attempts: number): void {
  error.$metadata = { ...error.$metadata, attempts };
}
