/**
 * Something that an endpoint was found not to do, learnt from a refusal.
 *
 * Endpoints change under a running mount (an upgrade, another gateway behind one name), and one
 * refusal may have had another reason. So it is believed for a time and then asked again; each time it
 * turns out to be so still it is believed for longer, because asking may cost an upload sent twice.
 */

import { systemClock } from './clock.js';
import type { Clock } from './clock.js';

const firstRestMs = 60_000;
const longestRestMs = 3_600_000;

export class Limitation {
  readonly #clock: Clock;
  #untilMs = -Infinity;
  #restMs = firstRestMs;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** Whether to go by it; false once it is time to ask again. */
  get holds(): boolean {
    return this.#clock.nowMs() < this.#untilMs;
  }

  /** Whether it was found and not refuted since, be it long ago: for what cannot be tried twice. */
  get isSuspected(): boolean {
    return this.#untilMs !== -Infinity;
  }

  /** It was refused. @returns whether that is news */
  note(): boolean {
    if (this.holds) return false;
    const isNew = !this.isSuspected;
    this.#untilMs = this.#clock.nowMs() + this.#restMs;
    this.#restMs = Math.min(2 * this.#restMs, longestRestMs);
    return isNew;
  }

  /** It went through, or is not what the refusals were about. */
  lift(): void {
    this.#untilMs = -Infinity;
    this.#restMs = firstRestMs;
  }
}
