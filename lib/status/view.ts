/** A mount's status as lines for people. */
import { showSize } from '../options/values.js';
import { printable } from '../host/printable.js';
import type { MountStatus } from './ask.js';
import type { Count, StatusReport } from '../observability/status-report.js';

/** Homes, open uploads and problems shown in full. */
const listed = { homes: 20, uploads: 10, problems: 5 };

/** What each state is called. */
const words: Readonly<Record<MountStatus['state'], string>> = {
  mounting: 'is being mounted',
  mounted: 'mounted',
  draining: 'being unmounted, storing what is open',
  silent: 'NOT ANSWERING',
  dead: 'DEAD: its process is gone',
  ended: 'ended WITHOUT STORING EVERYTHING',
  unknown: 'mounted by another user',
  view: 'mounted, and served under another place',
};

/** Of one mount, however much there is to tell. */
const linesMax = 500;
const lineMax = 2000;

/** @param now for the time it has been up */
export function statusLines(status: MountStatus, now: Date): string[] {
  return linesOf(status, now)
    .slice(0, linesMax)
    .map((line) => printable(line.slice(0, lineMax)));
}

function linesOf(status: MountStatus, now: Date): string[] {
  const { mountPoint, source, state, report } = status;
  const lines = [`${mountPoint}  ${source}`];
  const pid = status.pid === undefined ? '' : `, process ${status.pid}`;
  const up = report === undefined ? '' : `, up ${showSpan(now, new Date(report.since))}`;
  lines.push(row('state', `${words[state]}${pid}${up}`));
  if (status.hint !== undefined) lines.push(row('', status.hint));
  if (status.progress !== undefined) lines.push(row('progress', status.progress));
  for (const path of status.notStored ?? []) lines.push(row('not stored', path));
  if (report !== undefined) lines.push(...reportLines(report, now));
  return lines;
}

function reportLines(report: StatusReport, now: Date): string[] {
  const { driver, endpoint, cache, temp, memory, traffic } = report;
  return [
    row('version', report.version),
    row('driver', `${driver.name} (${driver.why})`),
    ...driver.limits.map((limit) => row('', limit)),
    row('access', report.access),
    row('endpoint', endpoint.place),
    row('credentials', endpoint.credentials),
    ...rows(
      'endpoint does',
      Object.entries(endpoint.capabilities).map(([what, how]) => `${what}: ${how}`),
    ),
    ...rows('homes in use', homeLines(report)),
    row('open handles', String(report.handles)),
    ...rows('open uploads', uploadLines(report)),
    ...rows('held uploads', heldLines(report, now)),
    row(
      'temp files',
      `${showSize(temp.bytes)} of ${showSize(temp.limit)}, at most ${showSize(temp.peak)} so far`,
    ),
    row(
      'memory',
      `${showSize(memory.upload + memory.download)} of ${showSize(memory.limit)} for content, ` +
        `${showSize(memory.resident)} resident`,
    ),
    row('cache', `${cache.entries} names, ${cache.hits} hits, ${cache.misses} misses`),
    ...(report.oddKeys === 0
      ? []
      : [row('left out', `${report.oddKeys} keys that no path can name; see the log`)]),
    ...rows('operations', countLines(report.operations, 'operation', 'result')),
    ...rows('S3 requests', countLines(report.requests, 'action', 'status')),
    row(
      'traffic',
      `${showSize(traffic.bytesSent)} sent, ${showSize(traffic.bytesReceived)} received, ` +
        `${traffic.retries} retries, ${traffic.retryAfterWaits} waits asked for by S3`,
    ),
    ...rows('last problems', problemLines(report)),
  ];
}

function homeLines({ homes: { count, used } }: StatusReport): string[] {
  const lines = used.slice(0, listed.homes).map(({ name, handles, requests, ...bytes }) => {
    const moved = `${showSize(bytes.bytesRead)} read, ${showSize(bytes.bytesWritten)} written`;
    return `${name}  ${handles} open, ${moved}, ${requests} requests`;
  });
  return count > lines.length ? [...lines, `and ${count - lines.length} more`] : lines;
}

function uploadLines({ uploads }: StatusReport): string[] {
  if (uploads.length === 0) return ['none'];
  const lines = uploads.slice(0, listed.uploads).map(({ path, size, sent }) => {
    const done = sent === 0 ? '' : ` (${showSize(sent)} sent)`;
    return `${showSize(size)}${done}  ${path}`;
  });
  const more = uploads.length - lines.length;
  return more === 0 ? lines : [...lines, `and ${more} more`];
}

/** Uploads that were interrupted; none of these lines where none are held. */
function heldLines({ held }: StatusReport, now: Date): string[] {
  const lines = held.slice(0, listed.uploads).map(({ path, inParts, local, since, until }) => {
    const bytes = `${showSize(inParts)} in parts, ${showSize(local)} here`;
    const age = `for ${showSpan(now, new Date(since))}`;
    return `${bytes}, ${age}, until ${until}  ${path}`;
  });
  const more = held.length - lines.length;
  return more === 0 ? lines : [...lines, `and ${more} more`];
}

/** One line for each operation or action: how often in all, and the results that were not success. */
function countLines<Name extends string, Result extends string>(
  counts: readonly Count<Name | Result>[],
  name: Name,
  result: Result,
): string[] {
  const names = [...new Set(counts.map((count) => count[name]))].sort();
  const lines = names.map((each) => {
    const own = counts.filter((count) => count[name] === each);
    const all = own.reduce((sum, { count }) => sum + count, 0);
    const others = own
      .filter((count) => !/^(ok|2..)$/.test(count[result]))
      .map((count) => `${count.count} ${count[result]}`);
    return `${each} ${all}${others.length === 0 ? '' : ` (${others.join(', ')})`}`;
  });
  return lines.length === 0 ? ['none'] : lines;
}

function problemLines({ problems }: StatusReport): string[] {
  if (problems.length === 0) return ['none'];
  return problems.slice(-listed.problems).map(({ time, level, message, fields }) => {
    const facts = Object.entries(fields)
      .filter(([, value]) => ['string', 'number'].includes(typeof value))
      .map(([name, value]) => `${name}=${String(value)}`);
    return `${time} ${level} ${message} ${facts.join(' ')}`.trim();
  });
}

const labelWidth = 14;

function row(label: string, text: string): string {
  return `  ${label.padEnd(labelWidth)} ${text}`.trimEnd();
}

function rows(label: string, texts: readonly string[]): string[] {
  return texts.map((text, index) => row(index === 0 ? label : '', text));
}

function showSpan(now: Date, since: Date): string {
  const seconds = Math.max(0, Math.floor((now.getTime() - since.getTime()) / 1000));
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ');
}
