/**
 * How the bytes of multipart uploads are verified: on AWS, on others, and on those that turn out to be
 * like neither. Whatever is refused, the upload under way goes through, and the next one is not refused.
 */
import type { AddressInfo } from 'node:net';
import { HeadObjectCommand } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { crc32 } from 'node:zlib';
import type { EndpointOptions } from '../../lib/endpoint/endpoint.js';
import { base64Crc32 } from '../../lib/s3/stored-checksum.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import { key, pattern, read, sourceOf } from '../suites/store-law-setup.js';
import { testBucket, testKey, useClient, useEndpoint } from '../support/embedded.js';
import { setEnvironment } from '../support/environment.js';
import {
  startFaultProxy,
  type FaultProxy,
  type LoggedRequest,
  type Refusal,
} from '../support/fault-proxy.js';
import { startForwardProxy } from '../support/forward-proxy.js';
import { useStore } from '../support/store.js';

const part = 64 * 1024;
const content = pattern(3 * part + 100);

interface Scene {
  readonly store: S3Store;
  readonly proxy: FaultProxy;
  /** Checksum type and CRC32 that the endpoint keeps. */
  readonly kept: (name: string) => Promise<(string | undefined)[]>;
}

interface SceneOptions extends Pick<EndpointOptions, 'strictPartSums'> {
  readonly refuse?: Refusal;
  /** the endpoint has a name of AWS's */
  readonly isAws?: boolean;
}

async function useScene(t: Test, options: SceneOptions = {}): Promise<Scene> {
  const { refuse, isAws = false, strictPartSums = false } = options;
  const endpoint = await useEndpoint(t, { strictPartSums, limits: { minPart: part } });
  const proxy = await startFaultProxy({
    target: endpoint.url,
    domains: [],
    ...(refuse && { refuse }),
  });
  t.teardown(() => proxy.close());
  let url = proxy.url;
  if (isAws) {
    const host = 's3.us-east-1.amazonaws.com';
    const port = Number(new URL(proxy.url).port) satisfies AddressInfo['port'];
    const forward = await startForwardProxy(t, { hosts: { [host]: port } });
    const others = ['http_proxy', 'all_proxy', 'ALL_PROXY', 'no_proxy', 'NO_PROXY'];
    setEnvironment(t, {
      ...Object.fromEntries(others.map((name) => [name, ''])),
      HTTP_PROXY: `http://${forward.host}`,
    });
    url = `http://${host}`;
  }
  const store = useStore(t, url, {
    credentials: testKey,
    forcePathStyle: true,
    partSize: part,
    uploadConcurrency: 1,
    copyThreshold: part,
  });
  const client = useClient(t, endpoint.url);
  const kept = async (name: string): Promise<(string | undefined)[]> => {
    const at = { Bucket: testBucket, Key: `alice/${name}`, ChecksumMode: 'ENABLED' } as const;
    const head = await client.send(new HeadObjectCommand(at));
    return [head.ChecksumType, head.ChecksumCRC32];
  };
  return { store, proxy, kept };
}

/** Uploads by parts sized as the endpoint takes them. */
async function upload(store: S3Store, name: string): Promise<void> {
  const at = await store.createUpload(key(name));
  const parts = [];
  for (let number = 1; number * part < content.length + part; number++) {
    const body = content.subarray((number - 1) * part, number * part);
    parts.push(await store.uploadPart(at, number, [body]));
  }
  await store.completeUpload(at, parts);
}

/** The file is there, and so is a copy of it by parts. */
async function isThere(t: Test, store: S3Store, name: string): Promise<void> {
  t.ok((await read(store, name)).equals(content), `${name}, byte for byte`);
  const { etag, size } = await store.head(key(name));
  await store.copy({ key: key(name), etag, size }, key(`${name} copied`));
  t.ok((await read(store, `${name} copied`)).equals(content), 'and copied');
}

