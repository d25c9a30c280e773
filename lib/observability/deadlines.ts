/** Waits that all may take equally long, watched by one timer. */

export interface Wait {
  /** its time is over */
  expire(): void;
}

export class Deadlines {
  readonly #limitMs: number;
  /** oldest first, with when each is over */
  readonly #waits = new Map<Wait, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  begin(wait: Wait): void {
    this.#waits.set(wait, performance.now() + this.#limitMs);
    if (this.#timer === undefined) this.#arm(this.#limitMs);
    else if (this.#waits.size === 1) this.#timer.ref();
  }

  /** @returns whether it ended before its time was over */
  end(wait: Wait): boolean {
    const isInTime = this.#waits.delete(wait);
    // The next one begins soon, and would make another timer. But a process may end.
    if (this.#waits.size === 0) this.#timer?.unref();
    return isInTime;
  }

  #arm(ms: number): void {
    this.#timer = setTimeout(() => this.#look(), ms);
  }

  #look(): void {
    this.#timer = undefined;
    for (const [wait, overAt] of this.#waits) {
      const leftMs = Math.ceil(overAt - performance.now());
      if (leftMs > 0) {
        this.#arm(leftMs);
        return;
      }
      this.#waits.delete(wait);
      wait.expire();
    }
  }
}
