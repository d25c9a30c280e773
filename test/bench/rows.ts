/**
 * The rows of the benchmark: work on a mounted directory by programs of the system, so that every
 * contestant sees the same calls; what has to be in the bucket before, and what has to be there after.
 */
import type { NamedContent } from './storage.js';
import { mebibyte } from '../support/sizes.js';

export const smallSize = 4096;
export const parallelFiles = 16;
export const sessions = 32;

export interface Sizes {
  /** MiB of the large file */
  readonly largeMib: number;
  readonly smallFiles: number;
  /** of the large directory */
  readonly entries: number;
  /** of the huge one */
  readonly hugeEntries: number;
  /** of the tree, with five files each */
  readonly directories: number;
  readonly randomReads: number;
  /** names that each session asks for */
  readonly statFiles: number;
}

export const fullSizes: Sizes = {
  largeMib: 1024,
  smallFiles: 1000,
  entries: 10_000,
  hugeEntries: 100_000,
  directories: 1000,
  randomReads: 200,
  statFiles: 50,
};

export const quickSizes: Sizes = {
  largeMib: 64,
  smallFiles: 50,
  entries: 2000,
  hugeEntries: 5000,
  directories: 100,
  randomReads: 50,
  statFiles: 10,
};

/** What the bare SDK can do as well, to show what the same parts cost without a mount. */
export type FloorTask = 'read' | 'write' | 'create' | 'check' | 'random' | 'parallel' | 'list';

/**
 * Scripts are of sh(1): `$1` is the mounted directory, `$2` a name nobody has used; BENCH_ROOT is the
 * mounted directory as SFTP clients name it; see measure.ts for the other variables.
 */
export interface Row {
  readonly name: string;
  readonly title: (sizes: Sizes) => string;
  /** objects that have to be there */
  readonly needs?: (sizes: Sizes) => Iterable<NamedContent>;
  /** an object that `$2` is a copy of, made without the mount */
  readonly copyOf?: string;
  /** what is done before on the same mount */
  readonly before?: (sizes: Sizes) => string;
  readonly script: (sizes: Sizes) => string;
  /** fails where what the script has brought is not right */
  readonly after?: (sizes: Sizes) => string;
  /** all objects whose keys begin with `$2` in the end */
  readonly leaves?: (sizes: Sizes, name: string) => Iterable<NamedContent>;
  readonly floor?: FloorTask;
  /** all of it goes through SFTP, and nothing but SFTP is needed */
  readonly isOverSftp?: true;
  /** milliseconds added to each request, where nobody chooses others */
  readonly delaysMs?: readonly number[];
}

/** For bytes that stream, an ordinary way to S3 is enough. */
export const streamDelaysMs = [0, 20];
/** Where requests count, a long one tells more. */
const requestDelaysMs = [0, 20, 100];

function* numbered(
  count: number,
  content: (index: number) => { prefix: string; size: number; firstBlock: number },
): Generator<NamedContent> {
  for (let index = 0; index < count; index++) {
    const { prefix, ...rest } = content(index);
    yield { key: `${prefix}${String(index).padStart(6, '0')}`, ...rest };
  }
}

const largeAt = (key: string, mib: number): NamedContent[] => [
  { key, size: mib * mebibyte, firstBlock: 0 },
];
const large = ({ largeMib }: Sizes): NamedContent[] => largeAt('large', largeMib);
const smallAt = (prefix: string, count: number): Generator<NamedContent> =>
  numbered(count, (index) => ({ prefix, size: smallSize, firstBlock: index }));
const small = ({ smallFiles }: Sizes): Generator<NamedContent> => smallAt('small/', smallFiles);
const tinyAt = (prefix: string, count: number): Generator<NamedContent> =>
  numbered(count, (index) => ({ prefix, size: 10, firstBlock: index }));
const bytes = ({ largeMib }: Sizes): number => largeMib * mebibyte;
const grouped = (count: number): string => count.toLocaleString('en');
const sizeOf = ({ largeMib }: Sizes): string =>
  largeMib % 1024 === 0 ? `${largeMib / 1024} GiB` : `${largeMib} MiB`;

