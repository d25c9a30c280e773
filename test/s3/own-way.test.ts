/**
 * Requests that the project writes itself, and answers that it reads itself, against the SDK's: the same
 * bytes ask, and the same answers mean the same.
 */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { S3ClientConfig, ServiceOutputTypes } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { HttpHandler } from '../../lib/s3/connection/http.js';
import { Sender } from '../../lib/s3/connection/sender.js';
import { Destinations } from '../../lib/s3/wire/destination.js';
import { listDocument } from '../../lib/s3/wire/list-document.js';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;
type Both = Record<'own' | 'sdk', unknown>;

interface Scene {
  /** of the next requests */
  answer: Answer;
  readonly asked: string[][];
  /** @param command one of `commands` */
  send(command: string): Promise<Both>;
}

const asS3: Answer = (request, response) => {
  const isList = /[?&](?:list-type|prefix)=/.test(request.url ?? '');
  response.setHeader('etag', '"0123"');
  response.end(isList ? '<ListBucketResult><Name>b</Name></ListBucketResult>' : '');
};

/** Both ways to one server, by the same configuration. */
async function scene(t: Test): Promise<Scene> {
  const asked: string[][] = [];
  const server = createServer((request, response) => {
    asked.push(headOf(request));
    request.resume().on('end', () => {
      scene.answer(request, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const handler = new HttpHandler({ timeoutMs: 5000 });
  const makeClient = (): S3Client =>
    new S3Client({
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/base/`,
      region: 'eu-west-1',
      forcePathStyle: true,
      credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret', sessionToken: 'tok' },
      requestHandler: handler,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      maxAttempts: 1,
    });
  const none = { call: [], unsigned: [], signed: [], answer: [] };
  const sdk = makeClient();
  const own = new Sender(makeClient(), handler, none);
  // Whoever lands there has not gone the project's own way.
  own.client.middlewareStack.add(() => () => Promise.reject(new Error('sent by the SDK')), {
    step: 'initialize',
  });
  t.teardown(() => {
    sdk.destroy();
    own.destroy();
    server.closeAllConnections();
    server.close();
  });
  const scene: Scene = {
    answer: asS3,
    asked,
    send: async (name) => {
      // Any of them will do for the types.
      const command = commands[name] as HeadObjectCommand;
      return {
        sdk: await outcome(sdk.send(command)),
        own: await outcome(own.send(command, {})),
      };
    },
  };
  return scene;
}

/** Method, address and headers but for those that differ with time, and what only names the sender. */
function headOf({ method = '', url = '', rawHeaders }: IncomingMessage): string[] {
  const lines: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] ?? '').toLowerCase();
    if (!/^(?:authorization|x-amz-date|amz-sdk-.*|.*user-agent)$/.test(name)) {
      lines.push(`${name}: ${rawHeaders[at + 1] ?? ''}`);
    }
    // The key of the day is not in it, and which headers are signed is.
    if (name === 'authorization') {
      const [, scope = '', signed = ''] =
        /Credential=([^,]*), SignedHeaders=([^,]*)/.exec(rawHeaders[at + 1] ?? '') ?? [];
      const names = signed.split(';').filter((one) => !/user-agent|amz-sdk-/.test(one));
      lines.push(`scope ${scope}`, `signed ${names.join(';')}`);
    }
  }
  return [`${method} ${url}`, ...lines.sort()];
}

async function outcome(call: Promise<ServiceOutputTypes>): Promise<unknown> {
  try {
    const { $metadata, ...output } = await call;
    const { httpStatusCode, requestId } = $metadata;
    const body = 'Body' in output ? await textOf(output.Body) : undefined;
    return { httpStatusCode, requestId, ...output, Body: body };
  } catch (error) {
    const { name, message, $metadata, Region } = error as Error & {
      $metadata?: { httpStatusCode?: number; requestId?: string };
      Region?: string;
    };
    const { httpStatusCode, requestId } = $metadata ?? {};
    return { thrown: name, message, httpStatusCode, requestId, Region };
  }
}

async function textOf(body: unknown): Promise<string> {
  let text = '';
  for await (const piece of body as AsyncIterable<Buffer>) text += piece.toString();
  return text;
}

const common = {
  Bucket: 'bucket',
  RequestPayer: 'requester',
  ExpectedBucketOwner: '123456789012',
} as const;
const at = { ...common, Key: "a b/ü/*'()!~+&=?#%41/." };
const described = {
  ACL: 'bucket-owner-full-control',
  CacheControl: 'no-cache',
  ContentDisposition: 'attachment; filename="ü"',
  ContentEncoding: 'gzip',
  ContentLanguage: 'de',
  Expires: new Date(1_700_000_000_000),
  Metadata: { 'Mixed-Case': 'ümlaut ✓', empty: '' },
  SSEKMSKeyId: 'arn:aws:kms:eu-west-1:1:key/2',
  ServerSideEncryption: 'aws:kms',
  StorageClass: 'STANDARD_IA',
  Tagging: 'a=b%20c&d=',
  WebsiteRedirectLocation: '/other',
} as const;

const customerKey = {
  SSECustomerAlgorithm: 'AES256',
  SSECustomerKey: Buffer.alloc(32, 7).toString('base64'),
  SSECustomerKeyMD5: createHash('md5').update(Buffer.alloc(32, 7)).digest('base64'),
};

const commands: Readonly<Record<string, object>> = {
  HEAD: new HeadObjectCommand(at),
  GET: new GetObjectCommand(at),
  'GET of a range': new GetObjectCommand({ ...at, Range: 'bytes=1-5', IfMatch: '"0123"' }),
  'HEAD with a key': new HeadObjectCommand({ ...at, ...customerKey }),
  'GET with a key': new GetObjectCommand({ ...at, ...customerKey, Range: 'bytes=1-5' }),
  'PUT with a key': new PutObjectCommand({ ...at, ...customerKey, Body: Buffer.from('bytes') }),
  'UploadPart with a key': new UploadPartCommand({
    ...at,
    ...customerKey,
    UploadId: 'id',
    PartNumber: 1,
    Body: Buffer.from('bytes'),
  }),
  DELETE: new DeleteObjectCommand(at),
  'DELETE of a version': new DeleteObjectCommand({ ...at, IfMatch: '"0123"' }),
  PUT: new PutObjectCommand({ ...at, ...described, IfNoneMatch: '*', Body: Buffer.from('bytes') }),
  'PUT with a CRC32': new PutObjectCommand({
    ...at,
    Body: Buffer.from('bytes'),
    ChecksumAlgorithm: 'CRC32',
    ChecksumCRC32: '7uQZ2w==',
    ContentType: 'text/plain',
  }),
  'PUT of nothing': new PutObjectCommand({
    ...at,
    Body: Buffer.alloc(0),
    ContentMD5: '1B2M2Y8AsgTpgAmY7PhCfg==',
    IfMatch: '"0123"',
  }),
  UploadPart: new UploadPartCommand({
    ...at,
    UploadId: 'id/+=&',
    PartNumber: 12,
    Body: Buffer.from('bytes'),
    ContentMD5: 'LlZoFuISRRRpGzUPpGxRtw==',
  }),
  LIST: new ListObjectsV2Command({
    ...common,
    Prefix: 'a b/+&ü/',
    Delimiter: '/',
    EncodingType: 'url',
    MaxKeys: 7,
    StartAfter: 'a b/+&ü/z',
    ContinuationToken: 't/+=',
    OptionalObjectAttributes: ['RestoreStatus'],
  }),
  'LIST of everything': new ListObjectsV2Command({ ...common, Prefix: '' }),
  'LIST by marker': new ListObjectsCommand({ ...common, Prefix: 'p', Marker: 'p/m' }),
};

void t.test('the same requests', async (t) => {
  const scene_ = await scene(t);
  for (const name of Object.keys(commands)) {
    scene_.asked.length = 0;
    await scene_.send(name);
    const [sdk, own] = scene_.asked;
    t.equal(scene_.asked.length, 2, name);
    t.strictSame(own, sdk, name);
  }
});

const headers: Readonly<Record<string, string>> = {
  'x-amz-request-id': 'ID1',
  'x-amz-id-2': 'ID2',
  etag: '"0123"',
  'last-modified': 'Sun, 06 Nov 1994 08:49:37 GMT',
  'content-type': 'text/plain',
  'cache-control': 'no-cache',
  'content-disposition': 'inline',
  'content-encoding': 'br',
  'content-language': 'en',
  expires: 'Thu, 01 Dec 1994 16:00:00 GMT',
  'x-amz-checksum-crc32': 'AAAAAA==',
  'x-amz-checksum-sha256': 'BBBB',
  'x-amz-checksum-type': 'FULL_OBJECT',
  'x-amz-meta-one': Buffer.from('ümlaut').toString('latin1'),
  'x-amz-meta-two': '2',
  'x-amz-missing-meta': '3',
  'x-amz-storage-class': 'GLACIER',
  'x-amz-restore': 'ongoing-request="false"',
  'x-amz-server-side-encryption': 'aws:kms',
  'x-amz-server-side-encryption-aws-kms-key-id': 'key',
  'x-amz-server-side-encryption-customer-algorithm': 'AES256',
  'x-amz-server-side-encryption-customer-key-md5': 'MD5',
  'x-amz-tagging-count': '4',
  'x-amz-version-id': 'v1',
  'x-amz-website-redirect-location': '/x',
  'x-amz-archive-status': 'ARCHIVE_ACCESS',
};

void t.test('the same outputs of an object', async (t) => {
  const scene_ = await scene(t);
  scene_.answer = (_request, response) => {
    response.writeHead(200, { ...headers, 'content-length': 5 }).end(Buffer.from('bytes'));
  };
  for (const name of ['HEAD', 'GET']) {
    const { own, sdk } = await scene_.send(name);
    const fields = own as Record<string, unknown>;
    // The SDK has more names for things that nobody here asks for, and this one of a HEAD only.
    const { ArchiveStatus: archived, ...others } = fields;
    t.equal(archived, 'ARCHIVE_ACCESS', name);
    t.match(sdk, others, name);
    t.equal(fields['ETag'], '"0123"', name);
    t.strictSame(fields['Metadata'], { one: 'ümlaut', two: '2' }, name);
  }
});

const refusals: Readonly<Record<string, [status: number, headers: object, body: string]>> = {
  'a code': [
    403,
    { 'x-amz-request-id': 'ID1' },
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>no &lt;way&gt;</Message></Error>',
  ],
  'an id in the document': [
    404,
    {},
    '<Error><Code>NoSuchBucket</Code><Message>m</Message><RequestId>ID9</RequestId></Error>',
  ],
  'another region': [
    301,
    { 'x-amz-bucket-region': 'us-west-2' },
    '<Error><Code>PermanentRedirect</Code><Message>m</Message><Region>us-west-2</Region></Error>',
  ],
  'an error in an error': [
    400,
    {},
    '<ErrorResponse><Error><Code>Throttling</Code><Message>m</Message></Error></ErrorResponse>',
  ],
  'nothing, of a key': [404, {}, ''],
  nothing: [403, {}, ''],
  'an error of the server': [
    500,
    {},
    '<Error><Code>InternalError</Code><Message>m</Message></Error>',
  ],
  'an error in a success': [
    200,
    {},
    '<Error><Code>InternalError</Code><Message>m</Message></Error>',
  ],
};

void t.test('the same refusals', async (t) => {
  const scene_ = await scene(t);
  for (const [what, [status, fields, body]] of Object.entries(refusals)) {
    scene_.answer = (_request, response) => {
      response.writeHead(status, { ...fields }).end(body);
    };
    for (const name of ['HEAD', 'GET', 'PUT', 'DELETE', 'LIST', 'UploadPart']) {
      if (status === 200 && /HEAD|GET/.test(name)) continue;
      const { own, sdk } = await scene_.send(name);
      t.strictSame(own, sdk, `${name}: ${what}`);
      t.match(own, { thrown: String }, `${name}: ${what} is a refusal`);
    }
  }
});

const page = `<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>p/</Prefix>
  <KeyCount>3</KeyCount><MaxKeys>3</MaxKeys><IsTruncated>true</IsTruncated>
  <EncodingType>url</EncodingType><NextContinuationToken>t/+=</NextContinuationToken>
  <Contents><Key>p/a&amp;b</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>
    <ETag>&quot;0123&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><Size>12</Size>
    <Owner><ID>x</ID><DisplayName>Key</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents>
  <Contents><Key>p/&#x41;<![CDATA[<c>]]></Key><LastModified>2026-01-02T03:04:05Z</LastModified>
    <ETag>"4567"</ETag><Size>0</Size><StorageClass>GLACIER</StorageClass>
    <RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>
    <RestoreExpiryDate>2026-02-02T00:00:00Z</RestoreExpiryDate></RestoreStatus></Contents>
  <CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes>
</ListBucketResult>`;

void t.test('the same pages of listings', async (t) => {
  const scene_ = await scene(t);
  scene_.answer = (_request, response) => void response.end(page);
  const { own, sdk } = await scene_.send('LIST');
  const fields = [
    'Contents',
    'CommonPrefixes',
    'IsTruncated',
    'KeyCount',
    'Name',
    'Prefix',
  ] as const;
  const more = ['EncodingType', 'NextContinuationToken', 'httpStatusCode'] as const;
  const shown = (output: unknown): unknown => {
    const all = output as Record<string, unknown>;
    const contents = (all['Contents'] as Record<string, unknown>[]).map(
      ({ Key, ETag, Size, LastModified, StorageClass, RestoreStatus }) => ({
        ...{ Key, ETag, Size, LastModified, StorageClass },
        restored: (RestoreStatus as { RestoreExpiryDate?: Date } | undefined)?.RestoreExpiryDate,
      }),
    );
    const rest = [...fields, ...more].slice(1).map((name) => [name, all[name]]);
    return { contents, ...(Object.fromEntries(rest) as object) };
  };
  t.strictSame(shown(own), shown(sdk));
});

void t.test('where requests go, by the rules of the SDK', async (t) => {
  const shown = async (bucket: string, config: S3ClientConfig = {}): Promise<unknown> => {
    const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' };
    const client = new S3Client({ region: 'us-east-1', credentials, ...config });
    const to = await new Destinations(client).of(bucket);
    client.destroy();
    if (to === undefined) return undefined;
    const { httpAuthOption } = await to.signing();
    const { signingRegion } = httpAuthOption.signingProperties ?? {};
    const port = to.port === undefined ? '' : `:${to.port}`;
    return `${to.protocol}//${to.hostname}${port}${to.path} ${String(signingRegion)}`;
  };
  t.equal(await shown('bucket'), 'https://bucket.s3.us-east-1.amazonaws.com us-east-1');
  t.equal(
    await shown('bucket', { useFipsEndpoint: true, useDualstackEndpoint: true }),
    'https://bucket.s3-fips.dualstack.us-east-1.amazonaws.com us-east-1',
  );
  t.equal(
    await shown('bucket', { endpoint: 'http://[::1]:9000/base/', forcePathStyle: true }),
    'http://[::1]:9000/base/bucket us-east-1',
  );
  const point = 'arn:aws:s3:us-west-2:123456789012:accesspoint/point';
  t.equal(
    await shown(point, { useArnRegion: true }),
    'https://point-123456789012.s3-accesspoint.us-west-2.amazonaws.com us-west-2',
  );
  t.equal(await shown('arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap'), undefined);
  t.equal(await shown('bucket--use1-az4--x-s3'), undefined, 'has sessions of its own');
});

void t.test('what is no page of a listing', (t) => {
  const refused = (document: string): string => {
    try {
      listDocument(Buffer.from(document));
      return 'taken';
    } catch (error) {
      return (error as Error).message;
    }
  };
  const whole = '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>';
  t.equal(refused(whole), 'taken');
  t.match(refused(whole.slice(0, -1)), /unclosed tag|unexpected end/, 'cut short by a byte');
  t.match(refused(''), /root element/);
  t.match(refused('not XML'), /outside of root/);
  t.match(refused(`${whole}x`), /outside of root/);
  t.match(refused('<html><body/></html>'), /is no ListBucketResult/);
  t.match(refused(`<!DOCTYPE ListBucketResult>${whole}`), /document type/);
  t.match(refused(`<!DOCTYPE x [<!ENTITY e "v">]>${whole}`), /document type/);
  t.match(refused('<ListBucketResult><Name>&e;</Name></ListBucketResult>'), /undefined entity/);
  t.match(refused('<ListBucketResult><Name>&#xD800;</Name></ListBucketResult>'), /no character/);
  t.match(refused('<ListBucketResult><Name></ListBucketResult></Name>'), /close tag/);
  t.match(refused(`<ListBucketResult>${'<a>'.repeat(1e6)}`), /too deep/);
  const attributes = Array.from({ length: 200 }, (_, at) => ` a${at}=""`).join('');
  t.match(refused(`<ListBucketResult${attributes}></ListBucketResult>`), /full of attributes/);
  t.match(refused(whole.replace('false', 'maybe')), /neither ends nor goes on/);
  t.end();
});

void t.test('names as they are', (t) => {
  const names = [
    ' leading and trailing ',
    'tab\tline\nend',
    'a&b<c>"d"',
    ']]',
    '\u2028\u0085',
    '𝒳',
  ];
  const escaped = (text: string): string =>
    text.replaceAll(/[&<>]/g, (one) => `&#${one.charCodeAt(0)};`);
  const entries = names.map((name) => `<Contents><Key>${escaped(name)}</Key></Contents>`);
  const text = `<ListBucketResult>${entries.join('')}<Contents><Key>\u0001&#x2;&#3;</Key></Contents></ListBucketResult>`;
  const { Contents: contents = [] } = listDocument(Buffer.from(text));
  t.strictSame(
    contents.map(({ Key }) => Key),
    [...names, '\u0001\u0002\u0003'],
  );
  t.end();
});
