/**
 * A semaphore by weight: bytes of memory, or slots, that several users share. First come, first
 * served, but for claims that go before all others, and for holders who have their share already
 * (shares.ts): these wait until they have less, and let those behind them pass.
 */
import { Shares, type Holder } from './shares.js';

type Turn = 'first' | 'last';

interface Claim {
  readonly amount: number;
  readonly turn: Turn;
  readonly holder: Holder;
  readonly start: () => void;
}

export class Budget {
  readonly #shares: Shares;
  #peak = 0;
  readonly #waiting: Claim[] = [];

  /** @param capacity what may be held at once, in the caller's unit */
  constructor(capacity: number) {
    this.#shares = new Shares(Math.max(1, capacity));
  }

  get capacity(): number {
    return this.#shares.capacity;
  }

  get used(): number {
    return this.#shares.used;
  }

  /** The most that was ever held at once. */
  get peak(): number {
    return this.#peak;
  }

  /**
   * Runs `work` while holding `amount`, after waiting for it in turn. A claim above the whole
   * capacity is cut down to it, so that it runs alone instead of never.
   */
  async hold<T>(amount: number, work: () => Promise<T>, holder?: Holder): Promise<T> {
    return await this.#hold({ amount, turn: 'last', holder }, work);
  }

  /** The same, before those that wait already. */
  async holdFirst<T>(amount: number, work: () => Promise<T>, holder?: Holder): Promise<T> {
    return await this.#hold({ amount, turn: 'first', holder }, work);
  }

  async #hold<T>(asked: Omit<Claim, 'start'>, work: () => Promise<T>): Promise<T> {
    const { turn, holder } = asked;
    const amount = Math.min(asked.amount, this.capacity);
    if (this.#mayTake(amount, holder) && !this.#isQueued(turn)) this.#take(amount, holder);
    else await new Promise<void>((start) => this.#wait({ amount, turn, holder, start }));
    try {
      return await work();
    } finally {
      this.give(amount, holder);
    }
  }

  /** Takes `amount` if it is free at once; the caller gives it back with `give`. */
  tryTake(amount: number, holder?: Holder): boolean {
    if (!this.#mayTake(amount, holder) || this.#isQueued('last')) return false;
    this.#take(amount, holder);
    return true;
  }

  give(amount: number, holder?: Holder): void {
    this.#shares.give(amount, holder);
    for (let at = 0; at < this.#waiting.length;) {
      const { amount, holder, start } = this.#waiting[at] as Claim;
      if (!this.#shares.isFair(amount, holder)) {
        at++;
        continue;
      }
      if (amount > this.#shares.left) return;
      this.#waiting.splice(at, 1);
      this.#take(amount, holder);
      start();
    }
  }

  /** Whether `amount` more would leave the holder within its share. */
  isFair(amount: number, holder: Holder): boolean {
    return this.#shares.isFair(amount, holder);
  }

  #mayTake(amount: number, holder: Holder): boolean {
    return amount <= this.#shares.left && this.#shares.isFair(amount, holder);
  }

  /** Whether somebody is waiting whose turn is before. */
  #isQueued(turn: Turn): boolean {
    return this.#waiting.some(
      (claim) =>
        (turn === 'last' || claim.turn === 'first') &&
        this.#shares.isFair(claim.amount, claim.holder),
    );
  }

  #wait(claim: Claim): void {
    const behind = this.#waiting.findIndex((other) => other.turn === 'last');
    if (claim.turn === 'last' || behind === -1) this.#waiting.push(claim);
    else this.#waiting.splice(behind, 0, claim);
  }

  #take(amount: number, holder: Holder): void {
    this.#shares.take(amount, holder);
    this.#peak = Math.max(this.#peak, this.#shares.used);
  }
}
