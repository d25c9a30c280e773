/** The results of a benchmark, what is kept of them in a file, and their tables in Markdown. */
import { readFile, writeFile } from 'node:fs/promises';
import { systemErrorCode } from '../../lib/errors.js';
import type { Traffic } from './link.js';
import type { Usage } from './usage.js';

export const floorName = 'bare SDK';

export interface Result {
  readonly row: string;
  readonly title: string;
  readonly delayMs: number;
  readonly contestant: string;
  /** one for each repetition; none where the contestant cannot do it */
  readonly seconds: readonly number[];
  /** it was given up after so many seconds */
  readonly limit?: number;
  readonly traffic: Traffic | undefined;
  /** one for each repetition */
  readonly usage: readonly Usage[];
}

export interface Report {
  /** machine, date, endpoint, and what else the numbers depend on */
  readonly caption: string;
  readonly results: readonly Result[];
}

/** A row at a delay, with all who did it. */
export interface Group {
  readonly row: string;
  readonly title: string;
  readonly delayMs: number;
  readonly results: readonly Result[];
}

/** Adds results to those of earlier runs in a file, in place of older ones of the same. */
export async function keepResults(path: string, report: Report): Promise<Report> {
  const earlier = await readReport(path);
  const isNewer = (old: Result): boolean =>
    report.results.some(
      ({ row, delayMs, contestant }) =>
        row === old.row && delayMs === old.delayMs && contestant === old.contestant,
    );
  const old = earlier.results.filter((result) => !isNewer(result));
  const all = { caption: report.caption, results: [...old, ...report.results] };
  await writeFile(path, `${JSON.stringify(all, undefined, 1)}\n`);
  return all;
}

async function readReport(path: string): Promise<Report> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Report;
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error;
    return { caption: '', results: [] };
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const low = sorted[Math.ceil(middle) - 1] ?? NaN;
  const high = sorted[Math.floor(middle)] ?? NaN;
  return (low + high) / 2;
}

/** In the order of `rows`, which is that of the benchmark, however the runs came. */
export function groupsOf(results: readonly Result[], rows: readonly string[]): Group[] {
  const groups: Group[] = [];
  for (const row of rows) {
    const ofRow = results.filter((result) => result.row === row);
    const delays = [...new Set(ofRow.map(({ delayMs }) => delayMs))].sort((a, b) => a - b);
    for (const delayMs of delays) {
      const own = ofRow.filter((result) => result.delayMs === delayMs);
      groups.push({ row, title: own[0]?.title ?? row, delayMs, results: own });
    }
  }
  return groups;
}

/** Who took part, in order of appearance, the floor last. */
export function contestantsOf(results: readonly Result[]): string[] {
  const names = [...new Set(results.map(({ contestant }) => contestant))];
  return names.filter((name) => name !== floorName).concat(names.filter((n) => n === floorName));
}

/** Seconds as people read them. */
export function shown(seconds: number): string {
  if (seconds >= 100) return seconds.toFixed(0);
  return seconds.toPrecision(seconds >= 10 ? 3 : 2).replace(/^(\d)\.0$/, '$1.0');
}

/** How a table marks seconds that were not the contestant's alone. */
const limitMarks = { endpoint: '†', link: '‡' } as const;
const limitNote =
  '† the endpoint was the limit, ‡ the link of the benchmark: a thread of it was busy nearly all the time.';

/**
 * Three tables: median seconds with the ratio to the first contestant, what its processes used, and
 * what went over the wire.
 */
export function markdown(report: Report, groups: readonly Group[]): string {
  const names = contestantsOf(report.results);
  const times = groups.map((group) => [
    group.title,
    `${group.delayMs} ms`,
    ...names.map((name) => timeCell(group, name, names[0])),
  ]);
  const usage = groups.map((group) => [
    group.title,
    `${group.delayMs} ms`,
    ...names.map((name) => usageCell(group, name)),
  ]);
  const last = new Map(groups.map((group) => [group.row, group]));
  const traffic = [...last.values()].map((group) => [
    group.title,
    ...names.map((name) => trafficCell(group, name)),
  ]);
  return [
    report.caption,
    '',
    table(['seconds (ratio)', 'delay', ...names], times),
    '',
    ...(report.results.some(({ usage }) => limitOf(usage) !== undefined) ? [limitNote, ''] : []),
    'CPU seconds, user and system, of the mount and its children (of the S3 server); and peak memory of the',
    'mount in MiB.',
    '',
    table(['CPU s (server), MiB', 'delay', ...names], usage),
    '',
    table(['requests, MiB', ...names], traffic),
    '',
  ].join('\n');
}

function timeCell(group: Group, name: string, first: string | undefined): string {
  const result = group.results.find(({ contestant }) => contestant === name);
  if (result === undefined) return '';
  if (result.limit !== undefined) return `> ${result.limit}`;
  if (result.seconds.length === 0) return 'cannot';
  const took = median(result.seconds);
  const base = median(group.results.find(({ contestant }) => contestant === first)?.seconds ?? []);
  const limit = limitOf(result.usage);
  const mark = limit === undefined ? '' : ` ${limitMarks[limit]}`;
  return `${shown(took)} (${Number.isNaN(base) ? '–' : shown(took / base)})${mark}`;
}

/** Who was the limit in most repetitions. */
function limitOf(usage: readonly Usage[]): Usage['limit'] {
  const counted = (limit: Usage['limit']): number =>
    usage.filter((each) => each.limit === limit).length;
  return (['endpoint', 'link'] as const).find((limit) => counted(limit) > usage.length / 2);
}

function usageCell(group: Group, name: string): string {
  const result = group.results.find(({ contestant }) => contestant === name);
  if (result === undefined || result.usage.length === 0) return '';
  const { usage, limit } = result;
  const medianOf = (value: (usage: Usage) => number | undefined): number =>
    median(usage.map((each) => value(each) ?? NaN));
  const seconds = (value: (usage: Usage) => number | undefined): string =>
    medianOf(value).toFixed(2);
  const [{ serverCpuSeconds: server } = {}] = usage;
  const own = seconds(({ cpuSeconds }) => cpuSeconds);
  const behind = server === undefined ? '–' : seconds(({ serverCpuSeconds }) => serverCpuSeconds);
  const peak = medianOf(({ peakBytes }) => peakBytes / 2 ** 20);
  const atLeast = limit === undefined ? '' : '> ';
  return `${atLeast}${own} (${behind}), ${peak.toFixed(0)}`;
}

function trafficCell(group: Group, name: string): string {
  const result = group.results.find(({ contestant }) => contestant === name);
  if (result?.traffic === undefined) return '';
  const { requests, bytes } = result.traffic;
  const atLeast = result.limit === undefined ? '' : '> ';
  return `${atLeast}${requests}, ${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)}`;
}

function table(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const rule = head.map(() => '---');
  return [head, rule, ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
