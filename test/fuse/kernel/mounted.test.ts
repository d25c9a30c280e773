/**
 * The kernel driver under a real kernel, with the toy core. The mount is served by another process, so
 * that this one may wait for it.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { readMountTable, type MountEntry } from '../../../lib/host/mount-table.js';
import { ServedMount, type ServeOptions } from '../../support/served-mount.js';
import { mebibyte } from '../../support/sizes.js';

async function serve(t: Test, options: ServeOptions = {}): Promise<ServedMount> {
  const served = await ServedMount.start(options);
  t.teardown(() => served.stop());
  return served;
}

function mountsOn(mountPoint: string): MountEntry[] {
  return readMountTable().filter((mount) => mount.mountPoint === mountPoint);
}

/** A process that works on the mount; killed when the test ends. */
function start(t: Test, command: string, args: readonly string[], cwd = '/'): ChildProcess {
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'close');
  });
  return child;
}

async function ended(
  child: ChildProcess,
): Promise<{ status: number | null; signal: string | null }> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return { status: child.exitCode, signal: child.signalCode };
}

function shell(script: string, cwd: string): { status: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync('sh', ['-c', script], { cwd, encoding: 'utf8' });
  return { status, said: stdout + stderr };
}

const code = (expected: string): { code: string } => ({ code: expected });

void t.test(
  'a mount shows its source and type, and is closed for devices and setuid',
  async (t) => {
    for (const source of ['s3://bucket/prefix/', 's3://b/a b,c\\d#e"f\'/ro,x=/ä\n/']) {
      const served = await serve(t, { settings: { source } });
      const [mount] = mountsOn(served.mountPoint);
      t.match(mount, { type: 'fuse.s3jail', source });
      const args = ['-t', 'fuse.s3jail', '-n', '-o', 'VFS-OPTIONS', served.mountPoint];
      const options = spawnSync('findmnt', args, { encoding: 'utf8' }).stdout.trim().split(',');
      for (const wanted of ['rw', 'nosuid', 'nodev', 'noatime'])
        t.ok(options.includes(wanted), wanted);
      t.same(await served.unmount(), {});
    }
  },
);

void t.test('bytes come back as they were written, whatever their number', async (t) => {
  const served = await serve(t);
  for (const size of [0, 1, 4095, 4096, mebibyte - 1, mebibyte, mebibyte + 1, 5 * mebibyte + 17]) {
    const bytes = Buffer.alloc(size, `${size} `);
    fs.writeFileSync(served.path('f'), bytes);
    t.equal(fs.statSync(served.path('f')).size, size);
    t.ok(fs.readFileSync(served.path('f')).equals(bytes), `${size} bytes`);
  }
  const writes = (await served.ask('records')).filter((record) => record.startsWith('write'));
  t.ok(
    writes.some((record) => record.endsWith(`+${mebibyte}`)),
    'in requests of 1 MiB',
  );
});

void t.test('files can be changed in place, cut, extended and appended to', async (t) => {
  const { mountPoint } = await serve(t);
  const f = join(mountPoint, 'f');
  fs.writeFileSync(f, 'hello world');
  const fd = fs.openSync(f, 'r+');
  fs.writeSync(fd, 'W', 6);
  t.equal(fs.fstatSync(fd).size, 11);
  fs.ftruncateSync(fd, 7);
  t.equal(fs.fstatSync(fd).size, 7);
  fs.closeSync(fd);
  t.equal(fs.readFileSync(f, 'utf8'), 'hello W');
  fs.truncateSync(f, 9);
  t.equal(fs.readFileSync(f, 'utf8'), 'hello W\0\0');
  fs.truncateSync(f, 0);
  fs.appendFileSync(f, 'a');
  fs.appendFileSync(f, 'b');
  t.equal(fs.readFileSync(f, 'utf8'), 'ab');
  fs.writeFileSync(f, 'c');
  t.equal(fs.readFileSync(f, 'utf8'), 'c');
});

