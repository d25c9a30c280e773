/** Removing, renaming and listing on a real mount: what libfuse and the binding make difficult. */
import type { Dir } from 'node:fs';
import { constants } from 'node:fs';
import {
  mkdir,
  open,
  opendir,
  readFile,
  readdir,
  rename,
  rmdir,
  stat,
  unlink,
  writeFile,
  type FileHandle,
} from 'node:fs/promises';
import t, { type Test } from 'tap';
import { MemoryMount, shell } from '../../support/memory-mount.js';

const driver = 'fuse-native';

async function opened(t: Test, path: string, flags: string): Promise<FileHandle> {
  const file = await open(path, flags);
  t.teardown(() => file.close().catch(() => undefined));
  return file;
}

void t.test('an open file that is removed goes at once, under no other name', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const file = await opened(t, mount.path('file'), 'w+');
  await file.write('content');
  await mount.asked();
  await unlink(mount.path('file'));
  t.strictSame(await readdir(mount.mountPoint), []);
  await t.rejects(stat(mount.path('file')), { code: 'ENOENT' });
  const asked = await mount.asked();
  t.ok(asked.includes('unlink /file'));
  t.strictSame(
    asked.filter((record) => record.includes('fuse_hidden')),
    [],
  );
  t.strictSame(
    asked.filter((record) => record.startsWith('rename')),
    [],
  );
});

void t.test('an open file that is removed can be used and closed', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const file = await opened(t, mount.path('file'), 'w+');
  await file.write('content');
  await unlink(mount.path('file'));
  await file.write(' and more');
  t.equal((await file.stat()).size, 16);
  t.equal((await file.read(Buffer.alloc(7), 0, 7, 0)).buffer.toString(), 'content');
  await file.truncate(3);
  t.equal((await file.stat()).size, 3);
  await file.chmod(0o600);
  await file.utimes(1, 1);
  await file.sync();
  await file.close();
  t.equal(await mount.handlesLeft(), 0);
  await writeFile(mount.path('file'), 'anew');
  t.equal(await readFile(mount.path('file'), 'utf8'), 'anew');
});

void t.test('a file removed while it is written is not flushed before it is gone', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const script = 'exec 3>file; echo x >&3; rm file; exec 3>&-';
  t.equal((await shell(script, mount.mountPoint)).status, 0);
  const asked = await mount.asked();
  const removed = asked.indexOf('unlink /file');
  const lastFlush = asked.findLastIndex((record) => record.startsWith('flush'));
  t.ok(removed >= 0 && removed < lastFlush, asked.join('; '));
});

void t.test(
  'removals of open files by several programs at a time leave nothing behind',
  async (t) => {
    const mount = await MemoryMount.start(t, { driver });
    await mount.tell({ do: 'delay', ms: 1 });
    const script = `
    for i in $(seq 20); do
      exec 3>$1.$i; head -c 5000 /dev/zero >&3; rm $1.$i; exec 3>&-
    done`;
    const all = ['a', 'b', 'c', 'd'].map((name) =>
      shell(`set -e; set -- ${name}; ${script}`, mount.mountPoint),
    );
    for (const ran of await Promise.all(all)) t.equal(ran.status, 0, ran.stderr);
    t.strictSame(await readdir(mount.mountPoint), []);
    t.equal(await mount.handlesLeft(), 0);
  },
);

void t.test('a rename over an open file replaces it in one step', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('old'), 'old');
  await writeFile(mount.path('new'), 'new');
  const reader = await opened(t, mount.path('old'), 'r');
  await mount.asked();
  await rename(mount.path('new'), mount.path('old'));
  const asked = await mount.asked();
  t.strictSame(asked, ['rename /new /old']);
  t.equal(await readFile(mount.path('old'), 'utf8'), 'new');
  t.equal(await reader.readFile('utf8'), 'old', 'the reader keeps what it opened');
  await reader.close();
  t.strictSame(await readdir(mount.mountPoint), ['old']);
});

