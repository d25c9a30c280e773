/**
 * Multipart uploads: what may be completed, by whom, how often, and what comes of it.
 */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
  type CompletedPart,
  type CompleteMultipartUploadCommandInput,
  type CompleteMultipartUploadCommandOutput,
  type CreateMultipartUploadCommandInput,
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

const target = { Bucket: testBucket, Key: 'k' };
const minPart = 5 * 1024 * 1024;
const large = Buffer.alloc(minPart, 'large');
const small = Buffer.from('small');

type Settings = Partial<CreateMultipartUploadCommandInput>;
type Completion = Partial<CompleteMultipartUploadCommandInput>;

/** An upload with its parts in place. */
class Upload {
  readonly client: S3Client;
  readonly UploadId: string;
  readonly parts: CompletedPart[] = [];

  private constructor(client: S3Client, UploadId: string) {
    this.client = client;
    this.UploadId = UploadId;
  }

  static async create(
    client: S3Client,
    bodies: readonly Buffer[],
    settings: Settings = {},
  ): Promise<Upload> {
    const created = await client.send(new CreateMultipartUploadCommand({ ...target, ...settings }));
    const upload = new Upload(client, created.UploadId ?? '');
    for (const [index, Body] of bodies.entries()) {
      const PartNumber = index + 1;
      const { UploadId } = upload;
      const ChecksumAlgorithm = settings.ChecksumAlgorithm;
      const command = new UploadPartCommand({
        ...target,
        UploadId,
        PartNumber,
        Body,
        ChecksumAlgorithm,
      });
      const answer = await client.send(command);
      upload.parts.push({ ...answer, PartNumber });
    }
    return upload;
  }

  complete(more: Completion = {}): Promise<CompleteMultipartUploadCommandOutput> {
    const { UploadId, parts: Parts } = this;
    const input = { ...target, UploadId, MultipartUpload: { Parts }, ...more };
    return this.client.send(new CompleteMultipartUploadCommand(input));
  }
}

function md5(...parts: readonly Buffer[]): Buffer {
  const hash = createHash('md5');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

async function read(client: S3Client, Key = target.Key): Promise<Buffer> {
  const { Body } = await client.send(new GetObjectCommand({ ...target, Key }));
  return Buffer.from((await Body?.transformToByteArray()) ?? []);
}

void t.test('the entity tag is made of those of the parts', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  const upload = await Upload.create(client, [large, small]);
  const { ETag } = await upload.complete();
  t.equal(ETag, `"${md5(md5(large), md5(small)).toString('hex')}-2"`);
  t.ok((await read(client)).equals(Buffer.concat([large, small])));
});

void t.test('what S3 would refuse to complete is refused and can be mended', async (t) => {
  const endpoint = await useEndpoint(t);
  const client = useClient(t, endpoint.url);
  const upload = await Upload.create(client, [large, small, small]);
  const [first, second, third] = upload.parts;
  const attempt = (...Parts: (CompletedPart | undefined)[]): Promise<string> => {
    const given = Parts.flatMap((part) => part ?? []);
    return refusal(upload.complete({ MultipartUpload: { Parts: given } }));
  };
  t.equal(await attempt(first, second, third), '400 EntityTooSmall', 'the second is too small');
  t.equal(await attempt(second, first), '400 InvalidPartOrder');
  t.equal(await attempt(first, first), '400 InvalidPartOrder');
  t.equal(await attempt({ ...first, ETag: second?.ETag }), '400 InvalidPart');
  t.equal(await attempt(first, { ...second, PartNumber: 9 }), '400 InvalidPart');
  t.equal(await attempt({ ...first, ChecksumCRC32: 'AAAAAA==' }), '400 InvalidPart');
  t.equal(await attempt(), '400 MalformedXML');
  t.strictSame(endpoint.keys(testBucket), [], 'nothing was published');
  t.equal(await attempt(first, third), 'accepted', 'a part may be left out');
});

void t.test('a completion repeated after a lost answer says the same', async (t) => {
  const endpoint = await useEndpoint(t);
  const client = useClient(t, endpoint.url);
  const upload = await Upload.create(client, [small]);
  const first = await upload.complete({ IfNoneMatch: '*' });
  const second = await upload.complete({ IfNoneMatch: '*' });
  t.equal(second.ETag, first.ETag);
  const other = { MultipartUpload: { Parts: [{ PartNumber: 1, ETag: '"other"' }] } };
  t.equal(await refusal(upload.complete(other)), '404 NoSuchUpload');
  const { UploadId } = upload;
  const late = new UploadPartCommand({ ...target, UploadId, PartNumber: 2, Body: small });
  t.equal(await refusal(client.send(late)), '404 NoSuchUpload');
  t.strictSame(endpoint.openUploads(), []);
});

