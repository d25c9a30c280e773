/** The homes of one mount without a kernel: what they cost, and that requests about two never mix. */
import t, { type Test } from 'tap';
import { Homes } from '../../lib/homes/homes.js';
import { UserDatabase, type Admission } from '../../lib/homes/user-database.js';
import type { AskNss } from '../../lib/homes/nss.js';
import { silentLog } from '../../lib/log.js';
import { inParallel } from '../support/bucket.js';
import { Program, useCore, type Core } from '../support/core.js';

const admission: Admission = { group: undefined, minUid: 1000 };

/** Users `a-0`, `a-1` … with a home each. */
const ask: AskNss = async (names) =>
  await Promise.resolve(
    names
      .filter((name) => name.startsWith('a-'))
      .map((name) => ({ name, uid: 2000 + Number(name.slice(2)), gid: 3000, groups: [] })),
  );

interface HomesCore extends Core {
  readonly homes: Homes;
  readonly program: Program;
}

async function useHomes(t: Test, keys: readonly string[]): Promise<HomesCore> {
  const settings = { homes: true, chroot: true, metadataTtlMs: 60_000 };
  const core = await useCore(t, { prefix: 'users/', settings });
  await inParallel(8, keys, (key) => core.bucket.put(`users/${key}`, 'x'));
  core.proxy.reset();
  const homes = new Homes(core.fs, new UserDatabase({ admission, ask, log: silentLog }));
  return { ...core, homes, program: new Program(homes) };
}

/** What was asked for: the key or the prefix of each request, below the mount's. */
function asked({ proxy }: Core): string[] {
  return proxy.log.map(({ key, query }) => {
    const prefix = new URLSearchParams(query).get('prefix');
    return (prefix ?? key).slice('users/'.length);
  });
}

void t.test('a home costs what the root of a mount does', async (t) => {
  const core = await useHomes(t, ['a-1/file', 'a-1/dir/x', 'a-2/only']);
  const { program } = core;
  t.match(await program.stat('/a-1'), { kind: 'directory', uid: 0, gid: 0, mode: 0o755 });
  t.match(await program.stat('/'), { kind: 'directory', uid: 0, gid: 0, mode: 0o755 });
  await t.rejects(program.stat('/nobody'), { code: 'ENOENT' });
  await t.rejects(program.stat('/a-1/etc/passwd'), { code: 'ENOENT' });
  t.same(asked(core), [], 'that it is there asks S3 nothing');
  t.same(await program.list('/a-1'), ['dir/', 'file']);
  t.match(await program.stat('/a-1/file'), { uid: 2001, gid: 3000, size: 1 });
  t.match(await program.stat('/a-1/dir'), { uid: 2001, gid: 3000 });
  t.same(asked(core), ['a-1/'], 'one LIST');
  core.proxy.reset();
  await program.unlink('/a-1/file');
  await program.unlink('/a-1/dir/x');
  await program.unlink('/a-2/only');
  const puts = core.proxy.log.filter(({ action }) => action === 'PutObject');
  t.same(
    puts.map(({ key }) => key),
    ['users/a-1/dir/'],
    'no marker for the home itself',
  );
});

void t.test('homes looked into one after another are not asked for together', async (t) => {
  const names = Array.from({ length: 12 }, (_, index) => `a-${index}`);
  const core = await useHomes(
    t,
    names.flatMap((name) => [`${name}/file`, `${name}/dir/file`]),
  );
  const { program } = core;
  for (const name of names) {
    t.same(await program.list(`/${name}`), ['dir/', 'file']);
    t.same(await program.list(`/${name}/dir`), ['file']);
    await program.stat(`/${name}/file`);
    t.equal(await program.exists(`/${name}/none`), false);
  }
  t.ok(
    asked(core).every((key) => names.some((name) => key.startsWith(`${name}/`))),
    'each request is about one home',
  );
});

void t.test(
  'the first level is those in S3 that the database admits, and homes in use',
  async (t) => {
    const core = await useHomes(t, ['a-1/x', 'ghost/x', 'a-2', '1001/x']);
    const { homes, program } = core;
    t.same(await program.list('/'), ['a-1/']);
    t.same(await program.list('/a-7'), []);
    t.same(await program.list('/'), ['a-1/', 'a-7/'], 'and one that S3 knows nothing of');
    t.match(homes.status(10), { count: 1, used: [{ name: 'a-7', handles: 0 }] });
  },
);

void t.test('what is in use is told, and what is open is counted', async (t) => {
  const { homes, program, fs } = await useHomes(t, ['a-1/file']);
  const handle = await program.open('/a-1/file', { access: 'read' });
  t.match(homes.status(10), { count: 1, used: [{ name: 'a-1', handles: 1, bytesRead: 0 }] });
  await program.read(handle);
  await program.close(handle);
  await program.put('/a-2/new', 'four');
  homes.noteRequest('a-2');
  homes.noteRequest('a-3');
  t.match(homes.status(10), {
    count: 2,
    used: [
      { name: 'a-2', handles: 0, bytesWritten: 4, requests: 1 },
      { name: 'a-1', handles: 0, bytesRead: 1 },
    ],
  });
  t.equal(homes.status(1).used.length, 1);
  t.equal(fs.status.handles, 0);
  for (let number = 0; number < 1200; number++) await program.stat(`/a-${number}`);
  t.ok(homes.status(2000).count <= 1000, 'idle homes are forgotten in the end');
});

void t.test('nothing crosses between homes, nor to the first level', async (t) => {
  const core = await useHomes(t, ['a-1/file', 'a-1/dir/x']);
  const { program } = core;
  await t.rejects(program.rename('/a-1/file', '/a-2/file'), { code: 'EXDEV' });
  await t.rejects(program.rename('/a-1/dir', '/a-2/dir'), { code: 'EXDEV' });
  for (const [from, to] of [
    ['/a-1', '/a-2'],
    ['/a-1/file', '/new'],
    ['/a-1', '/a-2/a-1'],
  ] as const) {
    await t.rejects(program.rename(from, to), { code: 'EPERM' });
  }
  for (const work of [
    program.mkdir('/a-9'),
    program.mkdir('/new'),
    program.rmdir('/a-1'),
    program.unlink('/a-1'),
    program.put('/new', 'x'),
  ]) {
    await t.rejects(work, { code: 'EPERM' });
  }
  await t.rejects(program.put('/ghost/file', 'x'), { code: 'ENOENT' });
  await t.rejects(program.mkdir('/ghost/dir'), { code: 'ENOENT' });
  t.same(asked(core), []);
});
