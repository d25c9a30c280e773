/**
 * Each fault of the proxy, as a client of the SDK meets it.
 */
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3ServiceException,
  UploadPartCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import type { Endpoint } from '../../lib/endpoint/endpoint.js';
import { systemErrorCode } from '../../lib/errors.js';
import { refusal, testBucket, useClient, useEndpoint } from './embedded.js';
import { startFaultProxy, type FaultProxy } from './fault-proxy.js';

const Bucket = testBucket;

interface Rig {
  readonly endpoint: Endpoint;
  readonly proxy: FaultProxy;
  readonly client: S3Client;
}

async function rig(t: Test, maxAttempts = 1): Promise<Rig> {
  const endpoint = await useEndpoint(t);
  const proxy = await startFaultProxy({ target: endpoint.url });
  t.teardown(() => proxy.close());
  return { endpoint, proxy, client: useClient(t, proxy.url, { maxAttempts }) };
}

function put(client: S3Client, Key: string, Body: string | Buffer): Promise<unknown> {
  return client.send(new PutObjectCommand({ Bucket, Key, Body }));
}

async function read(client: S3Client, Key: string, Range?: string): Promise<Buffer> {
  const answer = await client.send(new GetObjectCommand({ Bucket, Key, Range }));
  return Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
}

/** The system error that a call ended with. */
async function breakage(call: Promise<unknown>): Promise<string | undefined> {
  try {
    await call;
  } catch (error) {
    return systemErrorCode(error);
  }
  return 'none';
}

const mebibyte = Buffer.alloc(1024 * 1024, 'abcdefgh');

void t.test('without faults everything passes, counted by action', async (t) => {
  const { proxy, client } = await rig(t);
  const key = 'a b/ü+%.txt';
  await put(client, key, 'hello');
  t.equal((await read(client, key)).toString(), 'hello');
  await client.send(new HeadObjectCommand({ Bucket, Key: key }));
  await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'a b/' }));
  const stream = Readable.from([mebibyte, mebibyte]);
  const size = 2 * mebibyte.length;
  await client.send(
    new PutObjectCommand({ Bucket, Key: 'streamed', Body: stream, ContentLength: size }),
  );
  t.equal((await read(client, 'streamed')).length, size, 'chunked bodies pass too');
  t.strictSame(proxy.counts(), { PutObject: 2, GetObject: 2, HeadObject: 1, ListObjectsV2: 1 });
  const [first] = proxy.log;
  t.match(first, {
    action: 'PutObject',
    method: 'PUT',
    bucket: Bucket,
    key,
    status: 200,
    bytesIn: 5,
    accessKeyId: 'AKIATEST',
    fault: undefined,
  });
  t.notOk('authorization' in (first?.headers ?? {}), 'the log holds no signature');
  t.ok(proxy.bytes().toClient > size);
  proxy.reset();
  t.strictSame(proxy.counts(), {});
  t.strictSame(proxy.bytes(), { fromClient: 0, toClient: 0 });
});

void t.test('a client that waits to be told to send its body is told', async (t) => {
  const { endpoint, proxy, client } = await rig(t);
  // The SDK sends Expect: 100-continue above 2 MiB.
  const body = Buffer.alloc(3 * mebibyte.length, 'x');
  await put(client, 'k', body);
  t.equal(proxy.log[0]?.headers.expect, '100-continue');
  t.ok((await read(client, 'k')).equals(body));
  proxy.inject({ fault: { kind: 'status', status: 503, code: 'SlowDown' } });
  t.equal(await refusal(put(client, 'l', body)), '503 SlowDown');
  t.match(await refusal(put(client, 'x'.repeat(1025), body)), /^400 KeyTooLongError/);
  t.strictSame(endpoint.keys(Bucket), ['k']);
});

void t.test('a status fault answers in the place of S3', async (t) => {
  const { endpoint, proxy, client } = await rig(t);
  const injection = proxy.inject({
    action: 'PutObject',
    fault: { kind: 'status', status: 503, code: 'SlowDown', retryAfterSeconds: 7 },
  });
  const error = await put(client, 'k', 'v').then(
    () => t.fail('the PUT was accepted'),
    (reason: unknown) => reason,
  );
  t.ok(error instanceof S3ServiceException);
  if (error instanceof S3ServiceException) {
    t.equal(error.name, 'SlowDown');
    t.equal(error.$response?.headers['retry-after'], '7');
  }
  t.strictSame(endpoint.keys(Bucket), [], 'nothing was stored');
  t.equal(injection.fired, 1);
  await put(client, 'k', 'v');
  t.strictSame(endpoint.keys(Bucket), ['k'], 'once means once');
});

