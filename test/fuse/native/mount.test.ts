/** Mounting and unmounting: who may, what the mount table shows, and every way for it to end. */
import { execFile } from 'node:child_process';
import {
  chmod,
  chown,
  cp,
  mkdir,
  open,
  readFile,
  readdir,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { findMount } from '../../../lib/host/mount-table.js';
import { useMachine } from '../../support/machine.js';
import { MemoryMount, scratch } from '../../support/memory-mount.js';

const driver = 'fuse-native';
const nobody = 65_534;
const run = promisify(execFile);

void t.test('the mount table shows the source, whatever characters it has', async (t) => {
  const source = 's3://bucket/a, b\\c,allow_other,ro=ü/';
  const mount = await MemoryMount.start(t, { driver, source });
  const entry = findMount(mount.mountPoint);
  t.equal(entry?.source, source);
  t.equal(entry?.type, 'fuse.s3jail');
  t.notOk(entry?.superOptions.includes('allow_other'));
  await writeFile(mount.path('file'), 'x');
  const { stdout } = await run('df', ['--output=source', mount.mountPoint]);
  t.match(stdout, source);
});

void t.test('a very long prefix cuts its own display and no option', async (t) => {
  const source = `s3://bucket/${'long-é-'.repeat(150)}/`;
  const mount = await MemoryMount.start(t, { driver, source });
  t.match(findMount(mount.mountPoint)?.source, /^s3:\/\/bucket\/long-é-long.*…$/);
  await writeFile(mount.path('file'), Buffer.alloc(256 * 1024));
  const writes = (await mount.asked()).filter((record) => record.startsWith('write'));
  t.equal(writes.filter((record) => record.endsWith('+4096')).length, 0, 'big_writes is on');
});

void t.test(
  'the mount is nosuid and nodev, read-only where asked, and shared where asked',
  async (t) => {
    const mount = await MemoryMount.start(t, { driver, readOnly: true, allowOther: true });
    const table = await readFile('/proc/self/mounts', 'utf8');
    const line = table.split('\n').find((each) => each.includes(mount.mountPoint)) ?? '';
    for (const option of ['ro', 'nosuid', 'nodev', 'allow_other']) {
      t.ok(line.split(' ')[3]?.split(',').includes(option), option);
    }
    t.notMatch(line, /default_permissions/);
    await t.rejects(writeFile(mount.path('file'), 'x'), { code: 'EROFS' });
  },
);

void t.test('unmounting ends the process of the mount', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await mount.unmount();
  await mount.unmounted;
  t.equal(findMount(mount.mountPoint), undefined);
  t.equal(await mount.exit(), 0, 'nothing keeps the event loop alive');
});

void t.test('no child of the process ends while libfuse cancels its threads', async (t) => {
  const place = await scratch(t);
  const script = `#!/bin/sh
    process=$$
    while [ "$process" -gt 1 ]; do
      echo "$process"
      process=$(ps -o ppid= -p "$process" | tr -d ' ')
    done >'${place}/ancestors'
    PATH=\${PATH#*:} exec umount "$@"\n`;
  await writeFile(join(place, 'umount'), script, { mode: 0o755 });
  const { PATH } = process.env;
  process.env['PATH'] = `${place}:${PATH}`;
  t.teardown(() => (process.env['PATH'] = PATH));
  const mount = await MemoryMount.start(t, { driver });
  await mount.unmount();
  await mount.unmounted;
  const ancestors = (await readFile(join(place, 'ancestors'), 'utf8')).split('\n');
  t.ok(ancestors.length > 1);
  t.notOk(ancestors.includes(String(mount.pid)), 'umount(8) is no child of it');
});

void t.test('a mount in use is busy, and can be detached all the same', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const file = await open(mount.path('file'), 'w');
  t.teardown(() => file.close().catch(() => undefined));
  await t.rejects(mount.tell({ do: 'unmount', lazy: false }), { code: 'EBUSY' });
  t.ok(findMount(mount.mountPoint));
  await mount.tell({ do: 'unmount', lazy: true });
  t.equal(findMount(mount.mountPoint), undefined);
  let hasEnded = false;
  void mount.unmounted.then(() => (hasEnded = true));
  await file.write('still served');
  t.equal((await file.stat()).size, 12);
  t.notOk(hasEnded, 'the kernel has not let go while the file is open');
  await file.close();
  await mount.unmounted;
  t.equal(await mount.exit(), 0);
});

void t.test('an umount by somebody else is noticed', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await run('umount', [mount.mountPoint]);
  await mount.unmounted;
  t.equal(await mount.exit(), 0);
});

void t.test('a lazy umount by somebody else ends with the last user', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const file = await open(mount.path('file'), 'w');
  await run('umount', ['-l', mount.mountPoint]);
  await file.write('x');
  await file.close();
  await mount.unmounted;
  t.equal(await mount.exit(), 0);
});

