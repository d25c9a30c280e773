/** What is refused, by the errno that the client is told; and that nothing of it happened. */
import t from 'tap';
import type { Errno } from '../../lib/errors.js';
import type { Filesystem } from '../../lib/filesystem/filesystem.js';
import { parsePath } from '../../lib/path.js';
import { Program, useCore } from '../support/core.js';

const stored = { 'alice/file': 'content', 'alice/full/entry': 'content', 'bob/theirs': 'content' };
const long = `/${'x'.repeat(255)}`.repeat(5);

const refusals: readonly (readonly [
  Errno,
  string,
  (program: Program, fs: Filesystem) => Promise<unknown>,
])[] = [
  ['ENOENT', 'rm of nothing', (p) => p.unlink('/none')],
  ['EISDIR', 'rm of a directory', (p) => p.unlink('/full')],
  ['EEXIST', 'mkdir of a directory', (p) => p.mkdir('/full')],
  ['EEXIST', 'mkdir of a file', (p) => p.mkdir('/file')],
  ['ENOTEMPTY', 'rmdir of a full directory', (p) => p.rmdir('/full')],
  ['ENOTDIR', 'rmdir of a file', (p) => p.rmdir('/file')],
  ['ENOENT', 'rmdir of nothing', (p) => p.rmdir('/none')],
  ['EBUSY', 'rmdir of the root', (p) => p.rmdir('/')],
  ['ENOSYS', 'rename of a full directory', (p) => p.rename('/full', '/other')],
  ['ENOENT', 'rename of nothing', (p) => p.rename('/none', '/other')],
  ['EISDIR', 'rename of a file onto a directory', (p) => p.rename('/file', '/full')],
  ['ENOTDIR', 'rename of a directory onto a file', (p) => p.rename('/full', '/file')],
  ['EEXIST', 'O_EXCL on a file', (p) => p.create('/file', { exclusive: true })],
  ['EISDIR', 'writing to a directory', (p) => p.open('/full', { access: 'write' })],
  ['ENOENT', 'reading nothing', (p) => p.open('/none', { access: 'read' })],
  ['ENAMETOOLONG', 'a key over 1,024 bytes', (p) => p.mkdir(long)],
  ['EINVAL', 'a way out of the prefix', (p) => p.put('/../bob/theirs', 'mine')],
  ['EINVAL', 'a way out on the way in', (p) => p.unlink('/full/../../bob/theirs')],
  ['EACCES', 'a name that programs in a chroot trust', (p) => p.put('/etc', 'mine')],
  ['EACCES', 'a directory of such a name', (p) => p.mkdir('/lib')],
  ['EACCES', 'a rename to such a name', (p) => p.rename('/file', '/run')],
  ['EPERM', 'an explicit time', (_p, fs) => fs.utimens(parsePath('/file'), 1n, 1n, {})],
];

void t.test('each refusal has its errno', async (t) => {
  const core = await useCore(t, { settings: { chroot: true } });
  const program = new Program(core.fs);
  for (const [key, content] of Object.entries(stored)) await core.bucket.put(key, content);
  for (const [code, what, refused] of refusals) {
    await t.rejects(refused(program, core.fs), { code }, what);
    t.same(await core.bucket.keys(''), Object.keys(stored), what);
  }
});

void t.test('what a process leaves that dies over its file is published to nobody', async (t) => {
  for (const [closing, program, isPublished] of [
    ['exit', 'sftp-server', false],
    ['killed', 'cp', false],
    ['exit', 'bash', true],
  ] as const) {
    const core = await useCore(t);
    const writer = new Program(core.fs);
    await core.bucket.put('alice/file', 'old');
    const handle = await writer.open('/file', { access: 'write', truncate: true });
    await writer.write(handle, 'half of the new');
    await writer.close(handle, { closing, program });
    t.equal(await core.bucket.text('alice/file'), isPublished ? 'half of the new' : 'old', program);
  }
});
