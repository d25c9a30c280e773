/**
 * Uploads that are interrupted with `--interrupted resume`: held, shown, gone on with in the same
 * process and in the next, and given up.
 */
import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AbortMultipartUploadCommand, UploadPartCommand } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { parsePath } from '../../lib/path.js';
import '../support/no-jitter.js';
import type { Core } from '../support/core.js';
import { testBucket } from '../support/embedded.js';
import {
  closed,
  cutOff,
  dropped,
  goOn,
  partSize,
  useHoldingCore,
  writeAll,
  type HoldingCore,
} from '../support/held.js';
import type { Gate } from '../support/gate.js';
import { ManualClock } from '../support/manual-clock.js';
import { kibibyte } from '../support/sizes.js';
import { until } from '../support/until.js';

const whole = randomBytes(1000 * kibibyte);
const arrived = 450 * kibibyte + 123;
const small = randomBytes(5000);

async function keys(core: Core): Promise<string[]> {
  return await core.bucket.keys('alice/');
}

async function isNothingLeft(t: Test, core: HoldingCore): Promise<void> {
  // What is given up while nobody waits for it is aborted in its own time.
  await until(() => core.endpoint.openUploads().length === 0);
  t.equal(core.fs.status.tempBytes, 0, 'no temp bytes are left');
  t.equal(core.fs.status.handles, 0, 'no handle is left');
  t.strictSame(core.fs.status.held, [], 'nothing is held');
  t.strictSame(await readdir(core.directory), [], 'no record is left');
}

/** Numbers of the parts that went to S3. */
function partsSent(core: Core): number[] {
  return core.proxy.log
    .filter(({ action }) => action === 'UploadPart')
    .map(({ query }) => Number(new URLSearchParams(query).get('partNumber')));
}

for (const [what, size] of [
  ['of several parts', arrived],
  ['shorter than a part', 5000],
  ['of nothing', 0],
  ['of a full part', partSize],
] as const) {
  void t.test(`an upload ${what} is held, shown and gone on with`, async (t) => {
    let core = await useHoldingCore(t);
    await cutOff(core, '/f', whole.subarray(0, size));
    t.strictSame(await keys(core), [], 'nothing is published');
    t.equal((await core.program.stat('/f')).size, size, 'its size is that which arrived');
    t.strictSame(await core.program.list('/'), ['f']);
    for (const restart of [false, true]) {
      if (restart) core = await core.next();
      await t.test(restart ? 'by another process' : 'by the same', async (t) => {
        t.equal((await core.program.stat('/f')).size, size);
        t.strictSame(await core.program.list('/'), ['f']);
        const [held] = core.fs.status.held;
        t.equal((held?.inParts ?? 0) + (held?.local ?? 0), size, 'all of it is told of');
        await goOn(core, '/f', whole.subarray(0, restart ? whole.length : size));
        t.ok(
          (await core.bucket.bytes('alice/f')).equals(
            whole.subarray(0, restart ? whole.length : size),
          ),
        );
        await isNothingLeft(t, core);
        if (restart) return;
        await core.bucket.delete('alice/f');
        await core.program.unlink('/f').catch(() => undefined);
        await cutOff(core, '/f', whole.subarray(0, size));
      });
    }
  });
}

void t.test('no part is sent twice, and every part is sent once', async (t) => {
  const first = await useHoldingCore(t);
  await cutOff(first, '/f', whole.subarray(0, arrived));
  const before = partsSent(first);
  const second = await first.next();
  await goOn(second, '/f', whole.subarray(0, 700 * kibibyte));
  const after = partsSent(second);
  t.strictSame(
    [...before, ...after].sort((a, b) => a - b),
    [1, 2, 3, 4, 5, 6, 7],
  );
  t.ok((await second.bucket.bytes('alice/f')).equals(whole.subarray(0, 700 * kibibyte)));
});

const beginnings: readonly (readonly [what: string, before: Buffer | undefined])[] = [
  ['a new name', undefined],
  ['what is to be replaced', small],
];