void t.test('names are made, listed, moved and removed', async (t) => {
  const { mountPoint } = await serve(t);
  const at = (...names: string[]): string => join(mountPoint, ...names);
  fs.mkdirSync(at('d', 'e'), { recursive: true });
  fs.writeFileSync(at('d', 'e', 'ä ö.txt'), 'x');
  t.same(fs.readdirSync(at('d', 'e')), ['ä ö.txt']);
  t.throws(() => fs.mkdirSync(at('d')), code('EEXIST'));
  t.throws(() => fs.rmdirSync(at('d')), code('ENOTEMPTY'));
  t.throws(() => fs.readdirSync(at('none')), code('ENOENT'));
  fs.renameSync(at('d'), at('moved'));
  t.equal(fs.readFileSync(at('moved', 'e', 'ä ö.txt'), 'utf8'), 'x');
  t.throws(() => fs.statSync(at('d')), code('ENOENT'));
  fs.writeFileSync(at('a'), 'a');
  fs.writeFileSync(at('b'), 'b');
  fs.renameSync(at('a'), at('b'));
  t.equal(fs.readFileSync(at('b'), 'utf8'), 'a');
  fs.unlinkSync(at('b'));
  fs.rmSync(at('moved'), { recursive: true });
  t.same(fs.readdirSync(mountPoint), []);
});

void t.test('what S3 has nothing like is refused each time', async (t) => {
  const { mountPoint } = await serve(t);
  const at = (name: string): string => join(mountPoint, name);
  fs.writeFileSync(at('a'), '');
  t.throws(() => fs.symlinkSync('a', at('s')), code('ENOSYS'));
  t.throws(() => fs.symlinkSync('a', at('s')), code('ENOSYS'));
  // The kernel makes EPERM of it, which sends sftp-server on to rename(2) just as well.
  t.throws(() => fs.linkSync(at('a'), at('l')), { code: /ENOSYS|EPERM/ });
  t.throws(() => fs.linkSync(at('a'), at('l')), { code: /ENOSYS|EPERM/ });
  t.not(spawnSync('mkfifo', [at('p')]).status, 0);
  t.not(spawnSync('getfattr', ['-n', 'user.x', at('a')]).status, 0);
});

void t.test('names that no S3 key can hold are refused', async (t) => {
  const { mountPoint } = await serve(t);
  const raw = Buffer.concat([Buffer.from(`${mountPoint}/`), Buffer.from([0xff, 0x41])]);
  t.throws(() => fs.writeFileSync(raw, ''), code('EILSEQ'));
  t.throws(() => fs.writeFileSync(join(mountPoint, 'x'.repeat(1025)), ''), code('ENAMETOOLONG'));
  fs.writeFileSync(join(mountPoint, 'ü'.repeat(127)), '');
  t.same(fs.readdirSync(mountPoint), ['ü'.repeat(127)]);
});

void t.test('O_EXCL refuses an existing name, also one the kernel does not know', async (t) => {
  const served = await serve(t);
  const create = (): void => fs.writeFileSync(served.path('a'), '', { flag: 'wx' });
  await served.ask('replace', '/a', 'other', false);
  t.throws(create, code('EEXIST'));
  fs.unlinkSync(served.path('a'));
  create();
  t.throws(create, code('EEXIST'));
});

void t.test('RENAME_NOREPLACE keeps the target', async (t) => {
  const { mountPoint } = await serve(t);
  const { status, said } = shell(
    'echo a >a; echo b >b; mv -n a b; cat a b; mv -n a c; cat c',
    mountPoint,
  );
  t.equal(said, 'a\nb\na\n');
  t.equal(status, 0);
});

void t.test('open files go on when they are renamed, replaced or unlinked', async (t) => {
  const { mountPoint } = await serve(t);
  const at = (name: string): string => join(mountPoint, name);
  fs.writeFileSync(at('a'), 'first');
  const fd = fs.openSync(at('a'), 'r+');
  const inode = fs.fstatSync(fd).ino;
  fs.renameSync(at('a'), at('b'));
  t.equal(fs.statSync(at('b')).ino, inode, 'the same inode under the new name');
  fs.writeSync(fd, 'FIRST', 0);
  t.equal(fs.readFileSync(at('b'), 'utf8'), 'FIRST');
  fs.writeFileSync(at('c'), 'other');
  fs.renameSync(at('c'), at('b'));
  t.equal(fs.readFileSync(at('b'), 'utf8'), 'other');
  const bytes = Buffer.alloc(5);
  fs.readSync(fd, bytes, 0, 5, 0);
  t.equal(bytes.toString(), 'FIRST', 'replaced');
  fs.unlinkSync(at('b'));
  fs.writeSync(fd, 'third', 0);
  fs.ftruncateSync(fd, 3);
  t.match(fs.fstatSync(fd), { size: 3, nlink: 0 });
  fs.closeSync(fd);
  t.same(fs.readdirSync(mountPoint), []);
});

