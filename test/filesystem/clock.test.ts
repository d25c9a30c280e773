/** The host's date may be set back or forth at any moment: lifetimes, deadlines and rests do not care. */
import t, { type Test } from 'tap';
import { TempSpace } from '../../lib/limits/temp-space.js';
import { timeOfMs } from '../../lib/file-time.js';
import { parsePath } from '../../lib/path.js';
import { RefreshedCredentials } from '../../lib/s3/connection/refreshed-credentials.js';
import { inParallel } from '../support/bucket.js';
import { defaultSettings, Program, useCore, type Core } from '../support/core.js';
import { rewriteLists } from '../support/list-answers.js';
import { ManualClock } from '../support/manual-clock.js';

const hourMs = 3_600_000;
const { metadataTtlMs: ttlMs } = defaultSettings;

async function useClocked(
  t: Test,
  options: Parameters<typeof useCore>[1] = {},
): Promise<Core & { clock: ManualClock; program: Program }> {
  const clock = new ManualClock();
  const core = await useCore(t, { ...options, clock });
  return { ...core, clock, program: new Program(core.fs) };
}

for (const [title, byMs] of [
  ['back', -hourMs],
  ['forth', hourMs],
] as const) {
  void t.test(`what is known lives as long with the date set ${title}`, async (t) => {
    const { bucket, clock, program, proxy } = await useClocked(t);
    await bucket.put('alice/d/listed', 'old');
    await bucket.put('alice/single', 'old');
    await program.list('/d');
    await program.stat('/single');
    t.notOk(await program.exists('/absent'));
    clock.setDate(byMs);
    proxy.reset();
    for (const path of ['/d/listed', '/single']) t.equal((await program.stat(path)).size, 3);
    t.notOk(await program.exists('/absent'));
    t.same(proxy.counts(), {}, 'the date alone makes nothing old');
    for (const key of ['d/listed', 'single', 'absent']) await bucket.put(`alice/${key}`, 'newer');
    clock.pass(ttlMs);
    for (const path of ['/d/listed', '/single', '/absent']) {
      t.equal((await program.stat(path)).size, 5, path);
    }
    t.same(await program.list('/'), ['absent', 'd/', 'single']);
  });
}

void t.test('an append after the date was set back keeps what others wrote', async (t) => {
  const { bucket, clock, program } = await useClocked(t);
  t.notOk(await program.exists('/log'));
  clock.setDate(-hourMs);
  await bucket.put('alice/log', 'theirs\n');
  clock.pass(ttlMs);
  const handle = (await program.exists('/log'))
    ? await program.open('/log', { access: 'write', append: true })
    : await program.create('/log', { append: true });
  await program.write(handle, 'ours\n');
  await program.close(handle);
  t.equal(await bucket.text('alice/log'), 'theirs\nours\n');
});

void t.test('who waits for room in the temp directory waits as long', async (t) => {
  const clock = new ManualClock();
  const space = new TempSpace(t.testdir(), 100, 60_000, clock);
  space.join({ reclaim: () => undefined, expectsRelease: true });
  await space.reserve(100);
  let ended = false;
  const waiting = space.reserve(1).finally(() => (ended = true));
  clock.setDate(hourMs);
  space.nudge();
  await new Promise(setImmediate);
  t.notOk(ended, 'not given up early');
  clock.setDate(-2 * hourMs);
  clock.pass(60_000);
  space.nudge();
  await t.rejects(waiting, { code: 'ENOSPC' }, 'nor waited for longer');
});

void t.test('a file rests from its last write on, whatever its time says', async (t) => {
  const { bucket, clock, fs, program } = await useClocked(t, { settings: { utimens: 'store' } });
  const handle = await program.create('/f');
  await program.write(handle, 'x');
  await fs.utimens(parsePath('/f'), 'omit', timeOfMs(Date.UTC(2100, 0)), {});
  clock.pass(2001);
  t.same(await fs.drain(AbortSignal.timeout(5000), () => undefined), []);
  t.equal(await bucket.text('alice/f'), 'x');
  await program.close(handle);
});

void t.test('credentials are renewed before their end', async (t) => {
  const lifeMs = 1_000_000;
  for (const [title, set] of [
    [
      'with the date set back',
      (clock: ManualClock) => {
        clock.setDate(-hourMs);
        clock.pass(lifeMs);
      },
    ],
    [
      'after the host slept, when only the date went on',
      (clock: ManualClock) => {
        clock.setDate(lifeMs);
      },
    ],
  ] as const) {
    await t.test(title, async (t) => {
      const clock = new ManualClock();
      let given = 0;
      const credentials = new RefreshedCredentials(
        () =>
          Promise.resolve({
            accessKeyId: `key${++given}`,
            secretAccessKey: 'secret',
            expiration: new Date(clock.dateMs() + lifeMs),
          }),
        () => undefined,
        clock,
      );
      t.equal((await credentials.get()).accessKeyId, 'key1');
      t.equal((await credentials.get()).accessKeyId, 'key1');
      set(clock);
      t.equal((await credentials.get()).accessKeyId, 'key2');
    });
  }
});

void t.test('a listing whose pages take longer than the TTL is valid from its end', async (t) => {
  const { bucket, clock, program, proxy, fs } = await useClocked(t);
  const names = Array.from({ length: 2100 }, (_, index) => `f${10_000 + index}`);
  await inParallel(16, names, (name) => bucket.put(`alice/big/${name}`, ''));
  rewriteLists(proxy, (list) => {
    clock.pass(ttlMs - 1);
    return list;
  });
  const handle = await fs.opendir(parsePath('/big'), {});
  const [first] = fs.readdirNow(handle, 0, 1) ?? [];
  t.equal(first?.attributes.validForMs, 1, 'as old as its last page');
  fs.releasedir(handle);
  proxy.reset();
  t.equal((await program.stat('/big/f10000')).size, 0);
  t.same(proxy.counts(), {});
});

void t.test('what was looked up while a listing came is not undone by it', async (t) => {
  const { bucket, clock, program, proxy } = await useClocked(t);
  const names = Array.from({ length: 1100 }, (_, index) => `f${10_000 + index}`);
  await inParallel(16, names, (name) => bucket.put(`alice/big/${name}`, ''));
  const gate = proxy.gate({ action: 'ListObjectsV2', ordinal: 2, at: 'answer' });
  const listing = program.list('/big');
  await gate.arrived;
  clock.pass(10);
  await bucket.put('alice/big/f10000', 'longer');
  t.equal((await program.stat('/big/f10000')).size, 6);
  gate.open();
  await listing;
  t.equal((await program.stat('/big/f10000')).size, 6);
  t.match(await program.list('/big'), names);
});
