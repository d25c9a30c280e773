/**
 * What a mount keeps on this machine and in the bucket for a while: it is gone after a kill -9 and the
 * next start, and what others take away or put in its place on this machine hinders no mount.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { makeAccount } from '../../lib/demo/account.js';
import { mountName } from '../../lib/host/mount-name.js';
import { makeTempDirectory } from '../../lib/host/temp-directory.js';
import { hasEnded, Place, run, s3jail, start } from '../support/command.js';
import type { ProxyAction } from '../support/faults.js';
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.js';
import { until } from '../support/until.js';

t.setTimeout(900_000);

const account = await makeAccount('s3jail-test');
t.teardown(async () => {
  // Somebody else may get the uid, and with it what a mount with --run-as has left.
  rmSync(`/run/s3jail-${account.uid}`, { recursive: true, force: true });
  await account.remove();
});

const large = Buffer.alloc(20 * 1024 * 1024, 'x');
const roots = (place: Place) => join(place.base, 'temp', 's3jail-0');

async function throughProxy(t: Test, place: Place): Promise<FaultProxy> {
  const proxy = await startFaultProxy({ target: place.endpoint.url });
  t.teardown(() => proxy.close());
  await place.mount(t, '--endpoint-url', proxy.url);
  return proxy;
}

async function kill(place: Place): Promise<void> {
  const pid = place.pid ?? 0;
  process.kill(pid, 'SIGKILL');
  await until(() => hasEnded(pid));
}

/** Makes a file by a process of its own, which nobody waits for. */
function make(t: Test, path: string): void {
  const script = `require('fs').writeFileSync(process.argv[1], Buffer.alloc(20e6), { flag: 'wx' })`;
  const child = spawn(process.execPath, ['-e', script, path], { stdio: 'ignore' });
  t.teardown(() => child.kill('SIGKILL'));
}

void t.test('an upload whose beginning S3 answered to a process that is gone', async (t) => {
  const place = await Place.make(t);
  const proxy = await throughProxy(t, place);
  const noAnswer = { kind: 'no-answer' } as const;
  proxy.inject({ action: 'CreateMultipartUpload', key: /file$/, fault: noAnswer, count: 9 });
  make(t, place.path('file'));
  await until(() => place.endpoint.openUploads().length > 0);
  await kill(place);
  t.equal(place.endpoint.openUploads().length, 1);
  proxy.clear();
  await place.mount(t, '--endpoint-url', proxy.url);
  await until(() => place.endpoint.openUploads().length === 0);
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  t.same(readdirSync(roots(place)), [], 'nor is anything left to be done');
});

for (const action of ['PutObject', 'CreateMultipartUpload', 'DeleteObject'] as const) {
  void t.test(`a scratch object, the process being killed in its ${action}`, async (t) => {
    const place = await Place.make(t);
    const proxy = await throughProxy(t, place);
    const noAnswer = { kind: 'no-answer' } as const;
    const scratch = /s3jail-probe/;
    const hung = proxy.inject({ action, key: scratch, fault: noAnswer, count: 9 });
    if (action === 'DeleteObject') {
      // Its objects stay although they are asked to go.
      proxy.inject({ action, key: scratch, fault: { kind: 'reset-before' }, count: 99 });
    }
    make(t, place.path('file'));
    await until(() => hung.fired > 0);
    await kill(place);
    proxy.clear();
    await place.mount(t, '--endpoint-url', proxy.url);
    const left = () => place.endpoint.keys('bucket').filter((key) => scratch.test(key));
    await until(() => left().length === 0 && place.endpoint.openUploads().length === 0);
    t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
    t.same(readdirSync(roots(place)), []);
  });
}

void t.test('uploads of others at the same key are left alone', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const directory = roots(place);
  const journal = readdirSync(directory).find((name) => name.endsWith('.uploads')) ?? '';
  await kill(place);
  const scope = `${place.endpoint.url} s3://bucket/alice/`;
  const atMs = Date.now() - 3_600_000;
  const line = { scope, key: 'file', uploadId: 'x', beginning: 'upload', atMs };
  await writeFile(join(directory, journal), `${JSON.stringify(line)}\n`);
  const other = await Place.make(t);
  const options = ['--endpoint-url', place.endpoint.url];
  await other.mount(t, ...options);
  const script = `
    const fs = require('fs');
    fs.writeSync(fs.openSync(process.argv[1], 'w'), Buffer.alloc(20e6));
    setInterval(() => undefined, 1000);`;
  const writer = spawn(process.execPath, ['-e', script, other.path('file')], { stdio: 'ignore' });
  t.teardown(() => writer.kill('SIGKILL'));
  await until(() => place.endpoint.openUploads().length > 0);
  await place.mount(t);
  await until(() => readFileSync(place.log, 'utf8').includes('upload without parts'));
  t.equal(place.endpoint.openUploads().length, 1);
  writer.kill('SIGKILL');
  for (const { mountPoint } of [place, other]) {
    t.equal((await run(s3jail, ['unmount', mountPoint])).status, 0);
  }
});

void t.test('a journal that says nothing goes at a clean end', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  await writeFile(place.path('file'), large);
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  t.same(readdirSync(roots(place)), []);
});

