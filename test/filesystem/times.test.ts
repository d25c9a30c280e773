/** Times of files and directories as they are shown: once shown they stay, and move when there is news. */
import { PutObjectCommand } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { textOfTime } from '../../lib/file-time.js';
import { parsePath } from '../../lib/path.js';
import { inParallel } from '../support/bucket.js';
import { Program, useCore, type Core, type CoreOptions } from '../support/core.js';
import { testBucket } from '../support/embedded.js';
import { mostAtOnce } from '../support/fault-proxy.js';
import { ManualClock } from '../support/manual-clock.js';

t.setTimeout(120_000);

const ttlMs = 5000;

interface Scene extends Core {
  readonly clock: ManualClock;
  readonly program: Program;
  readonly timeOf: (path: string) => Promise<bigint>;
}

/** S3 has a clock of its own. */
async function useTimes(t: Test, settings: CoreOptions['settings'] = {}): Promise<Scene> {
  const clock = new ManualClock();
  const core = await useCore(t, {
    settings: { metadataTtlMs: ttlMs, ...settings },
    clock,
    serverNow: () => clock.dateMs() + 12_345,
  });
  const program = new Program(core.fs);
  return { ...core, clock, program, timeOf: async (path) => (await program.stat(path)).mtime };
}

/** As rclone does it. */
async function putTimed({ client }: Core, key: string, time: bigint, body = 'x'): Promise<void> {
  const Metadata = { mtime: textOfTime(time), other: 'kept' };
  const at = { Bucket: testBucket, Key: `alice/${key}` };
  await client.send(new PutObjectCommand({ ...at, Body: Buffer.from(body), Metadata }));
}

for (const utimens of ['refuse', 'store'] as const) {
  void t.test(
    `the time of a version stays what was shown first, --utimens ${utimens}`,
    async (t) => {
      const scene = await useTimes(t, { utimens });
      const { bucket, clock, program, timeOf } = scene;
      await bucket.put('alice/d/theirs', 'x');
      await bucket.put('alice/d/listed', 'x');
      await program.put('/d/ours', 'x');
      const paths = ['/d/theirs', '/d/ours', '/d/listed'];
      await program.list('/d');
      const first = new Map<string, bigint>();
      for (const path of paths) first.set(path, await timeOf(path));
      for (const ask of [
        () => Promise.resolve(),
        () => program.list('/d'),
        () => program.list('/'),
        () => program.list('/d'),
      ]) {
        clock.pass(ttlMs);
        await ask();
        for (const path of paths) t.equal(await timeOf(path), first.get(path), path);
        const handle = await program.open('/d/ours', { access: 'read' });
        const { mtime } = await scene.fs.getattr(parsePath('/d/ours'), {}, handle);
        t.equal(mtime, first.get('/d/ours'), 'through a handle');
        await program.close(handle);
      }
      clock.pass(1000);
      await program.put('/d/ours', 'other');
      t.not(await timeOf('/d/ours'), first.get('/d/ours'), 'another version has another');
    },
  );
}

const many = Array.from({ length: 200 }, (_, index) => `f${1000 + index}`);
const givenTo = (name: string): bigint => 10n ** 18n + BigInt(name.slice(1)) * 1_000_000_001n;

async function useMany(t: Test): Promise<Scene> {
  const scene = await useTimes(t, { utimens: 'store' });
  await inParallel(16, many, (name) => putTimed(scene, `d/${name}`, givenTo(name)));
  scene.proxy.reset();
  return scene;
}

void t.test('stored times are shown after a listing, for one HEAD a version', async (t) => {
  const { clock, program, proxy, timeOf } = await useMany(t);
  await program.list('/d');
  t.same(proxy.counts(), { ListObjectsV2: 1 }, 'who lists names asks for nothing else');
  for (let round = 0; round < 3; round++) {
    for (const name of many) t.equal(await timeOf(`/d/${name}`), givenTo(name), name);
    t.same(proxy.counts(), { ListObjectsV2: round + 1, HeadObject: many.length });
    clock.pass(ttlMs);
    await program.list('/d');
  }
});

