/**
 * What is put right while many requests are under way: the clocks, the keys. One refusal tells it, and
 * none of the others may fail for what is known by then.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Endpoint } from '../../lib/endpoint/endpoint.js';
import type { Key } from '../../lib/path.js';
import type { StoreOptions } from '../../lib/s3/connection/client.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import { CredentialService } from '../support/credential-service.js';
import { temporaryDirectory, testKey, useEndpoint } from '../support/embedded.js';
import { setAwsEnvironment } from '../support/environment.js';
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.js';
import { ManualClock } from '../support/manual-clock.js';
import { useStore } from '../support/store.js';

const each = 4;

/** Requests of every kind, several at a time, after a change; none of them fails. */
async function survive(t: Test, store: S3Store, change: () => unknown): Promise<void> {
  const there = 'there' as Key;
  const body = [Buffer.alloc(1000)];
  await store.put(there, body);
  // From now on a refusal is none of asking for checksums.
  await store.head(there);
  const upload = await store.createUpload('large' as Key);
  await change();
  const calls: ((n: number) => Promise<unknown>)[] = [
    () => store.head(there),
    (n) => store.put(`new-${n}` as Key, body),
    (n) => store.uploadPart(upload, n, body),
    () => store.list({ prefix: '' as Key, oneLevel: true }),
    (n) => store.delete(`old-${n}` as Key),
    async () => {
      const answer = await store.get(there);
      for await (const piece of answer.body) t.equal(piece.length, 1000);
    },
  ];
  const results = await Promise.allSettled(
    calls.flatMap((call) => Array.from({ length: each }, (_, n) => call(n + 1))),
  );
  t.strictSame(
    results.flatMap((result) => (result.status === 'rejected' ? [String(result.reason)] : [])),
    [],
  );
  await store.abortUpload(upload);
}

const requests = 6 * each;

interface Scene {
  readonly endpoint: Endpoint;
  readonly proxy: FaultProxy;
  readonly store: S3Store;
  /** sets the endpoint's clock */
  readonly setClock: (aheadMs: number) => void;
  /** replaces the keys that the endpoint knows and the store finds */
  readonly setKeys: (secretAccessKey: string, accessKeyId?: string) => Promise<void>;
}

async function setScene(t: Test, options: Partial<StoreOptions> = {}): Promise<Scene> {
  let aheadMs = 0;
  const endpoint = await useEndpoint(t, { now: () => Date.now() + aheadMs });
  const proxy = await startFaultProxy({ target: endpoint.url });
  t.teardown(() => proxy.close());
  const path = join(await temporaryDirectory(t), 'credentials');
  const setKeys: Scene['setKeys'] = async (secretAccessKey, accessKeyId = testKey.accessKeyId) => {
    const lines = [`aws_access_key_id = ${accessKeyId}`];
    lines.push(`aws_secret_access_key = ${secretAccessKey}`);
    await writeFile(path, ['[default]', ...lines, ''].join('\n'));
    endpoint.setCredentials([{ accessKeyId, secretAccessKey }]);
  };
  await setKeys(testKey.secretAccessKey);
  setAwsEnvironment(t, { AWS_SHARED_CREDENTIALS_FILE: path });
  const store = useStore(t, proxy.url, options);
  const setClock = (ms: number): void => void (aheadMs = ms);
  return { endpoint, proxy, store, setClock, setKeys };
}

const hourMs = 3_600_000;

void t.test('the clocks part, and come together again', async (t) => {
  const { proxy, store, setClock } = await setScene(t);
  for (const ms of [hourMs, 0, -hourMs, 0]) {
    await survive(t, store, () => {
      proxy.reset();
      setClock(ms);
    });
    const refused = proxy.log.filter(({ status }) => status === 403 || status === 400);
    t.equal(refused.length, requests, 'each was refused once');
  }
});

void t.test('a secret is replaced in place', async (t) => {
  const { proxy, store, setKeys } = await setScene(t);
  await survive(t, store, () => {
    proxy.reset();
    return setKeys('another-secret');
  });
  t.equal(proxy.log.filter(({ status }) => status === 403).length, requests);
});

const words = ['AccessDenied', 'Forbidden', 'InvalidTokenId', 'ExpiredToken', 'InvalidSecurity'];
for (const code of words) {
  void t.test(`keys are replaced at a service that calls the old ones ${code}`, async (t) => {
    const { proxy, store, setKeys } = await setScene(t);
    proxy.inject({
      fault: {
        kind: 'rewrite',
        rewrite: (answer) => ({
          ...answer,
          body: answer.body.replace('InvalidAccessKeyId', code),
        }),
      },
      count: Infinity,
    });
    await survive(t, store, () => setKeys('another-secret', 'AKIANEXT'));
    t.ok(proxy.log.some(({ status }) => status === 403));
  });
}

void t.test('a refusal that is meant is not asked about again and again', async (t) => {
  const { endpoint, proxy } = await setScene(t);
  const metadata = await CredentialService.start(t, {
    mint: () => endpoint.startSession(testKey.accessKeyId, hourMs),
  });
  setAwsEnvironment(t, { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${metadata.url}/container` });
  const clock = new ManualClock();
  const store = useStore(t, proxy.url, { clock });
  await store.put('x' as Key, [Buffer.from('x')]);
  await store.head('x' as Key);
  t.equal(metadata.handedOut, 1);
  proxy.inject({ fault: { kind: 'status', status: 403, code: 'AccessDenied' }, count: Infinity });
  const refused = async (times: number): Promise<number> => {
    proxy.reset();
    for (let n = 0; n < times; n++) {
      await t.rejects(store.head('x' as Key), { name: 'StoreError', kind: 'denied' });
      await t.rejects(store.put('x' as Key, [Buffer.from('x')]), {
        name: 'StoreError',
        kind: 'denied',
      });
    }
    return proxy.log.length;
  };
  t.equal(await refused(10), 21);
  t.equal(metadata.handedOut, 2, 'but once');
  clock.pass(61_000);
  t.equal(await refused(10), 21);
  t.equal(metadata.handedOut, 3, 'and once a minute');
});
