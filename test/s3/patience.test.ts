/**
 * S3 that is away for longer than any count of tries: what is to be stored waits for it, for the
 * timeout; who reads or asks is told after the retries.
 */
import t, { type Test } from 'tap';
import { isStoreError } from '../../lib/errors.js';
import type { Key } from '../../lib/path.js';
import type { StoreOptions } from '../../lib/s3/connection/client.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import { testBucket, testKey, useEndpoint } from '../support/embedded.js';
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.js';
import type { Fault } from '../support/faults.js';
import { mebibyte } from '../support/sizes.js';
import { useStore } from '../support/store.js';

const small = [Buffer.from('content')];
const large = [Buffer.alloc(5 * mebibyte, 'x')];
const maxAttempts = 2;

interface Scene {
  readonly proxy: FaultProxy;
  readonly store: S3Store;
  readonly keys: () => readonly string[];
}

async function setScene(t: Test, options: Partial<StoreOptions> = {}): Promise<Scene> {
  const endpoint = await useEndpoint(t);
  const proxy = await startFaultProxy({ target: endpoint.url });
  t.teardown(() => proxy.close());
  const settings = { credentials: testKey, timeoutMs: 20_000, maxAttempts, ...options };
  const store = useStore(t, proxy.url, settings);
  // What conditions are worth is known, and a connection is there.
  await store.learnConditions();
  await store.put('base' as Key, large);
  return { proxy, store, keys: () => endpoint.keys(testBucket) };
}

function sent(store: S3Store): number {
  return Object.values(store.counters.requests).reduce((sum, count) => sum + count, 0);
}

