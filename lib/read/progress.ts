/** Waiting for something to happen that is looked at anew each time: a condition variable. */

export class Progress {
  #waiting: (() => void)[] = [];

  /** Resolves at the next `wake`, or when `signal` aborts. */
  async next(signal?: AbortSignal): Promise<void> {
    let wake: () => void = () => undefined;
    const woken = new Promise<void>((resolve) => {
      wake = () => {
        resolve();
      };
    });
    this.#waiting.push(wake);
    signal?.addEventListener('abort', wake, { once: true });
    await woken;
    signal?.removeEventListener('abort', wake);
  }

  /** All who wait look again. */
  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