void t.test('the SDK gets over a fault that ends', async (t) => {
  const { proxy, client } = await rig(t, 3);
  proxy.inject({ count: 2, fault: { kind: 'status', status: 500, code: 'InternalError' } });
  await put(client, 'k', 'v');
  t.equal(proxy.counts().PutObject, 3);
});

void t.test('ordinal, count and key choose the requests', async (t) => {
  const { proxy, client } = await rig(t);
  const fault = { kind: 'status', status: 403, code: 'ExpiredToken' } as const;
  proxy.inject({ action: 'PutObject', key: /^dir\//, ordinal: 2, count: 2, fault });
  const results = [];
  for (const key of ['dir/1', 'other', 'dir/2', 'dir/3', 'dir/4']) {
    results.push(await refusal(put(client, key, 'v')));
  }
  t.strictSame(results, [
    'accepted',
    'accepted',
    '403 ExpiredToken',
    '403 ExpiredToken',
    'accepted',
  ]);
});

void t.test('a reset before leaves the server untouched, a reset after does not', async (t) => {
  const { endpoint, proxy, client } = await rig(t);
  proxy.inject({ fault: { kind: 'reset-before' } });
  t.equal(await breakage(put(client, 'before', 'v')), 'ECONNRESET');
  t.strictSame(endpoint.keys(Bucket), []);
  proxy.inject({ fault: { kind: 'reset-after' } });
  t.equal(await breakage(put(client, 'after', 'v')), 'ECONNRESET');
  t.strictSame(endpoint.keys(Bucket), ['after']);
  t.strictSame(
    proxy.log.map(({ status }) => status),
    [undefined, undefined],
    'the client saw no answer',
  );
});

void t.test('an answer that never comes ends with the faults', async (t) => {
  const { endpoint, proxy, client } = await rig(t);
  proxy.inject({ fault: { kind: 'no-answer' } });
  const waiting = breakage(put(client, 'k', 'v'));
  while (endpoint.keys(Bucket).length === 0) await new Promise(setImmediate);
  proxy.clear();
  t.equal(await waiting, 'ECONNRESET');
});

void t.test('a body is cut off after the bytes asked for', async (t) => {
  const { proxy, client } = await rig(t);
  await put(client, 'k', mebibyte);
  for (const afterBytes of [0, 1, 100_000]) {
    proxy.inject({ action: 'GetObject', fault: { kind: 'truncate', afterBytes } });
    const answer = await client.send(new GetObjectCommand({ Bucket, Key: 'k' }));
    let received = 0;
    let failed = false;
    try {
      for await (const piece of answer.Body as AsyncIterable<Uint8Array>) received += piece.length;
    } catch (error) {
      failed = systemErrorCode(error) === 'ECONNRESET';
    }
    t.ok(failed, 'the body says that it is not whole');
    t.equal(received, afterBytes);
  }
});

void t.test('a stalled body goes no further until the faults are cleared', async (t) => {
  const { proxy, client } = await rig(t);
  await put(client, 'k', mebibyte);
  proxy.inject({ action: 'GetObject', fault: { kind: 'stall', afterBytes: 10 } });
  const answer = await client.send(new GetObjectCommand({ Bucket, Key: 'k' }));
  const body = (answer.Body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  const first = await body.next();
  t.equal((first.value as Uint8Array).length, 10);
  const rest = breakage(Promise.resolve(body.next()));
  proxy.clear();
  t.equal(await rest, 'ECONNRESET');
});

void t.test('a flipped bit of an answer passes a ranged read and fails a whole one', async (t) => {
  const { proxy, client } = await rig(t);
  await put(client, 'k', mebibyte);
  proxy.inject({ action: 'GetObject', count: 2, fault: { kind: 'flip-response', at: 5 } });
  const range = await read(client, 'k', 'bytes=0-9');
  t.equal(range.toString(), 'abcdegghab');
  await t.rejects(read(client, 'k'), { message: /Checksum mismatch/ });
});

void t.test('a flipped bit of a request is refused by the server', async (t) => {
  const { endpoint, proxy, client } = await rig(t);
  proxy.inject({ action: 'PutObject', fault: { kind: 'flip-request', at: 2 } });
  t.match(await refusal(put(client, 'k', 'value')), /^400 /);
  proxy.inject({ action: 'PutObject', fault: { kind: 'flip-request', at: 2 } });
  const streamed = client.send(
    new PutObjectCommand({ Bucket, Key: 'k', Body: Readable.from(['value']), ContentLength: 5 }),
  );
  t.equal(await refusal(streamed), '400 BadDigest', 'chunked: the content, not the framing');
  t.strictSame(endpoint.keys(Bucket), []);
});

void t.test('a completion can fail with status 200', async (t) => {
  const { endpoint, proxy, client } = await rig(t);
  const target = { Bucket, Key: 'k' };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(target));
  const part = { ...target, UploadId, PartNumber: 1 };
  const { ETag } = await client.send(new UploadPartCommand({ ...part, Body: 'v' }));
  const complete = new CompleteMultipartUploadCommand({
    ...target,
    UploadId,
    MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] },
  });
  proxy.inject({
    action: 'CompleteMultipartUpload',
    fault: { kind: 'error-in-200', code: 'InternalError' },
  });
  t.match(await refusal(client.send(complete)), /InternalError$/);
  t.equal(endpoint.openUploads().length, 1, 'the server never saw it');
  await client.send(complete);
  t.strictSame(endpoint.keys(Bucket), ['k']);
});

