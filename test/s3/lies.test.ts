/**
 * Servers that answer wrongly or know less than they should: what no real server does on demand.
 * Each case scripts the answers of one.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { crc32 } from 'node:zlib';
import t, { type Test } from 'tap';
import { isStoreError } from '../../lib/errors.js';
import type { Key } from '../../lib/path.js';
import { base64Crc32 } from '../../lib/s3/stored-checksum.js';
import type { S3Store } from '../../lib/s3/s3-store.js';

import { makeCertificate, type Certificate } from '../support/certificate.js';
import { complaint, useStore } from '../support/store.js';

interface Answer {
  readonly status: number;
  readonly headers?: Record<string, string | number>;
  readonly body?: string | Buffer;
  /** sent in chunks, so without a length */
  readonly chunked?: boolean;
}

const content = Buffer.from('0123456789abcdefghij');
const etag = `"${createHash('md5').update(content).digest('hex')}"`;
const key = 'x' as Key;

/** A store before a server that answers its nth request with what `script(n, request)` says. */
async function scripted(
  t: Test,
  script: (n: number, request: IncomingMessage) => Answer,
  tls?: Certificate,
): Promise<{ store: S3Store; requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = [];
  const listener: RequestListener = (request, response) => {
    request.resume().on('end', () => {
      requests.push(request);
      const { status, headers, body, chunked } = script(requests.length, request);
      const length = chunked === true ? {} : { 'content-length': Buffer.byteLength(body ?? '') };
      response.writeHead(status, { ...length, ...headers });
      if (chunked === true) response.write(body ?? '');
      response.end(chunked === true ? undefined : body);
    });
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const scheme = tls === undefined ? 'http' : 'https';
  const store = useStore(t, `${scheme}://127.0.0.1:${port}`, {
    caBundle: tls?.file,
    credentials: { accessKeyId: 'AKIA', secretAccessKey: 'secret' },
    partSize: 5 * 1024 * 1024,
  });
  t.teardown(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { store, requests };
}

/** A right answer to a ranged GET, but for what is said otherwise. */
function part(start: number, end: number, more: Partial<Answer> = {}): Answer {
  return {
    status: 206,
    body: content.subarray(start, end),
    ...more,
    headers: {
      etag,
      'content-range': `bytes ${start}-${end - 1}/${content.length}`,
      ...more.headers,
    },
  };
}

/** What came of a body before it ended or failed. */
async function drain(
  body: AsyncIterable<Uint8Array>,
): Promise<{ bytes: string; kind: string | undefined }> {
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of body) pieces.push(piece);
  } catch (error) {
    return {
      bytes: Buffer.concat(pieces).toString(),
      kind: isStoreError(error) ? error.kind : 'none of ours',
    };
  }
  return { bytes: Buffer.concat(pieces).toString(), kind: undefined };
}

async function kindOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'fulfilled',
    (error: unknown) => (isStoreError(error) ? error.kind : 'none of ours'),
  );
}

const range = { start: 5, end: 10 };

void t.test('an answer with another range is asked for again', async (t) => {
  const { store, requests } = await scripted(t, (n) => (n < 3 ? part(6, 11) : part(5, 10)));
  const { body } = await store.get(key, { range });
  t.strictSame(await drain(body), { bytes: '56789', kind: undefined });
  t.equal(requests.length, 3);
});

void t.test('wrong answers without end are given up', async (t) => {
  const wrong: [string, Answer][] = [
    ['another range', part(0, 5)],
    ['a shorter range', part(5, 9)],
    ['the whole object', { status: 200, headers: { etag }, body: content }],
    ['no Content-Range', { status: 206, headers: { etag }, body: '56789' }],
    ['a range and a length that differ', part(5, 10, { body: '5678' })],
    ['no ETag', part(5, 10, { headers: { etag: '' } })],
  ];
  const trying = wrong.map(async ([name, answer]) => {
    const { store, requests } = await scripted(t, () => answer);
    t.equal(await kindOf(store.get(key, { range })), 'corrupt', name);
    t.ok(requests.length <= 6, `${name}: after ${requests.length} requests`);
  });
  await Promise.all(trying);
});

void t.test('more bytes than asked for are not handed on', async (t) => {
  const { store } = await scripted(t, () =>
    part(5, 10, { body: content.subarray(5, 15), chunked: true }),
  );
  const { body } = await store.get(key, { range });
  const { bytes, kind } = await drain(body);
  t.equal(kind, 'corrupt');
  t.ok('56789'.startsWith(bytes), bytes);
});

