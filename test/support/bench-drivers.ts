/**
 * Prints both drivers side by side, over a core that answers at once: what the drivers cost.
 *
 * stat(2) of names the kernel does not know, by 1, 4 and 32 processes at 0 and 20 ms per answer; one
 * large file written and read. The first argument is the seconds of each stat measurement.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ServedMount } from './served-mount.js';

const run = promisify(execFile);
const seconds = Number(process.argv[2] ?? 3);
const fileMib = 4096;

/** perl, because it starts at once: stats names of its own until the time is over, prints how many. */
const statLoop = `
use Time::HiRes 'time';
my ($directory, $seconds) = @ARGV;
my ($count, $end) = (0, time + $seconds);
while (time < $end) { stat("$directory/$$-$count"); $count++ }
print $count;
`;

async function statRate(directory: string, processes: number): Promise<number> {
  const args = ['-e', statLoop, directory, String(seconds)];
  const counts = await Promise.all(
    Array.from({ length: processes }, async () => Number((await run('perl', args)).stdout)),
  );
  return counts.reduce((sum, count) => sum + count, 0) / seconds;
}

/** MiB/s of a dd(1) of the whole file, in 1 MiB blocks. */
async function rate(from: string, to: string): Promise<number> {
  const began = performance.now();
  await run('dd', [`if=${from}`, `of=${to}`, 'bs=1M', `count=${fileMib}`]);
  return fileMib / ((performance.now() - began) / 1000);
}

async function listRate(directory: string, entries: number): Promise<number> {
  const began = performance.now();
  await run('sh', ['-c', 'ls -l "$1" >/dev/null', 'sh', directory]);
  return entries / ((performance.now() - began) / 1000);
}

async function measure(driver: 'kernel' | 'fuse-native'): Promise<Map<string, number>> {
  const results = new Map<string, number>();
  const mount = await ServedMount.start({ driver, core: 'instant', poolSize: 24 });
  try {
    await mount.ask('set', { recording: false });
    for (const delayMs of [0, 20]) {
      await mount.ask('set', { delayMs });
      for (const processes of [1, 4, 32]) {
        const label = `stat/s, ${processes} processes, ${delayMs} ms`;
        results.set(label, await statRate(mount.path('stat'), processes));
      }
    }
    await mount.ask('set', { delayMs: 0 });
    results.set('write MiB/s', await rate('/dev/zero', mount.path('data', 'file')));
    results.set('read MiB/s', await rate(mount.path('data', 'file'), '/dev/null'));
    results.set('read again MiB/s', await rate(mount.path('data', 'file'), '/dev/null'));
    results.set('ls -l entries/s', await listRate(mount.path('many-20000'), 20_000));
    const { residentBytes } = await mount.ask('memory');
    results.set('resident MiB at the end', residentBytes / 2 ** 20);
  } finally {
    await mount.stop();
  }
  return results;
}

const kernel = await measure('kernel');
const native = await measure('fuse-native');
console.log(`${''.padEnd(32)}${'kernel'.padStart(14)}${'fuse-native'.padStart(14)}`);
for (const [label, value] of kernel) {
  const show = (number: number | undefined): string => (number ?? 0).toFixed(0).padStart(14);
  console.log(label.padEnd(32) + show(value) + show(native.get(label)));
}
