/**
 * Parts too large for memory: they are read from their source while they are sent, as fast as the
 * server takes them, again for each attempt, and arrive exact or not at all.
 */
import { createHash } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import t, { type Test } from 'tap';
import { isStoreError } from '../../lib/errors.js';
import type { Key } from '../../lib/path.js';
import { defaultMaxAttempts } from '../../lib/s3/connection/client.js';
import { base64Crc32 } from '../../lib/s3/stored-checksum.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import { pattern, sourceOf } from '../suites/store-law-setup.js';
import { makeCertificate, type Certificate } from '../support/certificate.js';
import { listen } from '../support/listen.js';
import { mebibyte } from '../support/sizes.js';
import { useStore } from '../support/store.js';

const content = pattern(3 * mebibyte + 1);
const upload = { key: 'x' as Key, uploadId: 'id' };
const etag = '"0123456789abcdef0123456789abcdef"';

/** A store before a server that takes requests as `listener` does. */
async function storeBefore(
  t: Test,
  listener: RequestListener,
  tls?: Certificate,
): Promise<S3Store> {
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  const url = await listen(t, server, tls === undefined ? 'http' : 'https');
  return useStore(t, url, {
    prefix: '',
    caBundle: tls?.file,
    credentials: { accessKeyId: 'AKIA', secretAccessKey: 'secret' },
    partSize: 5 * mebibyte,
    uploadConcurrency: 1,
    timeoutMs: 60_000,
    maxAttempts: defaultMaxAttempts,
  });
}

interface Received {
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

/** Takes a body whole and repeats the checksum sent with it, as S3 does, unless `refuse` says no. */
function taker(
  received: Received[],
  refuse: (headers: Received['headers']) => number | undefined = () => undefined,
): RequestListener {
  return (request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const { headers } = request;
      received.push({ headers, body: Buffer.concat(pieces) });
      const sum = headers['x-amz-checksum-crc32'];
      const echo = sum === undefined ? {} : { 'x-amz-checksum-crc32': sum };
      const status = refuse(headers);
      response.writeHead(status ?? 200, { etag, ...(status === undefined ? echo : {}) });
      response.end();
    });
  };
}

void t.test('the bytes arrive exact, of known length and with their checksum', async (t) => {
  const tls = await makeCertificate(t);
  const sha256 = createHash('sha256').update(content).digest('hex');
  for (const [name, certificate, signed] of [
    ['over TLS, signed until the server is seen to compare', tls, [sha256, 'UNSIGNED-PAYLOAD']],
    ['signed without TLS', undefined, [sha256, sha256]],
  ] as const) {
    const received: Received[] = [];
    const store = await storeBefore(t, taker(received), certificate);
    for (const number of [1, 2]) {
      const part = await store.uploadPart(upload, number, sourceOf(content));
      t.match(part, { number, size: content.length, crc32: crc32(content) });
    }
    for (const { headers, body } of received) {
      t.ok(body.equals(content), name);
      t.match(headers, {
        'content-length': String(content.length),
        'x-amz-checksum-crc32': base64Crc32(crc32(content)),
      });
      t.notOk('transfer-encoding' in headers || 'x-amz-trailer' in headers);
    }
    const sums = received.map(({ headers }) => headers['x-amz-content-sha256']);
    t.strictSame(sums, signed, name);
  }
});

void t.test('where checksum headers are refused, MD5 goes with them', async (t) => {
  const received: Received[] = [];
  const refuse = (headers: Received['headers']) =>
    'x-amz-checksum-crc32' in headers ? 501 : undefined;
  const store = await storeBefore(t, taker(received, refuse));
  await store.uploadPart(upload, 1, sourceOf(content));
  const last = received.at(-1);
  t.equal(last?.headers['content-md5'], createHash('md5').update(content).digest('base64'));
  t.ok(last?.body.equals(content));
});

void t.test('a connection that breaks half way, and a busy server, get it all again', async (t) => {
  const received: Received[] = [];
  let requests = 0;
  const take = taker(received, () => (requests === 3 ? 503 : undefined));
  const store = await storeBefore(t, (request, response) => {
    requests += 1;
    if (requests <= 2) request.once('data', () => request.socket.resetAndDestroy());
    else take(request, response);
  });
  await store.uploadPart(upload, 1, sourceOf(content));
  t.equal(requests, 4);
  t.ok(received.at(-1)?.body.equals(content));
});

void t.test('no more of it is read than the server takes', async (t) => {
  const size = 256 * mebibyte;
  const store = await storeBefore(t, (request) => void request.pause());
  let read = 0;
  const source = {
    size,
    read: (into: Uint8Array): Promise<void> => {
      read += into.length;
      return Promise.resolve();
    },
  };
  const abort = new AbortController();
  const sending = store.uploadPart(upload, 1, source, { signal: abort.signal });
  const end = sending.catch((error: unknown) => error);
  // Twice for the checksums, then as much as the sockets on both sides hold.
  let before = -1;
  while (read < 2 * size || read > before) {
    before = read;
    await sleep(500);
  }
  t.ok(read - 2 * size <= 32 * mebibyte, `${read - 2 * size} bytes are on their way`);
  abort.abort();
  t.ok(isStoreError(await end, 'aborted'));
});

void t.test('a source that breaks while it is sent ends the request, once', async (t) => {
  let requests = 0;
  const store = await storeBefore(t, (request) => {
    requests += 1;
    request.resume();
  });
  const source = {
    size: 64 * mebibyte,
    read: (): Promise<void> =>
      requests === 0 ? Promise.resolve() : Promise.reject(new Error('disk gone')),
  };
  const failure = await store.uploadPart(upload, 1, source).catch((error: unknown) => error);
  t.ok(isStoreError(failure, 'corrupt'));
  t.match(failure, { message: /disk gone/ });
  t.equal(requests, 1);
});