void t.test('a long listing has each name once, with attributes that cost no lookup', async (t) => {
  const served = await serve(t);
  const names = Array.from({ length: 5000 }, (_, index) => `file-${index}`);
  fs.mkdirSync(served.path('d'));
  await served.ask('fill', '/d', names);
  await served.ask('forgetRecords');
  const { said } = shell('ls -l d | wc -l', served.mountPoint);
  t.equal(said.trim(), '5001');
  const asked = (await served.ask('records')).filter((record) => record.startsWith('getattr /d/'));
  t.ok(asked.length < 100, `${asked.length} lookups`);
  t.same(fs.readdirSync(served.path('d')).sort(), names.sort());
});

void t.test('nodes go as the kernel forgets them', async (t) => {
  const served = await serve(t);
  await served.ask(
    'fill',
    '/',
    Array.from({ length: 3000 }, (_, index) => `f${index}`),
  );
  shell('ls -l >/dev/null', served.mountPoint);
  t.ok((await served.ask('counters'))['nodes']! > 1);
  await served.until(async () => {
    fs.writeFileSync('/proc/sys/vm/drop_caches', '2');
    return (await served.ask('counters'))['nodes'] === 1;
  });
});

void t.test('32 callers look names up in one directory at the same time', async (t) => {
  const served = await serve(t);
  await served.ask('gate', 'getattr', 32);
  const callers = Array.from({ length: 32 }, (_, index) =>
    start(t, 'stat', [served.path(`n${index}`)]),
  );
  const results = await Promise.all(callers.map(ended));
  t.ok(
    results.every(({ status }) => status === 1),
    'each is told ENOENT',
  );
  t.equal(await served.ask('mostInside', 'getattr'), 32);
});

void t.test('flush tells a close from an exit and from a death', async (t) => {
  const served = await serve(t);
  const cases = [
    ['close', 'exec 3>f; echo x >&3; exec 3>&-'],
    ['exit', 'exec 3>f; echo x >&3; exit 0'],
    ['killed', 'exec 3>f; echo x >&3; kill -9 $$'],
    ['killed', 'exec 3>f; echo x >&3; kill -TERM $$'],
    ['close', `exec perl -e 'open(F, ">", "f"); syswrite(F, "x"); exec("true")'`],
  ] as const;
  for (const [closing, script] of cases) {
    await served.ask('forgetRecords');
    shell(script, served.mountPoint);
    const flushes = (await served.ask('records')).filter((record) => record.startsWith('flush'));
    t.match(flushes.at(-1), new RegExp(`^flush \\d+ ${closing} `), script);
  }
});

void t.test(
  'a file that every thread of a program leaves open is an exit, not a death',
  async (t) => {
    const served = await serve(t);
    const script = `require('fs').writeSync(require('fs').openSync('${served.path('f')}', 'w'), 'x'); process.exit(0)`;
    t.equal(spawnSync(process.execPath, ['-e', script]).status, 0);
    const flushes = (await served.ask('records')).filter((record) => record.startsWith('flush'));
    t.ok(flushes.length > 0);
    for (const flush of flushes) t.match(flush, / exit /);
  },
);

void t.test('a process blocked in any operation can be killed', async (t) => {
  const blocked: [string, string][] = [
    ['getattr', 'exec stat none'],
    ['opendir', 'exec ls'],
    ['open', 'exec cat f'],
    ['read', 'exec cat f'],
    ['create', 'exec 3>new'],
    ['write', 'exec 3>f; echo x >&3'],
    ['flush', 'exec 3>f; exec 3>&-'],
    ['fsync', 'exec sync f'],
    ['mkdir', 'exec mkdir d'],
    ['unlink', 'exec rm -f f'],
    ['rename', 'exec mv f g'],
    ['utimens', 'exec touch -d 2001-01-01 f'],
  ];
  const served = await serve(t);
  await served.ask('replace', '/f', 'text', true);
  for (const [operation, script] of blocked) {
    const before = await served.ask('inside', operation);
    await served.ask('hang', operation, 'deaf');
    const caller = start(t, 'sh', ['-c', script], served.mountPoint);
    await served.until(async () => (await served.ask('inside', operation)) > before);
    caller.kill('SIGKILL');
    t.match(await ended(caller), { signal: 'SIGKILL' }, operation);
    await served.ask('hang', operation, 'no');
  }
});