void t.test('a rename over an open file that fails leaves it as it was', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('old'), 'old');
  await writeFile(mount.path('new'), 'new');
  const reader = await opened(t, mount.path('old'), 'r');
  await mount.tell({ do: 'fail', operation: 'rename', errno: 'EACCES' });
  await t.rejects(rename(mount.path('new'), mount.path('old')), { code: 'EACCES' });
  t.equal(await readFile(mount.path('old'), 'utf8'), 'old');
  t.equal(await readFile(mount.path('new'), 'utf8'), 'new');
  await reader.close();
  t.equal(await readFile(mount.path('old'), 'utf8'), 'old');
  t.notOk((await mount.asked()).includes('unlink /old'));
});

void t.test('an open file that cannot be removed comes back, and the log says so', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('file'), 'content');
  const reader = await opened(t, mount.path('file'), 'r');
  await mount.tell({ do: 'fail', operation: 'unlink', errno: 'EACCES' });
  await unlink(mount.path('file'));
  t.equal(await readFile(mount.path('file'), 'utf8'), 'content');
  await reader.close();
  const logged = await mount.tell<string[]>({ do: 'logged' });
  t.equal(logged.filter((line) => line.includes('/file was removed while open')).length, 1);
});

void t.test('a directory stays while a removed file below it is open', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await mkdir(mount.path('d'));
  await mkdir(mount.path('empty'));
  const file = await opened(t, mount.path('d/file'), 'w');
  await unlink(mount.path('d/file'));
  t.strictSame(await readdir(mount.path('d')), []);
  await t.rejects(rmdir(mount.path('d')), { code: 'ENOTEMPTY' });
  await t.rejects(rename(mount.path('empty'), mount.path('d')), { code: 'ENOTEMPTY' });
  await rename(mount.path('d'), mount.path('e'));
  await file.close();
  await rmdir(mount.path('e'));
  t.strictSame(await readdir(mount.mountPoint), ['empty']);
});

void t.test('a directory that others emptied stays while a file in it is open', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await mkdir(mount.path('d'));
  await writeFile(mount.path('d/file'), 'content');
  const reader = await opened(t, mount.path('d/file'), 'r');
  await mount.tell({ do: 'vanish', path: '/d/file' });
  await t.rejects(rmdir(mount.path('d')), { code: 'ENOTEMPTY' });
  await reader.close();
  await rmdir(mount.path('d'));
});

void t.test('an open file follows the rename of its name and of its directory', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await mkdir(mount.path('d'));
  const file = await opened(t, mount.path('d/a'), 'w+');
  await file.write('one');
  await rename(mount.path('d/a'), mount.path('d/b'));
  await rename(mount.path('d'), mount.path('e'));
  await file.write(' two');
  t.equal((await file.stat()).size, 7);
  await unlink(mount.path('e/b'));
  t.equal((await file.stat()).size, 7);
  await file.close();
  t.strictSame(await readdir(mount.path('e')), []);
});

void t.test('names that libfuse keeps for itself cannot be used', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const hidden = mount.path('.fuse_hidden0000000200000001');
  await writeFile(mount.path('file'), 'content');
  await t.rejects(writeFile(hidden, 'x'), { code: 'EPERM' });
  await t.rejects(mkdir(hidden), { code: 'EPERM' });
  await t.rejects(rename(mount.path('file'), hidden), { code: 'EPERM' });
  await mount.tell({ do: 'replace', path: '/.fuse_hidden0000000200000001', text: 'x' });
  await t.rejects(stat(hidden), { code: 'ENOENT' });
  t.strictSame(await readdir(mount.mountPoint), ['file']);
});

