/**
 * When a request is sent again, as a retry strategy for the SDK's retry middleware.
 *
 * The SDK's own standard strategy lets all requests of a client share one quota of retries: while
 * S3 answers one user's uploads with errors, everybody's reads would lose their retries. Here each
 * request has one of its own before it draws on what all share (retry-budget.ts). A server that is
 * silent until the timeout is asked twice more, not four times: whoever waits is told within three
 * timeouts. What is final by its code is never sent again, even when it came inside a 200 (which the
 * SDK turns into a 503), and bytes damaged on their way are. What was refused for the time in its
 * signature is signed anew, once.
 */
import type {
  RetryErrorInfo,
  RetryStrategyV2,
  RetryToken,
  StandardRetryToken,
} from '@smithy/types';

import { systemClock } from '../../clock.js';
import { mayBeOver } from '../../errors.js';
import { backoffMs } from './retry-budget.js';
import type { RetryBudget } from './retry-budget.js';
import { errorFacts, isElsewhere, isSilence, kindOf } from './s3-errors.js';
import type { AttemptStep } from './steps.js';

export interface RetrySettings {
  /** requests sent for one call, the first included; at least 1 */
  readonly maxAttempts: number;
  readonly budget: RetryBudget;
  /** whether a refused request would be signed with another time now; absent: never */
  readonly isOutdated?: (error: unknown) => boolean;
  /** from 0 up to 1, for waits; Math.random */
  readonly random?: () => number;
  /** called for each retry */
  readonly onRetry?: (retry: NotedRetry) => void;
}

/** A request is about to be sent again. */
export interface NotedRetry {
  /** what came of the attempt before */
  readonly error: unknown;
  /** 1 for the first retry */
  readonly attempt: number;
  readonly delayMs: number;
  /** the server asked for the wait */
  readonly isAdvised: boolean;
}

/** Longest first wait after an error that may pass at once, such as a connection that was reset. */
const baseDelayMs = 100;
/** The same after S3 asked to slow down; its advice is to back off by seconds. */
const throttledDelayMs = 1000;
const longestDelayMs = 8000;
/** After so many attempts without an answer in time, S3 counts as gone. */
const maxSilences = 3;

class Token implements StandardRetryToken {
  constructor(
    readonly count: number,
    readonly delayMs: number,
    /** attempts that ended in a timeout */
    readonly silences: number,
    /** sent again with another time in its signature */
    readonly isSignedAnew: boolean,
  ) {}
  getRetryCount(): number {
    return this.count;
  }
  getRetryDelay(): number {
    return this.delayMs;
  }
  getRetryCost(): number {
    return 0;
  }
}

export class Retry implements RetryStrategyV2 {
  readonly #settings: RetrySettings;

  constructor(settings: RetrySettings) {
    this.#settings = settings;
  }

  acquireInitialRetryToken(): Promise<RetryToken> {
    return Promise.resolve(new Token(0, 0, 0, false));
  }

  /** Rejects where the error is final; the middleware then throws the error of the request. */
  refreshRetryTokenForRetry(token: RetryToken, info: RetryErrorInfo): Promise<RetryToken> {
    const attempt = token.getRetryCount() + 1;
    const before = token instanceof Token ? token : new Token(0, 0, 0, false);
    const silences = before.silences + (isSilence(info.error) ? 1 : 0);
    const { maxAttempts, budget, random, isOutdated } = this.#settings;
    const isOver = attempt >= maxAttempts || silences >= maxSilences;
    const isOld = !before.isSignedAnew && isOutdated?.(info.error) === true;
    if (isOver || !(isOld || mayPass(info)) || !budget.take(attempt)) {
      return Promise.reject(new Error('no further attempt'));
    }
    const delayMs = isOld ? 0 : retryDelayMs(attempt, info, random);
    const isAdvised = info.retryAfterHint !== undefined;
    this.#settings.onRetry?.({ error: info.error, attempt, delayMs, isAdvised });
    const isSignedAnew = before.isSignedAnew || isOld;
    return Promise.resolve(new Token(attempt, delayMs, silences, isSignedAnew));
  }

  recordSuccess(): void {
    this.#settings.budget.give();
  }
}

/** Damaged on the way: the bytes are still here, so sending them again may help. */
const damagedCodes = new Set([
  'BadDigest',
  'IncompleteBody',
  'XAmzContentChecksumMismatch',
  'XAmzContentSHA256Mismatch',
]);
const bodyCommands: ReadonlySet<unknown> = new Set(['PutObjectCommand', 'UploadPartCommand']);

/**
 * Marks an InvalidDigest of a body as one that may pass. So Garage calls every body that
 * does not match its sum; with S3 it is a Content-MD5 that is none, which would have been damaged too.
 * Of the sums in CompleteMultipartUpload it is final.
 */
export const markDamage: AttemptStep = (next, context) => async (args) => {
  try {
    return await next(args);
  } catch (error) {
    const isBody = bodyCommands.has(context['commandName']);
    if (error instanceof Error && isBody && errorFacts(error).code === 'InvalidDigest')
      Object.assign(error, { $retryable: {} });
    throw error;
  }
};

function mayPass(info: RetryErrorInfo): boolean {
  const facts = errorFacts(info.error);
  if (facts.code !== undefined && damagedCodes.has(facts.code)) return true;
  if (info.error?.$retryable !== undefined) return true;
  // It is asked for there instead: see bucket-region.ts.
  if (isElsewhere(facts) && facts.region !== undefined) return false;
  const kind = kindOf(facts);
  if (mayBeOver(kind)) return true;
  // An answer that could not be parsed; asking again is harmless, writes are settled afterwards.
  return kind === 'corrupt' && facts.code === undefined;
}

function retryDelayMs(attempt: number, info: RetryErrorInfo, random?: () => number): number {
  const baseMs = info.errorType === 'THROTTLING' ? throttledDelayMs : baseDelayMs;
  const backoff = { baseMs, longestMs: longestDelayMs, ...(random && { random }) };
  const advised =
    info.retryAfterHint === undefined ? 0 : info.retryAfterHint.getTime() - systemClock.dateMs();
  return Math.max(backoffMs(attempt, backoff), Math.min(advised, longestDelayMs));
}
