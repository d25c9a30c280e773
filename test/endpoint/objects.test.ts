/**
 * Objects: conditions and races, checksums, classes, metadata, and keys that a file system would
 * stumble over.
 */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  RestoreObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
} from '@aws-sdk/client-s3';
import t from 'tap';
import {
  refusal,
  temporaryDirectory,
  testBucket,
  useClient,
  useEndpoint,
} from '../support/embedded.js';

const Bucket = testBucket;

function put(
  client: S3Client,
  Key: string,
  Body: string | Buffer | Readable,
  more: Partial<PutObjectCommandInput> = {},
): Promise<{ ETag?: string | undefined }> {
  return client.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));
}

async function text(client: S3Client, Key: string): Promise<string | undefined> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
  return Body?.transformToString();
}

void t.test('of writers that all want an absent key one wins', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  const writers = Array.from({ length: 20 }, (_, index) => `body ${index}`);
  const results = await Promise.all(
    writers.map((body) => refusal(put(client, 'k', body, { IfNoneMatch: '*' }))),
  );
  t.equal(results.filter((result) => result === 'accepted').length, 1);
  t.equal(results.filter((result) => result === '412 PreconditionFailed').length, 19);
  t.equal(await text(client, 'k'), writers[results.indexOf('accepted')]);
});

void t.test('of writers that replace the same version one wins', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  const { ETag } = await put(client, 'k', 'base');
  const attempts = Array.from({ length: 20 }, (_, index) =>
    index % 2 === 0
      ? put(client, 'k', `body ${index}`, { IfMatch: ETag })
      : client.send(new DeleteObjectCommand({ Bucket, Key: 'k', IfMatch: ETag })),
  );
  const results = await Promise.all(attempts.map(refusal));
  t.equal(results.filter((result) => result === 'accepted').length, 1);
});

void t.test('a condition is asked again when the body has come', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  let sendRest: () => void = () => undefined;
  const rest = new Promise<void>((resolve) => (sendRest = resolve));
  const body = Readable.from(
    (async function* () {
      yield Buffer.alloc(100_000);
      await rest;
      yield Buffer.alloc(100_000);
    })(),
  );
  const slow = refusal(put(client, 'k', body, { ContentLength: 200_000, IfNoneMatch: '*' }));
  await put(client, 'k', 'quick');
  sendRest();
  t.equal(await slow, '412 PreconditionFailed');
  t.equal(await text(client, 'k'), 'quick');
});

void t.test('a download goes on with its version when the object is replaced', async (t) => {
  const directory = await temporaryDirectory(t);
  const endpoint = await useEndpoint(t, { directory });
  const client = useClient(t, endpoint.url);
  const before = Buffer.alloc(32 * 1024 * 1024, 'before');
  await put(client, 'k', before);
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: 'k' }));
  await put(client, 'k', 'after');
  await client.send(new DeleteObjectCommand({ Bucket, Key: 'k' }));
  const hash = createHash('sha256');
  for await (const piece of Body as AsyncIterable<Uint8Array>) hash.update(piece);
  t.equal(hash.digest('hex'), createHash('sha256').update(before).digest('hex'));
  await endpoint.close();
  t.strictSame(await readdir(join(directory, 'blobs')), [], 'then its bytes go');
});

void t.test('downloads side by side and one after another get their own bytes each', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  const objects = Array.from({ length: 8 }, (_, index) => ({
    key: `k${index}`,
    bytes: Buffer.alloc(5_000_000 + index, `object ${index} `),
  }));
  for (const { key, bytes } of objects) await put(client, key, bytes);
  const download = async ({ key, bytes }: { key: string; bytes: Buffer }): Promise<boolean> => {
    const Range = `bytes=${key.length}-`;
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: key, Range }));
    const pieces: Uint8Array[] = [];
    for await (const piece of Body as AsyncIterable<Uint8Array>) {
      pieces.push(piece);
      // Slower than the others send: what is lent must not change before it left.
      await new Promise(setImmediate);
    }
    return Buffer.concat(pieces).equals(bytes.subarray(key.length));
  };
  for (let round = 0; round < 2; round++) {
    const right = await Promise.all(objects.map(download));
    t.strictSame(right, Array<boolean>(objects.length).fill(true));
  }
});

