/** Answers without an end: what one may take of memory and of time, whoever gives it. */
import t, { type Test } from 'tap';
import { isStoreError } from '../../lib/errors.js';
import type { Key } from '../../lib/path.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import { testKey, useEndpoint } from '../support/embedded.js';
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.js';
import type { Fault } from '../support/faults.js';
import { mebibyte } from '../support/sizes.js';
import { useStore } from '../support/store.js';

const key = 'x' as Key;
const timeoutMs = 300;

async function scene(t: Test): Promise<{ proxy: FaultProxy; store: S3Store }> {
  const endpoint = await useEndpoint(t);
  const proxy = await startFaultProxy({ target: endpoint.url });
  t.teardown(() => proxy.close());
  const store = useStore(t, proxy.url, { credentials: testKey, timeoutMs });
  await store.put(key, [Buffer.from('content')]);
  proxy.reset();
  return { proxy, store };
}

/** Every action that is answered by a document, or by nothing. */
const calls: Readonly<Record<string, (store: S3Store) => Promise<unknown>>> = {
  list: (store) => store.list({ prefix: '' as Key, oneLevel: true }),
  get: (store) => store.get(key),
  put: (store) => store.put(key, [Buffer.from('new')]),
  delete: (store) => store.delete(key),
  create: (store) => store.createUpload(key),
  copy: async (store) => await store.copy(await store.head(key), 'y' as Key),
};

async function kindOf(call: Promise<unknown>): Promise<string> {
  const error: unknown = await call.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  return isStoreError(error) ? error.kind : String(error);
}

/** What is told of 200 MB of it, and how much of that was taken. */
async function flooded(t: Test, call: string, status: number): Promise<string> {
  const { proxy, store } = await scene(t);
  const piece = Buffer.alloc(mebibyte, ' ');
  const fault: Fault = { kind: 'pieces', status, piece, count: 200, everyMs: 0 };
  for (const action of ['ListObjectsV2', 'GetObject', 'PutObject', 'DeleteObject'] as const) {
    proxy.inject({ action, fault, count: Infinity });
  }
  proxy.inject({ action: 'CreateMultipartUpload', fault, count: Infinity });
  proxy.inject({ action: 'CopyObject', fault, count: Infinity });
  const kind = await kindOf(calls[call]?.(store) ?? Promise.reject(new Error('no such call')));
  const most = Math.max(...proxy.log.map(({ bytesOut }) => bytesOut));
  // What is on its way when the client leaves has been sent as well.
  t.ok(most < 30 * mebibyte, `${call} ${status}: ${most} bytes were sent`);
  t.equal((await store.head(key)).size, 7, 'and the next answer is taken');
  return kind;
}

void t.test('an answer of 200 MB', async (t) => {
  for (const call of Object.keys(calls)) {
    await t.test(`to ${call}`, async (t) => {
      t.equal(await flooded(t, call, 500), 'unavailable');
      t.equal(await flooded(t, call, 403), 'denied');
      t.equal(await flooded(t, call, 404), 'corrupt', 'does not say that anything is absent');
      t.equal(await flooded(t, call, 412), 'corrupt', 'nor that it was replaced');
      if (call !== 'get') t.equal(await flooded(t, call, 200), 'corrupt');
    });
  }
});

void t.test('an answer that trickles for ever', async (t) => {
  const { proxy, store } = await scene(t);
  const everyMs = timeoutMs / 6;
  for (const status of [200, 404, 500]) {
    proxy.clear();
    const fault: Fault = { kind: 'pieces', status, piece: ' ', count: Infinity, everyMs };
    proxy.inject({ action: 'ListObjectsV2', fault, count: Infinity });
    const before = proxy.log.length;
    const kind = await kindOf(store.list({ prefix: '' as Key, oneLevel: true }));
    t.equal(kind, status === 500 ? 'unavailable' : 'corrupt');
    // By the bytes and not by a clock: one that trickles later than it should is only slower.
    const bytes = proxy.log.slice(before).map(({ bytesOut }) => bytesOut);
    t.ok(Math.max(...bytes) <= 14, `${bytes.join(', ')} bytes were listened to`);
  }
});

void t.test('an answer that takes its time while S3 works', async (t) => {
  const { proxy, store } = await scene(t);
  const upload = await store.createUpload(key);
  const part = await store.uploadPart(upload, 1, [Buffer.from('part')]);
  proxy.inject({
    action: 'CompleteMultipartUpload',
    fault: { kind: 'pieces', status: 200, piece: ' ', count: Infinity, everyMs: timeoutMs / 6 },
  });
  t.equal(await kindOf(store.completeUpload(upload, [part])), 'corrupt');
  const [entry] = proxy.log.filter(({ action }) => action === 'CompleteMultipartUpload');
  t.ok((entry?.bytesOut ?? 0) > 20, 'is listened to for longer than a timeout');
});
