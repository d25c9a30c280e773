/**
 * How requests come from the kernel: on the main thread, or by the pool where this Node.js gives no handle
 * that could poll the device. A mount does the same with both.
 */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import t from 'tap';
import { PolledReads } from '../../../lib/fuse/kernel/polled-reads.js';
import { ServedMount } from '../../support/served-mount.js';
import { until } from '../../support/until.js';

/** Node.js as it may be one day. */
const withoutBinding = ['--import', 'data:text/javascript,delete process.binding'];

/** Threads of a process that wait in read(2) of /dev/fuse. */
function readersOf(pid: number): number {
  const directory = `/proc/${pid}`;
  const device = fs
    .readdirSync(`${directory}/fd`)
    .find((fd) => fs.readlinkSync(`${directory}/fd/${fd}`) === '/dev/fuse');
  const inRead = `0 0x${Number(device).toString(16)} `;
  return fs
    .readdirSync(`${directory}/task`)
    .map((thread) => fs.readFileSync(`${directory}/task/${thread}/syscall`, 'utf8'))
    .filter((call) => call.startsWith(inRead)).length;
}

const ways = [
  { way: 'on the main thread', nodeArguments: [], readers: 0 },
  { way: 'by the pool', nodeArguments: withoutBinding, readers: 4 },
];

for (const { way, nodeArguments, readers } of ways) {
  void t.test(`requests are read ${way}`, async (t) => {
    const served = await ServedMount.start({ nodeArguments, poolSize: 16 });
    t.teardown(() => served.stop());
    const content = Buffer.alloc(3 * 2 ** 20, 'content');
    fs.writeFileSync(served.path('a'), content);
    fs.writeFileSync(served.path('b'), 'b');
    t.ok(fs.readFileSync(served.path('a')).equals(content));
    t.same(fs.readdirSync(served.mountPoint).sort(), ['a', 'b']);
    t.throws(() => fs.lstatSync(served.path('c')), { code: 'ENOENT' });
    const pid = served.process.pid ?? 0;
    await until(() => readersOf(pid) === readers);
    t.same(await served.unmount(), {});
    await until(() => served.process.exitCode !== null);
    t.equal(served.process.exitCode, 0);
    t.equal(served.said, '', 'nothing was logged');
  });

  void t.test(`a mount that is cut ends, read ${way}`, async (t) => {
    const served = await ServedMount.start({ nodeArguments });
    t.teardown(() => served.stop());
    fs.writeFileSync(served.path('a'), 'a');
    t.equal(spawnSync('umount', ['-f', '-l', served.mountPoint]).status, 0);
    await until(() => served.process.exitCode !== null);
    t.equal(served.process.exitCode, 0);
    t.equal(served.said, '', 'nothing was logged');
  });
}

void t.test('the device stays open after its last request until it is closed', async (t) => {
  const descriptor = fs.openSync('/dev/fuse', 'r+');
  const reads = PolledReads.on(descriptor);
  if (reads === undefined) throw new Error('this Node.js gives no handle of a pipe');
  const room = (): Buffer => Buffer.alloc(2 ** 20 + 4096);
  // Nothing is mounted on it.
  await t.rejects(reads.receive({ room, take: () => undefined }), { code: 'EPERM' });
  t.ok(
    fs.fstatSync(descriptor).isCharacterDevice(),
    'what is still to be answered goes nowhere else',
  );
  await reads.close();
  t.throws(() => fs.fstatSync(descriptor), { code: 'EBADF' });
});
