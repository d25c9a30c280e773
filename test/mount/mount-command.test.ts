/**
 * `mount`, `mount.s3jail` and `unmount` as an administrator uses them: processes of their own between
 * the embedded endpoint and a directory.
 */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { findMount } from '../../lib/host/mount-table.js';
import { findRecord } from '../../lib/host/runtime-record.js';
import {
  endingOf,
  environment,
  hasEnded,
  helper,
  installHelper,
  Place,
  run,
  s3jail,
  secret,
  start,
  Writer,
} from '../support/command.js';
import { useMachine } from '../support/machine.js';
import { until } from '../support/until.js';

t.setTimeout(900_000);

const fs = { readFile, writeFile };

void t.test('mount returns when the mount is usable, unmount when all is stored', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  await fs.writeFile(place.path('greeting'), 'hello');
  t.equal(await fs.readFile(place.path('greeting'), 'utf8'), 'hello');
  t.same(place.endpoint.keys('bucket'), ['alice/greeting']);

  const { pid } = place;
  const commandLine = readFileSync(`/proc/${pid ?? 0}/cmdline`, 'utf8').replace(/\0+$/, '');
  t.equal(commandLine, `s3jail mount s3://bucket/alice/ ${place.mountPoint}`, 'as ps shows it');
  t.ok(readdirSync(`/proc/${pid ?? 0}/task`).length > 24, 'the thread pool has its size');
  t.equal(findMount(place.mountPoint)?.source, 's3://bucket/alice/');
  t.equal(place.tempDirectories.length, 1);

  const unmounted = await run(s3jail, ['unmount', place.mountPoint]);
  t.match(unmounted, { status: 0, stdout: '', stderr: '' });
  t.ok(hasEnded(pid ?? 0), 'the process has ended');
  place.checkGone(t);
  t.notOk((await fs.readFile(place.log, 'utf8')).includes(secret), 'the log holds no secret');
});

void t.test('a file that is still open is stored by unmount, which tells of it', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const writer = await Writer.start(t, place.path('open'), 'half a file');
  const unmounted = await run(s3jail, ['unmount', place.mountPoint]);
  t.equal(unmounted.status, 0);
  t.match(unmounted.stderr, /^s3jail: storing 1 file, 11B in 1 part left \(\/open\)$/m);
  t.same(place.endpoint.keys('bucket'), ['alice/open']);
  t.equal(await writer.close(), 'ENOTCONN', 'who had it open is cut off');
  place.checkGone(t);
});

void t.test('in the foreground SIGTERM stores what is open and ends with 0', async (t) => {
  const place = await Place.make(t);
  const args = ['mount', 's3://bucket/alice/', place.mountPoint, '--foreground', ...place.options];
  const child = start(s3jail, args);
  const ended = endingOf(child);
  await until(() => findRecord(place.mountPoint, undefined)?.read()?.phase === 'mounted');
  const writer = await Writer.start(t, place.path('open'), 'x'.repeat(1000));
  child.kill('SIGTERM');
  const { status, stderr } = await ended;
  t.equal(status, 0);
  t.match(stderr, /is mounted on/);
  t.match(stderr, /only root can use this mount; name its user with --uid/);
  t.match(stderr, /storing 1 file/);
  t.match(stderr, /everything is stored/);
  t.same(place.endpoint.keys('bucket'), ['alice/open']);
  t.equal(await writer.close(), 'ENOTCONN');
  place.checkGone(t);
});

void t.test('umount(8) by hand ends the process too', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const pid = place.pid ?? 0;
  await fs.writeFile(place.path('a'), 'x');
  await promisify(execFile)('umount', [place.mountPoint]);
  await until(() => hasEnded(pid));
  t.same(place.endpoint.keys('bucket'), ['alice/a']);
  place.checkGone(t);
});

