/**
 * What goes over the wire, and what it tells of the endpoint: requests and bytes are counted, whoever
 * watches is told of each attempt, and the host, the proxy and the server's clock are noted.
 *
 * Counting stands below the retries, so that a request sent twice counts twice.
 */
import type { HttpRequest } from '@smithy/types';

import type { Clock } from '../../clock.js';
import type { Log } from '../../log.js';
import type { HttpHandler } from './http.js';
import type { RequestObserver } from './request-observer.js';
import type { NotedRetry } from './retry.js';
import { answerDateMs, errorFacts } from './s3-errors.js';
import type { AnswerStep, AttemptStep } from './steps.js';

/** What went over the wire since the start. */
export interface StoreCounters {
  /** requests sent for each S3 action, retries included */
  readonly requests: Record<string, number>;
  /** requests that were sent again */
  retries: number;
  /** bytes of request bodies handed to the network */
  bytesSent: number;
  /** bytes of objects received */
  bytesReceived: number;
}

export interface TrafficParts {
  readonly observer: RequestObserver | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

export class Traffic {
  readonly counters: StoreCounters = { requests: {}, retries: 0, bytesSent: 0, bytesReceived: 0 };
  readonly #parts: TrafficParts;
  #host: string | undefined;
  #proxy: string | undefined;
  #clockAheadMs: number | undefined;

  constructor(parts: TrafficParts) {
    this.#parts = parts;
  }

  /** Where the last request went. */
  get host(): string | undefined {
    return this.#host;
  }

  /** The proxy that it went through, in words. */
  get proxy(): string | undefined {
    return this.#proxy;
  }

  /** How far this machine's clock is ahead of the endpoint's, to a second; unknown without an answer. */
  get clockAheadMs(): number | undefined {
    return this.#clockAheadMs;
  }

  /** Counts the requests that go by a handler. */
  step(handler: HttpHandler): AttemptStep {
    return (next, context) => async (args) => {
      const request = args.request as HttpRequest;
      const action = commandName(context['commandName']);
      const { requests } = this.counters;
      requests[action] = (requests[action] ?? 0) + 1;
      this.counters.bytesSent += Number(request.headers['content-length'] ?? 0);
      this.#host = request.hostname;
      this.#proxy = handler.proxyOf(request)?.url;
      const { observer } = this.#parts;
      if (observer === undefined) return await next(args);
      const startMs = performance.now();
      let status: number | undefined;
      try {
        const answered = await next(args);
        status = answered.output.$metadata.httpStatusCode;
        return answered;
      } catch (error) {
        status = errorFacts(error).status;
        throw error;
      } finally {
        const seconds = (performance.now() - startMs) / 1000;
        observer.attempted({ action, input: args.input, status, seconds });
      }
    };
  }

  /** Notes the server's clock. */
  readonly clockStep: AnswerStep = (next) => async (args) => {
    const result = await next(args);
    const dateMs = answerDateMs(result.response);
    if (dateMs !== undefined) this.#clockAheadMs = this.#parts.clock.dateMs() - dateMs;
    return result;
  };

  noteRetry({ error, attempt, delayMs, isAdvised }: NotedRetry): void {
    this.counters.retries += 1;
    if (isAdvised) this.#parts.observer?.askedToWait(delayMs / 1000);
    const { code, status, system } = errorFacts(error);
    this.#parts.log.debug({ code, status, system, attempt, delayMs }, 'sending a request again');
  }
}

/** The action of one of the SDK's commands. */
export function commandName(name: unknown): string {
  return typeof name === 'string' ? name.replace(/Command$/, '') : 'unknown';
}
