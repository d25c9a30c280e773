/**
 * Requests that are being served, and what an INTERRUPT does to one.
 *
 * Once a request was read, the kernel waits for its answer whatever happens to the caller, SIGKILL
 * included (fuse_dev.c, request_wait_answer). So an interrupted request has its work aborted at once
 * and is answered EINTR soon after, even if the work does not stop; what the work then still brings
 * is undone by whoever holds it.
 *
 * The kernel sends one INTERRUPT per request, for the first signal of any kind. If that one is of no
 * concern (see process-state), the caller's state is looked at again from time to time, because the
 * signal that matters will not be told.
 */
import type { RequestContext } from '../../operations.js';
import type { RequestHeader } from './requests.js';

/** How long aborted work may take to end by itself before its caller is answered. */
const patienceMs = { reading: 100, changing: 1000 };
/** How often the caller of a request with an unimportant signal is looked at. */
const lookAgainMs = 250;
/** INTERRUPTs that came before their request, which several readers make possible, or after it. */
const unmatchedMax = 256;

/** One request being served. */
export interface Flight {
  readonly request: RequestHeader;
  readonly context: RequestContext;
  /** to be called once the answer has been written, or is not to be */
  readonly lent: (() => void)[];
  /** was answered; what comes later is to be undone */
  answered: boolean;
}

interface Entry extends Flight {
  controller: AbortController | undefined;
  interrupted: boolean;
  /** the work is to be finished, whatever becomes of the caller */
  uninterruptible: boolean;
  /** it changes something: its work gets longer to end */
  readonly changes: boolean;
  timer: NodeJS.Timeout | undefined;
}

export class InFlight {
  readonly #entries = new Map<number, Entry>();
  readonly #unmatched = new Set<number>();
  readonly #wantsToStop: (pid: number) => boolean;
  readonly #answerInterrupted: (flight: Flight) => void;

  /**
   * @param options.wantsToStop whether the signals pending for a caller end its wait
   * @param options.answerInterrupted answers EINTR; called at most once, for a flight not answered
   */
  constructor(options: {
    wantsToStop: (pid: number) => boolean;
    answerInterrupted: (flight: Flight) => void;
  }) {
    this.#wantsToStop = options.wantsToStop;
    this.#answerInterrupted = options.answerInterrupted;
  }

  get size(): number {
    return this.#entries.size;
  }

  begin(request: RequestHeader, changes: boolean): Flight {
    const entry: Entry = {
      request,
      answered: false,
      controller: undefined,
      interrupted: false,
      uninterruptible: false,
      changes,
      timer: undefined,
      lent: [],
      context: {
        caller: { uid: request.uid, gid: request.gid, pid: request.pid },
        lend: (giveBack) => entry.lent.push(giveBack),
        // Made on demand: most requests are answered before anybody could want it.
        get signal(): AbortSignal {
          entry.controller ??= new AbortController();
          if (entry.interrupted) entry.controller.abort();
          return entry.controller.signal;
        },
      },
    };
    this.#entries.set(request.unique, entry);
    if (this.#unmatched.size > 0 && this.#unmatched.delete(request.unique)) {
      this.#consider(entry);
    }
    return entry;
  }

  /**
   * From now on the request is finished whatever signals its caller gets.
   * @param options.dying the caller hears no answer and waits for it all the same, past all signals:
   *   it is let go after a while, and the work goes on without it
   */
  makeUninterruptible(unique: number, options: { dying: boolean }): void {
    const entry = this.#entries.get(unique);
    if (entry === undefined) return;
    entry.uninterruptible = true;
    clearTimeout(entry.timer);
    if (options.dying) this.#answerLater(entry, patienceMs.changing);
  }

  end(flight: Flight): void {
    const entry = this.#entries.get(flight.request.unique);
    if (entry !== flight) return;
    clearTimeout(entry.timer);
    this.#entries.delete(flight.request.unique);
  }

  /** An INTERRUPT for the request `unique` came. */
  interrupt(unique: number): void {
    const entry = this.#entries.get(unique);
    if (entry !== undefined) {
      this.#consider(entry);
      return;
    }
    this.#unmatched.add(unique);
    const [oldest] = this.#unmatched;
    if (this.#unmatched.size > unmatchedMax && oldest !== undefined) {
      this.#unmatched.delete(oldest);
    }
  }

  /** Aborts all: the mount is gone and nobody waits any more. */
  abortAll(): void {
    for (const entry of this.#entries.values()) {
      clearTimeout(entry.timer);
      entry.answered = true;
      entry.interrupted = true;
      entry.controller?.abort();
    }
  }

  #consider(entry: Entry): void {
    if (entry.interrupted || entry.answered || entry.uninterruptible) return;
    if (!this.#wantsToStop(entry.request.pid)) {
      entry.timer = setTimeout(() => this.#consider(entry), lookAgainMs);
      return;
    }
    entry.interrupted = true;
    entry.controller?.abort();
    this.#answerLater(entry, entry.changes ? patienceMs.changing : patienceMs.reading);
  }

  #answerLater(entry: Entry, ms: number): void {
    entry.timer = setTimeout(() => {
      if (!entry.answered) this.#answerInterrupted(entry);
    }, ms);
  }
}
