/** Many files created one after another: whether each name is free is not asked of S3 each time. */
import t from 'tap';
import { inParallel } from '../support/bucket.js';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';
import { ManualClock } from '../support/manual-clock.js';

const ttlMs = 400;
const files = 60;
const betweenMs = 60;
const lifetimes = Math.ceil((files * betweenMs) / ttlMs);

/** As sftp-server does it. */
async function upload(program: Program, path: string): Promise<void> {
  t.notOk(await program.exists(path));
  await program.put(path, Buffer.from(path));
}

/** A directory with a file in it that somebody else put there. */
async function useDirectory(
  t: Parameters<typeof useCore>[0],
): Promise<Core & { clock: ManualClock }> {
  const clock = new ManualClock();
  const core = await useCore(t, { settings: { metadataTtlMs: ttlMs }, clock });
  await core.bucket.put('alice/d/other', 'x');
  core.proxy.reset();
  return { ...core, clock };
}

/** As long as several lifetimes of what is known, however long it takes here. */
async function uploadMany(
  { fs, clock }: { fs: Core['fs']; clock: ManualClock },
  names: readonly string[],
): Promise<void> {
  const program = new Program(fs);
  for (const name of names) {
    await upload(program, `/d/${name}`);
    clock.pass(betweenMs);
  }
}

const inOrder = Array.from({ length: files }, (_, index) => `f${String(index).padStart(3, '0')}`);
/** Each is far from the one before. */
const shuffled = inOrder.map((_, index) => inOrder[(index * 37) % files] ?? '');

for (const [title, names] of [
  ['in the order of their names', inOrder],
  ['in any order', shuffled],
] as const) {
  void t.test(
    `files uploaded ${title} cost one request each, and a LIST now and then`,
    async (t) => {
      const core = await useDirectory(t);
      const program = new Program(core.fs);
      await uploadMany(core, names);
      const { PutObject, HeadObject = 0, ListObjectsV2 = 0, ...rest } = core.proxy.counts();
      t.equal(PutObject, files);
      t.same(rest, {});
      // The directory itself, and the first few by name.
      t.ok(HeadObject <= 6, `${HeadObject} HEADs`);
      const most = 7 + lifetimes;
      t.ok(ListObjectsV2 <= most, `${ListObjectsV2} LISTs in ${lifetimes} lifetimes`);
      t.same(
        await core.bucket.keys('alice/d/'),
        ['other', ...inOrder].map((name) => `alice/d/${name}`).sort(),
      );
      for (const name of names) {
        t.equal((await program.get(`/d/${name}`)).toString(), `/d/${name}`);
      }
    },
  );
}

void t.test('in a directory of more than a page too, if they come in order', async (t) => {
  const core = await useDirectory(t);
  const before = Array.from({ length: 1100 }, (_, index) => `alice/d/a${index}`);
  await inParallel(16, before, (key) => core.bucket.put(key, ''));
  core.proxy.reset();
  await uploadMany(core, inOrder);
  const { PutObject, HeadObject = 0, ListObjectsV2 = 0 } = core.proxy.counts();
  t.equal(PutObject, files);
  t.ok(HeadObject <= 6, `${HeadObject} HEADs`);
  t.ok(ListObjectsV2 <= 8 + lifetimes, `${ListObjectsV2} LISTs in ${lifetimes} lifetimes`);
});

void t.test('what this mount creates and removes meanwhile is known at once', async (t) => {
  const core = await useDirectory(t);
  const program = new Program(core.fs);
  for (const name of inOrder.slice(0, 20)) await upload(program, `/d/${name}`);
  await program.unlink('/d/f007');
  t.notOk(await program.exists('/d/f007'));
  await program.put('/d/z', 'z');
  await program.mkdir('/d/zz');
  await program.put('/d/zz/deep', 'deep');
  t.equal((await program.stat('/d/z')).size, 1);
  t.same(await program.list('/d/zz'), ['deep']);
  await program.rename('/d/z', '/d/zzz');
  t.notOk(await program.exists('/d/z'));
  t.equal((await program.stat('/d/zzz')).size, 1);
});

void t.test('what others put there shows within the lifetime', async (t) => {
  const core = await useDirectory(t);
  const program = new Program(core.fs);
  for (const name of inOrder.slice(0, 20)) await upload(program, `/d/${name}`);
  await core.bucket.put('alice/d/f999', 'foreign');
  for (let passedMs = 0; passedMs <= ttlMs; passedMs += betweenMs) {
    await upload(program, `/d/g${passedMs}`);
    core.clock.pass(betweenMs);
  }
  t.equal((await program.stat('/d/f999')).size, 7);
  // Nor is it overwritten by who wants to create it.
  await core.bucket.put('alice/d/h999', 'foreign');
  const create = program.create('/d/h999', { exclusive: true });
  await t.rejects(
    create.then((handle) => program.close(handle)),
    { code: 'EEXIST' },
  );
});
