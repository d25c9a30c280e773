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
import type { Caller, Lend } from '../../operations.js';
import type { CallContext } from './call.js';
import type { RequestHeader } from './requests.js';

/** How long aborted work may take to end by itself before its caller is answered. */
const patienceMs = { reading: 100, changing: 1000 };
/** How often the caller of a request with an unimportant signal is looked at. */
const lookAgainMs = 250;
/** INTERRUPTs that came before their request, which several readers make possible, or after it. */
const unmatchedMax = 256;

/** One request being served, and what the core is told of it. What few ask for is made on demand. */
export class Flight implements CallContext {
  readonly request: RequestHeader;
  /** it changes something: its work gets longer to end */
  readonly changes: boolean;
  /** was answered; what comes later is to be undone */
  answered = false;
  interrupted = false;
  /** the work is to be finished, whatever becomes of the caller */
  uninterruptible = false;
  timer: NodeJS.Timeout | undefined;
  #controller: AbortController | undefined;
  #lent: (() => void)[] | undefined;

  constructor(request: RequestHeader, changes: boolean) {
    this.request = request;
    this.changes = changes;
  }

  get caller(): Required<Caller> {
    const { uid, gid, pid } = this.request;
    return { uid, gid, pid };
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.interrupted) this.#controller.abort();
    return this.#controller.signal;
  }

  get lend(): Lend {
    const lent = (this.#lent ??= []);
    return (giveBack) => lent.push(giveBack);
  }

  /** The answer was written, or is not to be: the core may use the memory of it again. */
  giveBack(): void {
    if (this.#lent === undefined) return;
    for (const back of this.#lent.splice(0)) back();
  }

  /** Its work is to end. */
  abort(): void {
    this.interrupted = true;
    this.#controller?.abort();
  }
}

/** Requests whose answer takes longer than the turn of the event loop that read them. */
export class InFlight {
  readonly #entries = new Map<number, Flight>();
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

  add(flight: Flight): void {
    const { unique } = flight.request;
    this.#entries.set(unique, flight);
    if (this.#unmatched.size > 0 && this.#unmatched.delete(unique)) this.#consider(flight);
  }

  /**
   * From now on the request is finished whatever signals its caller gets.
   * @param options.dying the caller hears no answer and waits for it all the same, past all signals:
   *   it is let go after a while, and the work goes on without it
   */
  makeUninterruptible(flight: Flight, options: { dying: boolean }): void {
    flight.uninterruptible = true;
    clearTimeout(flight.timer);
    if (options.dying) this.#answerLater(flight, patienceMs.changing);
  }

  end(flight: Flight): void {
    const { unique } = flight.request;
    if (this.#entries.get(unique) !== flight) return;
    clearTimeout(flight.timer);
    this.#entries.delete(unique);
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
      entry.abort();
    }
  }

  #consider(entry: Flight): void {
    if (entry.interrupted || entry.answered || entry.uninterruptible) return;
    if (!this.#wantsToStop(entry.request.pid)) {
      entry.timer = setTimeout(() => this.#consider(entry), lookAgainMs);
      return;
    }
    entry.abort();
    this.#answerLater(entry, entry.changes ? patienceMs.changing : patienceMs.reading);
  }

  #answerLater(entry: Flight, ms: number): void {
    entry.timer = setTimeout(() => {
      if (!entry.answered) this.#answerInterrupted(entry);
    }, ms);
  }
}