void t.test('a name that is not UTF-8 is refused and never asked for', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await mount.tell({ do: 'replace', path: '/bad\uFFFD', text: 'somebody else’s' });
  await mount.tell({ do: 'records' });
  const bad = Buffer.concat([Buffer.from(mount.path('bad')), Buffer.from([0xff])]);
  const acts = [() => stat(bad), () => writeFile(bad, 'x'), () => mkdir(bad), () => unlink(bad)];
  for (const act of acts) await t.rejects<unknown>(act, { code: 'EILSEQ' });
  await t.rejects(rename(mount.path('.'), bad));
  const asked = await mount.tell<string[]>({ do: 'records' });
  t.strictSame(
    asked.filter((record) => record.includes('bad')),
    [],
  );
});

void t.test('a listing has dots, types and every name once', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const names = Array.from({ length: 3000 }, (_, index) => `file ${index} ü`);
  await mount.tell({ do: 'fill', names });
  await mkdir(mount.path('directory'));
  const entries = await readdir(mount.mountPoint, { withFileTypes: true });
  t.strictSame(entries.map(({ name }) => name).sort(), [...names, 'directory'].sort());
  const directories = entries.filter((entry) => entry.isDirectory());
  t.strictSame(
    directories.map(({ name }) => name),
    ['directory'],
  );
  t.equal(entries.filter((entry) => entry.isFile()).length, names.length);
  const listed = await shell('ls -a | head -2', mount.mountPoint);
  t.equal(listed.stdout, '.\n..\n');
});

void t.test('opendir brings the whole listing, and its failure is the answer', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await mkdir(mount.path('d'));
  await mount.tell({ do: 'fail', operation: 'opendir', errno: 'EIO' });
  await t.rejects(opendir(mount.path('d')), { code: 'EIO' });
});

void t.test('each open directory gets a listing no older than itself', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('a'), '');
  const first = await opendir(mount.mountPoint);
  await writeFile(mount.path('b'), '');
  const second = await opendir(mount.mountPoint);
  t.strictSame(await namesOf(first), ['a', 'b']);
  t.strictSame(await namesOf(second), ['a', 'b']);
  t.equal(await mount.handlesLeft(), 0);
});

async function namesOf(directory: Dir): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of directory) names.push(entry.name);
  return names.sort();
}

void t.test('inode numbers stay while files are known', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('a'), '');
  await writeFile(mount.path('b'), '');
  const [a, b] = await Promise.all([stat(mount.path('a')), stat(mount.path('b'))]);
  t.not(a.ino, b.ino);
  await readdir(mount.mountPoint);
  t.equal((await stat(mount.path('a'))).ino, a.ino);
  await rename(mount.path('a'), mount.path('c'));
  t.equal((await stat(mount.path('c'))).ino, a.ino);
});

void t.test('what is no directory and no file is refused as unsupported', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('file'), '');
  for (const command of ['ln -s file link', 'mkfifo fifo']) {
    const ran = await shell(command, mount.mountPoint);
    t.match(ran.stderr, /Function not implemented/, command);
  }
  // sftp-server takes either errno as "use rename"; the kernel makes EPERM of the second and later.
  t.not((await shell('ln file link', mount.mountPoint)).status, 0);
  t.strictSame(await readdir(mount.mountPoint), ['file']);
});

void t.test('create is told neither flags nor caller, and open is told its flags', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await (
    await open(mount.path('file'), constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY)
  ).close();
  await t.rejects(open(mount.path('file'), 'wx'), { code: 'EEXIST' });
  await mount.asked();
  await writeFile(mount.path('file'), 'x');
  const [first = '', ...others] = await mount.asked();
  t.equal(first, 'open /file write');
  t.strictSame(
    others.filter((record) => record.startsWith('truncate')),
    [],
    'O_TRUNC came with open',
  );
  const log = await opened(t, mount.path('file'), 'a');
  await mount.tell({ do: 'replace', path: '/other', text: '' });
  await log.write('y');
  await log.close();
  t.equal(await readFile(mount.path('file'), 'utf8'), 'xy');
});