const whole = ['FULL_OBJECT', base64Crc32(crc32(content))];
const none = [undefined, undefined];

/** Which sums a request names in its headers. */
function sumsOf({ headers }: LoggedRequest): string {
  const names = ['x-amz-checksum-algorithm', 'x-amz-checksum-crc32', 'content-md5'];
  return names.filter((name) => name in headers).join(' ');
}

function sumsSent(proxy: FaultProxy, action: LoggedRequest['action']): string[] {
  return proxy.log.filter((request) => request.action === action).map(sumsOf);
}

/** Refused requests since the last reset. */
function refusals(proxy: FaultProxy): number {
  return proxy.log.filter(({ status = 0 }) => status >= 400).length;
}

const crc = 'x-amz-checksum-crc32';
const refused = (code: string, status = 400) => ({ status, code });
const isCreate = ({ action }: LoggedRequest): boolean => action === 'CreateMultipartUpload';
const isComplete = ({ action }: LoggedRequest): boolean => action === 'CompleteMultipartUpload';

void t.test('AWS keeps the sum of the whole and compares it with those of the parts', async (t) => {
  const { store, proxy, kept } = await useScene(t, { isAws: true, strictPartSums: true });
  await upload(store, 'x');
  t.strictSame(sumsSent(proxy, 'CreateMultipartUpload'), ['x-amz-checksum-algorithm']);
  t.strictSame(sumsSent(proxy, 'UploadPart'), [crc, crc, crc, crc]);
  t.strictSame(sumsSent(proxy, 'CompleteMultipartUpload'), [crc]);
  t.strictSame(await kept('x'), whole);
  await isThere(t, store, 'x');
  t.strictSame(await kept('x copied'), whole);
  t.equal(refusals(proxy), 0);
});

void t.test('others get the sum of each part, and no word of it before and after', async (t) => {
  const { store, proxy, kept } = await useScene(t);
  await upload(store, 'x');
  t.strictSame(sumsSent(proxy, 'CreateMultipartUpload'), ['']);
  t.strictSame(sumsSent(proxy, 'UploadPart'), [crc, crc, crc, crc]);
  t.strictSame(sumsSent(proxy, 'CompleteMultipartUpload'), ['']);
  t.strictSame(await kept('x'), none);
  await isThere(t, store, 'x');
  t.equal(refusals(proxy), 0);
});

void t.test('an endpoint as strict as AWS gets what AWS gets, after one refusal', async (t) => {
  const { store, proxy, kept } = await useScene(t, { strictPartSums: true });
  await upload(store, 'first');
  t.equal(refusals(proxy), 1);
  t.strictSame(sumsSent(proxy, 'UploadPart').slice(1), Array(4).fill('content-md5'));
  t.strictSame(await kept('first'), none);
  await isThere(t, store, 'first');
  proxy.reset();
  await upload(store, 'next');
  t.strictSame(await kept('next'), whole);
  await isThere(t, store, 'next');
  t.equal(refusals(proxy), 0);
  t.match(store.capabilities, { 'checksums of multipart uploads': 'CRC32 of the whole object' });
});

const likeOthers: Readonly<Record<string, Refusal>> = {
  'creating it with a checksum': (request) =>
    isCreate(request) && sumsOf(request) !== '' ? refused('InvalidArgument') : undefined,
  'a checksum that is not implemented': (request) =>
    isCreate(request) && sumsOf(request) !== '' ? refused('NotImplemented', 501) : undefined,
};
for (const [name, refuse] of Object.entries(likeOthers)) {
  void t.test(`a name of AWS, and ${name} is refused`, async (t) => {
    const { store, proxy, kept } = await useScene(t, { isAws: true, refuse });
    await upload(store, 'x');
    t.equal(refusals(proxy), 1);
    t.strictSame(sumsSent(proxy, 'UploadPart'), [crc, crc, crc, crc]);
    t.strictSame(await kept('x'), none);
    await isThere(t, store, 'x');
    await upload(store, 'y');
    t.equal(refusals(proxy), 1, 'once');
  });
}