void t.test('the directory for temporary files is made anew when a cleaner took it', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  rmSync(roots(place), { recursive: true });
  await writeFile(place.path('small'), 'hello');
  t.equal(await readFile(place.path('small'), 'utf8'), 'hello');
  await writeFile(place.path('large'), large);
  rmSync(roots(place), { recursive: true });
  await writeFile(place.path('large'), large);
  t.same(place.endpoint.keys('bucket'), ['alice/large', 'alice/small']);
  // Meanwhile somebody else may take the name.
  rmSync(roots(place), { recursive: true });
  mkdirSync(roots(place), { mode: 0o755 });
  await chown(roots(place), account.uid, account.gid);
  await writeFile(place.path('large'), large);
  await writeFile(place.path('small'), 'again');
  t.same(readdirSync(roots(place)), [], 'what is not ours is not used');
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
});

void t.test('a directory of another user with our name hinders nobody', async (t) => {
  const place = await Place.make(t);
  const base = join(place.base, 'temp');
  await mkdir(base);
  await chmod(base, 0o1777);
  const squat = join(base, 's3jail-0');
  await mkdir(squat, { mode: 0o777 });
  await chown(squat, account.uid, account.gid);
  await place.mount(t);
  await writeFile(place.path('large'), large);
  const own = readdirSync(base).filter((name) => name.startsWith('s3jail-0.'));
  t.equal(own.length, 1);
  await kill(place);
  await place.mount(t);
  const [name = ''] = readdirSync(base).filter((each) => each.startsWith('s3jail-0.'));
  t.equal(name, own[0], 'the next start uses it too');
  const left = readdirSync(join(base, name)).filter((each) => /\.\d+\.\d+$/.test(each));
  t.equal(left.length, 1, 'and has removed what the killed one left');
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  t.same(readdirSync(squat), []);
});

void t.test('--run-as in a place of the user reads nothing of root through a link', async (t) => {
  const place = await Place.make(t);
  const base = join(place.base, 'temp');
  await mkdir(base);
  await chmod(place.base, 0o755);
  await chown(base, account.uid, account.gid);
  const secretPlace = join(place.base, 'secret');
  const mountPoint = '/srv/none';
  const owner = { mountPoint, scope: 'aws s3://bucket/none/' };
  mkdirSync(secretPlace, { mode: 0o700 });
  const { stdout } = await promisify(execFile)('readlink', ['/proc/self/ns/pid']);
  const stem = `${mountName(mountPoint)}.${/\d+/.exec(stdout)?.[0] ?? ''}`;
  writeFileSync(join(secretPlace, `${stem}.uploads`), 'secret');
  mkdirSync(join(secretPlace, `${stem}.4194304.1`));
  const trap = join(base, 's3jail-0');
  const user = { name: account.name, uid: account.uid, gid: account.gid, home: '/' };
  // A link to what is root's.
  symlinkSync(secretPlace, trap);
  const first = makeTempDirectory(base, owner, user);
  first.remove();
  rmSync(trap);
  // A directory of root's, in which a file of root's is; swapped with a link while root is at it.
  mkdirSync(trap, { mode: 0o700 });
  const swapping = spawn(
    process.execPath,
    [
      '-e',
      `const [trap, target] = process.argv.slice(1);
       const fs = require('fs');
       process.setgid(${account.gid}); process.setuid(${account.uid});
       fs.symlinkSync(target, trap + '-link');
       for (let round = 0; ; round++) {
         fs.renameSync(trap, trap + '-root');
         fs.renameSync(trap + '-link', trap);
         fs.renameSync(trap, trap + '-link');
         fs.renameSync(trap + '-root', trap);
         if (round === 10) console.log('ready');
       }`,
      trap,
      secretPlace,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.teardown(() => swapping.kill('SIGKILL'));
  await new Promise((ready) => swapping.stdout.once('data', ready));
  for (let round = 0; round < 300; round++) makeTempDirectory(base, owner, user).remove();
  swapping.kill('SIGKILL');
  t.same(readdirSync(secretPlace).sort(), [`${stem}.4194304.1`, `${stem}.uploads`]);
  const theirs = readdirSync(join(base, `s3jail-${account.uid}`));
  t.same(theirs, [], 'no journal was handed over');
});

void t.test('what a check had made that was killed goes with the next one', async (t) => {
  const place = await Place.make(t);
  const proxy = await startFaultProxy({ target: place.endpoint.url });
  t.teardown(() => proxy.close());
  const temp = join(place.base, 'temp');
  const args = ['check', 's3://bucket/alice/', '--temp-dir', temp, '--access', 'any'];
  const check = [...args, '--endpoint-url', proxy.url];
  const steps = ['PutObject', 'CopyObject', 'CreateMultipartUpload', 'UploadPart', 'DeleteObject'];
  for (const action of steps as ProxyAction[]) {
    const gate = proxy.gate({ action, at: 'answer' });
    const child = start(s3jail, check);
    await gate.arrived;
    child.kill('SIGKILL');
    await once(child, 'exit');
    gate.open();
  }
  t.not(place.endpoint.keys('bucket').length + place.endpoint.openUploads().length, 0);
  t.match(await run(s3jail, check), { status: 0 });
  t.same([place.endpoint.keys('bucket'), place.endpoint.openUploads()], [[], []]);
  t.same(readdirSync(roots(place)), [], 'nor is anything left to be done');
});
