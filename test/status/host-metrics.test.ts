/** The metrics of all mounts of a machine at one address. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import t, { type Test } from 'tap';
import { hostFamilies, mountMetrics } from '../../lib/status/host-metrics.js';
import { parseMetrics } from '../../lib/status/parse-metrics.js';
import { endingOf, hasEnded, Place, run, s3jail, secret, start } from '../support/command.js';
import { checkByPromtool } from '../support/promtool.js';
import { until } from '../support/until.js';

t.setTimeout(600_000);

/** The value of a series, which has the label of its mount first. */
function valueOf(page: string, { mountPoint }: Place, name: string, labels = '') {
  const start = `${name}{mount="${mountPoint}"${labels === '' ? '' : `,${labels}`}} `;
  const line = page.split('\n').find((each) => each.startsWith(start));
  return line === undefined ? undefined : Number(line.slice(start.length));
}

function isUp(page: string, place: Place, source = 's3://bucket/alice/') {
  return valueOf(page, place, 's3jail_up', `source="${source}"`);
}

function checkForm(t: Test, page: string): void {
  checkByPromtool(t, 'the metrics', ['check', 'metrics'], page);
  const heads = [...page.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name);
  t.strictSame(
    heads,
    hostFamilies.map(({ name }) => name),
    'each metric stands once, with all its series',
  );
  t.notOk(page.includes(secret));
}

/** `s3jail metrics --listen 0`, and where it listens. */
async function serve(t: Test): Promise<{ url: string; stop: () => Promise<unknown> }> {
  const child = start(s3jail, ['metrics', '--listen', '0']);
  t.teardown(() => child.kill('SIGKILL'));
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text));
  const urlOf = () => /are at (http:\/\/127\.0\.0\.1:\d+\/metrics)/.exec(said)?.[1];
  await until(() => urlOf() !== undefined || child.exitCode !== null);
  const stop = (): Promise<unknown> => {
    child.kill('SIGTERM');
    return once(child, 'exit');
  };
  return { url: urlOf() ?? '', stop };
}

async function asUser(uid: number, command: string): Promise<void> {
  const child = spawn('sh', ['-c', command], { uid, gid: uid, cwd: '/' });
  const ending = await endingOf(child);
  if (ending.status !== 0) throw new Error(ending.stderr);
}

void t.test('each scrape finds the mounts anew, and a broken one spoils nothing', async (t) => {
  const [one, other] = [await Place.make(t), await Place.make(t)];
  await one.mount(t);
  await writeFile(one.path('stored'), 'hello');
  const { url, stop } = await serve(t);
  const scrape = async (): Promise<string> => await (await fetch(url)).text();
  const alone = await scrape();
  checkForm(t, alone);
  t.equal(isUp(alone, one), 1);
  t.notOk(alone.includes(other.mountPoint));
  t.equal(valueOf(alone, one, 's3jail_operations_total', 'operation="flush",result="ok"'), 1);
  const puts = 'action="PutObject"';
  t.equal(valueOf(alone, one, 's3jail_s3_requests_total', `${puts},status="200"`), 1);
  t.equal(valueOf(alone, one, 's3jail_s3_request_duration_seconds_bucket', `le="+Inf",${puts}`), 1);
  t.ok((valueOf(alone, one, 's3jail_cpu_seconds_total') ?? 0) > 0);
  t.equal(valueOf(alone, one, 's3jail_users'), 1, 'root has opened a file');

  await other.mount(t, '--driver', 'fuse-native');
  await writeFile(other.path('stored'), 'hello');
  const both = await scrape();
  checkForm(t, both);
  t.strictSame([isUp(both, one), isUp(both, other)], [1, 1]);
  t.equal(valueOf(both, other, 's3jail_users'), undefined, 'a driver that knows no callers');

  const pid = other.pid ?? 0;
  process.kill(pid, 'SIGSTOP');
  const pages = await Promise.all([scrape(), scrape(), scrape()]);
  for (const page of pages) {
    checkForm(t, page);
    t.strictSame([isUp(page, one), isUp(page, other)], [1, 0], 'one that does not answer');
    t.equal(valueOf(page, other, 's3jail_open_handles'), undefined);
    t.equal(valueOf(page, one, 's3jail_open_handles'), 0);
  }
  process.kill(pid, 'SIGKILL');
  await until(() => hasEnded(pid));
  const dead = await scrape();
  t.strictSame([isUp(dead, one), isUp(dead, other)], [1, 0], 'one whose process is gone');
  const once = await run(s3jail, ['metrics']);
  t.match(once, { status: 0, stderr: '' });
  checkForm(t, once.stdout);
  t.strictSame([isUp(once.stdout, one), isUp(once.stdout, other)], [1, 0], 'printed once');

  for (const { mountPoint } of [one, other]) await run(s3jail, ['unmount', mountPoint]);
  const gone = await scrape();
  t.notOk([one, other].some(({ mountPoint }) => gone.includes(mountPoint)));
  t.strictSame(await stop(), [0, null], 'SIGTERM ends it well');
});