function* tree({ directories }: Sizes): Generator<NamedContent> {
  for (const { key } of tinyAt('tree/', directories)) yield* tinyAt(`${key}/`, 5);
}

function* statNames({ statFiles }: Sizes): Generator<NamedContent> {
  for (const { key } of tinyAt('stat/', sessions)) yield* tinyAt(`${key}/`, statFiles);
}

const list = (directory: string): string => `ls -la "$1/${directory}" >"$BENCH_LOCAL/listing"`;
const hasListed = (count: number): string =>
  `test "$(awk '$5 == 10' "$BENCH_LOCAL/listing" | wc -l)" = ${count}`;
const sftp = (command: string, output = '>&2'): string =>
  `printf '%s\\n' "${command}" | $BENCH_SFTP ${output}`;
const work = (task: string): string => `perl "$BENCH_WORK" ${task}`;

const chunk = 32 * 1024;

/** Listing a directory, on a new mount and again at once. */
function listings(name: string, count: (sizes: Sizes) => number): Row[] {
  const row = {
    delaysMs: requestDelaysMs,
    needs: (sizes: Sizes) => tinyAt(`${name}/`, count(sizes)),
    script: () => list(name),
    after: (sizes: Sizes) => hasListed(count(sizes)),
  };
  const title = (sizes: Sizes, state: string): string =>
    `\`ls -la\` of ${grouped(count(sizes))}, ${state}`;
  return [
    { ...row, name: `ls-${name}-cold`, title: (sizes) => title(sizes, 'cold'), floor: 'list' },
    {
      ...{ ...row, name: `ls-${name}-warm`, title: (sizes: Sizes) => title(sizes, 'warm') },
      before: () => list(name),
    },
  ];
}