void t.test('they are asked for several at a time', async (t) => {
  const { program, proxy, timeOf } = await useMany(t);
  await program.list('/d');
  const action = 'HeadObject';
  proxy.inject({ action, count: many.length, fault: { kind: 'latency', ms: 50 } });
  const asking = (async () => {
    for (const name of many) await timeOf(`/d/${name}`);
  })();
  const most = await mostAtOnce(proxy, action, asking);
  t.same(proxy.counts(), { ListObjectsV2: 1, HeadObject: many.length });
  t.ok(most >= 8 && most <= 32, `${most} at a time`);
});

void t.test('an open file shows the stored time too', async (t) => {
  const scene = await useMany(t);
  await scene.program.list('/d');
  for (const access of ['read', 'readwrite'] as const) {
    const path = `/d/${many[access.length] ?? ''}`;
    const handle = await scene.program.open(path, { access });
    const { mtime } = await scene.fs.getattr(parsePath(path), {}, handle);
    t.equal(mtime, givenTo(path.slice(3)), access);
    await scene.program.close(handle);
  }
});

void t.test('what others store anew is shown, also with the same bytes', async (t) => {
  const scene = await useMany(t);
  const [name = ''] = many;
  await scene.program.list('/d');
  t.equal(await scene.timeOf(`/d/${name}`), givenTo(name));
  scene.clock.pass(ttlMs);
  await putTimed(scene, `d/${name}`, 5n);
  scene.clock.pass(ttlMs);
  await scene.program.list('/d');
  t.equal(await scene.timeOf(`/d/${name}`), 5n);
});

void t.test('where HEAD is denied the time of storing is shown', async (t) => {
  const scene = await useMany(t);
  const { program, proxy, timeOf } = scene;
  await program.list('/d');
  const fault = { kind: 'status', status: 403, code: 'AccessDenied' } as const;
  proxy.inject({ action: 'HeadObject', count: 1000, fault });
  for (const name of many.slice(0, 3)) t.ok((await timeOf(`/d/${name}`)) > 16n * 10n ** 17n);
});

void t.test('the time of a directory moves with its entries', async (t) => {
  const { bucket, clock, fs, program, timeOf } = await useTimes(t, { utimens: 'store' });
  await program.mkdir('/d');
  await program.mkdir('/e');
  let last = await timeOf('/d');
  const moves = async (title: string, change: () => Promise<unknown>): Promise<void> => {
    clock.pass(10);
    await change();
    const now = await timeOf('/d');
    t.ok(now > last, title);
    last = now;
  };
  const stays = async (title: string, ask: () => Promise<unknown>): Promise<void> => {
    clock.pass(ttlMs);
    await ask();
    t.equal(await timeOf('/d'), last, title);
  };
  await moves('create', async () => await program.close(await program.create('/d/f')));
  await moves('rename inside', () => program.rename('/d/f', '/d/g'));
  await moves('rename out', () => program.rename('/d/g', '/e/g'));
  await moves('rename in', () => program.rename('/e/g', '/d/f'));
  await moves('mkdir', () => program.mkdir('/d/sub'));
  await moves('rmdir', () => program.rmdir('/d/sub'));
  await stays('nothing happened, by name', () => Promise.resolve());
  await stays('nor in a listing', () => program.list('/d'));
  await stays('nor in that of its parent', () => program.list('/'));
  await stays('nor in one after an own listing', () => program.list('/d'));
  await bucket.put('alice/d/theirs', '1');
  await moves('somebody’s new file', async () => {
    clock.pass(ttlMs);
    await program.list('/d');
  });
  await bucket.put('alice/d/theirs', '22');
  await moves('somebody’s replacement', async () => {
    clock.pass(ttlMs);
    await program.list('/d');
  });
  await bucket.delete('alice/d/theirs');
  await moves('somebody’s removal', async () => {
    clock.pass(ttlMs);
    await program.list('/d');
  });
  await moves('unlink', () => program.unlink('/d/f'));
  await moves('touch', () => fs.utimens(parsePath('/d'), 'now', 'now', {}));
  await t.rejects(fs.utimens(parsePath('/d'), 5n, 5n, {}), { code: 'EPERM' });
});

void t.test('the kernel hears that others changed a directory', async (t) => {
  const { bucket, clock, fs, program } = await useTimes(t);
  await bucket.put('alice/d/one', '1');
  await program.list('/d');
  const changes: string[] = [];
  fs.onChange(({ path, what }) => changes.push(`${path} ${what}`));
  await bucket.put('alice/d/two', '2');
  clock.pass(ttlMs);
  await program.list('/d');
  t.same(changes, ['/d attributes']);
});
