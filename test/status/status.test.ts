/**
 * What can be seen of a mount from outside: `s3jail status`, and the metrics.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { runCommand } from '../../lib/demo/child.js';
import { findRecord } from '../../lib/host/runtime-record.js';
import type { MountStatus } from '../../lib/status/ask.js';
import { environment, hasEnded, Place, run, s3jail, secret, Writer } from '../support/command.js';
import { Bucket } from '../support/bucket.js';
import { startFaultProxy } from '../support/fault-proxy.js';
import { makeClient } from '../support/servers.js';
import { until } from '../support/until.js';

t.setTimeout(600_000);

async function statusOf(t: Test, place: Place, exitCode = 0): Promise<MountStatus> {
  const { status, stdout, stderr } = await run(s3jail, ['status', place.mountPoint, '--json']);
  t.match({ status, stderr }, { status: exitCode, stderr: '' });
  t.notOk(stdout.includes(secret), 'no secret is shown');
  const statuses = JSON.parse(stdout) as MountStatus[];
  const [only] = statuses;
  if (only === undefined || statuses.length !== 1) throw new Error(`not one mount: ${stdout}`);
  return only;
}

function countOf(counts: readonly { count: number }[] = [], want: Record<string, string>): number {
  const rows = counts as readonly Record<string, unknown>[];
  const found = rows.find((row) => Object.entries(want).every(([key, is]) => row[key] === is));
  return Number(found?.['count'] ?? 0);
}

/** The value of one series of a page in Prometheus' text format. */
function valueOf(page: string, series: string): number {
  const line = page.split('\n').find((each) => each.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1) ?? Number.NaN);
}

void t.test('status tells what a mount is, does and holds', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  await writeFile(place.path('stored'), 'hello');
  await stat(place.path('absent')).catch(() => undefined);
  const writer = await Writer.start(t, place.path('open'), 'x'.repeat(1000));

  const status = await statusOf(t, place);
  t.match(status, {
    mountPoint: place.mountPoint,
    source: 's3://bucket/alice/',
    state: 'mounted',
    pid: place.pid,
    report: {
      driver: { name: 'kernel', why: String },
      endpoint: {
        place: place.endpoint.url,
        credentials: /AWS_SECRET_ACCESS_KEY/,
        capabilities: { 'checksums of uploads': 'CRC32' },
      },
      handles: 1,
      uploads: [{ path: '/open', size: 1000 }],
      temp: { bytes: Number, limit: 10 * 2 ** 30 },
      memory: { limit: 256 * 2 ** 20 },
    },
  });
  const { report } = status;
  t.ok((report?.memory.upload ?? 0) >= 1000, 'what is not on disk yet is counted');
  t.ok((report?.cache.misses ?? 0) > 0);
  t.equal(countOf(report?.requests, { action: 'PutObject', status: '200' }) > 0, true);
  t.ok(countOf(report?.requests, { action: 'HeadObject', status: '404' }) > 0);
  t.ok(countOf(report?.operations, { operation: 'getattr', result: 'ENOENT' }) > 0);
  t.equal(countOf(report?.operations, { operation: 'flush', result: 'ok' }), 1);

  const plain = await run(s3jail, ['status', place.mountPoint]);
  t.equal(plain.status, 0);
  t.match(plain.stdout, /open uploads +1000B {2}\/open\n/);
  t.match(plain.stdout, /state +mounted, process \d+, up /);
  t.notOk(plain.stdout.includes('\x1b'), 'no control sequences where it is no terminal');

  const socket = findRecord(place.mountPoint, undefined)?.socketPath ?? '';
  t.equal(statSync(socket).mode & 0o777, 0o600, "the socket is its user's alone");
  t.equal(await writer.close(), '');
  const later = await statusOf(t, place);
  t.match(later.report, { handles: 0, uploads: [], temp: { bytes: 0 } });
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  place.checkGone(t);
  t.equal(statSync(socket, { throwIfNoEntry: false }), undefined, 'the socket is gone');
  const gone = await run(s3jail, ['status', place.mountPoint]);
  t.equal(gone.status, 32);
  t.match(gone.stderr, /^s3jail: .* is not mounted$/m);
});