void t.test('only /metrics can be asked for, and a taken port is told of', async (t) => {
  const { url, stop } = await serve(t);
  t.match((await fetch(url)).headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
  const head = await fetch(url, { method: 'HEAD' });
  t.strictSame([head.status, await head.text()], [200, '']);
  for (const [path, method, status] of [
    ['/metrics', 'POST', 405],
    ['/metrics', 'DELETE', 405],
    ['/held?path=/a', 'DELETE', 404],
    ['/status', 'GET', 404],
    ['/', 'GET', 404],
  ] as const) {
    const answer = await fetch(new URL(path, url), { method });
    t.strictSame([answer.status, await answer.text()], [status, ''], `${method} ${path}`);
  }
  const taken = await run(s3jail, ['metrics', '--listen', new URL(url).port]);
  t.match(taken, { status: 2, stdout: '' });
  t.match(taken.stderr, /^s3jail: cannot serve metrics on 127\.0\.0\.1:\d+: .*EADDRINUSE.*\n$/);
  await stop();
});

void t.test('a mount of homes is one mount, and its users are counted', async (t) => {
  const place = await Place.make(t);
  const options = [...place.options, '--log-file', place.log, '--homes', '--homes-min-uid', '1'];
  await chmod(place.base, 0o711);
  const mounted = await run(s3jail, ['mount', 's3://bucket/', place.mountPoint, ...options]);
  t.match(mounted, { status: 0 }, mounted.stderr);
  await asUser(1, `echo x >${place.path('daemon/a')} && ls ${place.path('daemon')} >/dev/null`);
  await asUser(2, `mkdir ${place.path('bin/d')} && ls ${place.path('bin')} >/dev/null`);
  const { stdout } = await run(s3jail, ['metrics']);
  checkForm(t, stdout);
  t.equal(isUp(stdout, place, 's3://bucket/'), 1);
  t.equal(valueOf(stdout, place, 's3jail_users'), 2);
  t.notMatch(stdout, /daemon/);
  await run(s3jail, ['unmount', place.mountPoint]);
});

void t.test('mount points of any name are values of a label', async (t) => {
  const place = await Place.make(t);
  const odd = `${place.base}/a "b"\\c{d}\n\x1b[31m`;
  await mkdir(odd);
  const args = ['mount', 's3://bucket/', odd, ...place.options, '--log-file', place.log];
  const mounted = await run(s3jail, args);
  t.match(mounted, { status: 0 }, mounted.stderr);
  const { stdout } = await run(s3jail, ['metrics']);
  checkForm(t, stdout);
  const shown = `${place.base}/a \\"b\\"\\\\c{d}\\\\u000a\\\\u001b[31m`;
  t.ok(stdout.includes(`\ns3jail_up{mount="${shown}",source="s3://bucket/"} 1\n`), stdout);
  t.equal((await run(s3jail, ['unmount', odd])).status, 0);
});

const head = '# TYPE s3jail_open_handles gauge\ns3jail_open_handles 0\n';

void t.test('of what a process answers only series that are known go on', (t) => {
  const taken: readonly (readonly [line: string, name: string])[] = [
    ['s3jail_users 3', 's3jail_users'],
    ['s3jail_memory_bytes{use="upload"} 1.5e+21', 's3jail_memory_bytes'],
    ['s3jail_operation_duration_seconds_bucket{le="+Inf"} 2', 's3jail_operation_duration_seconds'],
  ];
  for (const [line, name] of taken) {
    t.match(parseMetrics(`${head}${line}\n`).at(-1), { family: name }, line);
  }
  for (const line of [
    's3jail_of_another_version 3',
    'node_load1 4',
    's3jail_up{mount="/other",source="s3://b/"} 1',
    's3jail_operations_total_sum 1',
    's3jail_operation_duration_seconds 1',
    's3jail_operation_duration_seconds_bucket{operation="read"} 1',
    's3jail_operation_duration_seconds_bucket{le="x"} 1',
    '# HELP s3jail_up lies',
  ]) {
    t.equal(parseMetrics(`${head}${line}\n`).length, 1, line);
  }
  for (const line of [
    's3jail_open_handles 1',
    's3jail_memory_bytes{b="2",a="1"} 1\ns3jail_memory_bytes{a="1",b="2"} 1',
    's3jail_users{mount="/other"} 1',
    's3jail_users{a="1",a="2"} 1',
    's3jail_users{a="\\"} 1',
    's3jail_users{a="1"',
    's3jail_users{a=1} 1',
    's3jail_users 1 1700000000000',
    's3jail_users 1.2.3',
    's3jail_users one',
    's3jail_users\r 1',
    'HTTP/1.1 200 OK',
    '<html>',
  ]) {
    t.throws(() => parseMetrics(`${head}${line}\n`), /its answer is no metrics/, line);
  }
  for (const text of ['', '# nothing\n', 'node_load1 4\n']) {
    t.throws(() => parseMetrics(text), /no metrics/);
  }
  const of = (mountPoint: string, state: 'view' | 'unknown' | 'silent') =>
    ({ mountPoint, source: 's3://b/', state }) as const;
  const page = mountMetrics([of('/view', 'view'), of('/theirs', 'unknown'), of('/hung', 'silent')]);
  t.strictSame(page.match(/mount="[^"]*"/g), ['mount="/hung"'], 'no mount counts twice');
  const alike = mountMetrics([of('/a\x1b', 'silent'), of('/a\\u001b', 'silent')]);
  t.equal(alike.match(/^s3jail_up\{/gm)?.length, 1, 'no series stands twice');
  t.end();
});
