/**
 * Signatures: AWS's own published examples are accepted, and nothing that differs from them is.
 */
import { createHash } from 'node:crypto';
import t, { type Test } from 'tap';
import { send, type RawAnswer, type RawRequest } from './raw-request.js';
import { GetObjectCommand, HeadBucketCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import type { Endpoint, EndpointOptions } from '../../lib/endpoint/endpoint.js';
import { refusal, testBucket, testKey, useClient, useEndpoint } from '../support/embedded.js';

/** Key, secret and time of the examples in the S3 API reference, "Authenticating Requests". */
const exampleKey = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};
const exampleMs = Date.UTC(2013, 4, 24);
const emptyHash = createHash('sha256').digest('hex');

interface HttpResponse {
  readonly headers: Readonly<Record<string, string>>;
}

function useExample(t: Test, options: Partial<EndpointOptions> = {}): Promise<Endpoint> {
  return useEndpoint(t, {
    credentials: [exampleKey],
    buckets: ['examplebucket'],
    domains: ['s3.amazonaws.com'],
    now: () => exampleMs,
    ...options,
  });
}

function authorization(signedHeaders: string, signature: string): string {
  const scope = '20130524/us-east-1/s3/aws4_request';
  return `AWS4-HMAC-SHA256 Credential=${exampleKey.accessKeyId}/${scope},SignedHeaders=${signedHeaders},Signature=${signature}`;
}

const putExample: RawRequest = {
  method: 'PUT',
  path: '/test%24file.text',
  headers: {
    host: 'examplebucket.s3.amazonaws.com',
    date: 'Fri, 24 May 2013 00:00:00 GMT',
    'x-amz-date': '20130524T000000Z',
    'x-amz-storage-class': 'REDUCED_REDUNDANCY',
    'x-amz-content-sha256': '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
    'content-length': '21',
    authorization: authorization(
      'date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class',
      '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
    ),
  },
  body: 'Welcome to Amazon S3.',
};

const listExample: RawRequest = {
  path: '/?max-keys=2&prefix=J',
  headers: {
    host: 'examplebucket.s3.amazonaws.com',
    'x-amz-date': '20130524T000000Z',
    'x-amz-content-sha256': emptyHash,
    authorization: authorization(
      'host;x-amz-content-sha256;x-amz-date',
      '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
    ),
  },
};

void t.test('the published examples of signed requests are accepted', async (t) => {
  const { url } = await useExample(t);
  t.equal((await send(url, putExample)).status, 200);
  const listed = await send(url, listExample);
  t.equal(listed.status, 200);
  t.match(listed.body, '<MaxKeys>2</MaxKeys>');
});

void t.test('whatever differs from what was signed is refused', async (t) => {
  const endpoint = await useExample(t);
  const { url } = endpoint;
  const headers = { ...listExample.headers };
  const changed: Record<string, RawRequest> = {
    SignatureDoesNotMatch: { ...listExample, path: '/?max-keys=3&prefix=J' },
    AccessDenied: { ...listExample, headers: { ...headers, 'x-amz-request-payer': 'requester' } },
    InvalidRequest: {
      ...listExample,
      headers: { ...headers, authorization: 'AWS AKIA:signature' },
    },
    AuthorizationHeaderMalformed: {
      ...listExample,
      headers: { ...headers, authorization: 'AWS4-HMAC-SHA256 Credential=x' },
    },
  };
  for (const [code, request] of Object.entries(changed)) {
    t.equal((await send(url, request)).code, code);
  }
  const other = await send(url, { ...putExample, body: 'Welcome to Amazon S4.' });
  t.equal(other.code, 'XAmzContentSHA256Mismatch');
  const moved = await send(url, { ...putExample, path: '/test%24file.text2' });
  t.equal(moved.code, 'SignatureDoesNotMatch');
  t.strictSame(endpoint.keys('examplebucket'), [], 'nothing was stored');
});

const fiveMinutesMs = 5 * 60 * 1000;

void t.test('a clock 15 minutes off is the limit', async (t) => {
  const fits = await useExample(t, { now: () => exampleMs + 3 * fiveMinutesMs });
  t.equal((await send(fits.url, listExample)).status, 200);
  const late = await useExample(t, { now: () => exampleMs + 3 * fiveMinutesMs + 1 });
  t.equal((await send(late.url, listExample)).code, 'RequestTimeTooSkewed');
});

/** Chunk signatures of the example with 65 KiB of `a`. */
const chunkSignatures = [
  'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648',
  '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497',
  'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9',
];
const trailerSignatures = [
  'b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2',
  '1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7',
  '2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992',
];

function chunkedBody(signatures: readonly string[], end: string): string {
  const sizes = [65_536, 1024, 0];
  const chunks = sizes.map((size, index) => {
    const data = size === 0 ? '' : `${'a'.repeat(size)}\r\n`;
    return `${size.toString(16)};chunk-signature=${signatures[index] ?? ''}\r\n${data}`;
  });
  return `${chunks.join('')}${end}\r\n`;
}