void t.test('what shell characters a mount point has does not matter', async (t) => {
  const place = await scratch(t);
  const made = `made-by-${process.pid}`;
  const mountPoint = join(place, `a "b" $(touch ${made}) 'c'; -l`);
  await mkdir(mountPoint);
  const mount = await MemoryMount.start(t, { driver, mountPoint });
  await writeFile(mount.path('file'), 'x');
  await mount.unmount();
  t.equal(await mount.exit(), 0);
  t.strictSame(await readdir(mountPoint), []);
  await t.rejects(stat(made), { code: 'ENOENT' }, 'no shell ran it');
});

void t.test('a mount point that cannot be used is refused with the reason', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const { mountPoint } = mount;
  await t.rejects(MemoryMount.start(t, { driver, mountPoint }), {
    message: /is in use: s3:\/\/bucket\/prefix\/ is mounted/,
  });
  const full = await scratch(t);
  await writeFile(join(full, 'file'), '');
  await t.rejects(MemoryMount.start(t, { driver, mountPoint: full }), { message: /not empty/ });
  t.equal(findMount(full), undefined);
  const missing = join(full, 'missing');
  await t.rejects(MemoryMount.start(t, { driver, mountPoint: missing }), {
    message: /is not a directory/,
  });
  const long = join(full, `${'d'.repeat(250)}/`.repeat(4));
  await mkdir(long, { recursive: true });
  await t.rejects(MemoryMount.start(t, { driver, mountPoint: long }), { message: /1023 bytes/ });
});

void t.test('mounting for somebody else is refused', async (t) => {
  await t.rejects(MemoryMount.start(t, { driver, owner: { uid: nobody, gid: nobody } }), {
    message: /--driver kernel/,
  });
});

void t.test('without root', async (t) => {
  await useMachine(t);
  // udev opens the device to everybody; machines without udev keep it for root.
  const { mode } = await stat('/dev/fuse');
  t.teardown(() => chmod('/dev/fuse', mode & 0o777));
  const own = await scratch(t);
  await chown(own, nobody, nobody);
  const asNobody = { driver, uid: nobody, mountPoint: own } as const;

  await chmod('/dev/fuse', 0o600);
  await t.rejects(MemoryMount.start(t, asNobody), { message: /\/dev\/fuse is closed/ });
  await chmod('/dev/fuse', 0o666);

  const foreign = await scratch(t);
  await chmod(foreign, 0o755);
  await t.rejects(MemoryMount.start(t, { ...asNobody, mountPoint: foreign }), {
    message: /must belong to/,
  });
  await t.rejects(MemoryMount.start(t, { ...asNobody, allowOther: true }), {
    message: /user_allow_other in \/etc\/fuse\.conf/,
  });

  const mount = await MemoryMount.start(t, asNobody);
  t.match(findMount(own)?.superOptions, ['rw', `user_id=${nobody}`]);
  await t.rejects(stat(mount.path('file')), { code: 'EACCES' }, 'not even root looks inside');
  const script = `cd ${own} && echo content > file && cat file`;
  const identity = [`--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'];
  const { stdout } = await run('setpriv', [...identity, 'sh', '-c', script], { cwd: '/' });
  t.equal(stdout, 'content\n');
  await mount.unmount();
  t.equal(await mount.exit(), 0);
});

void t.test('a machine without libfuse 2 is told which package to install', async (t) => {
  const place = await copyOfProgram(t);
  const binding = nativeBinary(place);
  const bytes = await readFile(binding);
  // The loader then looks for a library that no machine has.
  const name = bytes.indexOf('libfuse.so.2\0');
  t.ok(name > 0, 'the binding names the library');
  bytes.write('libfuse.so.X', name);
  await writeFile(binding, bytes);
  await t.rejects(MemoryMount.start(t, { driver, dist: join(place, 'dist') }), {
    message: /libfuse\.so\.2: install the package libfuse2 \(libfuse2t64 on Debian 13/,
  });
});

void t.test('a machine that the package has no binary for is told so', async (t) => {
  const place = await copyOfProgram(t);
  await writeFile(join(place, 'node_modules/fuse-native/index.js'), 'throw new Error("no build")');
  await t.rejects(MemoryMount.start(t, { driver, dist: join(place, 'dist') }), {
    message: /does not load on linux-.*npm rebuild fuse-native/,
  });
});

function nativeBinary(place: string): string {
  const directory = join(place, 'node_modules/fuse-native/prebuilds');
  return join(directory, `linux-${process.arch}`, 'node.napi.node');
}

/** The compiled program beside packages of its own, of which fuse-native may be changed. */
async function copyOfProgram(t: Parameters<typeof scratch>[0]): Promise<string> {
  const place = await scratch(t);
  const dist = fileURLToPath(new URL('../../..', import.meta.url));
  const packages = join(dist, '../node_modules');
  await mkdir(join(place, 'node_modules'));
  for (const name of await readdir(packages)) {
    const [from, to] = [join(packages, name), join(place, 'node_modules', name)];
    // One that was built on this machine goes before the one of the package.
    const filter = (path: string) => path !== join(from, 'build');
    if (name === 'fuse-native') await cp(from, to, { recursive: true, filter });
    else await symlink(from, to);
  }
  for (const name of ['lib', 'test/support']) {
    await cp(join(dist, name), join(place, 'dist', name), { recursive: true });
  }
  await writeFile(join(place, 'package.json'), '{ "type": "module" }');
  return place;
}
