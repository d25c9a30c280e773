/**
 * Endpoints that tell a checksum which the object has not: noticed at the first multipart upload, or
 * said at the read that fails for it, with what to do.
 */
import { randomBytes } from 'node:crypto';
import t, { type Test } from 'tap';
import { silentLog } from '../../lib/log.js';
import { S3Store } from '../../lib/s3/s3-store.js';
import { key, sourceOf } from '../suites/store-law-setup.js';
import { putByParts, useProgram } from '../suites/store-file-laws.js';
import { Bucket } from '../support/bucket.js';
import { testBucket, testKey, useClient, useEndpoint } from '../support/embedded.js';
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.js';
import type { WholeAnswer } from '../support/faults.js';
import { mebibyte } from '../support/sizes.js';

/** More than a part, so that it is read in several. */
const content = randomBytes(11 * mebibyte);

/** As gofakes3 has it, for every multipart object. */
function alwaysZero({ headers, ...answer }: WholeAnswer): WholeAnswer {
  const isByParts = String(headers['etag']).includes('-');
  const told = { 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-checksum-type': 'FULL_OBJECT' };
  return { ...answer, headers: isByParts ? { ...headers, ...told } : headers };
}

async function useScene(t: Test) {
  const endpoint = await useEndpoint(t);
  const proxy = await startFaultProxy({ target: endpoint.url });
  t.teardown(() => proxy.close());
  const bucket = new Bucket(useClient(t, endpoint.url), testBucket);
  const warnings: string[] = [];
  const openStore = (options: { noReadChecksums?: boolean } = {}): S3Store => {
    const store = new S3Store(
      {
        bucket: testBucket,
        prefix: 'alice/',
        endpointUrl: proxy.url,
        credentials: testKey,
        region: 'us-east-1',
        partSize: 5 * mebibyte,
        uploadConcurrency: 2,
        timeoutMs: 20_000,
        ...options,
      },
      { ...silentLog, warn: (_fields, message) => void warnings.push(message) },
    );
    t.teardown(() => store.close());
    return store;
  };
  return { proxy, bucket, warnings, openStore };
}

function tellZero(proxy: FaultProxy): void {
  const fault = { kind: 'rewrite', rewrite: alwaysZero } as const;
  proxy.inject({ action: 'HeadObject', count: 1000, fault });
}

void t.test('wrong checksums of multipart objects are noticed at the first upload', async (t) => {
  const { proxy, bucket, warnings, openStore } = await useScene(t);
  tellZero(proxy);
  const store = openStore();
  for (const name of ['x', 'y']) await store.upload(key(name), sourceOf(content));
  t.equal(proxy.counts().HeadObject, undefined, 'nothing is asked before it matters');
  await putByParts(bucket, 'alice/theirs', content);
  const infos = await Promise.all(['x', 'theirs', 'y'].map((name) => store.head(key(name))));
  t.strictSame(
    infos.map(({ crc32 }) => crc32),
    [undefined, undefined, undefined],
  );
  t.equal(warnings.filter((text) => text.includes('wrong checksums')).length, 1);
  t.ok((proxy.counts().HeadObject ?? 0) <= 4, 'one look is enough');
  const program = await useProgram(t, store);
  t.ok((await program.get('/x')).equals(content), 'and nothing is compared from then on');
});

void t.test('right ones are believed', async (t) => {
  const { proxy, bucket, warnings, openStore } = await useScene(t);
  const store = openStore();
  await store.upload(key('x'), sourceOf(content));
  await bucket.put('alice/whole', content);
  t.not((await store.head(key('whole'))).crc32, undefined);
  proxy.inject({ action: 'GetObject', ordinal: 2, fault: { kind: 'flip-response', at: 9 } });
  const program = await useProgram(t, store);
  await t.rejects(program.get('/whole'), { code: 'EIO', message: /damaged on its way/ });
  t.strictSame(warnings, []);
});

void t.test('a read that fails for the checksum says how to go on', async (t) => {
  const { proxy, bucket, openStore } = await useScene(t);
  for (const [name, body] of [
    ['small', Buffer.alloc(1000, 'text')],
    ['large', content],
  ] as const) {
    await bucket.put(`alice/${name}`, body);
    const rewrite = ({ headers, ...answer }: WholeAnswer): WholeAnswer => ({
      ...answer,
      headers:
        'x-amz-checksum-crc32' in headers
          ? { ...headers, 'x-amz-checksum-crc32': 'AAAAAA==' }
          : headers,
    });
    const fault = { kind: 'rewrite', rewrite } as const;
    proxy.inject({ action: 'HeadObject', count: 1000, fault });
    if (name === 'small') proxy.inject({ action: 'GetObject', count: 1000, fault });
    const program = await useProgram(t, openStore());
    await t.rejects(program.get(`/${name}`), {
      code: 'EIO',
      message: /twice and alike.*--no-read-checksums/,
    });
    const trusting = await useProgram(t, openStore({ noReadChecksums: true }));
    t.ok((await trusting.get(`/${name}`)).equals(body), 'as it says');
    proxy.clear();
  }
});

void t.test('who does not want them compared does not ask for them', async (t) => {
  const { proxy, openStore } = await useScene(t);
  const store = openStore({ noReadChecksums: true });
  await store.upload(key('x'), sourceOf(content));
  const program = await useProgram(t, store);
  t.ok((await program.get('/x')).equals(content));
  t.notOk(proxy.log.some(({ headers }) => 'x-amz-checksum-mode' in headers));
});