for (const [what, before] of beginnings) {
  for (const size of [5000, arrived]) {
    void t.test(
      `${what}, written by another meanwhile: ESTALE, and theirs stays (${size})`,
      async (t) => {
        let core = await useHoldingCore(t, { settings: { metadataTtlMs: 0 } });
        if (before !== undefined) await core.bucket.put('alice/f', before);
        await cutOff(core, '/f', whole.subarray(0, size));
        if (before !== undefined)
          t.ok((await core.bucket.bytes('alice/f')).equals(before), 'as it was');
        core = await core.next();
        await core.bucket.put('alice/f', 'theirs');
        await t.rejects(goOn(core, '/f', whole), { code: 'ESTALE' });
        t.equal(await core.bucket.text('alice/f'), 'theirs');
        t.equal((await core.program.get('/f')).toString(), 'theirs', 'it shows here too');
        await isNothingLeft(t, core);
      },
    );
  }
}

void t.test('what is there and replaced is there until the close', async (t) => {
  let core = await useHoldingCore(t);
  await core.bucket.put('alice/f', small);
  await cutOff(core, '/f', whole.subarray(0, arrived));
  core = await core.next();
  t.ok((await core.bucket.bytes('alice/f')).equals(small));
  await goOn(core, '/f', whole);
  t.ok((await core.bucket.bytes('alice/f')).equals(whole));
  await isNothingLeft(t, core);
});

for (const size of [30 * kibibyte, 400 * kibibyte]) {
  void t.test(
    `appending to ${size} bytes and changing them goes on in the next process`,
    async (t) => {
      let core = await useHoldingCore(t);
      const base = randomBytes(size);
      await core.bucket.put('alice/f', base);
      const handle = await core.program.open('/f', { access: 'write', append: true });
      await writeAll(core.program, handle, whole.subarray(0, arrived));
      await core.program.close(handle, dropped);
      t.ok((await core.bucket.bytes('alice/f')).equals(base), 'nothing is published');
      core = await core.next();
      t.equal((await core.program.stat('/f')).size, size + arrived);
      await goOn(core, '/f', Buffer.concat([base, whole]));
      t.ok((await core.bucket.bytes('alice/f')).equals(Buffer.concat([base, whole])));
      await isNothingLeft(t, core);
    },
  );
}

void t.test('a change in the middle of an object is held without a part', async (t) => {
  let core = await useHoldingCore(t);
  const base = randomBytes(400 * kibibyte);
  await core.bucket.put('alice/f', base);
  const handle = await core.program.open('/f', { access: 'write' });
  await core.program.write(handle, small, 200 * kibibyte);
  await core.program.close(handle, dropped);
  core = await core.next();
  t.equal((await core.program.stat('/f')).size, base.length, 'as on a local disk');
  const want = Buffer.from(base);
  small.copy(want, 200 * kibibyte);
  t.ok((await core.program.get('/f')).equals(want), 'what is local can be read');
  await goOn(core, '/f', want);
  t.ok((await core.bucket.bytes('alice/f')).equals(want));
  await isNothingLeft(t, core);
});

void t.test('rm, O_TRUNC and truncate to nothing discard what is held', async (t) => {
  let core = await useHoldingCore(t);
  for (const name of ['/rm', '/open', '/trunc', '/new']) {
    await cutOff(core, name, whole.subarray(0, arrived));
  }
  core = await core.next();
  const { program } = core;
  await program.unlink('/rm');
  t.notOk(await program.exists('/rm'));
  await program.put('/open', small);
  await program.truncate('/trunc', 0);
  const handle = await program.create('/new', { truncate: true });
  await program.write(handle, small);
  await program.close(handle, dropped);
  t.strictSame((await keys(core)).sort(), ['alice/open', 'alice/trunc']);
  t.ok((await core.bucket.bytes('alice/open')).equals(small));
  t.equal((await program.stat('/new')).size, small.length, 'the new one is held');
  await program.unlink('/new');
  await isNothingLeft(t, core);
});

void t.test('what is only in parts is neither read nor changed, and stays', async (t) => {
  let core = await useHoldingCore(t);
  await cutOff(core, '/f', whole.subarray(0, arrived));
  core = await core.next();
  const { program, fs } = core;
  const busy = { code: 'EBUSY' };
  await t.rejects(program.get('/f'), busy, 'reading');
  const handle = await program.open('/f', { access: 'write' });
  await t.rejects(program.write(handle, small, 0), busy, 'rewriting');
  await t.rejects(program.write(handle, small, arrived), busy, 'whoever was refused is so again');
  await t.rejects(program.close(handle, closed), busy, 'and hears it at close');
  await t.rejects(program.truncate('/f', 1000), busy, 'truncating');
  await t.rejects(program.rename('/f', '/g'), busy, 'renaming');
  t.strictSame(await keys(core), [], 'nothing is published');
  t.equal((await program.stat('/f')).size, arrived, 'it is held as before');
  await program.truncate('/f', arrived - 123);
  t.equal((await program.stat('/f')).size, arrived - 123, 'its local end can be cut');
  t.strictSame(await keys(core), [], 'which publishes nothing');
  core = await core.next();
  t.equal((await core.program.stat('/f')).size, arrived - 123, 'and is written down');
  await goOn(core, '/f', whole);
  t.ok((await core.bucket.bytes('alice/f')).equals(whole));
  await isNothingLeft(t, core);
  t.equal(fs.status.handles, 0);
});

