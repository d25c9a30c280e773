/**
 * At most so many bytes a second, whoever sends or receives them: each claim waits until those before
 * it are paid for. The first begins at once, so that small transfers on a quiet mount wait for nothing.
 */
import { setTimeout as delay } from 'node:timers/promises';

/** Time not used is lost after this long: a pause is not made up for, a late timer is. */
const creditMs = 100;

export class TransferRate {
  readonly #msPerByte: number;
  #paidUntilMs = 0;

  /** @param bytesPerSecond absent: no limit */
  constructor(bytesPerSecond = Infinity) {
    this.#msPerByte = 1000 / bytesPerSecond;
  }

  /** Waits for its turn. @throws Error (AbortError) */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    await this.turn(bytes, signal);
  }

  /** The same; undefined, without a promise, where there is nothing to wait for. */
  turn(bytes: number, signal?: AbortSignal): Promise<void> | undefined {
    if (this.#msPerByte === 0) return undefined;
    const nowMs = performance.now();
    const startMs = Math.max(this.#paidUntilMs, nowMs - creditMs);
    this.#paidUntilMs = startMs + bytes * this.#msPerByte;
    if (startMs <= nowMs) return undefined;
    return delay(startMs - nowMs, undefined, { signal });
  }
}