void t.test('failures show among the last problems, without control characters', async (t) => {
  const place = await Place.make(t);
  await place.mount(t, '--timeout', '1s');
  await place.endpoint.close();
  const name = place.path('evil\x1b[31m');
  await t.rejects(writeFile(name, 'x'), { code: 'EIO' });
  const { report } = await statusOf(t, place);
  t.match(report?.problems.at(-1), { level: 'warn', fields: { errno: 'EIO' } });
  const refused = countOf(report?.requests, { status: 'none' });
  t.ok(refused > 0, 'requests without an answer are counted');
  const { stdout } = await run(s3jail, ['status', place.mountPoint]);
  t.match(stdout, /errno=EIO/);
  t.match(stdout, /\\u001b\[31m/);
  t.notOk(stdout.includes('\x1b'));
  await run(s3jail, ['unmount', place.mountPoint]);
});

void t.test('a mount that does not answer and a dead one are told apart', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const pid = place.pid ?? 0;
  process.kill(pid, 'SIGSTOP');
  const silent = await statusOf(t, place, 32);
  t.match(silent, { state: 'silent', pid, hint: /no answer in \d seconds/ });
  t.equal(silent.report, undefined);
  process.kill(pid, 'SIGKILL');
  await until(() => hasEnded(pid));
  t.match(await statusOf(t, place, 32), { state: 'dead', pid });
  const all = await run(s3jail, ['status']);
  t.equal(all.status, 32);
  t.match(all.stdout, new RegExp(`^DEAD +- +- +- +- +${place.mountPoint}$`, 'm'));
  t.match(all.stdout, /\d+ not well/);
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  t.equal((await run(s3jail, ['status', place.mountPoint])).status, 32);
});

void t.test('all mounts are a table, a line each, and what a pipe gets is whole', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const script = `const fs = require('fs');
    for (let n = 0; n < 900; n++) fs.writeSync(fs.openSync(process.argv[1] + '/' + 'n'.repeat(60) + n, 'w'), 'x');
    console.log('written'); setInterval(() => 0, 1000)`;
  const writer = spawn(process.execPath, ['-e', script, place.mountPoint]);
  t.teardown(() => writer.kill('SIGKILL'));
  await once(writer.stdout, 'data');

  const table = await run(s3jail, ['status']);
  const [head = '', ...lines] = table.stdout.split('\n');
  t.match(head, /^STATE +OPEN +UPLOADS +CALLS +S3 MOUNT POINT$/);
  const own = lines.find((line) => line.endsWith(place.mountPoint)) ?? '';
  t.match(own, /^mounted +900 +900B +\d+ +\d+ /);
  t.match(lines.at(-2), /^\d+ mounts, .*; s3jail status MOUNTPOINT tells more of one$/);

  // The reader comes late, and a pipe holds 64 KiB.
  const late = await runCommand('sh', [
    '-c',
    '"$0" "$1" status --json "$2" | { sleep 1; cat; }',
    ...[process.execPath, s3jail, place.mountPoint],
  ]);
  t.ok(late.stdout.length > 128 * 1024, `${late.stdout.length} bytes`);
  const [status] = JSON.parse(late.stdout) as MountStatus[];
  t.equal(status?.report?.uploads.length, 900);
  const early = await runCommand('sh', [
    '-c',
    '"$0" "$1" status --json | head -n 1',
    process.execPath,
    s3jail,
  ]);
  t.match(early, { stdout: '[\n', stderr: '' });
  writer.kill('SIGKILL');
  await run(s3jail, ['unmount', place.mountPoint]);
});

void t.test('on a terminal the status renews itself until q is typed', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const command = `${process.execPath} ${s3jail} status ${place.mountPoint}`;
  const terminal = spawn('script', ['-qefc', command, '/dev/null'], {
    env: environment({ TERM: 'xterm' }),
  });
  t.teardown(() => terminal.kill('SIGKILL'));
  let shown = '';
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
  const pages = () => shown.split('\x1b[H').length - 1;
  await until(() => pages() >= 2);
  terminal.stdin.write('q');
  const status = await new Promise((done) => terminal.once('close', done));
  t.equal(status, 0);
  t.match(shown, /mounted, process \d+/);
  t.ok(shown.endsWith('\x1b[?1049l'), 'the screen is as it was');
  await run(s3jail, ['unmount', place.mountPoint]);
});

async function metricsUrl(place: Place): Promise<string> {
  const log = await readFile(place.log, 'utf8');
  return /metrics are at (http:\/\/127\.0\.0\.1:\d+\/metrics)/.exec(log)?.[1] ?? '';
}

