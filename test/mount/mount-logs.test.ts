/**
 * What a mount writes down: its log, under systemd's journal and in files that are moved away, and the
 * audit log.
 */
import { openSync, closeSync, fstatSync, readFileSync, renameSync } from 'node:fs';
import { mkdir, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { findRecord } from '../../lib/host/runtime-record.js';
import { environment, Place, run, s3jail, secret, Writer } from '../support/command.js';
import { until } from '../support/until.js';

t.setTimeout(600_000);

function linesOf(file: string): Record<string, unknown>[] {
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

void t.test('the audit log has a line for each file stored, read, renamed, deleted', async (t) => {
  const place = await Place.make(t);
  const file = join(place.base, 'audit.log');
  await place.mount(t, '--audit-log', file);
  await writeFile(place.path('a'), 'hello');
  t.equal(await readFile(place.path('a'), 'utf8'), 'hello');
  await rename(place.path('a'), place.path('b'));
  await rm(place.path('b'));
  await mkdir(place.path('c'));
  await rename(place.path('c'), place.path('d'));
  await rmdir(place.path('d'));
  const who = { uid: 0, user: 'root', pid: Number, result: 'ok', bucket: 'bucket' };
  await until(() => linesOf(file).length >= 7);
  const lines = linesOf(file);
  t.match(lines, [
    { ...who, action: 'store', path: '/a', key: 'alice/a', bytes: 5, durationMs: Number },
    { ...who, action: 'read', path: '/a', key: 'alice/a', bytes: 5 },
    { ...who, action: 'rename', path: '/a', to: '/b', key: 'alice/a', toKey: 'alice/b' },
    { ...who, action: 'delete', path: '/b', key: 'alice/b' },
    { ...who, action: 'mkdir', path: '/c' },
    { ...who, action: 'rename', path: '/c', to: '/d' },
    { ...who, action: 'rmdir', path: '/d' },
  ]);
  t.equal(lines.length, 7);
  t.equal(new Set(lines.map((line) => line['requestId'])).size, 7, 'each was another request');
  for (const { action, requestId } of lines)
    t.match(requestId, /^\S+$/, `${String(action)}: the request that decided it`);
  t.equal((await stat(file)).mode & 0o777, 0o640);

  const writer = await Writer.start(t, place.path('cut'), 'half');
  await writer.kill();
  await until(() => linesOf(file).length >= 8);
  t.match(linesOf(file)[7], { action: 'discard', path: '/cut', bytes: 4, result: 'ok' });
  await place.endpoint.close();
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  t.equal(linesOf(file).length, 8);
});

void t.test('what the kernel answers from what it keeps is told of', async (t) => {
  const place = await Place.make(t);
  const file = join(place.base, 'audit.log');
  await place.mount(t, '--audit-log', file);
  await writeFile(place.path('a'), 'hello');
  for (const count of [2, 3]) {
    t.equal(await readFile(place.path('a'), 'utf8'), 'hello');
    await until(() => linesOf(file).length >= count);
  }
  const [, first, second] = linesOf(file);
  t.match(first, { action: 'read', bytes: 5 });
  t.notOk(first && 'cached' in first);
  t.match(second, { action: 'read', bytes: 0, cached: true });
});

void t.test('an open that is refused is in the audit log', async (t) => {
  const place = await Place.make(t);
  const file = join(place.base, 'audit.log');
  await place.mount(t, '--audit-log', file);
  await t.rejects(writeFile(place.path('etc'), 'x'), { code: 'EACCES' });
  await t.rejects(readFile(place.path('nowhere')), { code: 'ENOENT' });
  await until(() => linesOf(file).length >= 1);
  t.match(linesOf(file), [{ action: 'open', path: '/etc', result: 'EACCES', reason: /reserved/ }]);
});

void t.test('the audit log says from where, and when a session begins and ends', async (t) => {
  const place = await Place.make(t);
  const file = join(place.base, 'audit.log');
  // As systemd's unit has it.
  const umask = process.umask(0o077);
  t.teardown(() => process.umask(umask));
  await place.mount(t, '--audit-log', file);
  t.equal((await stat(file)).mode & 0o777, 0o640);
  const SSH_CONNECTION = '192.0.2.7 51234 198.51.100.1 22';
  const script = `mkdir ${place.path('a')}; rmdir ${place.path('a')}; read line`;
  const client = spawn('/bin/sh', ['-c', script], {
    env: { SSH_CONNECTION, LOGNAME: 'alice' },
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  await until(() => linesOf(file).length >= 3);
  client.stdin.end('\n');
  const where = { session: SSH_CONNECTION, sessionFrom: 'environment', user: 'alice' };
  const from = { ...where, remoteAddress: '192.0.2.7', remotePort: 51234 };
  await until(() => linesOf(file).length >= 4);
  t.match(linesOf(file), [
    { action: 'session-opened', ...from },
    { action: 'mkdir', path: '/a', ...from },
    { action: 'rmdir', path: '/a', ...from },
    { action: 'session-closed', ...from },
  ]);
  await mkdir(place.path('c'));
  await until(() => linesOf(file).length >= 5);
  t.match(linesOf(file)[4], { action: 'mkdir', user: 'root', remoteAddress: 'unknown' });
});

void t.test('what could not be stored is in the audit log once, with the reason', async (t) => {
  const place = await Place.make(t);
  const file = join(place.base, 'audit.log');
  await place.mount(t, '--audit-log', file, '--timeout', '1s');
  const writer = await Writer.start(t, place.path('lost'), 'data');
  await place.endpoint.close();
  t.equal(await writer.close(), 'EIO');
  await until(() => linesOf(file).length >= 1);
  t.match(linesOf(file), [{ action: 'store', path: '/lost', result: 'EIO', bytes: 4 }]);
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  t.equal(linesOf(file).length, 1);
});

for (const format of ['text', 'json']) {
  void t.test(`no name steers the terminal of who reads it (--log-format ${format})`, async (t) => {
    const place = await Place.make(t);
    const audit = join(place.base, 'audit.log');
    const more = ['--audit-log', audit, '--timeout', '1s', '--drain-timeout', '1s'];
    await place.mount(t, '--log-format', format, '--log-level', 'debug', ...more);
    // One of each kind: ESC, DEL, CSI of C1, a mark of direction, a separator of lines.
    const evil = 'evil\x1b[2J\x7f\x9b2J\u202etxt.exe\u2028x\n<0>forged';
    await writeFile(place.path(`${evil}-stored`), 'x');
    await rename(place.path(`${evil}-stored`), place.path(`${evil}-renamed`));
    const writer = await Writer.start(t, place.path(evil), 'half');
    const open = await Writer.start(t, place.path(`${evil}-open`), 'half');
    await place.endpoint.close();
    t.equal(await writer.close(), 'EIO');
    const shown = [
      await run(s3jail, ['status', place.mountPoint]),
      await run(s3jail, ['status', '--json', place.mountPoint]),
      await run(s3jail, ['unmount', place.mountPoint]),
    ].map(({ stdout, stderr }) => stdout + stderr);
    await open.kill();
    const texts = [...shown, await readFile(place.log, 'utf8'), await readFile(audit, 'utf8')];
    for (const text of texts) {
      t.match(text, /\\u009b2J/, 'the name is there');
      t.notMatch(text, /[^\P{Cc}\n]|[\u2028\u2029\p{Bidi_Control}]/u);
      t.notMatch(text, /^(<\d>)*forged/m);
    }
    const [event] = linesOf(audit);
    t.equal(event?.['path'], `/${evil}-stored`, 'programs read the name as it is');
  });
}

void t.test(
  'a mount goes on when its logs are full, and without them it does not begin',
  async (t) => {
    const place = await Place.make(t);
    await place.mount(t, '--audit-log', '/dev/full', '--log-file', '/dev/full');
    await writeFile(place.path('a'), 'x');
    await writeFile(place.path('b'), 'x');
    t.same(place.endpoint.keys('bucket'), ['alice/a', 'alice/b']);
    const { stdout } = await run(s3jail, ['status', place.mountPoint]);
    t.match(stdout, /the audit log cannot be written/);
    t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
    const args = ['mount', 'bucket', place.mountPoint, ...place.options, '--log-file', place.log];
    const refused = await run(s3jail, [...args, '--audit-log', join(place.base, 'no/such/file')]);
    t.equal(refused.status, 2);
    t.match(refused.stderr, /^s3jail: cannot open the audit log .*ENOENT/);
    place.checkGone(t);
  },
);

void t.test('SIGUSR1 turns debug records on and off, SIGHUP opens moved logs again', async (t) => {
  const place = await Place.make(t);
  const audit = join(place.base, 'audit.log');
  await place.mount(t, '--audit-log', audit, '--log-format', 'json');
  const pid = place.pid ?? 0;
  const logged = () => readFileSync(place.log, 'utf8');
  process.kill(pid, 'SIGUSR1');
  await until(() => logged().includes('log level is debug now'));
  await t.rejects(stat(place.path('absent')), { code: 'ENOENT' });
  await until(() => logged().includes('getattr failed'));
  process.kill(pid, 'SIGUSR1');
  await until(() => logged().includes('log level is info now'));
  t.notOk(logged().includes('Debugger'), "Node's debugger stays shut");

  renameSync(place.log, `${place.log}.1`);
  renameSync(audit, `${audit}.1`);
  process.kill(pid, 'SIGHUP');
  await until(() => findRecord(place.mountPoint, undefined) !== undefined && exists(place.log));
  await writeFile(place.path('a'), 'x');
  await until(() => exists(audit) && linesOf(audit).length === 1);
  t.match(linesOf(place.log), [{ msg: 'opened the log files again' }]);
  t.equal(findRecord(place.mountPoint, undefined)?.read()?.phase, 'mounted');
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
});

void t.test('in a terminal SIGHUP ends the mount once that is gone, and not before', async (t) => {
  const place = await Place.make(t);
  const args = ['mount', '-f', 's3://bucket/alice/', place.mountPoint, ...place.options];
  const words = [process.execPath, s3jail, ...args, '--log-file', place.log];
  // script(1) has a terminal for it.
  const command = `exec ${words.map((word) => `'${word}'`).join(' ')}`;
  const options = { env: environment({}), stdio: 'ignore' as const };
  const terminal = spawn('script', ['--quiet', '--command', command, '/dev/null'], options);
  t.teardown(() => terminal.kill('SIGKILL'));
  await until(() => place.phase === 'mounted');
  renameSync(place.log, `${place.log}.1`);
  process.kill(place.pid ?? 0, 'SIGHUP');
  await until(() => exists(place.log));
  t.match(readFileSync(place.log, 'utf8'), /opened the log files again/);
  await writeFile(place.path('a'), 'x');
  terminal.kill('SIGKILL');
  await until(() => place.pid === undefined);
  t.match(readFileSync(place.log, 'utf8'), /ending the mount on .*SIGHUP/s);
  place.checkGone(t);
});

function exists(file: string): boolean {
  try {
    return readFileSync(file).length > 0;
  } catch {
    // ENOENT: not made again yet.
    return false;
  }
}

void t.test('why a mount in the background did not begin is a record of its log', async (t) => {
  const place = await Place.make(t);
  await place.endpoint.close();
  const args = ['mount', 's3://bucket/alice/', place.mountPoint, ...place.options];
  const more = ['--log-file', place.log, '--timeout', '1s', '--region', 'us-east-1'];
  const refused = await run(s3jail, [...args, ...more]);
  t.match(refused, { status: 32, stderr: /^s3jail: \S/ });
  const [said = ''] = refused.stderr.split('\n');
  const text = await readFile(place.log, 'utf8');
  const record = /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\] ERROR: (.*)$/m.exec(text);
  t.equal(record?.[1], said);
  await rm(place.log);
  await run(s3jail, [...args, ...more, '--log-format', 'json']);
  const last = linesOf(place.log).at(-1);
  t.match(last, { level: 'error', time: /^\d{4}-/, msg: said.replace(/^s3jail: /, '') });
});

void t.test("under systemd's journal each line has its priority and no time", async (t) => {
  const place = await Place.make(t);
  const journal = openSync(join(place.base, 'journal'), 'w');
  const { dev, ino } = fstatSync(journal);
  const args = [s3jail, 'mount', 'bucket', place.mountPoint, '--foreground', ...place.options];
  const child = spawn(process.execPath, args, {
    env: environment({ JOURNAL_STREAM: `${dev}:${ino}` }),
    stdio: ['ignore', 'ignore', journal],
  });
  closeSync(journal);
  const ended = new Promise((done) => child.once('close', done));
  await until(() => findRecord(place.mountPoint, undefined)?.read()?.phase === 'mounted');
  child.kill('SIGTERM');
  t.equal(await ended, 0);
  const lines = readFileSync(join(place.base, 'journal'), 'utf8').split('\n').slice(0, -1);
  t.ok(lines.length >= 3);
  for (const line of lines) t.match(line, /^<[46]>s3jail: /);
  t.ok(lines.some((line) => line.startsWith('<4>s3jail: only root can use this mount')));
  t.ok(lines.some((line) => line.startsWith('<6>s3jail: s3://bucket/ is mounted on ')));
  t.notOk(lines.join('').includes(secret));
});
