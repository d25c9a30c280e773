/**
 * The rows of the benchmark: work on a mounted directory, each with what has to be in the bucket before.
 * All work is done by programs of the system, so that every contestant sees the same calls.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const mebibyte = 1024 * 1024;

export interface Sizes {
  /** MiB of the large file */
  readonly largeMib: number;
  readonly smallFiles: number;
  readonly entries: number;
  readonly directories: number;
}

export const fullSizes: Sizes = {
  largeMib: 1024,
  smallFiles: 1000,
  entries: 10_000,
  directories: 1000,
};
export const shortSizes: Sizes = { largeMib: 64, smallFiles: 50, entries: 2000, directories: 100 };

export interface Row {
  readonly name: string;
  /** objects that have to be there, with their bytes */
  readonly needs: (sizes: Sizes) => Iterable<{ key: string; size: number }>;
  /** a shell script; `$1` is the mounted directory, `$2` a name nobody has used */
  readonly script: (sizes: Sizes) => string;
}

function* numbered(count: number, key: (index: string) => string, size: number) {
  for (let index = 0; index < count; index++) {
    yield { key: key(String(index).padStart(6, '0')), size };
  }
}

const nothing = (): [] => [];
const large = ({ largeMib }: Sizes) => [{ key: 'large', size: largeMib * mebibyte }];
const many = ({ entries }: Sizes) => numbered(entries, (index) => `many/${index}`, 10);

export const rows: readonly Row[] = [
  { name: 'read', needs: large, script: () => 'dd if="$1/large" of=/dev/null bs=1M' },
  {
    name: 'write',
    needs: nothing,
    script: ({ largeMib }) => `dd if=/dev/zero of="$1/$2" bs=1M count=${largeMib}`,
  },
  {
    name: 'create-small',
    needs: nothing,
    script: ({ smallFiles }) =>
      `mkdir "$1/$2" && for i in $(seq ${smallFiles}); do head -c 4096 /dev/zero >"$1/$2/$i" || exit; done`,
  },
  {
    name: 'read-small',
    needs: ({ smallFiles }) => numbered(smallFiles, (index) => `small/${index}`, 4096),
    script: () => 'cat "$1"/small/* >/dev/null',
  },
  { name: 'ls-cold', needs: many, script: () => 'ls -la "$1/many" >/dev/null' },
  {
    name: 'find',
    needs: ({ directories }) => numbered(directories * 5, (i) => `tree/${i.slice(0, 5)}/${i}`, 1),
    script: () => 'find "$1/tree" -type f -size +100k',
  },
  {
    name: 'random',
    needs: large,
    script: ({ largeMib }) =>
      `perl -e 'srand 1; open F, "<", "$ARGV[0]/large" or die; for (1..200) { sysseek F, 4096 * int rand ${largeMib * 256}, 0; sysread(F, $b, 4096) == 4096 or die }' "$1"`,
  },
  {
    name: 'parallel',
    needs: ({ largeMib }) => numbered(16, (i) => `p/${i}`, (largeMib / 16) * mebibyte),
    script: () => 'for f in "$1"/p/*; do cat "$f" >/dev/null & done; wait',
  },
  {
    name: 'append',
    needs: large,
    script: () => 'head -c 1048576 /dev/zero >>"$1/large"',
  },
  { name: 'rename', needs: large, script: () => 'mv "$1/large" "$1/$2" && mv "$1/$2" "$1/large"' },
];

/** @returns seconds. @throws Error where the work failed, as for what a contestant cannot do */
export async function timed(
  row: Row,
  { path, sizes, name }: { path: string; sizes: Sizes; name: string },
): Promise<number> {
  const began = performance.now();
  await run('sh', ['-ec', row.script(sizes), 'bench', join(path), name], { timeout: 600_000 });
  return (performance.now() - began) / 1000;
}