void t.test('metrics tell of operations, requests, retries, and of what is held', async (t) => {
  const place = await Place.make(t);
  const proxy = await startFaultProxy({ target: place.endpoint.url });
  t.teardown(() => proxy.close());
  const client = makeClient(proxy.url, { accessKeyId: 'test', secretAccessKey: secret });
  t.teardown(() => client.destroy());
  await new Bucket(client, 'bucket').put('alice/there', 'x'.repeat(3000));
  await place.mount(t, '--endpoint-url', proxy.url, '--metrics', '0');
  const page = async () => (await fetch(await metricsUrl(place))).text();

  const slowDown = { kind: 'status', status: 503, code: 'SlowDown', retryAfterSeconds: 1 } as const;
  proxy.inject({ action: 'PutObject', fault: slowDown });
  await writeFile(place.path('stored'), 'hello');
  t.equal((await readFile(place.path('there'), 'utf8')).length, 3000);
  await stat(place.path('absent')).catch(() => undefined);
  const writer = await Writer.start(t, place.path('open'), 'x'.repeat(1000));
  const during = await page();
  for (const [series, value] of [
    ['operations_total{operation="flush",result="ok"}', 1],
    ['operation_duration_seconds_count{operation="create"}', 2],
    ['s3_requests_total{action="PutObject",status="200"}', 1],
    ['s3_requests_total{action="PutObject",status="503"}', 1],
    ['s3_request_duration_seconds_count{action="PutObject"}', 2],
    ['s3_retries_total', 1],
    ['s3_retry_after_waits_total', 1],
    ['s3_received_bytes_total', 3000],
    ['open_handles', 1],
    ['open_uploads', 1],
    ['dirty_bytes', 1000],
    ['temp_limit_bytes', 10 * 2 ** 30],
    ['memory_limit_bytes', 256 * 2 ** 20],
    ['memory_bytes{use="download"}', 0],
    ['odd_keys', 0],
  ] as const) {
    t.equal(valueOf(during, `s3jail_${series}`), value, series);
  }
  for (const series of [
    'operations_total{operation="getattr",result="ENOENT"}',
    's3_retry_after_wait_seconds_total',
    's3_sent_bytes_total',
    'memory_bytes{use="upload"}',
    'resident_memory_bytes',
    'cached_entries',
    'cache_hits_total',
    'cache_misses_total',
  ]) {
    t.ok(valueOf(during, `s3jail_${series}`) > 0, series);
  }
  t.ok(/s3jail_build_info\{version="[\d.]+",node="[\d.]+",driver="kernel"\} 1/.test(during));
  t.equal(await writer.close(), '');
  const after = await page();
  for (const name of [
    'open_handles',
    'open_uploads',
    'dirty_bytes',
    'memory_bytes{use="upload"}',
  ]) {
    t.equal(valueOf(after, `s3jail_${name}`), 0, name);
  }
  await run(s3jail, ['unmount', place.mountPoint]);
});

void t.test(
  'idle connections to the metrics take few descriptors, and keep nobody out',
  async (t) => {
    const place = await Place.make(t);
    await place.mount(t, '--metrics', '0');
    const url = new URL(await metricsUrl(place));
    const descriptors = () => readdirSync(`/proc/${place.pid ?? 0}/fd`).length;
    const before = descriptors();
    const idle: Socket[] = [];
    t.teardown(() => {
      for (const socket of idle) socket.destroy();
    });
    for (let count = 0; count < 300; count++) {
      const socket = connect(Number(url.port), url.hostname).on('error', () => undefined);
      idle.push(socket);
      await once(socket, 'connect');
      // Some have begun to ask, some are answered and do not look.
      if (count % 3 === 0) socket.write('GET /metrics HTTP/1.1\r\n');
      if (count % 3 === 1) socket.pause().write('GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n');
    }
    t.match(await (await fetch(url)).text(), /s3jail_build_info/);
    t.ok(descriptors() - before <= 40, `${descriptors() - before} descriptors more`);
    await run(s3jail, ['unmount', place.mountPoint]);
  },
);

void t.test('metrics are served where asked for, and nothing else is', async (t) => {
  const place = await Place.make(t);
  await place.mount(t, '--metrics', '0');
  const url = await metricsUrl(place);
  const answer = await fetch(url);
  t.match(answer.headers.get('content-type'), /^text\/plain/);
  t.notOk((await answer.text()).includes(secret));
  t.equal((await fetch(new URL('/status', url))).status, 404, 'paths of users are not for the net');
  t.equal((await fetch(url, { method: 'POST' })).status, 405);

  const { port } = new URL(url);
  const other = await Place.make(t);
  const args = ['mount', 'bucket', other.mountPoint, ...other.options, '--log-file', other.log];
  const taken = await run(s3jail, [...args, '--metrics', port]);
  t.equal(taken.status, 2);
  t.match(taken.stderr, /cannot serve metrics on --metrics: .*EADDRINUSE/);
  other.checkGone(t);
  await run(s3jail, ['unmount', place.mountPoint]);
});
