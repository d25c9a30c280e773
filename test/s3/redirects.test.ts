/** Redirects: followed to where the bucket is, and no way to lead a mount astray for good. */
import t, { type Test } from 'tap';
import type { Key } from '../../lib/path.js';
import type { StoreOptions } from '../../lib/s3/connection/client.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import { testBucket, testKey, useEndpoint } from '../support/embedded.js';
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.js';
import type { Fault } from '../support/faults.js';
import { useStore } from '../support/store.js';

const readers = 12;
const key = 'there' as Key;
const small = [Buffer.from('content')];

async function setScene(
  t: Test,
  options: Partial<StoreOptions> = {},
): Promise<{ proxy: FaultProxy; store: S3Store }> {
  const endpoint = await useEndpoint(t, {
    buckets: [testBucket, { name: 'elsewhere', region: 'eu-west-3' }],
  });
  const proxy = await startFaultProxy({ target: endpoint.url });
  t.teardown(() => proxy.close());
  const store = useStore(t, proxy.url, { credentials: testKey, ...options });
  await store.put(key, small);
  await store.head(key);
  proxy.reset();
  return { proxy, store };
}

async function regionOf(store: S3Store): Promise<string> {
  return (await store.endpoint()).region;
}

/** What a redirecting gateway says, with or without a region. */
function redirect(status: number, region?: string): Fault {
  const told = region === undefined ? {} : { 'x-amz-bucket-region': region };
  return {
    kind: 'rewrite',
    rewrite: () => ({ status, headers: { ...told, location: 'http://127.0.0.1:1/' }, body: '' }),
  };
}

async function readAll(store: S3Store): Promise<number> {
  const calls = Array.from({ length: readers }, () => store.head(key));
  const results = await Promise.allSettled(calls);
  return results.filter(({ status }) => status === 'fulfilled').length;
}

void t.test('a burst of redirects to a region where nobody is', async (t) => {
  for (const status of [301, 307]) {
    const { proxy, store } = await setScene(t);
    const fault = redirect(status, 'eu-nowhere-1');
    for (let rest = 1; rest < 4 * readers; rest += 5) {
      proxy.clear();
      proxy.inject({ fault, count: rest });
      await readAll(store);
    }
    proxy.inject({ fault, count: Infinity });
    t.equal(await readAll(store), 0);
    proxy.clear();
    t.equal(await readAll(store), readers, 'is over when it is over');
    await store.put(key, small);
    t.equal(await regionOf(store), 'us-east-1');
  }
});

void t.test('a bucket that is elsewhere', async (t) => {
  const { proxy, store } = await setScene(t, { bucket: 'elsewhere', region: 'eu-west-3' });
  const lost = useStore(t, proxy.url, { credentials: testKey, bucket: 'elsewhere' });
  proxy.reset();
  t.equal(await readAll(lost), readers);
  t.equal(proxy.log.filter(({ status }) => status === 301).length, readers);
  t.equal(await regionOf(lost), 'eu-west-3');
  proxy.reset();
  await lost.put(key, small);
  t.equal(proxy.log.length, 1, 'is asked there from then on');

  const absent = useStore(t, proxy.url, { credentials: testKey, bucket: 'elsewhere' });
  await t.rejects(absent.get('absent' as Key), { name: 'StoreError', kind: 'notFound' });
  t.equal(await regionOf(absent), 'eu-west-3', 'which an absence proves too');
  await store.head(key);
});

void t.test('a region that only a passing gateway took', async (t) => {
  for (const words of ['AuthorizationHeaderMalformed', 'SignatureDoesNotMatch']) {
    const { proxy, store } = await setScene(t);
    proxy.inject({ fault: redirect(301, 'eu-nowhere-1') });
    proxy.inject({
      fault: {
        kind: 'rewrite',
        rewrite: () => ({ status: 200, headers: { etag: '"e"', 'content-length': '7' }, body: '' }),
      },
      count: readers,
    });
    await store.head(key);
    t.equal(await regionOf(store), 'eu-nowhere-1');
    proxy.clear();
    if (words === 'SignatureDoesNotMatch') {
      proxy.inject({
        fault: {
          kind: 'rewrite',
          rewrite: (answer) =>
            answer.status < 400
              ? answer
              : {
                  status: 403,
                  headers: {},
                  body: `<?xml version="1.0"?><Error><Code>${words}</Code></Error>`,
                },
        },
        count: Infinity,
      });
    }
    t.equal((await store.list({ prefix: '' as Key, oneLevel: true })).objects.length, 1, words);
    t.equal(await regionOf(store), 'us-east-1');
    t.equal(await readAll(store), readers);
  }
});

void t.test('a redirect to who knows where is an outage, and may pass', async (t) => {
  const { proxy, store } = await setScene(t);
  for (const status of [301, 302, 307, 308]) {
    proxy.inject({ fault: redirect(status), count: Infinity });
    const calls: (() => Promise<unknown>)[] = [
      () => store.head(key),
      () => store.list({ prefix: '' as Key, oneLevel: true }),
      () => store.get(key),
    ];
    for (const call of calls) {
      await t.rejects(call(), { name: 'StoreError', kind: 'unavailable' });
    }
    proxy.clear();
    proxy.inject({ fault: redirect(status) });
    await store.head(key);
    proxy.inject({ fault: redirect(status), count: 3 });
    await store.put(key, small);
  }
});
