/** `--run-as`: a mount whose process is root no more, as an administrator uses it. */
import { execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { makeAccount, type Account } from '../../lib/demo/account.js';
import { runCommand } from '../../lib/demo/child.js';
import { findMount } from '../../lib/host/mount-table.js';
import { findRecord } from '../../lib/host/runtime-record.js';
import {
  endingOf,
  environment,
  hasEnded,
  helper,
  Place,
  run,
  s3jail,
  secret,
  Writer,
  type Ending,
} from '../support/command.js';
import { until } from '../support/until.js';

t.setTimeout(900_000);

const account = await makeAccount('s3jail-test');
const records = `/run/s3jail-${account.uid}`;
t.teardown(async () => {
  await rm(records, { recursive: true, force: true });
  await account.remove();
});
const runAs = ['--run-as', account.name];

/** A place where the user can come by, with a directory for temporary files that all may use. */
async function makeOpenPlace(t: Test): Promise<Place> {
  const place = await Place.make(t);
  await chmod(place.base, 0o755);
  const temp = join(place.base, 'temp');
  await mkdir(temp);
  await chmod(temp, 0o1777);
  return place;
}

function statusOf(pid: number, field: string): string | undefined {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return new RegExp(`^${field}:\\s*(.*?)\\s*$`, 'm').exec(text)?.[1];
}

/** Directories for temporary files that a user's mounts of the place have now. */
function tempOf(place: Place, { uid }: Pick<Account, 'uid'>): string[] {
  const own = join(place.base, 'temp', `s3jail-${uid}`);
  const names = existsSync(own) ? readdirSync(own) : [];
  return names.filter((name) => /\.\d+\.\d+$/.test(name)).map((name) => join(own, name));
}

function checkGone(t: Test, place: Place): void {
  place.checkGone(t);
  t.same(tempOf(place, account), [], 'nor is there any of the user');
}

async function asUser(...command: string[]): Promise<Ending> {
  const { uid, gid } = account;
  const args = ['--reuid', String(uid), '--regid', String(gid), '--init-groups', '--', ...command];
  return runCommand('setpriv', args, { env: environment({}) });
}

void t.test('the process has the rights of the user alone, and serves as before', async (t) => {
  const place = await makeOpenPlace(t);
  await place.mount(t, ...runAs);
  const pid = place.pid ?? 0;
  const { uid, gid } = account;
  const groups = (await promisify(execFile)('id', ['-G', account.name])).stdout.trim();
  for (const task of readdirSync(`/proc/${pid}/task`).map(Number)) {
    t.equal(statusOf(task, 'Uid'), [uid, uid, uid, uid].join('\t'));
    t.equal(statusOf(task, 'Gid'), [gid, gid, gid, gid].join('\t'));
    t.equal(statusOf(task, 'Groups'), groups);
    for (const set of ['CapEff', 'CapPrm', 'CapAmb']) t.match(statusOf(task, set), /^0+$/, set);
  }
  const [temp = ''] = tempOf(place, account);
  t.match(statSync(temp), { uid, mode: 0o40700 }, 'temporary files are in a place of the user');
  t.match(statSync(records), { uid: 0, mode: 0o40711 });
  t.match(statSync(join(records, 'mounts')), { uid, mode: 0o40700 }, 'and so is the record');
  const { device = '' } = findMount(place.mountPoint) ?? {};
  t.equal(readFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, 'utf8').trim(), '4096');

  await writeFile(place.path('greeting'), 'hello');
  t.equal(await readFile(place.path('greeting'), 'utf8'), 'hello');
  const large = Buffer.alloc(20 * 1024 * 1024, 'x');
  await writeFile(place.path('large'), large);
  t.ok(large.equals(await readFile(place.path('large'))));
  t.same(place.endpoint.keys('bucket'), ['alice/greeting', 'alice/large']);

  for (const status of [
    await run(s3jail, ['status', place.mountPoint, '--json']),
    await asUser(process.execPath, s3jail, 'status', place.mountPoint, '--json'),
  ]) {
    const [{ state, report }] = JSON.parse(status.stdout) as [{ state: string; report: unknown }];
    t.equal(state, 'mounted');
    t.ok(report, 'the process has answered');
  }
  const remount = (how: string) =>
    run(helper, ['s3://bucket/alice/', place.mountPoint, '-o', `remount,${how}`]);
  t.match(await remount('ro'), { status: 0, stderr: '' });
  await t.rejects(writeFile(place.path('a'), 'x'), { code: 'EROFS' });
  t.match(await remount('rw'), { status: 0, stderr: '' });

  const second = await run(s3jail, ['mount', 'bucket', place.mountPoint, ...place.options]);
  t.match(second, { status: 32, stderr: /is mounted already with .* by process \d+/ });

  const writer = await Writer.start(t, place.path('open'), 'half a file');
  const unmounted = await run(s3jail, ['unmount', place.mountPoint]);
  t.match(unmounted, { status: 0, stderr: /^s3jail: storing 1 file, 11B/m });
  t.equal(await writer.close(), 'ENOTCONN', 'who had it open is cut off');
  t.ok(place.endpoint.keys('bucket').includes('alice/open'));
  t.ok(hasEnded(pid));
  checkGone(t, place);
  t.notOk((await readFile(place.log, 'utf8')).includes(secret), 'the log holds no secret');
});

