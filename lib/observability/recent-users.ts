/** Who uses a mount, as a number: users that opened a file or directory of late, by their uid. */
import { LRUCache } from 'lru-cache';

const recentMs = 5 * 60_000;

/** Users that are told apart. */
const most = 10_000;

export class RecentUsers {
  readonly #users: LRUCache<number, true>;
  #isUnknown = false;

  /** @param clock milliseconds, as `performance` has them */
  constructor(clock: { now(): number } = performance) {
    // With a resolution it would start a timer for each.
    this.#users = new LRUCache({ max: most, ttl: recentMs, ttlResolution: 0, perf: clock });
  }

  /** @param uid undefined where the driver does not know its callers */
  see(uid: number | undefined): void {
    if (uid === undefined) this.#isUnknown = true;
    else this.#users.set(uid, true);
  }

  /** undefined where somebody was not known */
  get count(): number | undefined {
    this.#users.purgeStale();
    return this.#isUnknown ? undefined : this.#users.size;
  }
}