void t.test('a signal that ends the program aborts its request', async (t) => {
  const served = await serve(t);
  await served.ask('hang', 'getattr', 'hung');
  const caller = start(t, 'stat', [served.path('a')]);
  await served.until(async () => (await served.ask('inside', 'getattr')) === 1);
  caller.kill('SIGINT');
  t.match(await ended(caller), { signal: 'SIGINT' });
  await served.until(async () => (await served.ask('inside', 'getattr')) === 0);
});

void t.test('a signal that programs take in passing leaves their calls alone', async (t) => {
  const served = await serve(t);
  await served.ask('replace', '/a', 'text', true);
  await served.ask('gate', 'getattr', 2);
  const script = `$SIG{ALRM} = sub {}; stat("${served.path('a')}") or die "$!"`;
  const caller = start(t, 'perl', ['-e', script]);
  await served.until(async () => (await served.ask('inside', 'getattr')) === 1);
  caller.kill('SIGALRM');
  const pending = (): boolean => {
    const status = fs.readFileSync(`/proc/${caller.pid}/status`, 'utf8');
    return (Number.parseInt(/ShdPnd:\s*(\w+)/.exec(status)?.[1] ?? '0', 16) & (1 << 13)) !== 0;
  };
  await served.until(pending);
  // The driver has seen the INTERRUPT once a request sent after it was answered.
  spawnSync('df', [served.mountPoint]);
  start(t, 'stat', [served.path('b')]);
  t.match(await ended(caller), { status: 0 });
});

void t.test('only root and the allowed user may use the mount, cached or not', async (t) => {
  const served = await serve(t, { settings: { allowUids: [12345] } });
  fs.mkdirSync(served.path('d'));
  fs.writeFileSync(served.path('d', 'a'), 'x');
  const as = (uid: number, ...command: [string, ...string[]]): number | null => {
    const [program, ...args] = command;
    return spawnSync(program, args, { uid, gid: uid, cwd: '/' }).status;
  };
  for (const uid of [0, 12345]) {
    t.equal(as(uid, 'cat', served.path('d', 'a')), 0, `uid ${uid}`);
    t.equal(as(uid, 'ls', served.mountPoint), 0);
  }
  await served.ask('forgetRecords');
  for (const command of ['cat', 'stat', 'ls', 'rm', 'touch']) {
    t.not(as(54321, command, served.path('d', 'a')), 0, command);
  }
  t.not(as(54321, 'ls', served.mountPoint), 0);
  t.not(as(54321, 'mkdir', served.path('new')), 0);
  t.same(await served.ask('records'), [], 'the core never heard of them');
});

void t.test('a mount for one user alone shuts out even root', async (t) => {
  const owner = { uid: 12345, gid: 12345 };
  const served = await serve(t, { settings: { allowOther: false, owner } });
  t.equal(spawnSync('ls', [served.mountPoint], { ...owner, cwd: '/' }).status, 0);
  t.throws(() => fs.readdirSync(served.mountPoint), code('EACCES'));
});

void t.test('a read-only mount refuses changes', async (t) => {
  const served = await serve(t, { settings: { readOnly: true } });
  await served.ask('replace', '/a', 'text', true);
  t.equal(fs.readFileSync(served.path('a'), 'utf8'), 'text');
  t.throws(() => fs.writeFileSync(served.path('a'), ''), code('EROFS'));
  t.throws(() => fs.mkdirSync(served.path('d')), code('EROFS'));
});

void t.test('readers keep the object they opened when somebody else replaces it', async (t) => {
  const served = await serve(t);
  const old = 'old '.repeat(500_000);
  await served.ask('replace', '/a', old, true);
  const fd = fs.openSync(served.path('a'), 'r');
  const start = Buffer.alloc(8);
  fs.readSync(fd, start, 0, 8, 0);
  await served.ask('replace', '/a', 'new', true);
  await served.until(() => fs.statSync(served.path('a')).size === 3);
  t.equal(fs.readFileSync(served.path('a'), 'utf8'), 'new');
  t.equal(fs.fstatSync(fd).size, old.length);
  t.equal(fs.readFileSync(fd, 'utf8'), old);
  fs.closeSync(fd);
});