void t.test('fewer bytes than promised are fetched', async (t) => {
  const { store, requests } = await scripted(t, (n) =>
    n === 1 ? part(5, 10, { body: '567', chunked: true }) : part(8, 10),
  );
  const { body } = await store.get(key, { range });
  t.strictSame(await drain(body), { bytes: '56789', kind: undefined });
  t.strictSame(
    requests.map((request) => [request.headers.range, request.headers['if-match']]),
    [
      ['bytes=5-9', undefined],
      ['bytes=8-9', etag],
    ],
    'the rest, and of the same version',
  );
});

void t.test('the rest of another version is not appended', async (t) => {
  const { store } = await scripted(t, (n) =>
    n === 1
      ? part(5, 10, { body: '567', chunked: true })
      : part(8, 10, { headers: { etag: '"another"', 'last-modified': new Date().toUTCString() } }),
  );
  const { body } = await store.get(key, { range });
  t.match(await drain(body), { kind: 'changed' });
});

void t.test('a whole object is verified by the checksum that comes with it', async (t) => {
  const sha256 = createHash('sha256').update(content).digest('base64');
  const answer = (headers: Record<string, string>): Answer => ({
    status: 200,
    headers: { etag, ...headers },
    body: content,
  });
  const cases: [string, Record<string, string>, string | undefined][] = [
    ['right CRC32', { 'x-amz-checksum-crc32': base64Crc32(crc32(content)) }, undefined],
    ['wrong CRC32', { 'x-amz-checksum-crc32': base64Crc32((crc32(content) ^ 1) >>> 0) }, 'corrupt'],
    ['right SHA-256', { 'x-amz-checksum-sha256': sha256 }, undefined],
    ['wrong SHA-256', { 'x-amz-checksum-sha256': sha256.replace(/^./, '!') }, 'corrupt'],
    ['wrong SHA-1', { 'x-amz-checksum-sha1': 'AAAA' }, 'corrupt'],
    ['of the parts', { 'x-amz-checksum-crc32': 'AAAAAA==-2' }, undefined],
    [
      'of the parts, by name',
      { 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-checksum-type': 'COMPOSITE' },
      undefined,
    ],
    [
      'of the parts, by the ETag alone',
      { 'x-amz-checksum-crc32': 'AAAAAA==', etag: etag.replace(/"$/, '-2"') },
      undefined,
    ],
    [
      'of the whole by name, of several parts',
      {
        'x-amz-checksum-crc32': 'AAAAAA==',
        'x-amz-checksum-type': 'FULL_OBJECT',
        etag: etag.replace(/"$/, '-2"'),
      },
      'corrupt',
    ],
    ['of a kind not known here', { 'x-amz-checksum-crc64nvme': 'AAAAAAAAAAA=' }, undefined],
  ];
  for (const [name, headers, kind] of cases) {
    const { store } = await scripted(t, () => answer(headers));
    t.equal((await drain((await store.get(key)).body)).kind, kind, name);
  }
});

void t.test('where checksum headers are refused, MD5 is sent', async (t) => {
  const { store, requests } = await scripted(t, (_n, request) =>
    'x-amz-checksum-crc32' in request.headers
      ? { status: 501, body: '<Error><Code>NotImplemented</Code></Error>' }
      : { status: 200, headers: { etag } },
  );
  await store.put(key, [content]);
  await store.put(key, [content]);
  const md5 = createHash('md5').update(content).digest('base64');
  t.strictSame(
    requests.map((request) => request.headers['content-md5']),
    [undefined, md5, md5],
    'and the refusal is remembered',
  );
});

void t.test('a request refused for another reason keeps its checksum', async (t) => {
  const { store, requests } = await scripted(t, (n) =>
    n <= 2
      ? { status: 400, body: '<Error><Code>InvalidRequest</Code></Error>' }
      : { status: 200, headers: { etag } },
  );
  t.equal(await kindOf(store.put(key, [content])), 'invalid');
  await store.put(key, [content]);
  t.ok('x-amz-checksum-crc32' in (requests[2]?.headers ?? {}));
});

void t.test('a server that computed another checksum has not stored our bytes', async (t) => {
  const { store } = await scripted(t, (_n, request) => ({
    status: 200,
    headers: {
      etag,
      'x-amz-checksum-crc32': 'AAAAAA==',
      ...(request.method === 'HEAD' ? { 'content-length': content.length } : {}),
    },
  }));
  t.equal(await kindOf(store.put(key, [content])), 'corrupt');
});

void t.test(
  'a body is signed unless TLS and a checksum that is compared stand for it',
  async (t) => {
    const echo = (_n: number, request: IncomingMessage): Answer => {
      const sum = request.headers['x-amz-checksum-crc32'];
      return { status: 200, headers: { etag, 'x-amz-checksum-crc32': String(sum) } };
    };
    const silent = (): Answer => ({ status: 200, headers: { etag } });
    const tls = await makeCertificate(t);
    const sha256 = createHash('sha256').update(content).digest('hex');
    for (const [name, script, certificate, second] of [
      ['no TLS', echo, undefined, sha256],
      ['a checksum that may have been ignored', silent, tls, sha256],
      ['both', echo, tls, 'UNSIGNED-PAYLOAD'],
    ] as const) {
      const { store, requests } = await scripted(t, script, certificate);
      await store.put(key, [content]);
      await store.put(key, [content]);
      const signed = requests.map((request) => request.headers['x-amz-content-sha256']);
      t.strictSame(signed, [sha256, second], name);
    }
  },
);

void t.test('an empty answer to CompleteMultipartUpload or CopyObject is none', async (t) => {
  const { store, requests } = await scripted(t, (_n, request) =>
    request.method === 'HEAD' ? { status: 404 } : { status: 200 },
  );
  const upload = { key, uploadId: 'id' };
  const parts = [{ number: 1, etag: etag as never, size: 1 }];
  t.equal(await kindOf(store.completeUpload(upload, parts)), 'unavailable');
  const source = { key: 'y' as Key, etag: etag as never, size: 1 };
  t.equal(await kindOf(store.copy(source, key, { storageClass: 'STANDARD' })), 'unavailable');
  t.ok(requests.length >= 4, 'asked again');
});

void t.test('a copied part without an ETag was not copied', async (t) => {
  const { store } = await scripted(t, () => ({ status: 200, body: '<CopyPartResult/>' }));
  const source = { key: 'y' as Key, etag: etag as never, size: 20 };
  const upload = { key, uploadId: 'id' };
  t.equal(await kindOf(store.copyPart(upload, 1, source, { start: 0, end: 10 })), 'unsupported');
});

void t.test('a listing whose way on leads back is given up', async (t) => {
  const page =
    '<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated>' +
    '<Contents><Key>x</Key><ETag>"e"</ETag><Size>1</Size></Contents></ListBucketResult>';
  const { store } = await scripted(t, () => ({ status: 200, body: page }));
  const first = await store.list({ prefix: '' as Key, oneLevel: true });
  t.equal(first.next, 'x', 'by version 1');
  const second = store.list({ prefix: '' as Key, oneLevel: true, from: 'x' });
  t.equal(await kindOf(second), 'corrupt');
});

void t.test('a login page is not an empty directory', async (t) => {
  const { store } = await scripted(t, () => ({ status: 200, body: '<html><body/></html>' }));
  t.equal(await kindOf(store.list({ prefix: '' as Key, oneLevel: true })), 'corrupt');
  const { store: other } = await scripted(t, () => ({ status: 200, body: 'not even XML' }));
  t.not(await kindOf(other.list({ prefix: '' as Key, oneLevel: true })), 'fulfilled');
});

void t.test('errors in no known form are told by status', async (t) => {
  for (const [status, kind] of [
    [403, 'denied'],
    [404, 'notFound'],
    [502, 'unavailable'],
    [400, 'invalid'],
  ] as const) {
    for (const body of ['', '<html>proxy says no</html>', '{"error": "x"}']) {
      const { store } = await scripted(t, () => ({ status, body }));
      t.equal(await kindOf(store.get(key)), kind, `${status} ${body}`);
    }
  }
});

void t.test(
  'a refusal of the bucket is told in the server’s words, where its code says little',
  async (t) => {
    for (const [words, told] of [
      ['Forbidden: No such key: GK123', /AccessDenied: Forbidden: No such key: GK123\)/],
      ['Access Denied', /is denied \(AccessDenied\); allow/],
      ['', /is denied \(AccessDenied\); allow/],
    ] as const) {
      const body = `<Error><Code>AccessDenied</Code><Message>${words}</Message></Error>`;
      const { store } = await scripted(t, () => ({ status: 403, body }));
      t.match(await complaint(store), told, words);
    }
  },
);
