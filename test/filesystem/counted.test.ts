/** What changes to an object of 1 GiB cost: requests by kind, and bytes moved either way. */
import { randomBytes } from 'node:crypto';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { parsePath } from '../../lib/path.js';
import type { ActionCounts } from '../support/fault-proxy.js';
import { inParallel } from '../support/bucket.js';
import { Program, useCore, type Core } from '../support/core.js';
import { testBucket } from '../support/embedded.js';
import { mebibyte } from '../support/sizes.js';

const size = 1024 * mebibyte;
const pieceSize = 64 * mebibyte;
/** The object repeats it. */
const piece = randomBytes(pieceSize);

t.setTimeout(600_000);

/** Makes an object of 1 GiB, nearly all of it by copies inside the server. */
async function makeLarge({ client }: Core, key: string): Promise<void> {
  const at = { Bucket: testBucket, Key: key };
  const { UploadId } = await client.send(
    new CreateMultipartUploadCommand({
      ...at,
      ContentType: 'text/x-log',
      Metadata: { made: 'by' },
    }),
  );
  const first = { Bucket: testBucket, Key: 'seed' };
  const seed = await client.send(new CreateMultipartUploadCommand(first));
  const sent = await client.send(
    new UploadPartCommand({ ...first, UploadId: seed.UploadId, PartNumber: 1, Body: piece }),
  );
  await client.send(
    new CompleteMultipartUploadCommand({
      ...first,
      UploadId: seed.UploadId,
      MultipartUpload: { Parts: [{ PartNumber: 1, ETag: sent.ETag }] },
    }),
  );
  const parts: { PartNumber: number; ETag: string | undefined }[] = [];
  for (let number = 1; number <= size / pieceSize; number++) {
    const copied = await client.send(
      new UploadPartCopyCommand({
        ...at,
        UploadId,
        PartNumber: number,
        CopySource: `${testBucket}/seed`,
      }),
    );
    parts.push({ PartNumber: number, ETag: copied.CopyPartResult?.ETag });
  }
  const MultipartUpload = { Parts: parts };
  await client.send(new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload }));
}

/** Bytes [start, end) of what the object held at first. */
function original(start: number, end: number): Buffer {
  const bytes = Buffer.alloc(end - start);
  for (let at = start; at < end; at++) bytes[at - start] = piece[at % pieceSize] ?? 0;
  return bytes;
}

async function range({ client }: Core, key: string, start: number, end: number): Promise<Buffer> {
  const Range = `bytes=${start}-${end - 1}`;
  const found = await client.send(new GetObjectCommand({ Bucket: testBucket, Key: key, Range }));
  return Buffer.from((await found.Body?.transformToByteArray()) ?? []);
}

interface Cost {
  readonly requests: ActionCounts;
  /** bytes of bodies, up and down together */
  readonly bytes: number;
}

/** `action` costs at most this. */
async function costs(t: Test, core: Core, most: Cost, action: () => Promise<void>): Promise<void> {
  core.proxy.reset();
  await action();
  const { fromClient, toClient } = core.proxy.bytes();
  const counts = core.proxy.counts();
  for (const [name, count] of Object.entries(counts)) {
    const allowed = most.requests[name as keyof ActionCounts] ?? 0;
    t.ok(count <= allowed, `${count} ${name}, ${allowed} allowed`);
  }
  const moved = fromClient + toClient;
  t.ok(moved <= most.bytes, `${moved} bytes moved, ${most.bytes} allowed`);
  t.strictSame(core.endpoint.openUploads(), [], 'no multipart upload is left');
}

void t.test('changes to an object of 1 GiB', async (t) => {
  // The server copies on a disk that others use as well.
  const slow = { requestTimeoutMs: 60_000, settings: { timeoutMs: 120_000 } };
  const core = await useCore(t, slow);
  const program = new Program(core.fs);
  await makeLarge(core, 'alice/log');
  await program.stat('/log');
  // The base in copies of 256 MiB, its attributes to keep, and what every upload in parts takes.
  const composed = (copies: number, uploads: number): ActionCounts => ({
    HeadObject: 1,
    CreateMultipartUpload: 1,
    UploadPartCopy: copies,
    UploadPart: uploads,
    CompleteMultipartUpload: 1,
  });

  await t.test('appending 1 MiB moves that MiB', async (t) => {
    const more = randomBytes(mebibyte);
    const most = { requests: composed(4, 1), bytes: mebibyte + 16 * 1024 };
    await costs(t, core, most, async () => {
      const handle = await program.open('/log', { access: 'write', append: true });
      await program.write(handle, more);
      await program.close(handle);
    });
    const tail = await range(core, 'alice/log', size - 1000, size + mebibyte);
    t.ok(tail.equals(Buffer.concat([original(size - 1000, size), more])));
    const head = await core.bucket.head('alice/log');
    t.match(head, { ContentLength: size + mebibyte, ContentType: 'text/x-log' });
    t.strictSame(head.Metadata, { made: 'by' }, 'its metadata survive');
  });

  await t.test('cutting one byte off moves nothing', async (t) => {
    const most = { requests: composed(5, 0), bytes: 16 * 1024 };
    await costs(t, core, most, () => program.truncate('/log', size + mebibyte - 1));
    t.equal((await core.bucket.head('alice/log')).ContentLength, size + mebibyte - 1);
  });

  await t.test('1 MiB in the middle fetches 4 MiB and sends 5, the smallest part', async (t) => {
    const middle = randomBytes(mebibyte);
    const at = size / 2 + 12_345;
    const most = {
      requests: { ...composed(5, 1), GetObject: 1 },
      bytes: 9 * mebibyte + 16 * 1024,
    };
    await costs(t, core, most, async () => {
      const handle = await program.open('/log', { access: 'write' });
      await program.write(handle, middle, at);
      await program.close(handle);
    });
    const around = await range(core, 'alice/log', at - 1000, at + mebibyte + 1000);
    const want = [original(at - 1000, at), middle, original(at + mebibyte, at + mebibyte + 1000)];
    t.ok(around.equals(Buffer.concat(want)));
  });

  await t.test('another name moves nothing', async (t) => {
    // Whether the new name is free, and the version that is copied, before and after.
    const looking = { HeadObject: 3, ListObjectsV2: 1 };
    const requests = { ...composed(17, 0), ...looking, DeleteObject: 1 };
    await costs(t, core, { requests, bytes: 16 * 1024 }, () => program.rename('/log', '/old'));
    t.same(await core.bucket.keys('alice/'), ['alice/old']);
    const head = await core.bucket.head('alice/old');
    t.match(head, { ContentType: 'text/x-log', Metadata: { made: 'by' } });
  });
});

void t.test('1,000 files of 4 KiB cost a PUT each', async (t) => {
  // The listing stays known for as long as this takes.
  const core = await useCore(t, { settings: { metadataTtlMs: 600_000 } });
  const program = new Program(core.fs);
  await program.mkdir('/d');
  core.fs.releasedir(await core.fs.opendir(parsePath('/d'), {}));
  const names = Array.from({ length: 1000 }, (_, index) => `/d/${index}`);
  const content = randomBytes(4096);
  const most = { requests: { PutObject: 1000 }, bytes: 1000 * 4096 };
  await costs(t, core, most, () => inParallel(16, names, (name) => program.put(name, content)));
  t.equal((await core.bucket.keys('alice/d/')).length, 1001);
});
