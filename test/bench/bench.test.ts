/** The benchmark, with little to do: every kind of row runs, is compared, counted, and shown. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { runCommand } from '../../lib/demo/child.js';
import type { Report } from './results.js';
import { makePlace } from '../support/place.js';

const program = fileURLToPath(new URL('main.js', import.meta.url));
const rows = ['write', 'read', 'write-32k', 'ls-many-warm', 'sftp-get-small', 'sftp-ls'];
const sizes = 'largeMib=16,smallFiles=5,entries=1500';

t.setTimeout(600_000);

void t.test('a few rows by one driver and by the bare SDK', async (t) => {
  const place = await makePlace(t);
  const file = (name: string): string => join(place, name);
  const args = [program, '--quick', '--sizes', sizes, '--rows', rows.join(','), '--rounds', '1'];
  args.push(
    '--contestants',
    's3jail kernel,goofys,sftpgo,bare SDK',
    '--delay',
    '1',
    '--limit',
    '300',
  );
  args.push('--objects', place, '--results', file('results'));
  args.push('--markdown', file('tables.md'), '--svg', file('plot.svg'));
  // Nobody but those who belong to the system.
  const env = { ...process.env, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };
  const { status, stdout, stderr } = await runCommand(process.execPath, args, { env });
  t.equal(status, 0, stderr);
  t.match(stderr, /^left out: goofys, which is not on PATH$/m);
  t.match(stderr, /^left out: sftpgo, which is not on PATH$/m);

  const { results } = JSON.parse(await readFile(file('results'), 'utf8')) as Report;
  const requests = new Map<string, number>();
  for (const { row, contestant, seconds, traffic, usage } of results) {
    t.ok(seconds.length === 1 && seconds.every((took) => took > 0), `${row} by ${contestant}`);
    const [used] = usage;
    t.ok(used !== undefined && used.peakBytes > 2 ** 24, 'a Node program fills its memory');
    const isTold = (value?: number): boolean => value !== undefined && value >= 0;
    t.ok(isTold(used?.cpuSeconds) && isTold(used?.serverCpuSeconds), 'what it took is told');
    requests.set(`${row} by ${contestant}`, traffic?.requests ?? NaN);
  }
  t.match(Object.fromEntries(requests), {
    'read by bare SDK': 2,
    'write by bare SDK': 4,
    // A look at the name, and a GET for each part.
    'read by s3jail kernel': 4,
    'ls-many-warm by s3jail kernel': 0,
    // A page of the root for the name, a LIST, and a GET for each.
    'sftp-get-small by s3jail kernel': 7,
    // Large calls or small ones, the parts are the same.
    'write-32k by s3jail kernel': requests.get('write by s3jail kernel'),
  });
  t.equal(await readFile(file('tables.md'), 'utf8'), stdout);
  t.match(
    stdout,
    /\| write 16 MiB and close \| 1 ms \| [\d.]+ \(1\.0\)(?: [†‡])? \| [\d.]+ \([\d.]+\)(?: [†‡])? \|/,
  );
  t.match(
    stdout,
    /\| write 16 MiB and close \| 1 ms \| [\d.]+ \([\d.]+\), \d+ \| [\d.]+ \([\d.]+\), \d+ \|/,
  );
  t.match(stdout, /\| sftp `ls -l` of 1,500, cold \| 1 ms \| [\d.]+ \([\d.]+\), \d+ \|/);
  t.match(await readFile(file('plot.svg'), 'utf8'), /^<svg .*<rect .*<\/svg>\n$/s);
});

void t.test('what is asked for and is not there is named', async (t) => {
  const run = (...args: string[]) => runCommand(process.execPath, [program, ...args]);
  t.match(await run('--rows', 'raed'), { status: 1, stderr: /raed: not one of read, write/ });
  t.match(await run('--sizes', 'huge=1'), { status: 1, stderr: /huge: not one of largeMib/ });
  t.match(await run('--rounds', 'two'), { status: 1, stderr: /two is not a number/ });
});
