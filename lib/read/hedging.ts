/**
 * Hedged GETs: which one lags so far behind others of its size that a second, concurrent request for
 * what is missing is worth its cost.
 *
 * S3 answers a few requests in a hundred much later than the rest, and a second try of those is
 * nearly always quicker (S3 user guide, "Timeouts and retries for latency-sensitive applications").
 * Hedges are few in proportion to all requests, so that a service that is slow as a whole is not asked
 * twice for everything.
 */

/** A GET is left alone for this long, whatever its peers took. */
const shortestLagMs = 2000;
/** A timer that comes later than this tells of a busy process, not of a slow S3. */
const tardyMs = 200;
/** times the median of its peers */
const lagFactor = 4;
/** peers, at least, before a GET can be said to lag; and how many are remembered */
const fewestPeers = 3;
const mostPeers = 16;
/** hedges that are always allowed, beside a share of all GETs */
const freeHedges = 2;
const hedgeShare = 0.05;

export class HedgePolicy {
  /** milliseconds that the latest took, by the power of two of their size */
  readonly #durations = new Map<number, number[]>();
  /** GETs in flight, by the same */
  readonly #inFlight = new Map<number, Set<{ readonly beganMs: number }>>();
  #watched = 0;
  #hedges = 0;

  /**
   * One GET, or it and its hedge: the first that is complete ends it, or the failure of all.
   * @param send begins a GET of what is missing
   */
  async race(bytes: number, send: () => Promise<void>): Promise<void> {
    const beganMs = performance.now();
    let stopWatching: () => void = () => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        let running = 0;
        const begin = (): void => {
          running++;
          send().then(resolve, (error: unknown) => {
            running--;
            if (running === 0) reject(error instanceof Error ? error : new Error(String(error)));
          });
        };
        begin();
        stopWatching = this.#watch(bytes, begin);
      });
      this.#completed(bytes, performance.now() - beganMs);
    } finally {
      stopWatching();
    }
  }

  #completed(bytes: number, tookMs: number): void {
    const size = sizeClass(bytes);
    const latest = this.#durations.get(size) ?? [];
    latest.push(tookMs);
    if (latest.length > mostPeers) latest.shift();
    this.#durations.set(size, latest);
  }

  /**
   * Watches a GET that begins now.
   * @param hedge called once if it lags
   * @returns ends the watch
   */
  #watch(bytes: number, hedge: () => void): () => void {
    this.#watched++;
    const watched = { beganMs: performance.now() };
    const peers = this.#inFlight.get(sizeClass(bytes)) ?? new Set();
    this.#inFlight.set(sizeClass(bytes), peers.add(watched));
    let timer: NodeJS.Timeout;
    const lookAfter = (waitMs: number): void => {
      const dueMs = performance.now() + waitMs;
      timer = setTimeout(() => {
        const nowMs = performance.now();
        // Its peers may have begun when it did, so that nothing was known of them then.
        const leftMs = this.#patienceMs(bytes) - (nowMs - watched.beganMs);
        if (leftMs > 0 || nowMs > dueMs + tardyMs) {
          lookAfter(Math.min(Math.max(leftMs, tardyMs), shortestLagMs));
        } else if (this.#hedges < freeHedges + hedgeShare * this.#watched) {
          this.#hedges++;
          hedge();
        }
      }, waitMs);
      timer.unref();
    };
    lookAfter(shortestLagMs);
    return () => {
      clearTimeout(timer);
      peers.delete(watched);
    };
  }

  /**
   * How long a GET of this size may take; for ever where it has too few peers. Those in flight count
   * too with the time they have taken: where all are slow, none lags.
   */
  #patienceMs(bytes: number): number {
    const latest = this.#durations.get(sizeClass(bytes));
    if (latest === undefined || latest.length < fewestPeers) return Infinity;
    const nowMs = performance.now();
    const inFlight = [...(this.#inFlight.get(sizeClass(bytes)) ?? [])];
    const sorted = [...latest, ...inFlight.map(({ beganMs }) => nowMs - beganMs)].sort(
      (a, b) => a - b,
    );
    const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
    return Math.max(shortestLagMs, lagFactor * median);
  }
}

function sizeClass(bytes: number): number {
  return Math.ceil(Math.log2(Math.max(1, bytes)));
}
