/** Storage class, encryption, ACL, payer and owner: on every write, part and copy. */
import { HeadObjectCommand } from '@aws-sdk/client-s3';
import t from 'tap';
import type { Key } from '../../lib/path.js';
import { testBucket, testKey, useClient, useEndpoint } from '../support/embedded.js';
import { startFaultProxy } from '../support/fault-proxy.js';
import { mebibyte } from '../support/sizes.js';
import { useStore } from '../support/store.js';

const keyId = 'arn:aws:kms:us-east-1:123456789012:key/sftp';
const accountId = '123456789012';

/** What each request that makes an object says of it; parts and completions belong to the upload. */
const ofObject = {
  'x-amz-storage-class': 'STANDARD_IA',
  'x-amz-server-side-encryption': 'aws:kms',
  'x-amz-server-side-encryption-aws-kms-key-id': keyId,
  'x-amz-acl': 'bucket-owner-full-control',
};
const making = ['PutObject', 'CreateMultipartUpload', 'CopyObject'];
const copying = ['CopyObject', 'UploadPartCopy'];

void t.test('they are sent with every request they belong to, and stored', async (t) => {
  // A bucket that refuses who does not pay; the endpoint refuses the owner of another account.
  const buckets = [{ name: testBucket, requesterPays: true }];
  const endpoint = await useEndpoint(t, { accountId, buckets, limits: { minPart: 1024 } });
  const proxy = await startFaultProxy({ target: endpoint.url });
  t.teardown(() => proxy.close());
  const store = useStore(t, proxy.url, {
    partSize: 5 * mebibyte,
    copyThreshold: 5 * mebibyte,
    credentials: testKey,
    storageClass: 'STANDARD_IA',
    sse: 'aws:kms',
    sseKmsKeyId: keyId,
    acl: 'bucket-owner-full-control',
    requesterPays: true,
    expectedBucketOwner: accountId,
  });
  const [small, large, copied, copiedByParts, appended] = [
    'small',
    'large',
    'copied',
    'copied-by-parts',
    'appended',
  ] as Key[] as [Key, Key, Key, Key, Key];
  const content = Buffer.alloc(6 * mebibyte, 'x');
  const source = {
    size: content.length,
    read: (into: Uint8Array, offset: number) => {
      into.set(content.subarray(offset, offset + into.length));
      return Promise.resolve();
    },
  };

  await store.verifyBucket();
  const one = await store.put(small, [Buffer.from('x')]);
  const many = await store.upload(large, source);
  await store.copy({ key: small, etag: one.etag, size: 1 }, copied);
  await store.copy({ key: large, etag: many.etag, size: content.length }, copiedByParts);
  const upload = await store.createUpload(appended);
  const base = { key: large, etag: many.etag, size: content.length };
  const first = await store.copyPart(upload, 1, base, { start: 0, end: content.length });
  const second = await store.uploadPart(upload, 2, [Buffer.from('more')]);
  await store.completeUpload(upload, [first, second]);
  await store.put(small, [Buffer.from('y')], { condition: { etag: one.etag } });
  const { body } = await store.get(large, { range: { start: 0, end: 10 } });
  for await (const piece of body) t.equal(piece.length, 10);
  await store.abortUpload(await store.createUpload('given-up' as Key));

  await t.test('in the requests', (t) => {
    const seen = new Set<string>();
    for (const { action, key, headers, status } of proxy.log) {
      seen.add(action);
      t.match(headers, { 'x-amz-request-payer': 'requester' }, action);
      t.match(headers, { 'x-amz-expected-bucket-owner': accountId }, action);
      if (making.includes(action)) t.match(headers, ofObject, `${action} ${key}`);
      if (copying.includes(action)) {
        t.match(headers, { 'x-amz-source-expected-bucket-owner': accountId }, action);
      }
      t.ok(status === undefined || status < 300 || status === 412, `${action} ${status ?? ''}`);
    }
    const needed = [...making, ...copying, 'UploadPart', 'CompleteMultipartUpload', 'HeadObject'];
    for (const action of [...needed, 'GetObject', 'ListObjectsV2', 'AbortMultipartUpload']) {
      t.ok(seen.has(action), action);
    }
    t.end();
  });

  await t.test('in what the server has', async (t) => {
    const client = useClient(t, endpoint.url);
    for (const key of [small, large, copied, copiedByParts, appended]) {
      const found = await client.send(
        new HeadObjectCommand({
          Bucket: testBucket,
          Key: `alice/${key}`,
          RequestPayer: 'requester',
        }),
      );
      const expected = {
        StorageClass: 'STANDARD_IA',
        ServerSideEncryption: 'aws:kms',
        SSEKMSKeyId: keyId,
      };
      t.match(found, expected, key);
    }
  });

  await t.test('and without them it is refused', async (t) => {
    const stranger = useStore(t, endpoint.url, { credentials: testKey });
    await t.rejects(stranger.verifyBucket(), { name: 'StoreError', kind: 'denied' });
  });
});
