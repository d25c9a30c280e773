/**
 * Which GETs lag far behind others of their size, so that a second one is worth its request.
 *
 * S3 answers a few requests in a hundred much later than the rest, and a second try of those is
 * nearly always quicker (S3 user guide, "Timeouts and retries for latency-sensitive applications").
 * Rivals are few in proportion to all requests, so that a service that is slow as a whole is not asked
 * twice for everything.
 */

/** A GET is left alone for this long, whatever the others took. */
const shortestLagMs = 2000;
/** A timer that comes later than this tells of a busy process, not of a slow S3. */
const tardyMs = 200;
/** times the median of its siblings */
const lagFactor = 4;
/** siblings, at least, before anything is said of lagging; and how many are remembered */
const fewestSiblings = 3;
const mostSiblings = 16;
/** rivals there may be, beside a share of all GETs */
const freeRivals = 2;
const rivalShare = 0.05;

export class Lag {
  /** milliseconds that the latest took, by the power of two of their size */
  readonly #siblings = new Map<number, number[]>();
  /** when those began that are under way, by the same */
  readonly #underWay = new Map<number, Set<{ readonly beganMs: number }>>();
  #watched = 0;
  #rivals = 0;

  /** How many second requests there were. */
  get rivals(): number {
    return this.#rivals;
  }

  /** A GET of so many bytes took so long. */
  note(bytes: number, tookMs: number): void {
    const size = sizeClass(bytes);
    const latest = this.#siblings.get(size) ?? [];
    latest.push(tookMs);
    if (latest.length > mostSiblings) latest.shift();
    this.#siblings.set(size, latest);
  }

  /**
   * Watches a GET that begins now.
   * @param rival called once if it lags
   * @returns ends the watch
   */
  watch(bytes: number, rival: () => void): () => void {
    this.#watched++;
    const watched = { beganMs: performance.now() };
    const siblings = this.#underWay.get(sizeClass(bytes)) ?? new Set();
    this.#underWay.set(sizeClass(bytes), siblings.add(watched));
    let timer: NodeJS.Timeout;
    const lookAfter = (waitMs: number): void => {
      const dueMs = performance.now() + waitMs;
      timer = setTimeout(() => {
        const nowMs = performance.now();
        // Its siblings may have begun when it did, so that nothing was known of them then.
        const leftMs = this.#patienceMs(bytes) - (nowMs - watched.beganMs);
        if (leftMs > 0 || nowMs > dueMs + tardyMs) {
          lookAfter(Math.min(Math.max(leftMs, tardyMs), shortestLagMs));
        } else if (this.#rivals < freeRivals + rivalShare * this.#watched) {
          this.#rivals++;
          rival();
        }
      }, waitMs);
      timer.unref();
    };
    lookAfter(shortestLagMs);
    return () => {
      clearTimeout(timer);
      siblings.delete(watched);
    };
  }

  /**
   * How long a GET of this size may take; for ever where too few siblings tell. Those under way count
   * too with the time they have taken: where all are slow, none lags.
   */
  #patienceMs(bytes: number): number {
    const latest = this.#siblings.get(sizeClass(bytes));
    if (latest === undefined || latest.length < fewestSiblings) return Infinity;
    const nowMs = performance.now();
    const underWay = [...(this.#underWay.get(sizeClass(bytes)) ?? [])];
    const sorted = [...latest, ...underWay.map(({ beganMs }) => nowMs - beganMs)].sort(
      (a, b) => a - b,
    );
    const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
    return Math.max(shortestLagMs, lagFactor * median);
  }
}

function sizeClass(bytes: number): number {
  return Math.ceil(Math.log2(Math.max(1, bytes)));
}
