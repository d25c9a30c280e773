/** Many files created one after another: whether each name is free is not asked of S3 each time. */
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { inParallel } from '../support/bucket.js';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';

const ttlMs = 400;
const files = 60;

/** As sftp-server does it. */
async function upload(program: Program, path: string): Promise<void> {
  t.notOk(await program.exists(path));
  await program.put(path, Buffer.from(path));
}

/** A directory with a file in it that somebody else put there. */
async function useDirectory(t: Parameters<typeof useCore>[0]): Promise<Core> {
  const core = await useCore(t, { settings: { metadataTtlMs: ttlMs } });
  await core.bucket.put('alice/d/other', 'x');
  core.proxy.reset();
  return core;
}

/** Long enough for several lifetimes of what is known. */
async function uploadMany(program: Program, names: readonly string[]): Promise<number> {
  const beganMs = performance.now();
  for (const name of names) {
    await upload(program, `/d/${name}`);
    await sleep(20);
  }
  return Math.ceil((performance.now() - beganMs) / ttlMs);
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
      const lifetimes = await uploadMany(program, names);
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
  const lifetimes = await uploadMany(new Program(core.fs), inOrder);
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
  const endMs = performance.now() + ttlMs;
  while (performance.now() < endMs) {
    await upload(program, `/d/g${Math.round(performance.now() * 1000)}`);
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