void t.test('an ETag header is replaced', async (t) => {
  const { proxy, client } = await rig(t);
  await put(client, 'k', 'v');
  proxy.inject({ action: 'HeadObject', fault: { kind: 'etag', etag: '"other"' } });
  const answer = await client.send(new HeadObjectCommand({ Bucket, Key: 'k' }));
  t.equal(answer.ETag, '"other"');
});

void t.test('an answer is rewritten', async (t) => {
  const { proxy, client } = await rig(t);
  await put(client, 'k', 'v');
  const injection = proxy.inject({
    count: 2,
    fault: {
      kind: 'rewrite',
      rewrite: (answer, query) => ({
        ...answer,
        headers: { ...answer.headers, etag: '"other"', 'x-amz-checksum-crc32': undefined },
        body: `${answer.body}${query === '' ? '' : ' and more'}`,
      }),
    },
  });
  const head = await client.send(new HeadObjectCommand({ Bucket, Key: 'k' }));
  t.match(head, { ETag: '"other"', ContentLength: 1 });
  t.equal((await read(client, 'k')).toString(), 'v and more');
  t.equal(injection.fired, 2);
  t.equal((await read(client, 'k')).toString(), 'v');
});

void t.test('latency and bandwidth slow requests down by no less than they say', async (t) => {
  const { proxy, client } = await rig(t);
  await put(client, 'k', mebibyte);
  const latency = proxy.inject({ fault: { kind: 'latency', ms: 50 } });
  let startMs = performance.now();
  await client.send(new HeadObjectCommand({ Bucket, Key: 'k' }));
  t.ok(performance.now() - startMs >= 49);
  latency.remove();
  proxy.inject({ fault: { kind: 'bandwidth', bytesPerSecond: 10 * mebibyte.length } });
  startMs = performance.now();
  t.ok((await read(client, 'k')).equals(mebibyte));
  t.ok(performance.now() - startMs >= 99);
});

void t.test('down refuses and cuts off everybody, up serves again at the same port', async (t) => {
  const { endpoint, proxy, client } = await rig(t);
  const { url } = proxy;
  await put(client, 'k', mebibyte);
  proxy.inject({ action: 'GetObject', fault: { kind: 'stall', afterBytes: 10 } });
  const cutOff = breakage(read(client, 'k'));
  while (proxy.counts().GetObject === undefined) await new Promise(setImmediate);
  await proxy.down();
  t.equal(await cutOff, 'ECONNRESET');
  t.equal(await breakage(put(client, 'l', 'v')), 'ECONNREFUSED');
  await proxy.up();
  t.equal(proxy.url, url);
  await put(client, 'm', 'v');
  t.strictSame(endpoint.keys(Bucket), ['k', 'm']);
});