void t.test('renames: of a held file, of a directory above it, and onto it', async (t) => {
  const core = await useHoldingCore(t, { settings: { renameDir: 'recursive' } });
  const { program } = core;
  await program.mkdir('/d');
  await cutOff(core, '/d/small', small);
  await cutOff(core, '/d/f', whole.subarray(0, arrived));
  await t.rejects(program.rename('/d/small', '/s'), { code: 'EBUSY' });
  await t.rejects(program.rename('/d', '/e'), { code: 'EBUSY' });
  await t.rejects(program.rmdir('/d'), { code: 'ENOTEMPTY' });
  t.strictSame(await program.list('/d'), ['f', 'small']);
  await program.put('/x', 'new');
  await program.rename('/x', '/d/f');
  t.equal((await program.get('/d/f')).toString(), 'new');
  await program.unlink('/d/small');
  await isNothingLeft(t, core);
});

void t.test('a record that does not fit what S3 has is given up', async (t) => {
  let core = await useHoldingCore(t);
  for (const name of ['/gone', '/other', '/bytes', '/short', '/fine']) {
    await cutOff(core, name, whole.subarray(0, arrived));
  }
  const uploads = core.endpoint.openUploads();
  const uploadOf = (name: string) => {
    const found = uploads.find(({ key }) => key === `alice/${name}`);
    return { key: found?.key ?? '', uploadId: found?.uploadId ?? '' };
  };
  const at = (name: string) => {
    const { key: Key, uploadId: UploadId } = uploadOf(name);
    return { Bucket: testBucket, Key, UploadId };
  };
  await core.client.send(new AbortMultipartUploadCommand(at('gone')));
  const Body = randomBytes(partSize);
  await core.client.send(new UploadPartCommand({ ...at('other'), PartNumber: 2, Body }));
  const records = await recordsIn(core.directory);
  const dataOf = (name: string) => join(core.directory, records.get(name) ?? '');
  await writeFile(dataOf('bytes'), randomBytes((await stat(dataOf('bytes'))).size));
  await truncate(dataOf('short'), 10);
  core = await core.next();
  const { program } = core;
  t.strictSame(await program.list('/'), ['bytes', 'fine']);
  for (const name of ['/gone', '/other', '/short']) t.notOk(await program.exists(name), name);
  await t.rejects(goOn(core, '/bytes', whole), { code: 'EIO' }, 'other bytes are never sent');
  t.strictSame(await keys(core), []);
  await program.unlink('/bytes');
  await goOn(core, '/fine', whole);
  t.ok((await core.bucket.bytes('alice/fine')).equals(whole));
  await isNothingLeft(t, core);
});

/** The data file of each record, by key. */
async function recordsIn(directory: string): Promise<Map<string, string>> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.json'));
  const entries = names.map(async (name): Promise<[string, string]> => {
    const record = JSON.parse(await readFile(join(directory, name), 'utf8')) as Held;
    return [record.key, record.data];
  });
  return new Map(await Promise.all(entries));
}

interface Held {
  readonly key: string;
  readonly data: string;
}

void t.test('where S3 does not list parts, or is away, the record counts', async (t) => {
  for (const fault of [
    { kind: 'status', status: 403, code: 'AccessDenied' },
    { kind: 'status', status: 503, code: 'SlowDown' },
  ] as const) {
    const first = await useHoldingCore(t);
    await cutOff(first, '/f', whole.subarray(0, arrived));
    const second = await first.next({ maxAttempts: 1 });
    second.proxy.inject({ action: 'ListParts', count: 1000, fault });
    const third = await second.next();
    third.proxy.inject({ action: 'ListParts', count: 1000, fault });
    t.equal((await third.program.stat('/f')).size, arrived);
    await goOn(third, '/f', whole);
    t.ok((await third.bucket.bytes('alice/f')).equals(whole));
    await isNothingLeft(t, third);
  }
});