void t.test('clients that leave in the middle of downloads let the bytes go', async (t) => {
  const directory = await temporaryDirectory(t);
  const errors: unknown[] = [];
  const endpoint = await useEndpoint(t, {
    ...{ directory, onInternalError: (error: unknown) => errors.push(error) },
  });
  const client = useClient(t, endpoint.url);
  const size = 3 * 1024 * 1024;
  await put(client, 'k', Buffer.alloc(size, 'before'));
  // Where the socket ends matters: between two writes, or within one.
  for (let round = 0; round < 200; round++) {
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: 'k' }));
    let left = (size * round) / 200;
    for await (const piece of Body as AsyncIterable<Uint8Array>) {
      left -= piece.length;
      if (left < 0) break;
    }
  }
  await client.send(new DeleteObjectCommand({ Bucket, Key: 'k' }));
  await endpoint.close();
  t.strictSame(await readdir(join(directory, 'blobs')), []);
  t.strictSame(errors, [], 'which is nobody’s failure');
});

void t.test('a body that breaks off changes nothing', async (t) => {
  const directory = await temporaryDirectory(t);
  const endpoint = await useEndpoint(t, { directory });
  const client = useClient(t, endpoint.url);
  await put(client, 'k', 'old');
  const abort = new AbortController();
  const body = Readable.from(
    (async function* () {
      yield Buffer.alloc(3_000_000);
      await new Promise(setImmediate);
      abort.abort();
      yield Buffer.alloc(3_000_000);
    })(),
  );
  body.on('error', () => undefined);
  const command = new PutObjectCommand({ Bucket, Key: 'k', Body: body, ContentLength: 9_000_000 });
  await t.rejects(client.send(command, { abortSignal: abort.signal }));
  t.equal(await text(client, 'k'), 'old');
  await endpoint.close();
  t.equal((await readdir(join(directory, 'blobs'))).length, 1, 'what came of it is gone');
});

const checksums = {
  ChecksumCRC32: 'y/Q5Jg==',
  ChecksumCRC32C: '4waSgw==',
  ChecksumSHA1: '98O8HYCOBHMq32eZZczDTKeuNEE=',
  ChecksumSHA256: 'FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=',
  ChecksumCRC64NVME: 'rosUhgp5mIg=',
} as const;

void t.test('a checksum header must be that of the body', async (t) => {
  const endpoint = await useEndpoint(t);
  const client = useClient(t, endpoint.url);
  for (const [field, value] of Object.entries(checksums)) {
    t.equal(await refusal(put(client, field, '123456789', { [field]: value })), 'accepted');
    t.equal(await refusal(put(client, 'bad', '123456788', { [field]: value })), '400 BadDigest');
    t.equal(await refusal(put(client, 'bad', 'x', { [field]: 'AAAA' })), '400 InvalidRequest');
    const ChecksumMode = 'ENABLED';
    const head = await client.send(new HeadObjectCommand({ Bucket, Key: field, ChecksumMode }));
    t.equal(head[field as keyof typeof checksums], value);
  }
  const ContentMD5 = createHash('md5').update('other').digest('base64');
  t.equal(await refusal(put(client, 'bad', 'x', { ContentMD5 })), '400 BadDigest');
  t.equal(await refusal(put(client, 'bad', 'x', { ContentMD5: 'AAAA' })), '400 InvalidDigest');
  t.notOk(endpoint.keys(Bucket).includes('bad'));
});

