/**
 * What can go wrong between a client and S3, and when: the fault proxy's plan.
 *
 * A fault is either *breaking*, and then at most one befalls a request, or it *shapes* traffic
 * (latency, bandwidth) and adds to others. Injections are asked in the order they were made.
 */
import type { S3Action } from '../../lib/endpoint/access/actions.js';

/** `STS`: a POST to the service itself. `Unknown`: no action that the endpoint knows. */
export type ProxyAction = S3Action | 'STS' | 'Unknown';

export type Fault =
  /** the proxy answers in S3's place; nothing is forwarded */
  | {
      readonly kind: 'status';
      readonly status: number;
      /** S3 error code of the body */
      readonly code: string;
      readonly retryAfterSeconds?: number;
    }
  /** 200 with an error document, as CompleteMultipartUpload and CopyObject may; not forwarded */
  | { readonly kind: 'error-in-200'; readonly code: string }
  /** the proxy answers in S3's place with so many pieces; nothing is forwarded */
  | {
      readonly kind: 'pieces';
      readonly status: number;
      readonly piece: string | Buffer;
      readonly count: number;
      /** between them; 0: as fast as the client takes them */
      readonly everyMs: number;
    }
  /** something that is not S3 answers in its place, by the request's headers; not forwarded */
  | {
      readonly kind: 'foreign';
      readonly answer: (headers: Readonly<Record<string, unknown>>) => WholeAnswer;
    }
  /** the connection is reset and the server never sees the request */
  | { readonly kind: 'reset-before' }
  /** the server does all it was asked, and the connection is reset instead of its answer */
  | { readonly kind: 'reset-after' }
  /** the server does all it was asked, and its answer never comes */
  | { readonly kind: 'no-answer' }
  /** the answer's body stops after so many bytes, with the connection open */
  | { readonly kind: 'stall'; readonly afterBytes: number }
  /** the connection ends after so many bytes of the answer's body */
  | { readonly kind: 'truncate'; readonly afterBytes: number }
  /** one bit of the answer's body is another */
  | { readonly kind: 'flip-response'; readonly at: number }
  /** one bit of the request's content is another; `at` counts from behind a first chunk's head */
  | { readonly kind: 'flip-request'; readonly at: number }
  /** behind the answer's body come so many bytes more, and no header says how many in all */
  | { readonly kind: 'overlong'; readonly bytes: number }
  /** the answer to a ranged GET says that it begins a byte later */
  | { readonly kind: 'range' }
  /** the answer has this ETag header, quotes included */
  | { readonly kind: 'etag'; readonly etag: string }
  /** the server does all it was asked, and what is made of its answer is told instead */
  | {
      readonly kind: 'rewrite';
      /** @param query of the request, as sent */
      readonly rewrite: (answer: WholeAnswer, query: string) => WholeAnswer;
    }
  /** the answer has other content, whole and without a length, unless the request asks otherwise */
  | {
      readonly kind: 'decoded';
      readonly content: Buffer;
      readonly unless: (headers: Readonly<Record<string, unknown>>) => boolean;
    }
  /** the request waits before it goes on */
  | { readonly kind: 'latency'; readonly ms: number }
  /** all requests of the injection share so much, in each direction */
  | { readonly kind: 'bandwidth'; readonly bytesPerSecond: number };

/** An answer with its body, which is text. */
export interface WholeAnswer {
  readonly status: number;
  /** names in lower case */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface InjectionOptions {
  /** any if absent */
  readonly action?: ProxyAction;
  /** any if absent; a string is the whole key */
  readonly key?: string | RegExp;
  /** the first matching request to befall, counted from 1 as of now; 1 if absent */
  readonly ordinal?: number;
  /** how many from there on; 1 if absent, for shaping faults all */
  readonly count?: number;
  readonly fault: Fault;
}

/** An injection at work. */
export interface Injection {
  /** how many requests it has befallen */
  readonly fired: number;
  remove(): void;
}

/** The faults of one request. */
export interface ChosenFaults {
  readonly breaking: Fault | undefined;
  readonly latencyMs: number;
  readonly paces: readonly TrafficPace[];
}

/** Lines of given width for both directions. */
export interface TrafficPace {
  readonly up: Pace;
  readonly down: Pace;
}

/** Spreads bytes over time. */
export class Pace {
  readonly #bytesPerSecond: number;
  #freeAtMs = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Resolves when so many bytes more may have passed. */
  async pass(bytes: number): Promise<void> {
    const nowMs = performance.now();
    this.#freeAtMs = Math.max(nowMs, this.#freeAtMs) + (bytes * 1000) / this.#bytesPerSecond;
    await new Promise((resolve) => setTimeout(resolve, this.#freeAtMs - nowMs));
  }
}

interface Entry {
  readonly options: InjectionOptions;
  readonly pace: TrafficPace | undefined;
  readonly count: number;
  matched: number;
  fired: number;
}

export class FaultPlan {
  #entries: Entry[] = [];

  add(options: InjectionOptions): Injection {
    const { fault } = options;
    const shaping = fault.kind === 'latency' || fault.kind === 'bandwidth';
    const entry: Entry = {
      options,
      pace: fault.kind === 'bandwidth' ? newPace(fault.bytesPerSecond) : undefined,
      count: options.count ?? (shaping ? Number.POSITIVE_INFINITY : 1),
      matched: 0,
      fired: 0,
    };
    this.#entries.push(entry);
    return {
      get fired() {
        return entry.fired;
      },
      remove: () => {
        this.#entries = this.#entries.filter((other) => other !== entry);
      },
    };
  }

  clear(): void {
    this.#entries = [];
  }

  /** The faults of the request that just came. */
  choose(action: ProxyAction, key: string): ChosenFaults {
    let breaking: Fault | undefined;
    let latencyMs = 0;
    const paces: TrafficPace[] = [];
    for (const entry of this.#entries) {
      const { fault } = entry.options;
      if (!matches(entry.options, action, key)) continue;
      entry.matched++;
      const due = entry.matched >= (entry.options.ordinal ?? 1) && entry.fired < entry.count;
      if (!due) continue;
      if (fault.kind === 'latency') latencyMs += fault.ms;
      else if (entry.pace !== undefined) paces.push(entry.pace);
      else if (breaking === undefined) breaking = fault;
      else continue;
      entry.fired++;
    }
    return { breaking, latencyMs, paces };
  }
}

function newPace(bytesPerSecond: number): TrafficPace {
  return { up: new Pace(bytesPerSecond), down: new Pace(bytesPerSecond) };
}

function matches(options: InjectionOptions, action: ProxyAction, key: string): boolean {
  if (options.action !== undefined && options.action !== action) return false;
  if (options.key === undefined) return true;
  return typeof options.key === 'string' ? options.key === key : options.key.test(key);
}
