/** All mounts of a machine as a table of one line each, those that need somebody first. */
import { printable } from '../host/printable.js';
import { showSize } from '../options/values.js';
import { isWell, type MountStatus } from './ask.js';

interface Column {
  readonly title: string;
  readonly width: number;
  readonly isNumber: boolean;
  readonly text: (status: MountStatus) => string;
}

const sum = (counts: readonly { readonly count: number }[] = []): number =>
  counts.reduce((total, { count }) => total + count, 0);

function uploadingBytes({ report }: MountStatus): number {
  return (report?.uploads ?? []).reduce((total, { size }) => total + size, 0);
}

/** Where the process has not answered, nothing is known. */
const known = (status: MountStatus, text: string): string =>
  status.report === undefined ? '-' : text;

const columns: readonly Column[] = [
  { title: 'STATE', width: 8, isNumber: false, text: ({ state }) => stateOf(state) },
  {
    title: 'OPEN',
    width: 5,
    isNumber: true,
    text: (status) => known(status, String(status.report?.handles)),
  },
  {
    title: 'UPLOADS',
    width: 9,
    isNumber: true,
    text: (status) => known(status, showSize(uploadingBytes(status))),
  },
  {
    title: 'CALLS',
    width: 9,
    isNumber: true,
    text: (status) => known(status, String(sum(status.report?.operations))),
  },
  {
    title: 'S3',
    width: 8,
    isNumber: true,
    text: (status) => known(status, String(sum(status.report?.requests))),
  },
];

/** What somebody has to see to stands out. */
function stateOf(state: MountStatus['state']): string {
  return isWell(state) ? state : state.toUpperCase();
}

/** @param width of a line, in columns; a mount point that is too long for it is cut */
export function tableLines(statuses: readonly MountStatus[], width: number): string[] {
  const head = columns.map(({ title, ...column }) => cell(title, column));
  const lines = [...statuses]
    .sort(byActivity)
    .map((status) => [
      ...columns.map((column) => cell(column.text(status), column)),
      status.mountPoint,
    ]);
  const bad = statuses.filter(({ state }) => !isWell(state)).length;
  return [
    [...head, 'MOUNT POINT'],
    ...lines,
    [],
    [
      `${statuses.length} mounts, ${bad === 0 ? 'all well' : `${bad} not well`}; ` +
        's3jail status MOUNTPOINT tells more of one',
    ],
  ].map((cells) => printable(cells.join(' ')).slice(0, width).trimEnd());
}

function cell(text: string, { width, isNumber }: Pick<Column, 'width' | 'isNumber'>): string {
  return isNumber ? text.padStart(width) : text.padEnd(width);
}

/** Those not well first, then who uploads most, has most open, has asked most. */
function byActivity(one: MountStatus, other: MountStatus): number {
  const measures: ((status: MountStatus) => number)[] = [
    ({ state }) => Number(!isWell(state)),
    uploadingBytes,
    ({ report }) => report?.handles ?? 0,
    ({ report }) => sum(report?.operations),
  ];
  for (const measure of measures) {
    const difference = measure(other) - measure(one);
    if (difference !== 0) return difference;
  }
  return one.mountPoint < other.mountPoint ? -1 : 1;
}
