/** A clock that goes on only when told to, so that no test has to wait. */
import type { Clock } from '../../lib/clock.js';

export class ManualClock implements Clock {
  #nowMs = 1000;
  #dateMs = Date.now();

  nowMs(): number {
    return this.#nowMs;
  }

  dateMs(): number {
    return this.#dateMs;
  }

  /** Time passes. */
  pass(ms: number): void {
    this.#nowMs += ms;
    this.#dateMs += ms;
  }

  /** Somebody sets the host's date, by so much; no time passes. */
  setDate(byMs: number): void {
    this.#dateMs += byMs;
  }
}