void t.test('an archived object is read only once restored', async (t) => {
  let nowMs = Date.now();
  const { url } = await useEndpoint(t, { now: () => nowMs });
  const client = useClient(t, url);
  await put(client, 'k', 'cold', { StorageClass: 'GLACIER' });
  await put(client, 'instant', 'cool', { StorageClass: 'GLACIER_IR' });
  t.equal(await text(client, 'instant'), 'cool');
  const get = new GetObjectCommand({ Bucket, Key: 'k' });
  t.equal(await refusal(client.send(get)), '403 InvalidObjectState');
  const copy = new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/k` });
  t.equal(await refusal(client.send(copy)), '403 InvalidObjectState');
  const head = await client.send(new HeadObjectCommand({ Bucket, Key: 'k' }));
  t.equal(head.StorageClass, 'GLACIER');
  await client.send(new RestoreObjectCommand({ Bucket, Key: 'k', RestoreRequest: { Days: 1 } }));
  t.equal(await text(client, 'k'), 'cold');
  nowMs += 25 * 60 * 60 * 1000;
  const late = useClient(t, url, { systemClockOffset: 25 * 60 * 60 * 1000 });
  t.equal(await refusal(late.send(get)), '403 InvalidObjectState', 'for as long as was asked');
});

void t.test('user metadata has its limit and comes back', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  const fits = { a: 'x'.repeat(2047) };
  t.equal(await refusal(put(client, 'k', 'v', { Metadata: fits })), 'accepted');
  const over = { a: 'x'.repeat(2048) };
  t.equal(await refusal(put(client, 'k', 'v', { Metadata: over })), '400 MetadataTooLarge');
  const { Metadata } = await client.send(new HeadObjectCommand({ Bucket, Key: 'k' }));
  t.strictSame(Metadata, fits);
});

void t.test('a copy keeps metadata unless replaced, and never the class', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  const settings = { Metadata: { a: '1' }, ContentType: 'text/x', CacheControl: 'no-store' };
  await put(client, 'k', 'v', { ...settings, StorageClass: 'STANDARD_IA' });
  const copy = { Bucket, Key: 'copy', CopySource: `${Bucket}/k` };
  await client.send(new CopyObjectCommand(copy));
  const kept = await client.send(new HeadObjectCommand({ Bucket, Key: 'copy' }));
  t.match(kept, settings);
  t.equal(kept.StorageClass, undefined);
  await client.send(new CopyObjectCommand({ ...copy, MetadataDirective: 'REPLACE' }));
  const replaced = await client.send(new HeadObjectCommand({ Bucket, Key: 'copy' }));
  t.strictSame(replaced.Metadata, {});
  t.equal(replaced.CacheControl, undefined);
  await put(client, 'present', 'p');
  const onto = new CopyObjectCommand({ ...copy, Key: 'present', IfNoneMatch: '*' });
  t.equal(await refusal(client.send(onto)), '412 PreconditionFailed');
  t.equal(await text(client, 'present'), 'p');
});

const oddKeys = [
  'a//b',
  '//',
  '/lead',
  'trail/',
  '.',
  '..',
  './x',
  '../x',
  '../../../../etc/passwd',
  'a/../b',
  'a/./b',
  'x\\y',
  '%2e%2e%2f',
  'sp ace',
  'a+b',
  'q?x=1&y',
  '#',
  'new\nline',
  'tab\t',
  '\u0001',
  '\u007f',
  'con',
  'nul.',
  'quote\'"',
  '<xml>&amp;',
  '\u{1f600}',
  'é',
  'e\u0301',
  '\uffff',
  'x'.repeat(1024),
  `${'d/'.repeat(511)}x`,
  '__proto__',
  'constructor',
  'toString',
];

void t.test('every key is an ordinary key, and none a path on disk', async (t) => {
  const directory = await temporaryDirectory(t);
  const endpoint = await useEndpoint(t, { directory });
  const client = useClient(t, endpoint.url);
  for (const key of oddKeys) await put(client, key, `of ${key}`);
  const sorted = oddKeys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  t.strictSame(endpoint.keys(Bucket), sorted);
  await endpoint.close();
  t.strictSame((await readdir(directory)).sort(), ['blobs', 'journal']);
  for (const name of await readdir(join(directory, 'blobs'))) t.match(name, /^[0-9a-f]{32}$/);
  const again = await useEndpoint(t, { directory });
  const later = useClient(t, again.url);
  for (const key of oddKeys) t.equal(await text(later, key), `of ${key}`);
  for (const key of oddKeys) await later.send(new DeleteObjectCommand({ Bucket, Key: key }));
  t.strictSame(again.keys(Bucket), []);
  t.equal(await refusal(put(later, 'x'.repeat(1025), 'v')), '400 KeyTooLongError');
});

void t.test('a batch delete tells of each key', async (t) => {
  const endpoint = await useEndpoint(t);
  const client = useClient(t, endpoint.url);
  const { ETag } = await put(client, 'a', 'v');
  await put(client, 'b', 'v');
  const Objects = [{ Key: 'a', ETag }, { Key: 'b', ETag: '"other"' }, { Key: 'absent' }];
  const answer = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
  t.strictSame(
    answer.Deleted?.map(({ Key }) => Key),
    ['a', 'absent'],
  );
  t.match(answer.Errors, [{ Key: 'b', Code: 'PreconditionFailed' }]);
  t.strictSame(endpoint.keys(Bucket), ['b']);
});