function sendSignedChunks(url: string, body: string): Promise<RawAnswer> {
  return send(url, {
    method: 'PUT',
    path: '/examplebucket/chunkObject.txt',
    headers: {
      host: 's3.amazonaws.com',
      'x-amz-date': '20130524T000000Z',
      'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
      'content-encoding': 'aws-chunked',
      'x-amz-decoded-content-length': '66560',
      'content-length': '66824',
      authorization: authorization(
        'content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class',
        '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9',
      ),
    },
    body,
  });
}

void t.test('the published example of signed chunks is accepted', async (t) => {
  const endpoint = await useExample(t);
  const good = chunkedBody(chunkSignatures, '');
  t.equal((await sendSignedChunks(endpoint.url, good)).status, 200);
  t.strictSame(endpoint.keys('examplebucket'), ['chunkObject.txt']);
});

void t.test('one other byte in one signed chunk stores nothing', async (t) => {
  const endpoint = await useExample(t);
  const good = chunkedBody(chunkSignatures, '');
  for (const position of [100, 66_000, good.length - 10]) {
    const bad = `${good.slice(0, position)}b${good.slice(position + 1)}`;
    t.equal((await sendSignedChunks(endpoint.url, bad)).code, 'SignatureDoesNotMatch');
  }
  t.strictSame(endpoint.keys('examplebucket'), []);
});

function sendSignedTrailer(url: string, end: string): Promise<RawAnswer> {
  const body = chunkedBody(trailerSignatures, end);
  return send(url, {
    method: 'PUT',
    path: '/examplebucket/chunkObject.txt',
    headers: {
      host: 's3.amazonaws.com',
      'x-amz-date': '20130524T000000Z',
      'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
      'content-encoding': 'aws-chunked',
      'x-amz-decoded-content-length': '66560',
      'x-amz-trailer': 'x-amz-checksum-crc32c',
      'content-length': String(body.length),
      authorization: authorization(
        'content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer',
        '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e',
      ),
    },
    body,
  });
}

void t.test('the published example of a signed trailer is accepted, another is not', async (t) => {
  const endpoint = await useExample(t);
  const { url } = endpoint;
  const signature =
    'x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n';
  const bad = await sendSignedTrailer(url, `x-amz-checksum-crc32c:sOO8/g==\r\n${signature}`);
  t.equal(bad.code, 'SignatureDoesNotMatch');
  const none = await sendSignedTrailer(url, 'x-amz-checksum-crc32c:sOO8/Q==\r\n');
  t.equal(none.code, 'SignatureDoesNotMatch');
  t.strictSame(endpoint.keys('examplebucket'), []);
  const good = await sendSignedTrailer(url, `x-amz-checksum-crc32c:sOO8/Q==\r\n${signature}`);
  t.equal(good.status, 200);
  t.equal(good.headers['x-amz-checksum-crc32c'], 'sOO8/Q==');
});

void t.test('a revoked key stops working at once', async (t) => {
  const endpoint = await useEndpoint(t);
  const client = useClient(t, endpoint.url);
  const put = (): Promise<unknown> =>
    client.send(new PutObjectCommand({ Bucket: testBucket, Key: 'k', Body: 'v' }));
  t.equal(await refusal(put()), 'accepted');
  endpoint.setCredentials([]);
  t.equal(await refusal(put()), '403 InvalidAccessKeyId');
  endpoint.setCredentials([{ ...testKey, secretAccessKey: 'another' }]);
  t.equal(await refusal(put()), '403 SignatureDoesNotMatch');
});

void t.test('a bucket elsewhere is told by its region', async (t) => {
  const buckets = [testBucket, { name: 'elsewhere', region: 'eu-west-3' }];
  const { url } = await useEndpoint(t, { buckets });
  const get = (region: string, Bucket: string): Promise<unknown> =>
    useClient(t, url, { region }).send(new GetObjectCommand({ Bucket, Key: 'k' }));
  t.equal(await refusal(get('eu-west-3', 'elsewhere')), '404 NoSuchKey');
  t.equal(await refusal(get('us-east-1', 'elsewhere')), '301 PermanentRedirect');
  t.equal(await refusal(get('eu-west-3', testBucket)), '400 AuthorizationHeaderMalformed');
  const head = await send(url, { method: 'HEAD', path: '/elsewhere' });
  t.equal(head.status, 403, 'anonymous');
  const client = useClient(t, url);
  let told: string | undefined;
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      told = (result.response as HttpResponse).headers['x-amz-bucket-region'];
      return result;
    },
    { step: 'deserialize', priority: 'low' },
  );
  await refusal(client.send(new HeadBucketCommand({ Bucket: 'elsewhere' })));
  t.equal(told, 'eu-west-3');
});

void t.test('without a signature only what a bucket offers to everybody is allowed', async (t) => {
  const { url } = await useEndpoint(t, {
    buckets: [testBucket, { name: 'public', anonymous: 'read' }],
  });
  const put = { method: 'PUT', path: '/public/k', body: 'v', headers: { 'content-length': '1' } };
  t.equal((await send(url, { path: `/${testBucket}/k` })).code, 'AccessDenied');
  t.equal((await send(url, { path: '/public/k' })).code, 'NoSuchKey');
  t.equal((await send(url, { path: '/public?list-type=2' })).status, 200);
  t.equal((await send(url, put)).code, 'AccessDenied');
});