void t.test('parts that do not arrive at the end stay on the local disk', async (t) => {
  let core = await useHoldingCore(t, { maxAttempts: 1 });
  const { program } = core;
  const handle = await program.create('/f', { truncate: true });
  core.proxy.inject({ action: 'UploadPart', count: 1000, fault: { kind: 'no-answer' } });
  await writeAll(program, handle, whole.subarray(0, arrived));
  await program.close(handle, dropped);
  t.equal((await program.stat('/f')).size, arrived);
  const [held] = core.fs.status.held;
  t.equal(held?.local, arrived, 'all of it');
  core.proxy.clear();
  core = await core.next();
  await goOn(core, '/f', whole);
  t.ok((await core.bucket.bytes('alice/f')).equals(whole));
  await isNothingLeft(t, core);
});

void t.test('two prefixes in one directory keep theirs apart', async (t) => {
  const alice = await useHoldingCore(t);
  const bob = await useHoldingCore(
    t,
    { endpoint: alice.endpoint, prefix: 'bob/' },
    alice.directory,
  );
  await cutOff(alice, '/f', whole.subarray(0, arrived));
  await cutOff(bob, '/f', small);
  const next = { alice: await alice.next(), bob: await bob.next() };
  t.equal((await next.alice.program.stat('/f')).size, arrived);
  t.equal((await next.bob.program.stat('/f')).size, small.length);
  await next.bob.program.unlink('/f');
  await goOn(next.alice, '/f', whole);
  t.ok((await alice.bucket.bytes('alice/f')).equals(whole));
  await isNothingLeft(t, next.alice);
});

void t.test('what is held ends after its time, also while the mount is away', async (t) => {
  const clock = new ManualClock();
  let core = await useHoldingCore(t, { clock });
  await cutOff(core, '/a', whole.subarray(0, arrived));
  clock.pass(20 * 3_600_000);
  core = await core.next();
  await cutOff(core, '/b', whole.subarray(0, arrived));
  t.ok(await core.program.exists('/a'), 'it goes on from when it was interrupted');
  clock.setDate(-100 * 3_600_000);
  clock.pass(5 * 3_600_000);
  t.notOk(await core.program.exists('/a'), 'whatever the date');
  t.strictSame(await core.program.list('/'), ['b']);
  clock.setDate(100 * 3_600_000);
  clock.pass(30 * 3_600_000);
  core = await core.next();
  t.strictSame(await core.program.list('/'), []);
  await isNothingLeft(t, core);
});

void t.test('somebody who goes on in time is not disturbed', async (t) => {
  const clock = new ManualClock();
  const core = await useHoldingCore(t, { clock });
  await cutOff(core, '/f', whole.subarray(0, arrived));
  const handle = await core.program.open('/f', { access: 'write' });
  clock.pass(30 * 3_600_000);
  await t.rejects(core.fs.discardHeld(parsePath('/f')), { code: 'EBUSY' });
  t.ok(await core.program.exists('/f'));
  await writeAll(core.program, handle, whole, arrived);
  await core.program.close(handle, closed);
  t.ok((await core.bucket.bytes('alice/f')).equals(whole));
  await isNothingLeft(t, core);
});

void t.test('the operator can discard it', async (t) => {
  const core = await useHoldingCore(t);
  await cutOff(core, '/f', whole.subarray(0, arrived));
  t.notOk(await core.fs.discardHeld(parsePath('/g')));
  t.ok(await core.fs.discardHeld(parsePath('/f')));
  t.notOk(await core.program.exists('/f'));
  await isNothingLeft(t, core);
});

for (const at of ['request', 'answer'] as const) {
  for (const size of [5000, arrived]) {
    const action = size > partSize ? 'CompleteMultipartUpload' : 'PutObject';
    void t.test(
      `a process that ends at the ${at} of ${action} asks what became of it`,
      async (t) => {
        const first = await useHoldingCore(t);
        await cutOff(first, '/f', whole.subarray(0, size));
        const gate = first.proxy.gate({ action, at });
        const going = goOn(first, '/f', whole.subarray(0, size + 1)).catch(() => undefined);
        await gate.arrived;
        const second = await first.next();
        if (at === 'answer') {
          t.equal((await second.program.stat('/f')).size, size + 1, 'it was published');
          t.strictSame(second.fs.status.held, []);
        } else {
          t.equal((await second.program.stat('/f')).size, size, 'it is held as before');
          await goOn(second, '/f', whole);
          t.ok((await second.bucket.bytes('alice/f')).equals(whole));
        }
        await isNothingLeft(t, second);
        gate.open();
        await going;
      },
    );
  }
}