void t.test('readers keep the object they opened when this mount replaces it', async (t) => {
  const served = await serve(t);
  await served.ask('replace', '/a', 'first', true);
  const fd = fs.openSync(served.path('a'), 'r');
  const writer = fs.openSync(served.path('a'), 'w');
  t.equal(fs.statSync(served.path('a')).size, 0);
  t.not(fs.fstatSync(writer).ino, fs.fstatSync(fd).ino);
  fs.writeSync(writer, 'second one');
  fs.closeSync(writer);
  t.equal(fs.fstatSync(fd).size, 5);
  t.equal(fs.readFileSync(fd, 'utf8'), 'first');
  t.equal(fs.statSync(served.path('a')).size, 10);
  fs.closeSync(fd);
});

void t.test('a name that vanished outside is gone at once where the core says so', async (t) => {
  const served = await serve(t);
  for (const tell of [true, false]) {
    await served.ask('replace', '/a', 'text', true);
    t.equal(fs.statSync(served.path('a')).size, 4);
    await served.ask('vanish', '/a', tell);
    t.throws(() => fs.readFileSync(served.path('a')), code('ENOENT'), `told: ${tell}`);
    fs.writeFileSync(served.path('a'), 'created again');
    t.equal(fs.statSync(served.path('a')).size, 13);
  }
});

void t.test(
  'a close that cannot store fails, and stat does not show what was not stored',
  async (t) => {
    const served = await serve(t);
    const fd = fs.openSync(served.path('a'), 'w');
    fs.writeSync(fd, 'never stored');
    t.equal(fs.statSync(served.path('a')).size, 12);
    await served.ask('fail', 'flush', 'EIO');
    await served.ask('vanish', '/a', false);
    t.throws(() => fs.closeSync(fd), code('EIO'));
    t.throws(() => fs.statSync(served.path('a')), code('ENOENT'));
    await served.ask('fail', 'flush', null);
    fs.writeFileSync(served.path('a'), 'stored');
    t.equal(fs.statSync(served.path('a')).size, 6);
  },
);

void t.test('a bug in the core is EIO for its caller and no more', async (t) => {
  const served = await serve(t);
  await served.ask('fail', 'mkdir', 'bug');
  t.throws(() => fs.mkdirSync(served.path('d')), code('EIO'));
  await served.ask('fail', 'mkdir', null);
  fs.mkdirSync(served.path('d'));
  await served.until(() => served.said.includes('unexpectedly'));
});

void t.test('a busy mount is not unmounted, except lazily', async (t) => {
  const served = await serve(t);
  const fd = fs.openSync(served.path('a'), 'w');
  t.same(await served.ask('unmount', false), { code: 'EBUSY' });
  fs.writeSync(fd, 'still there');
  t.same(await served.ask('unmount', true), {});
  t.same(mountsOn(served.mountPoint), []);
  fs.closeSync(fd);
  const [status] = (await once(served.process, 'exit')) as [number];
  t.equal(status, 0, 'the process ends by itself when the last user is gone');
});

void t.test('an unmount by somebody else is noticed', async (t) => {
  const served = await serve(t);
  const closed = once(served.process, 'exit');
  t.equal(spawnSync('umount', [served.mountPoint]).status, 0);
  t.same(await closed, [0, null]);
});

void t.test('a connection that is cut leaves no dead mount behind', async (t) => {
  const served = await serve(t);
  const holder = start(t, 'sh', ['-c', `cd ${served.mountPoint} && echo in && exec sleep 1000`]);
  await once(holder.stdout!, 'data');
  const closed = once(served.process, 'exit');
  spawnSync('umount', ['-f', served.mountPoint]);
  t.same(await closed, [0, null]);
  t.same(mountsOn(served.mountPoint), []);
});