void t.test('a condition that fails at completion keeps the upload', async (t) => {
  const endpoint = await useEndpoint(t);
  const client = useClient(t, endpoint.url);
  const upload = await Upload.create(client, [small]);
  const { ETag } = await client.send(new PutObjectCommand({ ...target, Body: 'other' }));
  t.equal(await refusal(upload.complete({ IfNoneMatch: '*' })), '412 PreconditionFailed');
  t.equal(await refusal(upload.complete({ IfMatch: '"stale"' })), '412 PreconditionFailed');
  t.equal((await read(client)).toString(), 'other');
  t.equal(endpoint.openUploads().length, 1);
  t.equal(await refusal(upload.complete({ IfMatch: ETag })), 'accepted');
  const gone = await Upload.create(client, [small]);
  await client.send(new DeleteObjectCommand(target));
  t.equal(await refusal(gone.complete({ IfMatch: ETag })), '404 NoSuchKey');
});

void t.test('of uploads completed at once on an absent key one wins', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  const uploads = await Promise.all(
    Array.from({ length: 8 }, (_, index) => Upload.create(client, [Buffer.from(`body ${index}`)])),
  );
  const results = await Promise.all(
    uploads.map((upload) => refusal(upload.complete({ IfNoneMatch: '*' }))),
  );
  const winner = results.indexOf('accepted');
  t.strictSame(
    results.toSorted(),
    ['412 PreconditionFailed', 'accepted'].flatMap((text) => {
      return text === 'accepted' ? [text] : Array<string>(7).fill(text);
    }),
  );
  t.equal((await read(client)).toString(), `body ${winner}`);
});

void t.test('composite checksums are of the parts, and wanted with each part', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  const settings: Settings = { ChecksumAlgorithm: 'SHA256' };
  const upload = await Upload.create(client, [large, small], settings);
  const bare = upload.parts.map(({ PartNumber, ETag }) => ({ PartNumber, ETag }));
  t.equal(
    await refusal(upload.complete({ MultipartUpload: { Parts: bare } })),
    '400 InvalidRequest',
  );
  const { UploadId } = upload;
  const other = new UploadPartCommand({
    ...target,
    UploadId,
    PartNumber: 3,
    Body: small,
    ChecksumAlgorithm: 'CRC32',
  });
  t.equal(await refusal(client.send(other)), '400 InvalidRequest', 'one algorithm for all parts');
  await upload.complete();
  const sha256 = (data: Buffer): Buffer => createHash('sha256').update(data).digest();
  const whole = sha256(Buffer.concat([sha256(large), sha256(small)])).toString('base64');
  const head = await client.send(new HeadObjectCommand({ ...target, ChecksumMode: 'ENABLED' }));
  t.equal(head.ChecksumSHA256, `${whole}-2`);
  t.equal(head.ChecksumType, 'COMPOSITE');
});

for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'CRC64NVME'] as const) {
  void t.test(`a full-object ${ChecksumAlgorithm} is verified at completion`, async (t) => {
    const endpoint = await useEndpoint(t);
    const client = useClient(t, endpoint.url);
    const field = `Checksum${ChecksumAlgorithm}` as const;
    const inOnePiece = { ...target, Key: 'piece', Body: Buffer.concat([large, small]) };
    const piece = await client.send(new PutObjectCommand({ ...inOnePiece, ChecksumAlgorithm }));
    const settings: Settings = { ChecksumAlgorithm, ChecksumType: 'FULL_OBJECT' };
    const upload = await Upload.create(client, [large, small], settings);
    const wrong = Buffer.alloc(Buffer.from(piece[field] ?? '', 'base64').length).toString('base64');
    const claim = { ChecksumType: 'FULL_OBJECT', MpuObjectSize: minPart + small.length } as const;
    t.equal(await refusal(upload.complete({ ...claim, [field]: wrong })), '400 BadDigest');
    t.equal(await refusal(upload.complete({ ...claim, MpuObjectSize: 7 })), '400 InvalidRequest');
    t.strictSame(endpoint.keys(testBucket), ['piece'], 'nothing was published');
    const done = await upload.complete({ ...claim, [field]: piece[field] });
    t.equal(done[field], piece[field]);
    t.equal(done.ChecksumType, 'FULL_OBJECT');
  });
}