void t.test(
  '200 of them cost no memory, no descriptor, and nobody waits for S3 at the start',
  async (t) => {
    const first = await useHoldingCore(t);
    const descriptors = async () => (await readdir('/proc/self/fd')).length;
    const before = await descriptors();
    for (let at = 0; at < 200; at++)
      await cutOff(first, `/f${at}`, whole.subarray(0, 120 * kibibyte));
    t.equal(first.fs.status.uploadMemory, 0);
    t.ok((await descriptors()) < before + 50, 'no descriptor for each');
    t.equal(first.fs.status.held.length, 200);
    const gates: Gate[] = [];
    const next = await first.next({ requestTimeoutMs: 60_000 }, ({ proxy }) => {
      for (let at = 0; at < 4; at++) gates.push(proxy.gate({ action: 'ListParts', at: 'request' }));
    });
    await Promise.all(gates.map((gate) => gate.arrived));
    t.equal(next.fs.status.uploadMemory, 0);
    t.equal(next.proxy.counts().ListParts, 4, 'they are compared four at a time, afterwards');
    for (const gate of gates) gate.open();
    t.equal((await next.program.list('/')).length, 200);
    t.equal(next.proxy.counts().ListParts, 200);
  },
);

void t.test('where a writer finds no room, the oldest that is held goes', async (t) => {
  const core = await useHoldingCore(t, {
    settings: { tempLimit: 4 * partSize, timeoutMs: 300 },
  });
  for (const name of ['/old', '/new']) await cutOff(core, name, whole.subarray(0, 90 * kibibyte));
  const { program } = core;
  const handle = await program.create('/f', { truncate: true });
  // Behind a hole no part is full: all of it has to find room.
  for (let at = 0; at < 320 * kibibyte; at += 40 * kibibyte) {
    await program.write(handle, whole.subarray(at, at + 40 * kibibyte), 200 * kibibyte + at);
  }
  t.strictSame(await program.list('/'), ['f', 'new']);
  await program.close(handle, closed);
  t.ok(
    (await core.bucket.bytes('alice/f'))
      .subarray(200 * kibibyte)
      .equals(whole.subarray(0, 320 * kibibyte)),
  );
  await goOn(core, '/new', whole);
  t.ok((await core.bucket.bytes('alice/new')).equals(whole));
  await program.unlink('/new');
  await isNothingLeft(t, core);
});

void t.test('where room is short, full parts of what is held leave first', async (t) => {
  const core = await useHoldingCore(t, {
    maxAttempts: 1,
    requestTimeoutMs: 500,
    settings: { tempLimit: 8 * partSize },
  });
  const { program } = core;
  core.proxy.inject({ action: 'UploadPart', count: 1000, fault: { kind: 'no-answer' } });
  await cutOff(core, '/held', whole.subarray(0, 350 * kibibyte));
  core.proxy.clear();
  t.equal(core.fs.status.held[0]?.local, 350 * kibibyte);
  const handle = await program.create('/f', { truncate: true });
  await program.write(handle, whole.subarray(0, 460 * kibibyte), 200 * kibibyte);
  t.match(core.fs.status.held, [{ path: '/held', inParts: 300 * kibibyte, local: 50 * kibibyte }]);
  await program.close(handle, closed);
  await goOn(core, '/held', whole);
  t.ok((await core.bucket.bytes('alice/held')).equals(whole));
});

void t.test('what is open when the mount ends is held, not stored as it is', async (t) => {
  let core = await useHoldingCore(t);
  const { program } = core;
  const idle = await program.create('/idle', { truncate: true });
  await writeAll(program, idle, whole.subarray(0, arrived));
  const stop = new AbortController();
  const left = core.fs.drain(stop.signal, () => stop.abort());
  t.strictSame(await left, [], 'nothing is lost');
  t.strictSame(await keys(core), [], 'nothing is published');
  core = await core.next();
  await goOn(core, '/idle', whole);
  t.ok((await core.bucket.bytes('alice/idle')).equals(whole));
  await isNothingLeft(t, core);
});
