/** A FIFO semaphore by weight: bytes of memory, or slots, that several users share. */
export class Budget {
  readonly #capacity: number;
  #used = 0;
  #peak = 0;
  readonly #waiting: { amount: number; start: () => void }[] = [];

  /** @param capacity what may be held at once, in the caller's unit */
  constructor(capacity: number) {
    this.#capacity = Math.max(1, capacity);
  }

  get capacity(): number {
    return this.#capacity;
  }

  get used(): number {
    return this.#used;
  }

  /** The most that was ever held at once. */
  get peak(): number {
    return this.#peak;
  }

  /**
   * Runs `work` while holding `amount`, after waiting for it in turn. A claim above the whole
   * capacity is cut down to it, so that it runs alone instead of never.
   */
  async hold<T>(amount: number, work: () => Promise<T>): Promise<T> {
    const claim = Math.min(amount, this.#capacity);
    if (this.#waiting.length > 0 || this.#used + claim > this.#capacity) {
      await new Promise<void>((start) => this.#waiting.push({ amount: claim, start }));
    } else {
      this.#take(claim);
    }
    try {
      return await work();
    } finally {
      this.give(claim);
    }
  }

  /** Takes `amount` if it is free at once; the caller gives it back with `give`. */
  tryTake(amount: number): boolean {
    if (this.#waiting.length > 0 || this.#used + amount > this.#capacity) return false;
    this.#take(amount);
    return true;
  }

  give(amount: number): void {
    this.#used -= amount;
    for (;;) {
      const next = this.#waiting[0];
      if (next === undefined || this.#used + next.amount > this.#capacity) return;
      this.#waiting.shift();
      this.#take(next.amount);
      next.start();
    }
  }

  #take(amount: number): void {
    this.#used += amount;
    this.#peak = Math.max(this.#peak, this.#used);
  }
}