void t.test('hashes cannot be of the whole object', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  const settings: Settings = { ChecksumAlgorithm: 'SHA1', ChecksumType: 'FULL_OBJECT' };
  t.equal(await refusal(Upload.create(client, [], settings)), '400 InvalidRequest');
});

void t.test('copied parts share bytes with their source and outlive it', async (t) => {
  const directory = await temporaryDirectory(t);
  const endpoint = await useEndpoint(t, { directory });
  const client = useClient(t, endpoint.url);
  const source = { Bucket: testBucket, Key: 'source' };
  const base = Buffer.concat([large, Buffer.alloc(1000, 'base')]);
  const { ETag: etag } = await client.send(new PutObjectCommand({ ...source, Body: base }));
  const upload = await Upload.create(client, []);
  const { UploadId } = upload;
  const copy = (PartNumber: number, CopySourceRange: string, CopySourceIfMatch = etag) =>
    client.send(
      new UploadPartCopyCommand({
        ...target,
        UploadId,
        PartNumber,
        CopySource: `${source.Bucket}/${source.Key}`,
        CopySourceRange,
        CopySourceIfMatch,
      }),
    );
  t.equal(await refusal(copy(1, 'bytes=0-9', '"stale"')), '412 PreconditionFailed');
  t.equal(await refusal(copy(1, `bytes=0-${base.length}`)), '400 InvalidArgument');
  t.equal(await refusal(copy(1, 'bytes=0-')), '400 InvalidArgument');
  for (const [index, range] of [`bytes=1-${minPart}`, 'bytes=3-3'].entries()) {
    const { CopyPartResult } = await copy(index + 1, range);
    upload.parts.push({ PartNumber: index + 1, ETag: CopyPartResult?.ETag });
  }
  const blobs = join(directory, 'blobs');
  t.equal((await readdir(blobs)).length, 1, 'no bytes were written twice');
  await client.send(new DeleteObjectCommand(source));
  await upload.complete();
  const expected = Buffer.concat([base.subarray(1, minPart + 1), base.subarray(3, 4)]);
  t.ok((await read(client)).equals(expected));
  await endpoint.close();
  const again = await useEndpoint(t, { directory });
  t.ok((await read(useClient(t, again.url))).equals(expected), 'also after a restart');
  await useClient(t, again.url).send(new DeleteObjectCommand(target));
  await again.close();
  t.strictSame(await readdir(blobs), [], 'the last user takes the bytes along');
});

void t.test('an abort takes the parts away', async (t) => {
  const directory = await temporaryDirectory(t);
  const endpoint = await useEndpoint(t, { directory });
  const client = useClient(t, endpoint.url);
  const upload = await Upload.create(client, [small, small]);
  t.match(endpoint.openUploads(), [{ bucket: testBucket, key: 'k', parts: [1, 2] }]);
  const abort = new AbortMultipartUploadCommand({ ...target, UploadId: upload.UploadId });
  await client.send(abort);
  t.equal(await refusal(client.send(abort)), '404 NoSuchUpload');
  t.equal(await refusal(upload.complete()), '404 NoSuchUpload');
  await endpoint.close();
  t.strictSame(await readdir(join(directory, 'blobs')), []);
});

void t.test('a copy of a multipart object is in one piece', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  const upload = await Upload.create(client, [large, small], { Metadata: { kept: 'yes' } });
  await upload.complete();
  const copy = { Bucket: testBucket, Key: 'copy', CopySource: `${testBucket}/${target.Key}` };
  const { CopyObjectResult } = await client.send(new CopyObjectCommand(copy));
  t.equal(CopyObjectResult?.ETag, `"${md5(large, small).toString('hex')}"`);
  const head = await client.send(new HeadObjectCommand({ ...target, Key: 'copy' }));
  t.strictSame(head.Metadata, { kept: 'yes' });
});

void t.test('part sizes and PUT sizes have the limits the endpoint was given', async (t) => {
  const limits = { minPart: 3, maxPut: 10, maxCopy: 11 };
  const { url } = await useEndpoint(t, { limits });
  const client = useClient(t, url);
  const body = Buffer.from('sixsix');
  const upload = await Upload.create(client, [body, body]);
  await upload.complete();
  const tooLarge = new PutObjectCommand({ ...target, Body: Buffer.alloc(11) });
  t.equal(await refusal(client.send(tooLarge)), '400 EntityTooLarge');
  const CopySource = `${testBucket}/${target.Key}`;
  const copy = new CopyObjectCommand({ Bucket: testBucket, Key: 'copy', CopySource });
  t.equal(await refusal(client.send(copy)), '400 InvalidRequest', '12 bytes are over the limit');
});
