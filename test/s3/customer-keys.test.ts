/**
 * SSE-C: each request about an object brings the key it is under, and none more is made than without.
 * The embedded endpoint asks for it as AWS does; the laws of the store are tried with a key too.
 */
import { inspect } from 'node:util';
import {
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { CustomerKey } from '../../lib/customer-key.js';
import { isStoreError, type StoreErrorKind } from '../../lib/errors.js';
import type { LogFields } from '../../lib/log.js';
import type { StoreOptions } from '../../lib/s3/connection/client.js';
import { S3Store } from '../../lib/s3/s3-store.js';
import { collect, key, pattern, read, sourceOf } from '../suites/store-law-setup.js';
import { customerFields, sourceFields } from '../support/customer-key.js';
import { refusal, testBucket, testKey, useClient, useEndpoint } from '../support/embedded.js';
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.js';
import { mebibyte } from '../support/sizes.js';

const [newer, older, unknown] = [1, 2, 3].map((byte) => new CustomerKey(Buffer.alloc(32, byte)));

interface Scene {
  readonly proxy: FaultProxy;
  readonly told: string[];
  readonly open: (
    keys: readonly (CustomerKey | undefined)[],
    options?: Partial<StoreOptions>,
  ) => S3Store;
  /** as another program puts it there */
  readonly put: (name: string, body: string | Buffer, customer?: CustomerKey) => Promise<void>;
  /** what a program without that key is told, and one with it */
  readonly fitsOnly: (name: string, customer: CustomerKey | undefined) => Promise<boolean>;
}

async function makeScene(t: Test): Promise<Scene> {
  const endpoint = await useEndpoint(t);
  const proxy = await startFaultProxy({ target: endpoint.url });
  t.teardown(() => proxy.close());
  const client = useClient(t, endpoint.url);
  const told: string[] = [];
  const keep = (fields: LogFields, message: string): void => {
    told.push(`${message} ${inspect(fields, { depth: 20, showHidden: true })}`);
  };
  const at = (name: string) => ({ Bucket: testBucket, Key: `alice/${name}` });
  return {
    proxy,
    told,
    open: (keys, options = {}) => {
      const store = new S3Store(
        {
          ...{ bucket: testBucket, prefix: 'alice/', endpointUrl: proxy.url, credentials: testKey },
          ...{ partSize: 5 * mebibyte, uploadConcurrency: 2, timeoutMs: 5000, maxAttempts: 2 },
          ...{ copyThreshold: 6 * mebibyte, region: 'us-east-1' },
          customerKeys: keys.filter((each) => each !== undefined),
          ...options,
        },
        { error: keep, warn: keep, info: keep, debug: keep },
      );
      t.teardown(() => store.close());
      return store;
    },
    put: async (name, body, customer) => {
      await client.send(
        new PutObjectCommand({ ...at(name), ...customerFields(customer), Body: Buffer.from(body) }),
      );
    },
    fitsOnly: async (name, customer) => {
      const ask = (each?: CustomerKey): Promise<string> =>
        refusal(client.send(new HeadObjectCommand({ ...at(name), ...customerFields(each) })));
      const answers = await Promise.all([newer, older, undefined].map(ask));
      const fitting = [newer, older, undefined].filter((_, n) => answers[n] === 'accepted');
      return fitting.length === 1 && fitting[0] === customer;
    },
  };
}

/** As t.rejects takes it. */
function matching(kind: StoreErrorKind, message = /./): { kind: StoreErrorKind; message: RegExp } {
  return { kind, message };
}

/** What the requests of `work` were, without what is made once to know the endpoint. */
async function asked(proxy: FaultProxy, work: () => Promise<unknown>): Promise<object> {
  proxy.reset();
  await work();
  return proxy.counts();
}

void t.test('what is written is under the first key, however it is written', async (t) => {
  const { open, put, fitsOnly } = await makeScene(t);
  const store = open([newer, older]);
  const large = pattern(12 * mebibyte);

  await store.put(key('small'), [Buffer.from('small')]);
  await store.put(key('excl'), [Buffer.from('x')], { condition: { absent: true } });
  await store.upload(key('large'), sourceOf(large));
  const { etag } = await store.head(key('large'));
  t.ok((await read(store, 'large')).equals(large));
  const { body } = await store.get(key('large'), {
    range: { start: 6_000_000, end: 8_000_000 },
    ifMatch: etag,
  });
  t.ok((await collect(body)).equals(large.subarray(6_000_000, 8_000_000)), 'a range, by a lane');

  await store.copy(await store.head(key('small')), key('copy'));
  await store.copy({ key: key('large'), etag, size: large.length }, key('by-parts'));
  const upload = await store.createUpload(key('appended'), {
    like: { key: key('large'), etag, size: large.length },
  });
  const parts = [
    await store.copyPart(
      upload,
      1,
      { key: key('large'), etag, size: large.length },
      { start: 0, end: 6 * mebibyte },
    ),
    await store.uploadPart(upload, 2, sourceOf(Buffer.from('end'))),
  ];
  await store.completeUpload(upload, parts);
  t.ok(
    (await read(store, 'appended')).equals(
      Buffer.concat([large.subarray(0, 6 * mebibyte), Buffer.from('end')]),
    ),
  );
  await put('old', 'old', older);
  await store.copy(await store.head(key('old')), key('old-moved'));
  await put('plain', 'plain');
  await store.copy(await store.head(key('plain')), key('plain-moved'));
  for (const name of ['small', 'excl', 'large', 'copy', 'by-parts', 'appended', 'old-moved']) {
    t.ok(await fitsOnly(name, newer), name);
  }
  t.ok(await fitsOnly('plain-moved', newer), 'what was plain is encrypted by a rename');
  t.ok(await fitsOnly('old', older));
  t.ok(await fitsOnly('plain', undefined));
});

void t.test('with one key as many requests are made as without', async (t) => {
  const counts: object[] = [];
  for (const keys of [[], [newer]]) {
    const { open, proxy } = await makeScene(t);
    const store = open(keys);
    await store.learnConditions();
    await store.put(key('first'), []);
    counts.push(
      await asked(proxy, async () => {
        const { etag } = await store.put(key('file'), [Buffer.from('file')]);
        await store.head(key('file'));
        await read(store, 'file');
        await store.copy({ key: key('file'), etag, size: 4 }, key('moved'));
        await store.delete(key('file'));
        await store.upload(key('large'), sourceOf(pattern(11 * mebibyte)));
        await read(store, 'large');
        await store.head(key('absent')).catch(() => undefined);
      }),
    );
  }
  // Off AWS, where no checksum in the answer proves it, what has no MD5 for a tag is looked at: an upload of
  // parts, and the source of a copy.
  const { HeadObject, ...withKey } = counts[1] as { HeadObject: number };
  t.strictSame({ ...withKey, HeadObject: HeadObject - 2 }, counts[0]);
});

void t.test('older keys read, and cost a refusal once', async (t) => {
  const { open, put, proxy } = await makeScene(t);
  await put('first', 'first');
  for (const n of [1, 2, 3]) await put(`old/${n}`, `old ${n}`, older);
  for (const n of [1, 2]) await put(`plain/${n}`, `plain ${n}`);
  await put('odd', 'odd', unknown);
  const store = open([newer, older]);
  const head = (name: string) => asked(proxy, () => store.head(key(name)));

  // Once a 400 may be about something else (read-checksums.ts).
  t.strictSame(await head('first'), { HeadObject: 3 });
  t.strictSame(await head('old/1'), { HeadObject: 2 });
  t.strictSame(await head('old/2'), { HeadObject: 1 }, 'its neighbour');
  t.strictSame(await asked(proxy, () => read(store, 'old/3')), { GetObject: 1 });
  t.strictSame(await head('plain/1'), { HeadObject: 2 });
  t.strictSame(await asked(proxy, () => read(store, 'plain/2')), { GetObject: 1 });
  t.equal((await read(store, 'plain/2')).toString(), 'plain 2');

  await store.put(key('old/1'), [Buffer.from('new')]);
  t.strictSame(await head('old/1'), { HeadObject: 1 }, 'written over');
  t.strictSame(await head('old/2'), { HeadObject: 1 });

  await t.rejects(store.head(key('odd')), matching('denied', /--sse-c-key-file/));
  await t.rejects(read(store, 'odd'), matching('denied'));
  t.strictSame(
    await head('absent').catch((error: unknown) => isStoreError(error, 'notFound')),
    true,
  );
});

void t.test('an object that was replaced under another key meanwhile', async (t) => {
  const { open, put } = await makeScene(t);
  const store = open([newer, older]);
  await put('file', 'one', older);
  const { etag } = await store.head(key('file'));
  await put('file', 'two', newer);
  await t.rejects(store.get(key('file'), { ifMatch: etag }), matching('changed'));
  t.equal((await read(store, 'file')).toString(), 'two');
});

void t.test('an upload goes on under the key that it was begun with', async (t) => {
  const { open, fitsOnly } = await makeScene(t);
  const first = open([older]);
  const upload = await first.createUpload(key('held'));
  const part = await first.uploadPart(upload, 1, [pattern(5 * mebibyte)]);
  const memory = JSON.parse(JSON.stringify(first.memoryOf(upload))) as typeof upload;
  const plain = open([]);
  const begunPlain = await plain.createUpload(key('begun-plain'));
  const plainMemory = plain.memoryOf(begunPlain);

  const forgetful = open([newer]);
  const lost = forgetful.recall(memory);
  await t.rejects(forgetful.uploadPart(lost, 2, [Buffer.from('end')]), matching('denied'));
  t.equal(await forgetful.listParts(lost), undefined, 'not to be asked');

  const second = open([newer, older]);
  const again = second.recall(memory);
  const end = await second.uploadPart(again, 2, [Buffer.from('end')]);
  t.equal((await second.listParts(again))?.length, 2);
  await second.completeUpload(again, [part, end]);
  t.ok(await fitsOnly('held', older));
  t.equal((await read(second, 'held')).length, 5 * mebibyte + 3);

  const goesOn = second.recall(plainMemory);
  await second.completeUpload(goesOn, [await second.uploadPart(goesOn, 1, [Buffer.from('x')])]);
  t.ok(await fitsOnly('begun-plain', undefined));
});

void t.test('what a killed process left is removed, whatever its key', async (t) => {
  const { open, proxy } = await makeScene(t);
  const store = open([newer, older]);
  const client = useClient(t, proxy.url);
  const at = { Bucket: testBucket, Key: 'alice/left', ChecksumAlgorithm: 'CRC32' } as const;
  for (const customer of [newer, older, undefined]) {
    const fromMs = Date.now();
    await client.send(new CreateMultipartUploadCommand({ ...at, ...customerFields(customer) }));
    await store.removeBegun({
      id: '1',
      key: key('left'),
      kind: 'upload',
      fromMs,
      untilMs: Date.now(),
    });
    const { Uploads: left = [] } = await client.send(
      new ListMultipartUploadsCommand({ Bucket: testBucket }),
    );
    t.strictSame(left, []);
  }
});

void t.test('nothing is stored where the endpoint does not know SSE-C', async (t) => {
  const { open, proxy } = await makeScene(t);
  const store = open([newer]);
  proxy.inject({
    action: 'PutObject',
    count: 10,
    fault: {
      kind: 'rewrite',
      rewrite: (answer) => ({
        ...answer,
        headers: Object.fromEntries(
          Object.entries(answer.headers).filter(([name]) => !name.includes('customer')),
        ),
      }),
    },
  });
  const wanted = matching('unsupported', /does not encrypt/);
  await t.rejects(store.put(key('secret'), [Buffer.from('secret')]), wanted);
  await t.rejects(store.createUpload(key('secret')), wanted);
  const touched = proxy.log.map((request) => request.key);
  t.ok(
    touched.every((name) => name.startsWith('alice/.s3jail-probe-')),
    touched.join(),
  );
  t.equal(proxy.counts().PutObject, proxy.counts().DeleteObject, 'what was tried is gone');
});

void t.test('no key travels where anybody could read it', async (t) => {
  const { open } = await makeScene(t);
  const store = open([newer], { endpointUrl: 'http://s3.example.test' });
  await t.rejects(store.head(key('x')), matching('denied', /https/));
  const source = { key: key('x'), etag: '"0"' as never, size: 1 };
  await t.rejects(store.copy(source, key('y')), matching('denied', /https/));
});

void t.test('no key is told to anybody', async (t) => {
  const { open, put, told, proxy } = await makeScene(t);
  const store = open([newer, older]);
  await put('odd', 'odd', unknown);
  const failures: unknown[] = [];
  const keep = (error: unknown): void => void failures.push(error);
  await store.head(key('odd')).catch(keep);
  await proxy.down();
  await store.put(key('x'), []).catch(keep);
  await read(store, 'x').catch(keep);
  t.equal(failures.length, 3);
  const shown = [
    ...told,
    ...failures.map((error) => inspect(error, { depth: 20, showHidden: true })),
  ]
    .concat(inspect(newer, { showHidden: true }), JSON.stringify(newer))
    .join('\n');
  for (const customer of [newer, older]) {
    t.notOk(shown.includes(customer?.base64 ?? ''), 'in base64');
    t.notOk(shown.includes(Buffer.from(customer?.base64 ?? '', 'base64').toString('hex')));
  }
});

void t.test('the endpoint refuses as AWS does', async (t) => {
  const endpoint = await useEndpoint(t);
  const client = useClient(t, endpoint.url);
  const at = (Key: string) => ({ Bucket: testBucket, Key });
  await client.send(
    new PutObjectCommand({ ...at('k'), ...customerFields(newer), Body: Buffer.from('k') }),
  );
  await client.send(new PutObjectCommand({ ...at('p'), Body: Buffer.from('p') }));
  const get = (name: string, customer?: CustomerKey) =>
    refusal(client.send(new GetObjectCommand({ ...at(name), ...customerFields(customer) })));
  t.equal(await get('k', newer), 'accepted');
  t.equal(await get('k', older), '403 AccessDenied');
  t.equal(await get('k'), '400 InvalidRequest');
  t.equal(await get('p', newer), '400 InvalidRequest');
  const copy = (more: object) =>
    refusal(
      client.send(new CopyObjectCommand({ ...at('c'), CopySource: `${testBucket}/k`, ...more })),
    );
  t.equal(await copy({}), '400 InvalidRequest');
  t.equal(await copy(sourceFields(older)), '403 AccessDenied');
  t.equal(await copy({ ...sourceFields(newer), ...customerFields(older) }), 'accepted');
  t.equal(await get('c', older), 'accepted');
  const put = (more: object) =>
    refusal(client.send(new PutObjectCommand({ ...at('x'), ...customerFields(newer), ...more })));
  t.equal(await put({ ServerSideEncryption: 'AES256' }), '400 InvalidArgument');
  t.equal(await put({ SSECustomerAlgorithm: 'AES128' }), '400 InvalidArgument');
});
