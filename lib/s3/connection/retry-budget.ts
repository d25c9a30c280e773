/**
 * How much a mount asks again, and after which waits: a budget that all its requests share, so that
 * an S3 in trouble is not sent several times the load (AWS Builders' Library, "Timeouts, retries and
 * backoff with jitter").
 *
 * A token bucket. The first retry of each request is free: what passes at once, such as a connection
 * that was reset, is always met by it, whatever goes on elsewhere. Each further one takes a token, and
 * each answer gives one back.
 */

/** Tokens of a mount that has seen no trouble: some hundred requests may use all their attempts. */
const fullBudget = 500;

export class RetryBudget {
  #left = fullBudget;

  /**
   * @param retry which one of the request, from 1
   * @returns whether it may be sent
   */
  take(retry: number): boolean {
    if (retry <= 1) return true;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }

  /** A request was answered. */
  give(): void {
    this.#left = Math.min(fullBudget, this.#left + 1);
  }
}

export interface Backoff {
  /** most before the first retry; doubles with each */
  readonly baseMs: number;
  readonly longestMs: number;
  /** from 0 up to 1 */
  readonly random?: () => number;
}

/** Full jitter: any time up to the limit, so that parallel requests do not come back all at once. */
export function backoffMs(retry: number, { baseMs, longestMs, random }: Backoff): number {
  return (random ?? Math.random)() * Math.min(longestMs, baseMs * 2 ** (retry - 1));
}
