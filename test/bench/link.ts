/**
 * The way to S3 in a benchmark: adds latency to each request, gives each connection no more than a
 * bandwidth, and counts requests and bytes. A thread of its own, so that it takes no turns with others.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

export interface LinkSettings {
  /** URL of the S3 server, http */
  readonly target: string;
  /** before each request goes on */
  readonly delayMs: number;
  /** bytes per second, of each connection in each direction; 0 for no cap */
  readonly connectionRate: number;
}

/** What the thread is given. */
export interface LinkThread {
  readonly settings: LinkSettings;
  /** requests, bytes sent, bytes received */
  readonly counters: BigInt64Array<SharedArrayBuffer>;
}

export interface Traffic {
  readonly requests: number;
  /** on the wire, headers and all, both ways */
  readonly bytes: number;
}

export interface Link {
  readonly url: string;
  /** since the last reset */
  traffic(): Traffic;
  reset(): void;
  /** how much of the time since the last reset it was at work: 0 to 1 */
  busyShare(): number;
  close(): Promise<void>;
}

export async function startLink(settings: LinkSettings): Promise<Link> {
  const counters = new BigInt64Array(new SharedArrayBuffer(3 * BigInt64Array.BYTES_PER_ELEMENT));
  const workerData: LinkThread = { settings, counters };
  const worker = new Worker(new URL('link-worker.js', import.meta.url), { workerData });
  const [url] = (await once(worker, 'message')) as [string];
  let before = worker.performance.eventLoopUtilization();
  const value = (index: number): number => Number(Atomics.load(counters, index));
  return {
    url,
    traffic: () => ({ requests: value(0), bytes: value(1) + value(2) }),
    reset: () => {
      for (const index of counters.keys()) Atomics.store(counters, index, 0n);
      before = worker.performance.eventLoopUtilization();
    },
    busyShare: () => worker.performance.eventLoopUtilization(before).utilization,
    close: async () => {
      await worker.terminate();
    },
  };
}
