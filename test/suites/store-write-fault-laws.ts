/**
 * Laws of writing when connections break and answers get lost: a write that succeeded is told as
 * success, one that did not has left nothing, and a conflict is only told where there is one.
 *
 * On real servers, only faults behind their answers: what one says to a request that it has answered
 * before differs from server to server. A request that never got there is the client's matter alone.
 */
import type { Test } from 'tap';
import { bytes, key, pattern, read, sourceOf, fails } from './store-law-setup.js';
import type { LawSetup } from './store-law-setup.js';
import type { Fault, ProxyAction } from '../support/faults.js';
import { mebibyte } from '../support/sizes.js';
import { until } from '../support/until.js';

const lost: Fault = { kind: 'reset-after' };
const large = pattern(11 * mebibyte);

/** Faults that a retry gets over, for every request of a write: where the server has done it … */
const answered: readonly Fault[] = [{ kind: 'reset-after' }, { kind: 'truncate', afterBytes: 0 }];
/** … and those that are the client's to get over. To the server no answer is as good as a lost one. */
const unanswered: readonly Fault[] = [
  { kind: 'reset-before' },
  { kind: 'no-answer' },
  { kind: 'status', status: 500, code: 'InternalError' },
  { kind: 'status', status: 503, code: 'SlowDown' },
];

function passingOn({ isClientTried }: LawSetup): readonly Fault[] {
  return isClientTried ? [...answered, ...unanswered] : answered;
}

/**
 * What servers say of a body that does not match its sum: S3 and most, Garage, and MinIO and versitygw,
 * by the sum.
 */
const damagedCodes = [
  'BadDigest',
  'InvalidDigest',
  'XAmzContentChecksumMismatch',
  'XAmzContentSHA256Mismatch',
];

export async function writeFaultLaws(t: Test, setup: LawSetup): Promise<void> {
  await t.test('faults that pass are not noticed', (t) => passingFaults(t, setup));
  await t.test('a part read while it is sent', (t) => streamedParts(t, setup));
  // An upload whose creation was answered to nobody is empty, and left to the bucket's lifecycle rule.
  await setup.bucket.abortUploads();
  await t.test('lost answers', (t) => lostAnswers(t, setup));
  await t.test('faults that stay', (t) => lastingFaults(t, setup));
  if (setup.isClientTried) await t.test('what no server hears of', (t) => unheard(t, setup));
}

