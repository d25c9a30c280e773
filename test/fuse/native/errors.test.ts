/** What a caller is told when an operation fails, on a real mount. */
import { constants } from 'node:os';
import { mkdir, open, readFile, readdir, rename, stat, unlink, writeFile } from 'node:fs/promises';
import t from 'tap';
import type { Errno } from '../../../lib/errors.js';
import { MemoryMount, shell } from '../../support/memory-mount.js';

const driver = 'fuse-native';

/** Node has no name for some of them, so the number counts. */
async function errnoOf(act: Promise<unknown>): Promise<number | undefined> {
  try {
    await act;
    return 0;
  } catch (error) {
    return -((error as NodeJS.ErrnoException).errno ?? 0);
  }
}

void t.test('each errno of the core reaches the caller as it is', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const all: Errno[] = [
    'EACCES',
    'EBADF',
    'EBUSY',
    'EDQUOT',
    'EEXIST',
    'EFBIG',
    'EILSEQ',
    'EINVAL',
    'EIO',
    'EISDIR',
    'ENAMETOOLONG',
    'ENOENT',
    'ENOSPC',
    'ENOTDIR',
    'ENOTEMPTY',
    'EOPNOTSUPP',
    'EPERM',
    'EROFS',
    'ESTALE',
  ];
  for (const errno of all) {
    await mount.tell({ do: 'fail', operation: 'mkdir', errno });
    t.equal(await errnoOf(mkdir(mount.path('d'))), constants.errno[errno], errno);
  }
});

void t.test('every operation tells its own failure', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('file'), 'content');
  const file = await open(mount.path('file'), 'r+');
  t.teardown(() => file.close().catch(() => undefined));
  const cases: Record<string, () => Promise<unknown>> = {
    open: () => open(mount.path('file'), 'r'),
    create: () => open(mount.path('new'), 'w'),
    read: () => file.read(Buffer.alloc(10), 0, 10, 0),
    write: () => file.write('x'),
    fsync: () => file.sync(),
    truncate: () => file.truncate(1),
    rename: () => rename(mount.path('file'), mount.path('other')),
    opendir: () => readdir(mount.mountPoint),
    chmod: () => file.chmod(0o600),
    chown: () => file.chown(1, 1),
    utimens: () => file.utimes(1, 1),
    getattr: () => stat(mount.path('file')),
    flush: () => file.close(),
  };
  for (const [operation, act] of Object.entries(cases)) {
    await mount.tell({ do: 'fail', operation, errno: 'EDQUOT' });
    t.equal(await errnoOf(act()), constants.errno.EDQUOT, operation);
    await mount.tell({ do: 'fail', operation });
  }
  t.strictSame(await readdir(mount.mountPoint), ['file']);
  await unlink(mount.path('file'));
});

void t.test('ENOSYS never teaches the kernel to stop asking', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('file'), 'content');
  for (const operation of ['flush', 'open', 'create', 'fsync']) {
    await mount.tell({ do: 'fail', operation, errno: 'ENOSYS' });
    const script = 'echo x > new && sync new && cat file';
    t.not((await shell(`set -e; ${script}`, mount.mountPoint)).status, 0, operation);
    await mount.tell({ do: 'fail', operation });
    await mount.asked();
    t.equal((await shell(`set -e; ${script}`, mount.mountPoint)).status, 0);
    const asked = await mount.asked();
    const wanted = operation === 'create' ? 'open' : operation;
    t.ok(
      asked.some((record) => record.startsWith(`${wanted} `)),
      `${operation} is asked again`,
    );
    await unlink(mount.path('new'));
  }
  const logged = await mount.tell<string[]>({ do: 'logged' });
  t.ok(logged.some((line) => line.startsWith('ENOSYS is answered as EIO')));
});

void t.test('ENOSYS of rename is passed on, each time', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await mkdir(mount.path('d'));
  await mount.tell({ do: 'fail', operation: 'rename', errno: 'ENOSYS' });
  for (const round of [1, 2]) {
    const errno = await errnoOf(rename(mount.path('d'), mount.path('e')));
    t.equal(errno, constants.errno.ENOSYS, `time ${round}`);
  }
  await mount.tell({ do: 'fail', operation: 'rename' });
  await rename(mount.path('d'), mount.path('e'));
  t.strictSame(await readdir(mount.mountPoint), ['e']);
});

void t.test('a bug is EIO for the caller and a stack for the log', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await mount.tell({ do: 'fail', operation: 'open', errno: 'bug' });
  await mount.tell({ do: 'replace', path: '/file', text: 'x' });
  await t.rejects(readFile(mount.path('file')), { code: 'EIO' });
  const logged = await mount.tell<string[]>({ do: 'logged' });
  t.match(logged.join('\n'), /open failed by a bug .*TypeError: a bug.*memory-mount-server/);
  await mount.tell({ do: 'fail', operation: 'open' });
  t.equal(await readFile(mount.path('file'), 'utf8'), 'x');
});

void t.test('a request is answered when it is done, however long it takes', async (t) => {
  // The clock is shortened a hundredfold for timers of ten seconds and more, which the package's
  // own limit of 15 s would be; the delay of the core is not one of them.
  const program =
    'const real = setTimeout;' +
    'globalThis.setTimeout = (f, ms, ...rest) => real(f, ms >= 10_000 ? ms / 100 : ms, ...rest);';
  const shortened = `data:text/javascript;base64,${Buffer.from(program).toString('base64')}`;
  const mount = await MemoryMount.start(t, { driver, nodeOptions: ['--import', shortened] });
  const file = await open(mount.path('file'), 'w');
  await mount.tell({ do: 'delay', ms: 500 });
  await file.write('x');
  await file.close();
  await mount.tell({ do: 'delay', ms: 0 });
  t.equal(await readFile(mount.path('file'), 'utf8'), 'x');
});