/** Resolves when `work` has sent far more than its retries. */
async function outlasted(store: S3Store, times: number): Promise<void> {
  const before = sent(store);
  while (sent(store) < before + times * (maxAttempts + 1)) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

type Work = (store: S3Store, key: Key) => Promise<() => Promise<unknown>>;

/** What uploads are made of: what comes before S3 is away, and what then. */
const uploads: Readonly<Record<string, Work>> = {
  'a PUT': (store, key) => Promise.resolve(() => store.put(key, small)),
  'an exclusive PUT': (store, key) =>
    Promise.resolve(() => store.put(key, small, { condition: { absent: true } })),
  'the begin of an upload': (store, key) =>
    Promise.resolve(async () => {
      const upload = await store.createUpload(key);
      await store.completeUpload(upload, [await store.uploadPart(upload, 1, small)]);
    }),
  'a part': async (store, key) => {
    const upload = await store.createUpload(key);
    return async () =>
      await store.completeUpload(upload, [await store.uploadPart(upload, 1, small)]);
  },
  'a copied part': async (store, key) => {
    const upload = await store.createUpload(key);
    const source = await store.head('base' as Key);
    const range = { start: 0, end: source.size };
    return async () =>
      await store.completeUpload(upload, [await store.copyPart(upload, 1, source, range)]);
  },
  'the end of an upload': async (store, key) => {
    const upload = await store.createUpload(key);
    const part = await store.uploadPart(upload, 1, small);
    return async () => await store.completeUpload(upload, [part]);
  },
  'the end of an upload with a copied part': async (store, key) => {
    const upload = await store.createUpload(key);
    const source = await store.head('base' as Key);
    const part = await store.copyPart(upload, 1, source, { start: 0, end: source.size });
    return async () => await store.completeUpload(upload, [part]);
  },
};

const slowDown: Fault = { kind: 'status', status: 503, code: 'SlowDown' };
const badGateway: Fault = { kind: 'status', status: 502, code: '' };
const absences: Readonly<Record<string, (proxy: FaultProxy) => Promise<() => unknown>>> = {
  'a server that restarts': async (proxy) => {
    await proxy.down();
    return () => proxy.up();
  },
  'a gateway without its server': (proxy) => {
    proxy.inject({ fault: badGateway, count: Infinity });
    return Promise.resolve(() => proxy.clear());
  },
};

for (const [absence, begin] of Object.entries(absences)) {
  void t.test(absence, async (t) => {
    const { proxy, store, keys } = await setScene(t);
    const names = Object.keys(uploads);
    const works = await Promise.all(
      Object.values(uploads).map((prepare, index) => prepare(store, `new-${index}` as Key)),
    );
    const end = await begin(proxy);
    const done = Promise.allSettled(works.map((work) => work()));
    await Promise.race([outlasted(store, works.length), done]);
    await end();
    const failures = (await done).map((result, index) =>
      result.status === 'rejected' ? `${names[index]}: ${result.reason}` : 'stored',
    );
    t.strictSame(
      failures,
      names.map(() => 'stored'),
    );
    t.strictSame(keys().filter((key) => key.startsWith('alice/new')).length, works.length);
  });
}

void t.test('a service that asks all to slow down', async (t) => {
  const { proxy, store } = await setScene(t, { timeoutMs: 60_000 });
  proxy.inject({ fault: slowDown, count: Infinity });
  const done = store.put('new' as Key, small);
  await outlasted(store, 1);
  proxy.clear();
  await done;
});

void t.test('what is asked while S3 is away is answered after the retries', async (t) => {
  const { proxy, store } = await setScene(t);
  const source = await store.head('base' as Key);
  await proxy.down();
  const questions: (() => Promise<unknown>)[] = [
    () => store.head('base' as Key),
    () => store.list({ prefix: '' as Key, oneLevel: true }),
    () => store.get('base' as Key),
    () => store.delete('base' as Key),
    () => store.copy(source, 'copy' as Key),
  ];
  for (const ask of questions) {
    const before = sent(store);
    await t.rejects(ask(), { name: 'StoreError', kind: 'unavailable' });
    // A delete in doubt is asked about.
    t.ok(sent(store) - before <= 2 * maxAttempts);
  }
});

void t.test('no upload waits for longer than the timeout', async (t) => {
  for (const fault of [slowDown, badGateway]) {
    const { proxy, store } = await setScene(t, { timeoutMs: 500 });
    const upload = await store.createUpload('new' as Key);
    proxy.inject({ fault, count: Infinity });
    const kind = fault === slowDown ? 'throttled' : 'unavailable';
    const failed = { name: 'StoreError', kind };
    await t.rejects(store.put('new' as Key, small), failed);
    await t.rejects(store.uploadPart(upload, 1, small), failed);
  }
});

void t.test('who gives up is not kept waiting', async (t) => {
  const { proxy, store } = await setScene(t);
  await proxy.down();
  const patience = new AbortController();
  const done = store.put('new' as Key, small, { signal: patience.signal });
  done.catch(() => undefined);
  await outlasted(store, 1);
  patience.abort();
  await t.rejects(done, { name: 'StoreError', kind: 'aborted' });
});

void t.test(
  'a write whose answer was lost before S3 went away is known for what it is',
  async (t) => {
    const { proxy, store, keys } = await setScene(t);
    const lost = (action: 'PutObject' | 'CompleteMultipartUpload'): void => {
      proxy.inject({ action, fault: { kind: 'reset-after' } });
      // One round of tries and the begin of the next.
      proxy.inject({ action, fault: { kind: 'reset-before' }, ordinal: 2, count: maxAttempts });
    };
    lost('PutObject');
    await store.put('new' as Key, small, { condition: { absent: true } });
    t.ok(keys().includes('alice/new'), 'by its own token, though it is refused as being there');
    const upload = await store.createUpload('large' as Key);
    const part = await store.uploadPart(upload, 1, small);
    lost('CompleteMultipartUpload');
    await store.completeUpload(upload, [part]);
    t.ok(keys().includes('alice/large'));
    const failure: unknown = await store
      .put('new' as Key, small, { condition: { absent: true } })
      .catch((error: unknown) => error);
    t.ok(isStoreError(failure, 'changed'), 'and another one is refused');
  },
);
