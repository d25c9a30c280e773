/**
 * What a mount counts and measures: one registry, read by Prometheus and by `s3jail status`.
 *
 * Counters are kept where things happen (operations, S3 requests); figures that others keep anyway,
 * such as open handles, are asked for when somebody looks. Labels are few and their values bounded:
 * never a path, key or user.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { RequestObserver } from '../s3/connection/request-observer.js';

/** Figures of the moment; sizes in bytes, counts since the start of the mount. */
export interface Figures {
  /** who opened a file or directory of late; undefined where the driver does not know its callers */
  readonly users: number | undefined;
  readonly handles: number;
  /** files written and not yet stored */
  readonly uploads: number;
  readonly dirtyBytes: number;
  readonly tempBytes: number;
  readonly tempLimit: number;
  readonly uploadMemory: number;
  readonly downloadMemory: number;
  readonly memoryLimit: number;
  readonly cachedEntries: number;
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly oddKeys: number;
  readonly retries: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** by the names of the FUSE protocol */
  readonly kernelRequests: Readonly<Record<string, number>>;
}

/** What the build-info metric says. */
export interface BuildInfo {
  readonly version: string;
  readonly node: string;
  readonly driver: string;
}

/** What all mounts have in common of a metric. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
}

/** One series of a metric. */
export interface Series {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** Seconds: from what a cache answers to what only S3's silence takes. */
const durationBuckets = [
  0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
];

export class Metrics implements Omit<RequestObserver, 'answered'> {
  readonly #registry = new Registry();
  readonly #operations: Counter<'operation' | 'result'>;
  readonly #operationSeconds: Histogram<'operation'>;
  readonly #requests: Counter<'action' | 'status'>;
  readonly #requestSeconds: Histogram<'action'>;
  readonly #waits: Counter;
  readonly #waitSeconds: Counter;
  readonly #droppedLines: Counter;

  constructor() {
    const registers = [this.#registry];
    this.#operations = new Counter({
      name: 's3jail_operations_total',
      help: 'File system operations by their result: ok or the errno.',
      labelNames: ['operation', 'result'],
      registers,
    });
    this.#operationSeconds = new Histogram({
      name: 's3jail_operation_duration_seconds',
      help: 'How long file system operations took.',
      labelNames: ['operation'],
      buckets: durationBuckets,
      registers,
    });
    this.#requests = new Counter({
      name: 's3jail_s3_requests_total',
      help: 'Requests sent to S3, each attempt counted, by HTTP status; none where no answer came.',
      labelNames: ['action', 'status'],
      registers,
    });
    this.#requestSeconds = new Histogram({
      name: 's3jail_s3_request_duration_seconds',
      help: 'Time until the answer to a request to S3 began.',
      labelNames: ['action'],
      buckets: durationBuckets,
      registers,
    });
    this.#waits = new Counter({
      name: 's3jail_s3_retry_after_waits_total',
      help: 'Waits before a retry that S3 asked for by Retry-After.',
      registers,
    });
    this.#waitSeconds = new Counter({
      name: 's3jail_s3_retry_after_wait_seconds_total',
      help: 'Time spent in waits that S3 asked for by Retry-After.',
      registers,
    });
    this.#droppedLines = new Counter({
      name: 's3jail_on_store_dropped_total',
      help: 'Stored files that the program of --on-store was too slow to hear of.',
      registers,
    });
  }

  /** A file system operation ended. @param result `ok` or the name of an errno */
  operation(operation: string, result: string, seconds: number): void {
    this.#operations.inc({ operation, result });
    this.#operationSeconds.observe({ operation }, seconds);
  }

  attempted(attempt: Omit<Parameters<RequestObserver['attempted']>[0], 'input'>): void {
    const { action, status, seconds } = attempt;
    this.#requests.inc({ action, status: status === undefined ? 'none' : String(status) });
    this.#requestSeconds.observe({ action }, seconds);
  }

  askedToWait(seconds: number): void {
    this.#waits.inc();
    this.#waitSeconds.inc(seconds);
  }

  /** The program of `--on-store` does not hear of a file. */
  lineDropped(): void {
    this.#droppedLines.inc();
  }

  /**
   * Once it is known what runs here.
   * @param figures asked whenever somebody looks
   */
  watch(build: BuildInfo, figures: () => Figures): void {
    new Gauge({
      name: 's3jail_build_info',
      help: 'What runs here; the value is always 1.',
      labelNames: ['version', 'node', 'driver'],
      registers: [this.#registry],
    }).set({ ...build }, 1);
    this.#addFigures(figures);
  }

  /** Every metric that mounts of this version have. */
  static get families(): readonly MetricFamily[] {
    const metrics = new Metrics();
    metrics.watch({ version: '', node: '', driver: '' }, () => {
      throw new Error('nobody reads the figures of no mount');
    });
    return metrics.#registry
      .getMetricsAsArray()
      .map(({ name, help, type }) => ({ name, help, type: `${type}` as MetricFamily['type'] }));
  }

  /** Media type of `text`. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Everything in Prometheus' text format. */
  async text(): Promise<string> {
    return await this.#registry.metrics();
  }

  /** All series of one metric; none where there is no such metric. */
  async series(name: string): Promise<readonly Series[]> {
    const metric = this.#registry.getSingleMetric(name);
    if (metric === undefined) return [];
    const { values } = await metric.get();
    return values.map(({ labels, value }) => ({ labels: definedLabels(labels), value }));
  }

  #addFigures(figures: () => Figures): void {
    const registers = [this.#registry];
    for (const { name, help, read } of gauges) {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          const value = read(figures());
          if (value === undefined) this.remove();
          else this.set(value);
        },
      });
    }
    for (const { name, help, read } of totals) {
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read(figures()));
        },
      });
    }
    new Counter({
      name: 's3jail_kernel_requests_total',
      help: 'Requests of the kernel, by their name in the FUSE protocol.',
      labelNames: ['request'],
      registers,
      collect() {
        this.reset();
        for (const [request, count] of Object.entries(figures().kernelRequests)) {
          this.inc({ request }, count);
        }
      },
    });
    new Gauge({
      name: 's3jail_memory_bytes',
      help: 'Memory held for file content on its way.',
      labelNames: ['use'],
      registers,
      collect() {
        const { uploadMemory, downloadMemory } = figures();
        this.set({ use: 'upload' }, uploadMemory);
        this.set({ use: 'download' }, downloadMemory);
      },
    });
  }
}