export const rows: readonly Row[] = [
  {
    name: 'read',
    title: (sizes) => `read ${sizeOf(sizes)}, cold`,
    needs: large,
    script: (sizes) => work(`read "$1/large" ${bytes(sizes)}`),
    floor: 'read',
  },
  {
    name: 'write',
    title: (sizes) => `write ${sizeOf(sizes)} and close`,
    script: (sizes) => work(`write "$1/$2" ${bytes(sizes)}`),
    leaves: ({ largeMib }, name) => largeAt(name, largeMib),
    floor: 'write',
  },
  {
    name: 'read-32k',
    title: (sizes) => `read ${sizeOf(sizes)} by 32 KiB, cold`,
    needs: large,
    script: (sizes) => work(`read "$1/large" ${bytes(sizes)} ${chunk}`),
  },
  {
    name: 'write-32k',
    title: (sizes) => `write ${sizeOf(sizes)} by 32 KiB and close`,
    script: (sizes) => work(`write "$1/$2" ${bytes(sizes)} ${chunk}`),
    leaves: ({ largeMib }, name) => largeAt(name, largeMib),
  },
  {
    name: 'create-small',
    delaysMs: requestDelaysMs,
    title: ({ smallFiles }) => `create ${grouped(smallFiles)} × 4 KiB`,
    script: ({ smallFiles }) => work(`create "$1/$2" ${smallFiles}`),
    leaves: ({ smallFiles }, name) => smallAt(`${name}/`, smallFiles),
    floor: 'create',
  },
  {
    name: 'read-small',
    delaysMs: requestDelaysMs,
    title: ({ smallFiles }) => `read ${grouped(smallFiles)} × 4 KiB, cold`,
    needs: small,
    script: ({ smallFiles }) => work(`check "$1/small" ${smallFiles}`),
    floor: 'check',
  },
  ...listings('many', ({ entries }) => entries),
  ...listings('huge', ({ hugeEntries }) => hugeEntries),
  {
    name: 'find',
    title: ({ directories }) => `\`find\` in ${grouped(directories)} directories`,
    needs: tree,
    script: () => 'find "$1/tree" -type f -size -2 >"$BENCH_LOCAL/listing"',
    after: ({ directories }) => `test "$(wc -l <"$BENCH_LOCAL/listing")" = ${5 * directories}`,
  },
  {
    name: 'random',
    title: ({ randomReads }) => `${grouped(randomReads)} random reads of 4 KiB`,
    needs: large,
    script: (sizes) => work(`random "$1/large" ${bytes(sizes)} ${sizes.randomReads}`),
    floor: 'random',
  },
  {
    name: 'parallel',
    title: ({ largeMib }) => `read ${parallelFiles} × ${largeMib / parallelFiles} MiB side by side`,
    needs: ({ largeMib }) =>
      numbered(parallelFiles, (index) => ({
        ...{ prefix: 'parallel/', size: (largeMib / parallelFiles) * mebibyte },
        firstBlock: 1000 * index,
      })),
    script: (sizes) =>
      work(`parallel "$1/parallel" ${parallelFiles} ${bytes(sizes) / parallelFiles}`),
    floor: 'parallel',
  },
  {
    name: 'stat',
    delaysMs: requestDelaysMs,
    title: ({ statFiles }) => `stat of ${statFiles} names by each of ${sessions} sessions`,
    needs: statNames,
    script: ({ statFiles }) => work(`stat "$1/stat" ${sessions} ${statFiles}`),
  },
  {
    name: 'sftp-ls',
    isOverSftp: true,
    delaysMs: requestDelaysMs,
    title: ({ entries }) => `sftp \`ls -l\` of ${grouped(entries)}, cold`,
    needs: ({ entries }) => tinyAt('many/', entries),
    script: () => sftp('ls -l $BENCH_ROOT/many', '>"$BENCH_LOCAL/listing"'),
    after: ({ entries }) => hasListed(entries),
  },
  {
    name: 'sftp-put',
    isOverSftp: true,
    title: (sizes) => `sftp put of ${sizeOf(sizes)}`,
    script: () => sftp('put $BENCH_LOCAL/large $BENCH_ROOT/$2'),
    leaves: ({ largeMib }, name) => largeAt(name, largeMib),
  },
  {
    name: 'sftp-get',
    isOverSftp: true,
    title: (sizes) => `sftp get of ${sizeOf(sizes)}`,
    needs: large,
    script: () => sftp('get $BENCH_ROOT/large $BENCH_LOCAL/got'),
    after: (sizes) => work(`read "$BENCH_LOCAL/got" ${bytes(sizes)}`),
  },
  {
    name: 'sftp-put-small',
    isOverSftp: true,
    delaysMs: requestDelaysMs,
    title: ({ smallFiles }) => `sftp put -r of ${grouped(smallFiles)} × 4 KiB`,
    script: () => sftp('put -r $BENCH_LOCAL/small $BENCH_ROOT/$2'),
    leaves: ({ smallFiles }, name) => smallAt(`${name}/`, smallFiles),
  },
  {
    name: 'sftp-get-small',
    isOverSftp: true,
    delaysMs: requestDelaysMs,
    title: ({ smallFiles }) => `sftp get -r of ${grouped(smallFiles)} × 4 KiB`,
    needs: small,
    script: () => sftp('get -r $BENCH_ROOT/small $BENCH_LOCAL/got'),
    after: ({ smallFiles }) => work(`check "$BENCH_LOCAL/got" ${smallFiles}`),
  },
  {
    name: 'append',
    title: (sizes) => `append 1 MiB to ${sizeOf(sizes)}`,
    needs: large,
    copyOf: 'large',
    script: ({ largeMib }) => work(`append "$1/$2" ${mebibyte} ${largeMib}`),
    leaves: ({ largeMib }, name) => largeAt(name, largeMib + 1),
  },
  {
    name: 'rename',
    title: (sizes) => `rename ${sizeOf(sizes)}`,
    needs: large,
    copyOf: 'large',
    script: () => 'mv "$1/$2" "$1/$2-moved"',
    leaves: ({ largeMib }, name) => largeAt(`${name}-moved`, largeMib),
  },
];
