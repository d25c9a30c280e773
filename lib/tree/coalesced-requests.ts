/**
 * Coalescing: one request to S3 for each path, however many callers wait for its answer. When the last
 * of them has given up it is aborted, and whoever comes then asks anew, as do those who joined one that fails.
 *
 * Invariant: no request is in flight that nobody waits for.
 */
import { unlessAborted } from '../concurrency/abort.js';
import { joined } from '../concurrency/earlier-answer.js';
import type { Path } from '../path.js';
import { isWithin } from '../path.js';

interface InFlight<T, N> {
  readonly answer: Promise<T>;
  readonly notes: N;
  readonly abort: AbortController;
  waiters: number;
}

export class CoalescedRequests<T, N> {
  readonly #inFlight = new Map<Path, InFlight<T, N>>();
  readonly #newNotes: () => N;
  readonly #send: (path: Path, notes: N, signal: AbortSignal) => Promise<T>;

  /**
   * @param newNotes where the owner writes down what happens to a path while it is asked for
   * @param send asks S3
   */
  constructor(newNotes: () => N, send: (path: Path, notes: N, signal: AbortSignal) => Promise<T>) {
    this.#newNotes = newNotes;
    this.#send = send;
  }

  /** @throws as `send`; FsError EINTR by `signal` */
  async request(path: Path, signal: AbortSignal | undefined): Promise<T> {
    const earlier = this.#inFlight.get(path);
    return await joined(earlier && this.#await(earlier, signal), () =>
      this.#await(this.#inFlight.get(path) ?? this.#begin(path), signal),
    );
  }

  has(path: Path): boolean {
    return this.#inFlight.has(path);
  }

  /** The notes on a request in flight. */
  notesOn(path: Path): N | undefined {
    return this.#inFlight.get(path)?.notes;
  }

  /** Those on all requests at or below a path. */
  notesWithin(path: Path): N[] {
    return [...this.#inFlight].flatMap(([asked, { notes }]) =>
      isWithin(asked, path) ? [notes] : [],
    );
  }

  /** @throws Error where the invariant is broken; for tests */
  check(): void {
    for (const [path, { waiters }] of this.#inFlight) {
      if (waiters === 0) throw new Error(`nobody waits for ${path}`);
    }
  }

  async #await(request: InFlight<T, N>, signal: AbortSignal | undefined): Promise<T> {
    request.waiters += 1;
    try {
      return await unlessAborted(request.answer, signal);
    } catch (error) {
      // Of one that is answered nothing is left to abort, and an abort that nobody hears is not cheap.
      if (request.waiters === 1) request.abort.abort();
      throw error;
    } finally {
      request.waiters -= 1;
    }
  }

  #begin(path: Path): InFlight<T, N> {
    const abort = new AbortController();
    const notes = this.#newNotes();
    const end = (): void => {
      if (this.#inFlight.get(path) === request) this.#inFlight.delete(path);
    };
    abort.signal.addEventListener('abort', end, { once: true });
    const answer = this.#send(path, notes, abort.signal).finally(end);
    const request: InFlight<T, N> = { answer, notes, abort, waiters: 0 };
    this.#inFlight.set(path, request);
    return request;
  }
}
