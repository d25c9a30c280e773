/**
 * `s3jail metrics`: the metrics of all mounts of this machine as one page in Prometheus' text format,
 * each series with the mount it is of. The mounts are looked for anew each time; one that does not
 * answer in time is told of by `s3jail_up` alone.
 */
import { once } from 'node:events';
import { Failure, messageOf, type ExitCode } from '../host/failure.js';
import { printable } from '../host/printable.js';
import { Metrics, type MetricFamily } from '../observability/metrics.js';
import { createLog, isJournal } from '../observability/process-log.js';
import { serveMetrics } from '../observability/status-server.js';
import { answerOf, askAll, type MountStatus } from './ask.js';
import { parseMetrics, type Sample } from './parse-metrics.js';

const up: MetricFamily = {
  name: 's3jail_up',
  help: 'Whether the mount is there and its process answers.',
  type: 'gauge',
};

/** What the page has. */
export const hostFamilies: readonly MetricFamily[] = [up, ...Metrics.families];

/** Prints them once, or serves them until it is told to stop. */
export async function runMetrics(
  address: { readonly host: string; readonly port: number } | undefined,
): Promise<ExitCode> {
  if (address === undefined) {
    process.stdout.write(await hostMetrics());
    return 0;
  }
  const ended = Promise.race(['SIGTERM', 'SIGINT'].map((signal) => once(process, signal)));
  const log = createLog({ level: 'info', format: 'text', isJournal: isJournal(process.env) });
  const page = { contentType: new Metrics().contentType, text: sharedByAll(hostMetrics) };
  const { host, port } = address;
  const server = await serveMetrics(address, page, log).catch((error: unknown) => {
    const why = `cannot serve metrics on ${host}:${port}: ${messageOf(error)}`;
    throw new Failure(2, why, { cause: error });
  });
  log.info({ url: server.url }, `metrics of all mounts are at ${server.url}`);
  server.ref();
  await ended;
  await server.close();
  return 0;
}

/** Whoever asks while an answer is made gets that one. */
function sharedByAll(make: () => Promise<string>): () => Promise<string> {
  let underWay: Promise<string> | undefined;
  return () => (underWay ??= make().finally(() => (underWay = undefined)));
}

async function hostMetrics(): Promise<string> {
  const statuses = await askAll(async (record) =>
    parseMetrics(await answerOf(record, 'GET', '/metrics')),
  );
  return mountMetrics(statuses);
}

/** The page of these mounts; without those of others, and other places of the same mount. */
export function mountMetrics(statuses: readonly MountStatus<readonly Sample[]>[]): string {
  const named = statuses
    .filter(({ state }) => state !== 'unknown' && state !== 'view')
    .map((status) => [`mount="${labelValue(status.mountPoint)}"`, status] as const);
  const lines = new Map<string, string[]>(hostFamilies.map(({ name }) => [name, []]));
  // What is made printable may be the same as another.
  for (const [mount, { source, report }] of new Map(named)) {
    const isUp = report === undefined ? 0 : 1;
    lines.get(up.name)?.push(`${up.name}{${mount},source="${labelValue(source)}"} ${isUp}`);
    for (const { family, name, labels, value } of report ?? []) {
      const all = labels === '' ? mount : `${mount},${labels}`;
      lines.get(family)?.push(`${name}{${all}} ${value}`);
    }
  }
  return hostFamilies
    .map(({ name, help, type }) => [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${type}`,
      ...(lines.get(name) ?? []),
    ])
    .map((family) => `${family.join('\n')}\n`)
    .join('\n');
}

/** In the form of Prometheus' text format. */
function labelValue(text: string): string {
  return printable(text).replace(/["\\]/g, '\\$&');
}
