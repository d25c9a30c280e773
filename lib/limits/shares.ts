/**
 * How much of something limited each holder has, and whether it may have more: memory, temp space,
 * requests in flight, which the homes of one mount share.
 *
 * No holder may have more than half of what the others leave. So one alone has half, two have a third
 * each, and as much as each of them has is left for the next to come, who waits for nobody. (The rule is
 * that of dynamic thresholds for shared-memory switches, with factor 1; Choudhury and Hahne, IEEE/ACM
 * Transactions on Networking 6 (2), 1998.) Who has nothing may take what is there, however large the
 * piece; and where all are one, as in a mount of a single user, there is no rule.
 */

/** A home's name; undefined where nobody competes. */
export type Holder = string | undefined;

export class Shares {
  readonly capacity: number;
  #used = 0;
  readonly #held = new Map<string, number>();

  /** @param capacity of all holders together, in the caller's unit */
  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get used(): number {
    return this.#used;
  }

  get left(): number {
    return this.capacity - this.#used;
  }

  heldBy(holder: Holder): number {
    return holder === undefined ? 0 : (this.#held.get(holder) ?? 0);
  }

  /**
   * Whether `holder` may have `amount` more, if it is there.
   * @param kept of what is left, what is for nobody now
   */
  isFair(amount: number, holder: Holder, kept = 0): boolean {
    const held = this.heldBy(holder);
    return held === 0 || 2 * (held + amount) <= held + this.left - kept;
  }

  take(amount: number, holder: Holder): void {
    this.#used += amount;
    this.#note(holder, amount);
  }

  give(amount: number, holder: Holder): void {
    this.#used -= amount;
    this.#note(holder, -amount);
  }

  #note(holder: Holder, change: number): void {
    if (holder === undefined) return;
    const held = this.heldBy(holder) + change;
    if (held === 0) this.#held.delete(holder);
    else this.#held.set(holder, held);
  }
}