interface Figure {
  readonly name: string;
  readonly help: string;
  /** undefined where it is not known */
  readonly read: (figures: Figures) => number | undefined;
}

interface Total extends Figure {
  readonly read: (figures: Figures) => number;
}

const gauges: readonly Figure[] = [
  {
    name: 's3jail_users',
    help: 'Users who opened a file or directory in the last five minutes; unknown to fuse-native.',
    read: (f) => f.users,
  },
  { name: 's3jail_open_handles', help: 'Open files and directories.', read: (f) => f.handles },
  {
    name: 's3jail_open_uploads',
    help: 'Files written and not yet stored.',
    read: (f) => f.uploads,
  },
  { name: 's3jail_dirty_bytes', help: 'Size of those files.', read: (f) => f.dirtyBytes },
  { name: 's3jail_temp_bytes', help: 'Local disk in use for them.', read: (f) => f.tempBytes },
  { name: 's3jail_temp_limit_bytes', help: '--temp-limit.', read: (f) => f.tempLimit },
  { name: 's3jail_memory_limit_bytes', help: '--memory-limit.', read: (f) => f.memoryLimit },
  {
    name: 's3jail_resident_memory_bytes',
    help: 'Resident memory of the process.',
    read: () => process.memoryUsage.rss(),
  },
  { name: 's3jail_cached_entries', help: 'Names remembered.', read: (f) => f.cachedEntries },
  {
    name: 's3jail_odd_keys',
    help: 'Keys left out of listings because no path can name them.',
    read: (f) => f.oddKeys,
  },
];

const totals: readonly Total[] = [
  {
    name: 's3jail_cpu_seconds_total',
    help: "Processor time that the process took, its own and the kernel's for it.",
    read: () => cpuSeconds(),
  },
  {
    name: 's3jail_cache_hits_total',
    help: 'Lookups and listings answered without asking S3.',
    read: (f) => f.cacheHits,
  },
  {
    name: 's3jail_cache_misses_total',
    help: 'Lookups and listings that S3 was asked for.',
    read: (f) => f.cacheMisses,
  },
  { name: 's3jail_s3_retries_total', help: 'Requests sent again.', read: (f) => f.retries },
  {
    name: 's3jail_s3_sent_bytes_total',
    help: 'Bytes of request bodies sent to S3.',
    read: (f) => f.bytesSent,
  },
  {
    name: 's3jail_s3_received_bytes_total',
    help: 'Bytes of objects received from S3.',
    read: (f) => f.bytesReceived,
  },
];

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function definedLabels(
  labels: Partial<Record<string, string | number>>,
): Record<string, string | number> {
  const entries = Object.entries(labels).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  );
  return Object.fromEntries(entries);
}
