/** Attributes on a real mount: times, sizes by handle, permissions, the extended ones. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { constants, statfs } from 'node:fs';
import { open, stat, utimes, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import t from 'tap';
import { MemoryMount, shell } from '../../support/memory-mount.js';

const driver = 'fuse-native';

async function askedFor(mount: MemoryMount, operation: string): Promise<string[]> {
  return (await mount.asked()).filter((record) => record.startsWith(`${operation} `));
}

void t.test('stat shows type, mode, size in blocks, time and link count', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const before = Date.now();
  await writeFile(mount.path('file'), 'x'.repeat(1025));
  const file = await stat(mount.path('file'));
  t.equal(file.mode, constants.S_IFREG | 0o644);
  t.equal(file.size, 1025);
  t.equal(file.blocks, 3);
  t.equal(file.nlink, 1);
  t.ok(file.mtimeMs >= before && file.mtimeMs <= Date.now());
  t.equal(file.ctimeMs, file.mtimeMs);
  const root = await stat(mount.mountPoint);
  t.equal(root.mode, constants.S_IFDIR | 0o755);
  const { bsize, blocks, bavail } = await promisify(statfs)(mount.mountPoint);
  t.strictSame([bsize, blocks, bavail], [4096, 1_000_000, 900_000]);
});

void t.test('touch is UTIME_NOW, for a new file and for one that is there', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  for (const round of ['new', 'there']) {
    t.equal((await shell('touch file', mount.mountPoint)).status, 0, round);
    t.strictSame(await askedFor(mount, 'utimens'), ['utimens /file now now'], round);
  }
});

void t.test('explicit times arrive as an access time and an unknown one', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('file'), '');
  await utimes(mount.path('file'), 1_000_000_000, 1_500_000_000);
  t.strictSame(await askedFor(mount, 'utimens'), ['utimens /file 1000000000000000000 unknown']);
});

void t.test('the times of a file made a second ago are explicit in SFTP’s form', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('file'), '');
  const second = Math.floor(Date.now() / 1000) - 1;
  await utimes(mount.path('file'), second, second);
  t.strictSame(await askedFor(mount, 'utimens'), [`utimens /file ${second}000000000 unknown`]);
});

void t.test('refusing explicit times reaches the caller', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('file'), '');
  await mount.tell({ do: 'fail', operation: 'utimens', errno: 'EPERM' });
  await t.rejects(utimes(mount.path('file'), 1, 1), { code: 'EPERM' });
});

void t.test('one of the two times alone succeeds and is never handed over', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('file'), '');
  for (const option of ['-a', '-m']) {
    t.equal((await shell(`touch ${option} -d 2001-01-01 file`, mount.mountPoint)).status, 0);
  }
  t.strictSame(await askedFor(mount, 'utimens'), []);
});

void t.test('the end of an open file is asked for by its handle', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('file'), 'content');
  // lseek(2) from the end is where the kernel names the handle; sh has no such thing.
  const program = `open F, "<", "file"; $| = 1; print "open"; <STDIN>; seek F, -3, 2; print <F>`;
  const child = execFile('perl', ['-e', program], { cwd: mount.mountPoint });
  let said = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text));
  await once(child.stdout ?? child, 'data');
  await mount.tell({ do: 'vanish', path: '/file' });
  child.stdin?.end('go');
  await once(child, 'close');
  t.equal(said, 'openent');
});

void t.test('truncate by handle and by name keep to what they name', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const file = await open(mount.path('file'), 'w+');
  await file.truncate(10);
  t.strictSame(await askedFor(mount, 'truncate'), ['truncate /file 10 by handle']);
  await file.close();
  await shell(': > file', mount.mountPoint);
  t.strictSame(await askedFor(mount, 'truncate'), [], 'open with O_TRUNC needs none');
});

void t.test('chmod and chown are handed over', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('file'), '');
  t.equal(
    (await shell('chmod 600 file && chown 1:2 file && chgrp 3 file', mount.mountPoint)).status,
    0,
  );
  const asked = await mount.asked();
  t.ok(asked.some((record) => /^chmod \/file 100600$/.test(record)));
  t.ok(asked.includes('chown /file 1 2'));
  t.ok(asked.includes('chown /file 4294967295 3'));
});

void t.test('extended attributes are not there', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await writeFile(mount.path('file'), '');
  const set = await shell('setfattr -n user.x -v y file', mount.mountPoint);
  t.match(set.stderr, /Operation not supported/);
  const got = await shell('getfattr -n user.x file', mount.mountPoint);
  t.match(got.stderr, /Operation not supported/);
});

void t.test('nothing is kept by the kernel: what others change shows at once', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await t.rejects(stat(mount.path('file')), { code: 'ENOENT' });
  await mount.tell({ do: 'replace', path: '/file', text: 'one' });
  t.equal((await stat(mount.path('file'))).size, 3);
  await mount.tell({ do: 'replace', path: '/file', text: 'three' });
  t.equal((await stat(mount.path('file'))).size, 5);
  await mount.tell({ do: 'vanish', path: '/file' });
  await t.rejects(stat(mount.path('file')), { code: 'ENOENT' });
});
