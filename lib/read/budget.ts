/**
 * A semaphore by weight: bytes of memory, or slots, that several users share. First come, first
 * served, but for claims that go before all others.
 */
type Turn = 'first' | 'last';

interface Claim {
  readonly amount: number;
  readonly turn: Turn;
  readonly start: () => void;
}

export class Budget {
  readonly #capacity: number;
  #used = 0;
  #peak = 0;
  readonly #waiting: Claim[] = [];

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
    return await this.#hold(amount, 'last', work);
  }

  /** The same, before those that wait already. */
  async holdFirst<T>(amount: number, work: () => Promise<T>): Promise<T> {
    return await this.#hold(amount, 'first', work);
  }

  async #hold<T>(amount: number, turn: Turn, work: () => Promise<T>): Promise<T> {
    const claim = Math.min(amount, this.#capacity);
    if (this.#isTaken(claim, turn)) {
      await new Promise<void>((start) => this.#wait({ amount: claim, turn, start }));
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
    if (this.#isTaken(amount, 'last')) return false;
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

  #isTaken(amount: number, turn: Turn): boolean {
    const isQueued =
      turn === 'first' ? this.#waiting[0]?.turn === 'first' : this.#waiting.length > 0;
    return isQueued || this.#used + amount > this.#capacity;
  }

  #wait(claim: Claim): void {
    const behind = this.#waiting.findIndex((other) => other.turn === 'last');
    if (claim.turn === 'last' || behind === -1) this.#waiting.push(claim);
    else this.#waiting.splice(behind, 0, claim);
  }

  #take(amount: number): void {
    this.#used += amount;
    this.#peak = Math.max(this.#peak, this.#used);
  }
}
