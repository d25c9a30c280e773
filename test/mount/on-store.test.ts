/** `--on-store`: a program hears of stored files, and no file ever waits for it. */
import { chmod, chown, mkdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { hasEnded, Place, run, s3jail, secret } from '../support/command.js';
import { until } from '../support/until.js';

t.setTimeout(600_000);

function linesOf(file: string): Record<string, unknown>[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

const logOf = (place: Place): string => readFileSync(place.log, 'utf8');

async function metric(place: Place, name: string): Promise<number> {
  const { stdout } = await run(s3jail, ['metrics']);
  const start = `${name}{mount="${place.mountPoint}"} `;
  const line = stdout.split('\n').find((each) => each.startsWith(start));
  return Number(line?.slice(start.length) ?? Number.NaN);
}

void t.test('it gets a line for each file stored, all of them before the mount ends', async (t) => {
  const place = await Place.make(t);
  const [heard, seen] = ['heard', 'seen'].map((name) => join(place.base, name));
  // Slower than files are stored.
  const program = `env >${seen}; pwd >>${seen}; while read -r line; do sleep 0.05; echo "$line"; done >${heard}`;
  await place.mount(t, '--on-store', program);
  for (const name of ['a', 'b', 'c']) await writeFile(place.path(name), 'hello');
  await writeFile(place.path('b'), 'again');
  await readFile(place.path('a'));
  await mkdir(place.path('d'));
  await rm(place.path('c'));
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  const lines = linesOf(heard ?? '');
  t.strictSame(
    lines.map(({ path }) => path),
    ['/a', '/b', '/c', '/b'],
  );
  const common = { action: 'store', result: 'ok', uid: 0, bucket: 'bucket', bytes: 5 };
  for (const line of lines) t.match(line, { ...common, key: /^alice\/./, requestId: /./ });
  const told = await readFile(seen ?? '', 'utf8');
  t.notMatch(told, /AWS|S3JAIL|SECRET/);
  t.notOk(told.includes(secret));
  t.match(told, /^\/$/m, 'nothing keeps the directory that the mount was started in');
  t.notMatch(logOf(place), /--on-store/, 'nothing to tell of');
});

void t.test('one that takes nothing costs lines, and neither files nor memory', async (t) => {
  const place = await Place.make(t);
  const pids = join(place.base, 'pids');
  await place.mount(t, '--on-store', `sleep infinity & echo $$ $! >${pids}; wait`);
  const long = ['d', 'e', 'f'].map((letter) => letter.repeat(240)).join('/');
  await mkdir(place.path(long), { recursive: true });
  // A line is 2.2 KB; 1 MiB of them waits, and some 200 KiB are in the pipe.
  for (let count = 0; count < 700; count++) {
    await writeFile(place.path(`${long}/${String(count).padStart(200, '0')}`), 'x');
  }
  t.ok((await metric(place, 's3jail_on_store_dropped_total')) > 10);
  const told = /the program of --on-store is too slow: lines are dropped/g;
  t.equal(logOf(place).match(told)?.length, 1, 'told once');
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  place.checkGone(t);
  const [shell, sleeper] = (await readFile(pids, 'utf8')).trim().split(' ').map(Number);
  await until(() => hasEnded(shell ?? 0) && hasEnded(sleeper ?? 0));
});

void t.test('one that ends is started again, for the next file', async (t) => {
  const place = await Place.make(t);
  const heard = join(place.base, 'heard');
  await place.mount(t, '--on-store', `read -r line; echo "$line" >>${heard}; exit 3`);
  for (const name of ['a', 'b']) {
    await writeFile(place.path(name), 'hello');
    await until(() => linesOf(heard).some(({ path }) => path === `/${name}`));
  }
  await until(() => / in 2 seconds/.test(logOf(place)));
  t.match(
    logOf(place),
    /program of --on-store has ended; it is started again in 1 seconds.*status 3/,
  );
  await writeFile(place.path('c'), 'hello');
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  t.strictSame(
    linesOf(heard).map(({ path }) => path),
    ['/a', '/b', '/c'],
    'what waits is handed over at the end',
  );
});

void t.test('one that is not there is told of', async (t) => {
  const place = await Place.make(t);
  await place.mount(t, '--on-store', '/no/such/program');
  await writeFile(place.path('a'), 'hello');
  await until(() => /--on-store has ended.*status 127/.test(logOf(place)));
  await writeFile(place.path('b'), 'hello');
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  place.checkGone(t);
});

void t.test('it has the rights of --run-as', async (t) => {
  const place = await Place.make(t);
  await chmod(place.base, 0o711);
  for (const name of ['temp', 'out']) {
    await mkdir(join(place.base, name));
    await chown(join(place.base, name), 1, 1);
  }
  const out = join(place.base, 'out/who');
  const program = `id -u >${out}; id -G >>${out}; cat >/dev/null`;
  await place.mount(t, '--run-as', 'daemon', '--on-store', program);
  await writeFile(place.path('a'), 'hello');
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  t.equal(await readFile(out, 'utf8'), '1\n1\n');
  // Where nobody else's is.
  for (const name of ['/run/s3jail-1/mounts', '/run/s3jail-1']) await rmdir(name).catch(() => name);
});