async function passingFaults(t: Test, setup: LawSetup): Promise<void> {
  for (const fault of passingOn(setup)) {
    const name = 'status' in fault ? String(fault.status) : fault.kind;
    for (const action of [
      'CreateMultipartUpload',
      'UploadPart',
      'CompleteMultipartUpload',
    ] as const) {
      await t.test(`${name} at ${action}`, async (t) => {
        const { store } = setup.makeStore(t, { timeoutMs: 1500 });
        const injection = setup.proxy.inject({ action, count: 2, fault });
        const { etag } = await store.upload(key('x'), sourceOf(large));
        t.equal(injection.fired, 2);
        t.equal((await store.head(key('x'))).etag, etag);
        t.ok((await read(store, 'x')).equals(large));
      });
    }
    // An answer without a body cannot be cut short.
    if (fault.kind !== 'truncate')
      await t.test(`${name} at small requests`, async (t) => {
        const { store } = setup.makeStore(t, { timeoutMs: 1500 });
        const fire = (action: ProxyAction) => setup.proxy.inject({ action, count: 2, fault });
        const injections = [fire('PutObject')];
        const { etag } = await store.put(key('x'), bytes('hello'));
        injections.push(fire('CopyObject'));
        await store.copy({ key: key('x'), etag, size: 5 }, key('y'));
        injections.push(fire('DeleteObject'));
        await store.delete(key('x'), { ifMatch: etag });
        t.strictSame(
          injections.map((injection) => injection.fired),
          [2, 2, 2],
        );
        await fails(t, store.head(key('x')), { kind: 'notFound' });
        t.equal((await read(store, 'y')).toString(), 'hello');
      });
    await t.test(`${name} at UploadPartCopy`, async (t) => {
      const { store } = setup.makeStore(t, { timeoutMs: 1500 });
      const { etag } = await store.upload(key('x'), sourceOf(large));
      const injection = setup.proxy.inject({ action: 'UploadPartCopy', count: 2, fault });
      await store.copy({ key: key('x'), etag, size: large.length }, key('y'));
      t.equal(injection.fired, 2);
      t.ok((await read(store, 'y')).equals(large));
    });
  }

  await t.test('an error inside a 200', async (t) => {
    const { store } = setup.makeStore(t);
    const fault = { kind: 'error-in-200', code: 'InternalError' } as const;
    const at = (action: ProxyAction) => setup.proxy.inject({ action, fault });
    const injections = [at('CompleteMultipartUpload'), at('CopyObject'), at('UploadPartCopy')];
    const { etag } = await store.upload(key('x'), sourceOf(large));
    await store.copy({ key: key('x'), etag, size: large.length }, key('y'));
    const small = await store.put(key('s'), bytes('s'));
    await store.copy({ key: key('s'), etag: small.etag, size: 1 }, key('t'));
    t.strictSame(
      injections.map((injection) => injection.fired),
      [1, 1, 1],
    );
    t.ok((await read(store, 'y')).equals(large));
    t.equal((await read(store, 't')).toString(), 's');
  });

  await t.test('a bit that flips on the way', async (t) => {
    const { store } = setup.makeStore(t);
    const fault = { kind: 'flip-request', at: 1000 } as const;
    const injections = (['PutObject', 'UploadPart'] as const).map((action) =>
      setup.proxy.inject({ action, fault }),
    );
    await store.put(key('small'), [large.subarray(0, 5000)]);
    await store.upload(key('large'), sourceOf(large));
    t.strictSame(
      injections.map((injection) => injection.fired),
      [1, 1],
    );
    t.ok((await read(store, 'small')).equals(large.subarray(0, 5000)));
    t.ok((await read(store, 'large')).equals(large));
  });

  await t.test('a body that arrived damaged, in the words of any server', async (t) => {
    for (const code of damagedCodes) {
      const { store } = setup.makeStore(t);
      const fault = { kind: 'status', status: 400, code } as const;
      const injections = (['PutObject', 'UploadPart'] as const).map((action) =>
        setup.proxy.inject({ action, count: 2, fault }),
      );
      await store.put(key('small'), bytes('small'));
      await store.upload(key('large'), sourceOf(large));
      t.strictSame(
        injections.map((injection) => injection.fired),
        [2, 2],
        code,
      );
      t.ok((await read(store, 'large')).equals(large));
    }
  });
}

/** Silence is left out: a body of several MiB is given its time. */
async function streamedParts(t: Test, setup: LawSetup): Promise<void> {
  const content = large.subarray(0, 3 * mebibyte + 1);
  const faults: readonly Fault[] = [
    ...passingOn(setup).filter(({ kind }) => kind !== 'no-answer'),
    { kind: 'flip-request', at: 2 * mebibyte },
  ];
  for (const fault of faults) {
    const { store } = setup.makeStore(t);
    const upload = await store.createUpload(key('x'));
    const injection = setup.proxy.inject({ action: 'UploadPart', fault });
    const part = await store.uploadPart(upload, 1, sourceOf(content));
    t.equal(injection.fired, 1, fault.kind);
    await store.completeUpload(upload, [part]);
    t.ok((await read(store, 'x')).equals(content), `${fault.kind}: arrives exact`);
  }
}

