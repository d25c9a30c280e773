/** Sizes of requests, and programs that move data, on a real mount. */
import { createHash, randomBytes } from 'node:crypto';
import { open, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { MemoryMount, scratch, shell } from '../../support/memory-mount.js';
import { kibibyte } from '../../support/sizes.js';

const driver = 'fuse-native';
const requestSize = 128 * kibibyte;

/** Offset and length of the requests of one kind: `write 3 0+4096` is `[0, 4096]`. */
function requests(asked: string[], operation: string): [offset: number, length: number][] {
  return asked.flatMap((record): [number, number][] => {
    const match = /^(\w+) \d+ (\d+)\+(\d+)$/.exec(record);
    return match?.[1] === operation ? [[Number(match[2]), Number(match[3])]] : [];
  });
}

void t.test('a mebibyte is written in eight requests of 128 KiB', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const written = await shell('dd if=/dev/zero of=file bs=1M count=1', mount.mountPoint);
  t.equal(written.status, 0, written.stderr);
  t.strictSame(
    requests(await mount.asked(), 'write'),
    [0, 1, 2, 3, 4, 5, 6, 7].map((index) => [index * requestSize, requestSize]),
  );
});

void t.test('what sftp-server reads and writes at a time becomes two requests', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  // OpenSSH's packet limit less its overhead: 255 KiB, from a buffer that begins with a page.
  const block = 261_120;
  const two = [
    [0, requestSize],
    [requestSize, block - requestSize],
  ];
  await shell(`dd if=/dev/zero of=file bs=${block} count=1`, mount.mountPoint);
  t.strictSame(requests(await mount.asked(), 'write'), two);
  await shell(`dd if=file of=/dev/null bs=${block} count=1`, mount.mountPoint);
  t.strictSame(requests(await mount.asked(), 'read'), two);
});

void t.test('a program with a buffer reads through it in large requests', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  await mount.tell({ do: 'replace', path: '/file', text: 'x'.repeat(4 * requestSize) });
  const { blksize } = await stat(mount.path('file'));
  t.equal(blksize, requestSize);
  const read = await shell('cat file | wc -c', mount.mountPoint);
  t.equal(read.stdout.trim(), String(4 * requestSize));
  const reads = requests(await mount.asked(), 'read').filter(
    ([offset]) => offset < 4 * requestSize,
  );
  t.strictSame(
    reads.slice(0, 4).map(([, length]) => length),
    Array(4).fill(requestSize),
  );
});

void t.test(
  'a reader sees one version from open to close, whatever becomes of the name',
  async (t) => {
    const mount = await MemoryMount.start(t, { driver });
    const size = 3 * requestSize;
    await mount.tell({ do: 'replace', path: '/file', text: 'a'.repeat(size) });
    const old = await open(mount.path('file'), 'r');
    t.teardown(() => old.close());
    const first = await old.read(Buffer.alloc(1000), 0, 1000, 0);
    await mount.tell({ do: 'replace', path: '/file', text: 'b'.repeat(size) });
    t.equal((await readFile(mount.path('file'), 'latin1')).replaceAll('b', ''), '');
    const rest = await old.read(Buffer.alloc(size - 1000), 0, size - 1000, 1000);
    t.equal(first.buffer.toString() + rest.buffer.toString(), 'a'.repeat(size));
  },
);

void t.test('cp, cat, dd, cmp and a shared library work on the mount', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const place = await scratch(t);
  await writeFile(join(place, 'source'), randomBytes(3 * 1024 * kibibyte + 17));
  const commands = [
    `cp ${place}/source copy && cmp copy ${place}/source`,
    `cat copy > again && cmp again copy`,
    `dd if=again of=${place}/back bs=300k && cmp ${place}/back ${place}/source`,
    `dd if=/dev/zero of=copy bs=1000 seek=1000 count=1 conv=notrunc && test $(stat -c %s copy) = 3145745`,
    // The dynamic loader maps it privately, which direct_io allows.
    `cp $(ldd /bin/sh | sed -n 's/.*=> \\(.*libc[^ ]*\\) .*/\\1/p') library.so`,
    `LD_PRELOAD=./library.so /bin/echo loaded`,
  ];
  for (const command of commands) {
    const ran = await shell(command, mount.mountPoint);
    t.equal(ran.status, 0, `${command}: ${ran.stderr}`);
    t.notMatch(ran.stderr, /LD_PRELOAD cannot be preloaded|cannot open shared object/);
  }
});

void t.test('sftp puts and gets a file whole', async (t) => {
  const mount = await MemoryMount.start(t, { driver });
  const place = await scratch(t);
  const content = randomBytes(5 * 1024 * kibibyte + 1);
  await writeFile(join(place, 'source'), content);
  await writeFile(
    join(place, 'batch'),
    `cd ${mount.mountPoint}\nput ${place}/source file\nget file ${place}/back\nrename file other\nrm other\n`,
  );
  const server = '/usr/lib/openssh/sftp-server';
  const ran = await shell(`sftp -b batch -D ${server}`, place);
  t.equal(ran.status, 0, ran.stderr);
  const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  t.equal(digest(await readFile(join(place, 'back'))), digest(content));
  t.equal(await mount.handlesLeft(), 0);
});