void t.test(
  'an interrupted upload is told from a program that leaves closing to exit',
  async (t) => {
    const place = await makeOpenPlace(t);
    await place.mount(t, ...runAs);
    const writer = await Writer.start(t, place.path('killed'), 'half');
    await writer.kill();
    // A program of many threads, any of which may be the last to go.
    const script = `
    const fs = require('fs');
    for (const path of process.argv.slice(1)) fs.writeSync(fs.openSync(path, 'w'), 'whole');
    process.exit(0);`;
    const names = Array.from({ length: 8 }, (_none, index) => `exit-${index}`);
    await runCommand(process.execPath, ['-e', script, ...names.map((name) => place.path(name))]);
    const pid = place.pid ?? 0;
    await promisify(execFile)('umount', [place.mountPoint]);
    await until(() => hasEnded(pid));
    checkGone(t, place);
    t.same(
      place.endpoint.keys('bucket'),
      names.map((name) => `alice/${name}`),
    );
    t.match(await readFile(place.log, 'utf8'), /an upload was interrupted and is not published/);
  },
);

void t.test('SIGTERM, with the rights that the systemd unit leaves, ends it', async (t) => {
  const place = await makeOpenPlace(t);
  const args = ['mount', 's3://bucket/alice/', place.mountPoint, '--foreground', ...place.options];
  await rm(records, { recursive: true, force: true });
  // What the systemd unit leaves root: nobody may give files away, nor look into those of others.
  const sandbox = ['--bounding-set', '-all,+sys_admin,+setuid,+setgid', '--', process.execPath];
  const child = spawn('setpriv', [...sandbox, s3jail, ...args, ...runAs], {
    // Nobody listens, but the mount asks itself first whether it answers.
    env: environment({ NOTIFY_SOCKET: '/run/none' }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = endingOf(child);
  await until(() => findRecord(place.mountPoint, undefined)?.read()?.phase === 'mounted');
  const writer = await Writer.start(t, place.path('open'), 'x'.repeat(1000));
  child.kill('SIGTERM');
  t.match(await ended, { status: 0, stderr: /everything is stored/ });
  t.same(place.endpoint.keys('bucket'), ['alice/open']);
  t.equal(await writer.close(), 'ENOTCONN');
  checkGone(t, place);
});

void t.test('what a killed process leaves is taken away, also by the next user', async (t) => {
  const place = await makeOpenPlace(t);
  const kill = async () => {
    const pid = place.pid ?? 0;
    process.kill(pid, 'SIGKILL');
    await until(() => hasEnded(pid));
  };
  await place.mount(t, ...runAs);
  await kill();
  await until(() => findMount(place.mountPoint) === undefined);
  t.pass('the dead mount goes at once');
  const status = await run(s3jail, ['status', place.mountPoint, '--json']);
  t.match(JSON.parse(status.stdout), [{ mountPoint: place.mountPoint, state: 'dead' }]);
  t.equal(tempOf(place, account).length, 1);
  await place.mount(t, ...runAs);
  t.equal(tempOf(place, account).length, 1, 'the temporary files of the process that lives');
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  checkGone(t, place);

  await place.mount(t);
  const rootsTemp = join(place.base, 'temp', 's3jail-0');
  const journal = () => readdirSync(rootsTemp).find((name) => name.endsWith('.uploads')) ?? '';
  const script = 'exec 3>"$1"; head -c 20000000 /dev/zero >&3; exec sleep infinity';
  const writer = spawn('sh', ['-c', script, 'sh', place.path('large')], { stdio: 'ignore' });
  t.teardown(() => writer.kill('SIGKILL'));
  const named = () => readFileSync(join(rootsTemp, journal()), 'utf8');
  await until(() =>
    place.endpoint.openUploads().some(({ uploadId }) => named().includes(uploadId)),
  );
  await kill();
  writer.kill('SIGKILL');
  t.equal(place.tempDirectories.length, 1);
  await place.mount(t, ...runAs);
  t.same(readdirSync(rootsTemp), [], 'nothing of root’s mount is left');
  await until(() => place.endpoint.openUploads().length === 0);
  t.pass('nor is its upload');
  await writeFile(place.path('a'), 'x');
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  checkGone(t, place);
});

void t.test('what could not be stored is told to root, once', async (t) => {
  const place = await makeOpenPlace(t);
  await place.mount(t, ...runAs, '--drain-timeout', '1s', '--timeout', '1s');
  const pid = place.pid ?? 0;
  const writer = await Writer.start(t, place.path('lost'), 'data');
  await place.endpoint.close();
  process.kill(pid, 'SIGTERM');
  await until(() => hasEnded(pid));
  t.equal(await writer.close(), 'ENOTCONN');
  const after = await run(s3jail, ['unmount', place.mountPoint]);
  t.match(after, { status: 2, stderr: /^s3jail: not stored: \/lost$/m });
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 32, 'once');
  checkGone(t, place);
});

void t.test('credentials are the user’s, and so are the programs that give them', async (t) => {
  const place = await makeOpenPlace(t);
  const home = join(place.base, 'home');
  const aws = join(home, '.aws');
  await mkdir(aws, { recursive: true });
  const asked = join(home, 'asked');
  const program = join(home, 'keys');
  const keys = JSON.stringify({ Version: 1, AccessKeyId: 'test', SecretAccessKey: secret });
  const lines = ['#!/bin/sh', `id -u >>${asked}`, `grep CapEff /proc/self/status >>${asked}`];
  await writeFile(program, [...lines, `echo '${keys}'`, ''].join('\n'), { mode: 0o755 });
  await writeFile(join(aws, 'config'), `[default]\ncredential_process = ${program}\n`);
  await chown(home, account.uid, account.gid);
  while ((await runCommand('usermod', ['--home', home, account.name])).status === 1);
  const env = {
    AWS_ACCESS_KEY_ID: '',
    AWS_SECRET_ACCESS_KEY: '',
    AWS_CONFIG_FILE: '',
    AWS_SHARED_CREDENTIALS_FILE: '',
  };
  const tail = [...place.options, '--access', 'any', ...runAs];
  const checked = await run(s3jail, ['check', 's3://bucket/alice/', ...tail], env);
  t.match(checked, { status: 0, stdout: /^ok +credentials.*credential_process/m });
  const mount = ['mount', 's3://bucket/alice/', place.mountPoint, ...tail, '--log-file', place.log];
  t.match(await run(s3jail, mount, env), { status: 0, stderr: '' });
  await writeFile(place.path('a'), 'x');
  t.same(place.endpoint.keys('bucket'), ['alice/a']);
  const said = [...new Set((await readFile(asked, 'utf8')).trim().split('\n'))];
  t.same(said, [String(account.uid), `CapEff:\t${'0'.repeat(16)}`]);
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
});

void t.test('nothing that the user writes leads root to another process', async (t) => {
  const place = await makeOpenPlace(t);
  await place.mount(t, ...runAs);
  const record = readdirSync(join(records, 'mounts')).find((name) => name.endsWith('.json')) ?? '';
  const path = join(records, 'mounts', record);
  const state = JSON.parse(readFileSync(path, 'utf8')) as object;
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  const other = spawn('sleep', ['infinity'], { stdio: 'ignore' });
  t.teardown(() => other.kill());
  const pid = other.pid ?? 0;
  const startTime = readFileSync(`/proc/${pid}/stat`, 'latin1').split(' ')[21];
  const forged = JSON.stringify({ ...state, pid, startTime });
  const traps = [
    ['sh', '-c', 'printf %s "$1" >"$2"', 'sh', forged],
    ['ln', '-sf', '/dev/zero'],
    ['sh', '-c', 'rm "$1" && mkfifo "$1"', 'sh'],
  ];
  for (const trap of traps) {
    t.match(await asUser(...trap, path), { status: 0 });
    const unmounted = await run(s3jail, ['unmount', place.mountPoint]);
    t.match(unmounted, { status: 32, stderr: /is not mounted/ });
  }
  await rm(path);
  t.notOk(hasEnded(pid), 'the process named there lives');
});

void t.test('--private for the same user', async (t) => {
  const place = await makeOpenPlace(t);
  await chmod(place.mountPoint, 0o555);
  const options = [...place.options, '--log-file', place.log, '--private', '--uid', account.name];
  const mount = ['mount', 'bucket', place.mountPoint, ...options, ...runAs];
  t.match(await run(s3jail, mount), { status: 0, stderr: '' });
  t.match(await asUser('touch', place.path('mine')), { status: 0 });
  t.same(place.endpoint.keys('bucket'), ['mine']);
  await t.rejects(readFile(place.path('mine')), { code: 'EACCES' }, 'root is kept out');
  t.match(await asUser(process.execPath, s3jail, 'unmount', place.mountPoint), { status: 0 });
  checkGone(t, place);
});

void t.test('what cannot be is refused', async (t) => {
  const place = await makeOpenPlace(t);
  const mount = ['mount', 'bucket', place.mountPoint, ...place.options, '--log-file', place.log];
  t.match(await run(s3jail, [...mount, ...runAs, '--driver', 'fuse-native']), {
    status: 1,
    stderr: /^s3jail: --run-as contradicts --driver fuse-native/,
  });
  t.match(await asUser(process.execPath, s3jail, ...mount, ...runAs), {
    status: 1,
    stderr: /^s3jail: --run-as needs root/,
  });
  const closed = join(place.base, 'closed');
  await mkdir(closed, { mode: 0o700 });
  t.match(await run(s3jail, [...mount, ...runAs, '--temp-dir', closed]), {
    status: 2,
    stderr: new RegExp(`${account.name} \\(--run-as\\) has to be able to write in ${closed} `),
  });
  t.match(await run(s3jail, [...mount, ...runAs], { AWS_SECRET_ACCESS_KEY: 'wrong-one' }), {
    status: 32,
    stderr: /secret key does not belong/,
  });
  checkGone(t, place);
});