async function lostAnswers(t: Test, setup: LawSetup): Promise<void> {
  const absent = { condition: { absent: true } } as const;
  const lose = (action: ProxyAction, count = 1) =>
    setup.proxy.inject({ action, count, fault: lost });

  await t.test('an exclusive create that succeeded is no conflict with itself', async (t) => {
    const { store } = setup.makeStore(t);
    await store.learnConditions();
    const injection = lose('PutObject');
    const { etag } = await store.put(key('x'), bytes('mine'), absent);
    t.equal(injection.fired, 1);
    t.equal((await store.head(key('x'))).etag, etag);
  });

  await t.test(
    'an exclusive create that came second is one, even with the same bytes',
    async (t) => {
      const { store } = setup.makeStore(t);
      await store.learnConditions();
      await store.put(key('lock'), [], absent);
      lose('PutObject');
      await fails(t, store.put(key('lock'), [], absent), { kind: 'changed' });
    },
  );

  await t.test('a replacement under If-Match', async (t) => {
    const { store } = setup.makeStore(t);
    await store.learnConditions();
    const { etag } = await store.put(key('x'), bytes('old'));
    lose('PutObject');
    await store.put(key('x'), bytes('new'), { condition: { etag } });
    t.equal((await read(store, 'x')).toString(), 'new');
    lose('PutObject');
    const stale = store.put(key('x'), bytes('newer'), { condition: { etag } });
    await fails(t, stale, { kind: 'changed' });
    t.equal((await read(store, 'x')).toString(), 'new');
  });

  await t.test('no answer at all, again and again', async (t) => {
    const { store } = setup.makeStore(t, { maxAttempts: 3 });
    const injection = lose('PutObject', 3);
    const { etag } = await store.put(key('x'), bytes('there'));
    t.equal(injection.fired, 3);
    t.equal((await store.head(key('x'))).etag, etag);
  });

  await t.test('the completion of an upload, with and without condition', async (t) => {
    const { store } = setup.makeStore(t, { maxAttempts: 3 });
    await store.learnConditions();
    for (const [name, count, options] of [
      ['a', 1, {}],
      ['b', 3, {}],
      ['c', 1, absent],
      ['d', 3, absent],
    ] as const) {
      const injection = lose('CompleteMultipartUpload', count);
      const { etag } = await store.upload(key(name), sourceOf(large), options);
      t.equal(injection.fired, count);
      t.equal((await store.head(key(name))).etag, etag);
      t.ok((await read(store, name)).equals(large));
    }
    lose('CompleteMultipartUpload');
    await fails(t, store.upload(key('a'), sourceOf(large), absent), { kind: 'changed' });
    t.strictSame(await setup.bucket.uploads(), []);
  });

  await t.test('a delete under If-Match', async (t) => {
    const { store } = setup.makeStore(t, { maxAttempts: 3 });
    for (const count of [1, 3]) {
      const { etag } = await store.put(key('x'), bytes('x'));
      lose('DeleteObject', count);
      await store.delete(key('x'), { ifMatch: etag });
      await fails(t, store.head(key('x')), { kind: 'notFound' });
    }
  });

  await t.test('a copy', async (t) => {
    const { store } = setup.makeStore(t, { maxAttempts: 3 });
    await store.learnConditions();
    const { etag } = await store.put(key('x'), bytes('x'));
    for (const [name, count, options] of [
      ['a', 1, {}],
      ['b', 3, {}],
      ['c', 1, absent],
    ] as const) {
      const injection = lose('CopyObject', count);
      await store.copy({ key: key('x'), etag, size: 1 }, key(name), options);
      t.equal(injection.fired, count);
      t.equal((await read(store, name)).toString(), 'x');
    }
  });
}