void t.test(
  'what cannot be stored in time is named, by the log and by unmount, with exit code 2',
  async (t) => {
    const place = await Place.make(t);
    await place.mount(t, '--drain-timeout', '1s', '--timeout', '1s');
    const writer = await Writer.start(t, place.path('lost'), 'data');
    await place.endpoint.close();
    const unmounted = await run(s3jail, ['unmount', place.mountPoint]);
    t.equal(unmounted.status, 2);
    t.match(unmounted.stderr, /^s3jail: not stored: \/lost$/m);
    t.match(await fs.readFile(place.log, 'utf8'), /not stored: \/lost/);
    t.equal(await writer.close(), 'ENOTCONN');
    place.checkGone(t);
  },
);

void t.test('a second signal gives up at once and names what is lost', async (t) => {
  const place = await Place.make(t);
  await place.mount(t, '--drain-timeout', '1h');
  const pid = place.pid ?? 0;
  const writer = await Writer.start(t, place.path('lost'), 'data');
  await place.endpoint.close();
  process.kill(pid, 'SIGTERM');
  await until(() => findRecord(place.mountPoint, undefined)?.read()?.progress !== undefined);
  process.kill(pid, 'SIGINT');
  await until(() => hasEnded(pid));
  const log = await fs.readFile(place.log, 'utf8');
  t.match(log, /gave up storing at the second signal/);
  t.match(log, /not stored: \/lost/);
  t.equal(findMount(place.mountPoint), undefined);
  t.equal(await writer.close(), 'ENOTCONN');
  const after = await run(s3jail, ['unmount', place.mountPoint]);
  t.equal(after.status, 2, 'unmount still tells of it');
  t.match(after.stderr, /^s3jail: not stored: \/lost$/m);
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 32, 'once');
});

void t.test('a mount point that is in use is refused', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const args = ['mount', 's3://bucket/bob/', place.mountPoint, ...place.options];
  for (const mode of [['--foreground'], ['--log-file', place.log]]) {
    const second = await run(s3jail, [...args, ...mode]);
    t.equal(second.status, 32);
    t.match(second.stderr, /is mounted already with s3:\/\/bucket\/alice\/ by process \d+/);
  }
  await fs.writeFile(place.path('still'), 'works');
  t.same(place.endpoint.keys('bucket'), ['alice/still']);
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
});

void t.test('unmount takes the dead mount of a killed process away', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const pid = place.pid ?? 0;
  process.kill(pid, 'SIGKILL');
  await until(() => hasEnded(pid));
  t.ok(findMount(place.mountPoint), 'the dead mount is there');
  const unmounted = await run(s3jail, ['unmount', place.mountPoint]);
  t.equal(unmounted.status, 0);
  t.match(unmounted.stderr, /was gone; removed its dead mount/);
  t.equal(findMount(place.mountPoint), undefined);
  t.equal(findRecord(place.mountPoint, undefined), undefined);
});

void t.test('a new mount clears away what a killed process left behind', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const pid = place.pid ?? 0;
  const before = place.tempDirectories;
  process.kill(pid, 'SIGKILL');
  await until(() => hasEnded(pid));
  t.same(place.tempDirectories, before);
  await place.mount(t);
  t.equal(place.tempDirectories.length, 1);
  t.notSame(place.tempDirectories, before);
  await fs.writeFile(place.path('a'), 'x');
  t.same(place.endpoint.keys('bucket'), ['alice/a']);
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  place.checkGone(t);
});

void t.test(
  'a bucket that is not there and keys that are wrong fail the mount with 32',
  async (t) => {
    const place = await Place.make(t);
    const tail = [place.mountPoint, ...place.options, '--log-file', place.log];
    const absent = await run(s3jail, ['mount', 'no-such-bucket', ...tail]);
    t.equal(absent.status, 32);
    t.match(absent.stderr, /^s3jail: bucket "no-such-bucket" at http.*there is no such bucket/);
    const wrong = await run(s3jail, ['mount', 'bucket', ...tail], {
      AWS_SECRET_ACCESS_KEY: 'wrong-one',
    });
    t.equal(wrong.status, 32);
    t.match(wrong.stderr, /secret key does not belong to the access key.*AWS_SECRET_ACCESS_KEY/);
    t.notMatch(wrong.stderr, /wrong-one/);
    place.checkGone(t);
  },
);