for (const code of ['BadRequest', 'InvalidDigest', 'InvalidPart', 'InvalidRequest']) {
  void t.test(`a name of AWS, and sums at the end are refused as ${code}`, async (t) => {
    const refuse: Refusal = (request) =>
      isComplete(request) && sumsOf(request) !== '' ? refused(code) : undefined;
    const { store, proxy, kept } = await useScene(t, { isAws: true, refuse });
    const large = pattern(11 * 1024 * 1024);
    await store.upload(key('large'), sourceOf(large));
    t.ok((await read(store, 'large')).equals(large), 'sent again by lib-storage');
    t.equal(refusals(proxy), 1);
    t.strictSame(sumsSent(proxy, 'CreateMultipartUpload'), ['x-amz-checksum-algorithm', '']);
    t.equal(proxy.counts().AbortMultipartUpload, 1, 'nothing is left of the first');
    await upload(store, 'x');
    t.strictSame(await kept('x'), none);
    await isThere(t, store, 'x');
    t.equal(refusals(proxy), 1, 'once');
  });
}

void t.test(
  'a name of AWS, and sums at the end are refused when they are sent again',
  async (t) => {
    const answers = [refused('InternalError', 503), refused('InvalidRequest')];
    const refuse: Refusal = (request) =>
      isComplete(request) && sumsOf(request) !== '' ? answers.shift() : undefined;
    const { store, proxy, kept } = await useScene(t, { isAws: true, refuse });
    const large = pattern(11 * 1024 * 1024);
    await store.upload(key('large'), sourceOf(large));
    t.strictSame(answers, []);
    t.ok((await read(store, 'large')).equals(large));
    t.strictSame(sumsSent(proxy, 'CreateMultipartUpload'), ['x-amz-checksum-algorithm', '']);
    await upload(store, 'x');
    t.strictSame(await kept('x'), none, 'learnt');
  },
);

void t.test('a copy by parts, the first that is refused', async (t) => {
  const refuse: Refusal = (request) =>
    isComplete(request) && sumsOf(request) !== '' ? refused('InvalidDigest') : undefined;
  const { store, proxy } = await useScene(t, { isAws: true, refuse });
  const { etag } = await store.put(key('x'), [content]);
  await store.copy({ key: key('x'), etag, size: content.length }, key('y'));
  t.ok((await read(store, 'y')).equals(content));
  t.equal(refusals(proxy), 1);
  t.equal(proxy.counts().CopyObject, undefined, 'by parts again, which has no limit of 5 GiB');
});

void t.test('the sum that is told of a copied part is not believed off AWS', async (t) => {
  const { store } = await useScene(t, { strictPartSums: true });
  await upload(store, 'first');
  await upload(store, 'base');
  const { etag, size } = await store.head(key('base'));
  const at = await store.createUpload(key('x'));
  const range = { start: 0, end: part };
  const copied = await store.copyPart(at, 1, { key: key('base'), etag, size }, range);
  t.equal(copied.crc32, undefined);
  await store.completeUpload(at, [copied]);
  t.ok((await read(store, 'x')).equals(content.subarray(0, part)));
});

void t.test('Object Lock: no part comes without a sum, whatever the way', async (t) => {
  const refuse: Refusal = (request) =>
    ['UploadPart', 'PutObject'].includes(request.action) && sumsOf(request) === ''
      ? refused('InvalidRequest')
      : undefined;
  for (const options of [{}, { isAws: true }, { strictPartSums: true }]) {
    const { store, proxy } = await useScene(t, { ...options, refuse });
    await upload(store, 'x');
    await isThere(t, store, 'x');
    t.equal(sumsSent(proxy, 'UploadPart').filter((sums) => sums === '').length, 0);
  }
});