async function lastingFaults(t: Test, setup: LawSetup): Promise<void> {
  await t.test('a write that never got through is not there', async (t) => {
    const { store } = setup.makeStore(t, { maxAttempts: 2 });
    await store.put(key('x'), bytes('old'));
    setup.proxy.inject({ action: 'PutObject', count: 9, fault: { kind: 'reset-before' } });
    await fails(t, store.put(key('x'), bytes('new')), { kind: 'unavailable' });
    await fails(t, store.put(key('y'), bytes('new')), { kind: 'unavailable' });
    setup.proxy.clear();
    t.equal((await read(store, 'x')).toString(), 'old');
    await fails(t, store.head(key('y')), { kind: 'notFound' });
  });

  for (const action of ['UploadPart', 'CompleteMultipartUpload'] as const) {
    for (const [kind, fault] of [
      ['denied', { kind: 'status', status: 403, code: 'AccessDenied' }],
      ['unavailable', { kind: 'reset-before' }],
      ['full', { kind: 'status', status: 507, code: 'InsufficientCapacity' }],
    ] as const) {
      await t.test(`${action}: ${kind}: no object, no upload left open`, async (t) => {
        const { store } = setup.makeStore(t, { maxAttempts: 2 });
        setup.proxy.inject({ action, ordinal: 2, count: 99, fault });
        if (action === 'CompleteMultipartUpload') {
          setup.proxy.clear();
          setup.proxy.inject({ action, count: 99, fault });
        }
        await fails(t, store.upload(key('x'), sourceOf(large)), { kind });
        t.strictSame(await setup.bucket.uploads(), []);
        await fails(t, store.head(key('x')), { kind: 'notFound' });
      });
    }
  }

  for (const [action, ordinal] of [
    ['CreateMultipartUpload', 1],
    ['UploadPart', 2],
  ] as const) {
    for (const at of ['request', 'answer'] as const) {
      await t.test(`an upload aborted at ${action} leaves nothing (${at})`, async (t) => {
        const { store } = setup.makeStore(t);
        const gate = setup.proxy.gate({ action, ordinal, at });
        const abort = new AbortController();
        const uploading = store.upload(key('x'), sourceOf(large), { signal: abort.signal });
        await Promise.race([gate.arrived, uploading]);
        abort.abort();
        await fails(t, uploading, { kind: 'aborted' });
        gate.open();
        await until(
          async () => (await setup.bucket.uploads()).length === 0 && setup.proxy.busy === 0,
        );
        await fails(t, store.head(key('x')), { kind: 'notFound' });
      });
    }
  }

  await t.test('a copy by parts that fails leaves nothing', async (t) => {
    const { store } = setup.makeStore(t, { maxAttempts: 2 });
    const { etag } = await store.upload(key('x'), sourceOf(large));
    const fault = { kind: 'status', status: 403, code: 'AccessDenied' } as const;
    setup.proxy.inject({ action: 'UploadPartCopy', ordinal: 2, count: 99, fault });
    const source = { key: key('x'), etag, size: large.length };
    await fails(t, store.copy(source, key('y')), { kind: 'denied' });
    t.strictSame(await setup.bucket.uploads(), []);
    await fails(t, store.head(key('y')), { kind: 'notFound' });
  });
}

async function unheard(t: Test, setup: LawSetup): Promise<void> {
  await t.test('a server that stays too busy', async (t) => {
    const { store } = setup.makeStore(t, { maxAttempts: 2 });
    const fault = { kind: 'status', status: 503, code: 'SlowDown' } as const;
    setup.proxy.inject({ action: 'PutObject', count: 9, fault });
    await fails(t, store.put(key('x'), bytes('x')), { kind: 'throttled', status: 503 });
  });

  await t.test('a refusal by code is final at once', async (t) => {
    const { store } = setup.makeStore(t);
    for (const [code, kind, status] of [
      ['ExpiredToken', 'denied', 400],
      ['QuotaExceeded', 'full', 403],
      ['EntityTooLarge', 'tooLarge', 400],
      ['NotImplemented', 'unsupported', 501],
    ] as const) {
      setup.proxy.reset();
      setup.proxy.inject({
        action: 'PutObject',
        count: 9,
        fault: { kind: 'status', status, code },
      });
      await fails(t, store.put(key('x'), bytes('x')), { kind, code });
      // Where the checksum header may be to blame, it is left out once.
      t.equal(setup.proxy.counts().PutObject, kind === 'unsupported' ? 2 : 1, code);
      setup.proxy.clear();
    }
  });

  await t.test('what could not be aborted is, once the server is back', async (t) => {
    const { store } = setup.makeStore(t, { maxAttempts: 2 });
    const upload = await store.createUpload(key('x'));
    await store.uploadPart(upload, 1, [pattern(1000)]);
    await setup.proxy.down();
    await fails(t, store.abortUpload(upload), { kind: 'unavailable' });
    await setup.proxy.up();
    t.equal((await setup.bucket.uploads()).length, 1);
    await until(async () => (await setup.bucket.uploads()).length === 0);
  });
}