void t.test('--read-only refuses writing, as does -o ro', async (t) => {
  const place = await Place.make(t);
  for (const option of [['--read-only'], ['-o', 'ro,noatime']]) {
    await place.mount(t, ...option);
    await t.rejects(fs.writeFile(place.path('x'), 'x'), { code: 'EROFS' });
    t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  }
  t.same(place.endpoint.keys('bucket'), []);
});

void t.test('--private lets in the user of --uid alone', async (t) => {
  const place = await Place.make(t);
  const options = [...place.options, '--log-file', place.log, '--private', '--uid', 'daemon'];
  const mount = ['mount', 'bucket', place.mountPoint, ...options];
  await chmod(place.mountPoint, 0o777);
  const open = await run(s3jail, mount);
  t.equal(open.status, 32, 'a directory that others can write in is refused');
  t.match(open.stderr, /chmod 0555/);
  await chmod(place.mountPoint, 0o555);
  await chmod(place.base, 0o755);
  t.match(await run(s3jail, mount), { status: 0, stderr: '' });
  const asDaemon = ['--reuid', 'daemon', '--regid', 'daemon', '--clear-groups', '--'];
  await promisify(execFile)('setpriv', [...asDaemon, 'touch', place.path('mine')]);
  t.same(place.endpoint.keys('bucket'), ['mine']);
  await t.rejects(fs.readFile(place.path('mine')), { code: 'EACCES' }, 'root is kept out');
  const pid = place.pid ?? 0;
  process.kill(pid, 'SIGKILL');
  await until(() => hasEnded(pid));
  t.match(await run(s3jail, mount), { status: 0, stderr: '' }, 'a dead one is taken away');
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  place.checkGone(t);
});

