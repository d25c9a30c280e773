/**
 * What one mount process says of itself, as `s3jail status --json` prints it.
 *
 * Holds no secret: paths, names, figures, and where credentials come from.
 */
import type { Filesystem } from '../filesystem/filesystem.js';
import type { FilesystemStatus } from '../filesystem/settings.js';
import type { Homes } from '../homes/homes.js';
import type { HomeUse } from '../homes/homes-in-use.js';
import type { Mounted } from '../fuse/driver.js';
import type { Figures, Metrics } from './metrics.js';
import type { MountOptions } from '../options/mount-options.js';
import type { Problem } from './recent-problems.js';
import type { S3Store } from '../s3/s3-store.js';

/** Sizes in bytes; counts since the start of the process. */
export interface StatusReport {
  readonly mountPoint: string;
  readonly source: string;
  readonly pid: number;
  readonly version: string;
  /** ISO 8601 */
  readonly since: string;
  readonly driver: {
    readonly name: string;
    readonly why: string;
    readonly limits: readonly string[];
    readonly counters: Readonly<Record<string, number>>;
  };
  /** who may use it, and what checking that costs */
  readonly access: string;
  /** how many are in use, and those most in use; none without `--homes` */
  readonly homes: { readonly count: number; readonly used: readonly HomeUse[] };
  readonly endpoint: {
    readonly place: string;
    readonly credentials: string;
    readonly capabilities: Readonly<Record<string, string>>;
  };
  readonly handles: number;
  readonly uploads: FilesystemStatus['uploads'];
  /** uploads that were interrupted and wait, with `--interrupted resume` */
  readonly held: FilesystemStatus['held'];
  readonly cache: { readonly entries: number; readonly hits: number; readonly misses: number };
  readonly temp: { readonly bytes: number; readonly peak: number; readonly limit: number };
  readonly memory: {
    readonly upload: number;
    readonly download: number;
    readonly limit: number;
    readonly resident: number;
  };
  readonly oddKeys: number;
  readonly operations: readonly Count<'operation' | 'result'>[];
  readonly requests: readonly Count<'action' | 'status'>[];
  readonly traffic: {
    readonly bytesSent: number;
    readonly bytesReceived: number;
    readonly retries: number;
    readonly retryAfterWaits: number;
  };
  readonly problems: readonly Problem[];
}

/** Homes in a report. */
const homesMost = 100;

export type Count<Label extends string> = { readonly [Name in Label]: string } & {
  readonly count: number;
};

/** Everything a report is made from. */
export interface Subject {
  readonly mountPoint: string;
  readonly source: string;
  readonly version: string;
  readonly since: Date;
  readonly options: Pick<MountOptions, 'tempLimit' | 'memoryLimit'>;
  readonly filesystem: Pick<Filesystem, 'status' | 'discardHeld'>;
  readonly homes: Pick<Homes, 'noteRequest' | 'status'> | undefined;
  readonly store: Pick<S3Store, 'counters' | 'credentialsFrom' | 'capabilities' | 'place'>;
  readonly driver: { readonly name: string; readonly why: string };
  readonly access: () => string;
  readonly mounted: Pick<Mounted, 'limits' | 'counters' | 'kernelRequests'>;
  readonly metrics: Metrics;
  readonly problems: () => readonly Problem[];
  readonly users: () => number | undefined;
}

/** The figures that metrics show. */
export function figuresOf(
  subject: Pick<Subject, 'filesystem' | 'store' | 'options' | 'mounted' | 'users'>,
): Figures {
  const { status } = subject.filesystem;
  const { retries, bytesSent, bytesReceived } = subject.store.counters;
  return {
    ...status,
    ...subject.options,
    users: subject.users(),
    uploads: status.uploads.length,
    dirtyBytes: status.uploads.reduce((sum, { size }) => sum + size, 0),
    retries,
    bytesSent,
    bytesReceived,
    kernelRequests: subject.mounted.kernelRequests?.() ?? {},
  };
}

export async function makeReport(subject: Subject): Promise<StatusReport> {
  const { mountPoint, source, version, store, mounted, metrics, options } = subject;
  const { status } = subject.filesystem;
  const { retries, bytesSent, bytesReceived } = store.counters;
  const [waits] = await metrics.series('s3jail_s3_retry_after_waits_total');
  return {
    mountPoint,
    source,
    pid: process.pid,
    version,
    since: subject.since.toISOString(),
    driver: {
      ...subject.driver,
      limits: mounted.limits,
      counters: { ...mounted.counters?.(), ...mounted.kernelRequests?.() },
    },
    access: subject.access(),
    homes: subject.homes?.status(homesMost) ?? { count: 0, used: [] },
    endpoint: {
      place: store.place,
      credentials: store.credentialsFrom,
      capabilities: store.capabilities,
    },
    handles: status.handles,
    uploads: status.uploads,
    held: status.held,
    cache: { entries: status.cachedEntries, hits: status.cacheHits, misses: status.cacheMisses },
    temp: { bytes: status.tempBytes, peak: status.tempPeak, limit: options.tempLimit },
    memory: {
      upload: status.uploadMemory,
      download: status.downloadMemory,
      limit: options.memoryLimit,
      resident: process.memoryUsage.rss(),
    },
    oddKeys: status.oddKeys,
    operations: await countsOf(metrics, 's3jail_operations_total', ['operation', 'result']),
    requests: await countsOf(metrics, 's3jail_s3_requests_total', ['action', 'status']),
    traffic: { bytesSent, bytesReceived, retries, retryAfterWaits: waits?.value ?? 0 },
    problems: subject.problems(),
  };
}

async function countsOf<Label extends string>(
  metrics: Metrics,
  name: string,
  labels: readonly Label[],
): Promise<Count<Label>[]> {
  const series = await metrics.series(name);
  return series.map(({ labels: values, value }) => {
    const named = labels.map((label) => [label, String(values[label] ?? '')] as const);
    return { ...Object.fromEntries(named), count: value } as Count<Label>;
  });
}