void t.test(
  'a process that dies of a bug takes its mount along and frees its callers',
  async (t) => {
    const served = await serve(t);
    await served.ask('hang', 'getattr', 'deaf');
    const caller = start(t, 'stat', [served.path('a')]);
    await served.until(async () => (await served.ask('inside', 'getattr')) === 1);
    const closed = once(served.process, 'exit');
    void served.ask('throwLater');
    t.same(await closed, [1, null]);
    t.match(await ended(caller), { status: 1 });
    t.same(mountsOn(served.mountPoint), []);
  },
);

void t.test(
  'a dead mount of ours is removed at the next start, one of others is not',
  async (t) => {
    const first = await serve(t);
    const closed = once(first.process, 'exit');
    first.process.kill('SIGKILL');
    await closed;
    t.throws(() => fs.statSync(first.mountPoint), code('ENOTCONN'));
    const { mountPoint } = first;
    const second = await serve(t, { mountPoint });
    t.match(second.said, /removed a dead mount/);
    t.equal(mountsOn(mountPoint).length, 1);
    await t.rejects(ServedMount.start({ mountPoint }), /already mounted/);
    t.same(await second.unmount(), {});
    const fd = fs.openSync('/dev/fuse', 'r+');
    const options = 'fd=3,rootmode=40755,user_id=0,group_id=0';
    const args = ['-i', '-n', '-t', 'fuse.other', '-o', options, 'other', mountPoint];
    spawnSync('mount', args, { stdio: ['ignore', 'ignore', 'ignore', fd] });
    fs.closeSync(fd);
    await t.rejects(ServedMount.start({ mountPoint }), /fuse\.other/);
    t.equal(mountsOn(mountPoint).length, 1, 'left as it was');
    spawnSync('umount', ['-i', '-l', mountPoint]);
  },
);

void t.test('a mount point that is none is refused in a sentence', async (t) => {
  const directory = fs.mkdtempSync(join(tmpdir(), 's3jail-kernel-'));
  t.teardown(() => fs.rmSync(directory, { recursive: true }));
  const file = join(directory, 'file');
  fs.writeFileSync(file, '');
  await t.rejects(ServedMount.start({ mountPoint: join(directory, 'none') }), /ENOENT.*none/s);
  await t.rejects(ServedMount.start({ mountPoint: file }), /no directory/);
});

void t.test('a mount point is taken literally, whatever its name', async (t) => {
  const directory = fs.mkdtempSync(join(tmpdir(), 's3jail-kernel-'));
  const mountPoint = join(directory, `a b;touch $(x)'"\\,#-ä`);
  fs.mkdirSync(mountPoint);
  const served = await serve(t, { mountPoint });
  t.teardown(() => fs.rmSync(directory, { recursive: true }));
  fs.writeFileSync(served.path('f'), 'x');
  t.equal(mountsOn(mountPoint).length, 1);
  t.same(await served.unmount(), {});
  t.same(fs.readdirSync(mountPoint), []);
});

void t.test('reads arrive large', async (t) => {
  const served = await serve(t);
  const info = mountsOn(served.mountPoint)[0]!;
  const readAhead = fs.readFileSync(`/sys/class/bdi/${info.device}/read_ahead_kb`, 'utf8');
  t.equal(Number(readAhead), 4096);
  fs.writeFileSync(served.path('f'), Buffer.alloc(16 << 20));
  await served.ask('forgetRecords');
  shell('cat f >/dev/null', served.mountPoint);
  const reads = (await served.ask('records')).filter((record) => record.startsWith('read'));
  t.ok(reads.length <= 24, `${reads.length} reads`);
});

void t.test('handles and nodes are back where they were after mixed work', async (t) => {
  const served = await serve(t);
  const script =
    'for i in 1 2 3 4 5 6 7 8; do (mkdir d$i; for j in 1 2 3 4 5; do echo $i >d$i/$j; cat d$i/$j; ' +
    'mv d$i/$j d$i/m$j; rm d$i/m$j; done; ls -l d$i; rmdir d$i; stat none) & done; wait';
  t.match(shell(script, served.mountPoint), { status: 0 });
  await served.until(async () => {
    fs.writeFileSync('/proc/sys/vm/drop_caches', '2');
    return (await served.ask('counters'))['nodes'] === 1;
  });
  t.equal(await served.ask('handles'), 0);
  t.match(await served.ask('counters'), { openFiles: 0, openDirectories: 0, inFlight: 0 });
});