void t.test('mount.s3jail mounts with the options of an fstab line', async (t) => {
  const place = await Place.make(t);
  const list =
    `rw,nosuid,nodev,_netdev,x-systemd.requires=network-online.target,uid=daemon,access=any,` +
    `endpoint-url=${place.endpoint.url},temp-dir=${join(place.base, 'temp')},log-file=${place.log}`;
  const args = ['bucket/alice', place.mountPoint, '-n', '-o', list];
  t.match(await run(helper, args), { status: 0, stdout: '', stderr: '' });
  await fs.writeFile(place.path('a'), 'x');
  t.same(place.endpoint.keys('bucket'), ['alice/a']);
  const pid = place.pid ?? 0;
  t.match(readFileSync(`/proc/${pid}/cmdline`, 'utf8'), /^s3jail mount bucket\/alice \//);
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
});

void t.test('programs of the system see nothing of the environment', async (t) => {
  const place = await Place.make(t);
  const programs = join(place.base, 'programs');
  await mkdir(programs);
  const seen = join(place.base, 'seen');
  for (const name of ['mount', 'umount', 'stat']) {
    const lines = ['#!/bin/sh', `{ echo "program=${name}"; env; } >>${seen}`];
    const script = [...lines, `exec /usr/bin/${name} "$@"`, ''].join('\n');
    await writeFile(join(programs, name), script, { mode: 0o755 });
  }
  const env = { PATH: `${programs}:${process.env['PATH'] ?? ''}`, NOTIFY_SOCKET: '/run/none' };
  const args = ['mount', 'bucket', place.mountPoint, ...place.options, '--log-file', place.log];
  const source = 's3://bucket/';
  t.match(await run(s3jail, args, env), { status: 0 });
  const remount = [source, place.mountPoint, '-o', 'remount,ro'];
  t.match(await run(helper, remount, env), { status: 0, stderr: '' });
  const pid = place.pid ?? 0;
  process.kill(pid, 'SIGKILL');
  await until(() => hasEnded(pid));
  t.match(await run(s3jail, ['unmount', place.mountPoint], env), { status: 0 });
  t.match(await run(s3jail, args, env), { status: 0 });
  t.match(await run(s3jail, ['unmount', place.mountPoint], env), { status: 0 });
  const lines = (await fs.readFile(seen, 'utf8')).trim().split('\n');
  const names = new Set(lines.map((line) => line.replace(/=.*/s, '')));
  // The last two are the shell's own.
  for (const name of ['program', 'PATH', 'LC_ALL', 'PWD', '_']) names.delete(name);
  t.same([...names], []);
  const ran = new Set(lines.filter((line) => line.startsWith('program=')));
  t.same([...ran].sort(), ['program=mount', 'program=stat', 'program=umount']);
});

void t.test(
  'remount changes ro and rw of a living mount, and says that nothing else can',
  async (t) => {
    const place = await Place.make(t);
    await place.mount(t);
    // As mount(8) calls its helper, with what it finds in its table.
    const remount = (how: string, more = '') => {
      const list = `${how},nosuid,nodev,remount,user_id=0,group_id=0,allow_other${more}`;
      return run(helper, ['s3://bucket/alice/', place.mountPoint, '-o', list]);
    };
    const flags = findMount(place.mountPoint)?.options.slice(1);
    t.match(flags, ['nosuid', 'nodev', 'noatime']);
    t.match(await remount('ro'), { status: 0, stderr: '' });
    t.same(findMount(place.mountPoint)?.options.slice(1), flags, 'what closes it stays');
    await t.rejects(fs.writeFile(place.path('a'), 'x'), { code: 'EROFS' });
    t.match(await remount('rw'), { status: 0, stderr: '' });
    t.same(findMount(place.mountPoint)?.options.slice(1), flags);
    await fs.writeFile(place.path('a'), 'x');
    t.same(place.endpoint.keys('bucket'), ['alice/a']);
    t.match(await remount('rw', ',metadata-ttl=1s'), {
      status: 1,
      stderr: /^s3jail: remount: only ro and rw can be changed .* not metadata-ttl=1s;/,
    });
    await fs.writeFile(place.path('b'), 'x');
    t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
    t.match(await remount('ro'), { status: 32, stderr: /is not mounted/ });
  },
);

void t.test('mount(8) finds the helper, and umount(8) ends the mount', async (t) => {
  await useMachine(t);
  const place = await Place.make(t);
  await installHelper(t);
  await chmod(helper, 0o755);
  const list = `endpoint-url=${place.endpoint.url},temp-dir=${join(place.base, 'temp')},noauto,access=any,log-file=${place.log}`;
  const args = ['-t', 's3jail', 's3://bucket/alice/', place.mountPoint, '-o', list];
  await promisify(execFile)('mount', args, { env: environment({}) });
  await fs.writeFile(place.path('a'), 'x');
  t.same(place.endpoint.keys('bucket'), ['alice/a']);
  const pid = place.pid ?? 0;
  await promisify(execFile)('umount', [place.mountPoint]);
  await until(() => hasEnded(pid));
  place.checkGone(t);
});

void t.test('options from the environment reach a mount in the background', async (t) => {
  const place = await Place.make(t);
  const env = {
    S3JAIL_SOURCE: 's3://bucket/alice',
    S3JAIL_ENDPOINT_URL: place.endpoint.url,
    S3JAIL_TEMP_DIR: join(place.base, 'temp'),
    S3JAIL_LOG_FILE: place.log,
    S3JAIL_FILE_MODE: '0600',
    S3JAIL_ACCESS: 'any',
  };
  const mounted = await run(s3jail, ['mount', place.mountPoint], env);
  t.match(mounted, { status: 0, stderr: '' });
  const file = await open(place.path('a'), 'w');
  t.equal((await file.stat()).mode & 0o777, 0o600);
  await file.close();
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
});
