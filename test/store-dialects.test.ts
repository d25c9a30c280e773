/**
 * Services that speak less of S3 than AWS does (Google Cloud Storage, Backblaze B2, old Ceph): each
 * thing they refuse is refused here in turn, and a mount's whole life goes on without it.
 */
import { randomBytes } from 'node:crypto';
import t, { type Test } from 'tap';
import { testBucket } from './support/embedded.js';
import { Program, useCore } from './support/core.js';
import type { LoggedRequest, Refusal } from './support/fault-proxy.js';

const minPart = 64 * 1024;

function whereHeader(
  pattern: RegExp,
  refusal = { status: 501, code: 'NotImplemented' },
): (request: LoggedRequest) => ReturnType<Refusal> {
  return ({ headers }) =>
    Object.keys(headers).some((name) => pattern.test(name)) ? refusal : undefined;
}

function onlyFor(actions: readonly string[], refuse: Refusal): Refusal {
  return (request) => (actions.includes(request.action) ? refuse(request) : undefined);
}

const writes = ['PutObject', 'CompleteMultipartUpload', 'CopyObject'];
const bodies = ['PutObject', 'UploadPart', 'CreateMultipartUpload', 'CompleteMultipartUpload'];
const invalid = { status: 400, code: 'InvalidArgument' };

const dialects: Record<string, Refusal> = {
  'no checksum headers': onlyFor(bodies, whereHeader(/^x-amz-(sdk-)?checksum/)),
  'no checksum headers, said as an invalid argument': onlyFor(
    bodies,
    whereHeader(/^x-amz-(sdk-)?checksum/, invalid),
  ),
  'no checksums of whole multipart objects': whereHeader(/^x-amz-(checksum-type|mp-object-size)$/),
  'no If-None-Match on writes': onlyFor(writes, whereHeader(/^if-none-match$/)),
  'no If-Match on writes': onlyFor(writes, whereHeader(/^if-match$/)),
  'no conditional deletes': onlyFor(['DeleteObject'], whereHeader(/^if-match$/)),
  'no conditions at all on writes': onlyFor([...writes, 'DeleteObject'], whereHeader(/^if-/)),
  'no conditions on the source of a copy': whereHeader(/^x-amz-copy-source-if-/),
  'no copies of parts': ({ action }) =>
    action === 'UploadPartCopy' ? { status: 501, code: 'NotImplemented' } : undefined,
  'no deleting in batches, no listing of uploads, no tags': ({ action }) =>
    ['DeleteObjects', 'ListMultipartUploads', 'ListParts', 'GetObjectTagging'].includes(action)
      ? { status: 501, code: 'NotImplemented' }
      : undefined,
};

/** What users do in a day. */
async function live(t: Test, refuse: Refusal): Promise<void> {
  const settings = { partSize: minPart, renameDir: 'recursive' } as const;
  const core = await useCore(t, { minPart, settings, refuse, copyThreshold: 2 * minPart });
  const program = new Program(core.fs);
  const large = randomBytes(5 * minPart);
  await program.put('/small', 'small');
  await program.put('/small', 'smaller');
  await program.put('/large', large);
  t.ok((await program.get('/large')).equals(large));
  const handle = await program.open('/large', { access: 'write' });
  await program.write(handle, 'more', large.length);
  await program.close(handle);
  t.ok((await program.get('/large')).equals(Buffer.concat([large, Buffer.from('more')])));
  await program.mkdir('/dir');
  await program.rename('/large', '/dir/large');
  await program.rename('/dir', '/other');
  await program.close(await program.create('/new', { exclusive: true }));
  await t.rejects(program.create('/new', { exclusive: true }), { code: 'EEXIST' });
  await program.rename('/small', '/new');
  t.equal(String(await program.get('/new')), 'smaller');
  t.strictSame(await program.list('/'), ['new', 'other/']);
  await program.unlink('/other/large');
  await program.rmdir('/other');
  t.strictSame(core.endpoint.keys(testBucket), ['alice/new']);
  t.strictSame(core.endpoint.openUploads(), []);
}

for (const [name, refuse] of Object.entries(dialects)) {
  void t.test(name, async (t) => {
    let refusals = 0;
    await live(t, (request) => {
      const refusal = refuse(request);
      if (refusal !== undefined) refusals += 1;
      return refusal;
    });
    // Batches and the like are never asked for; of all else some request has to be met.
    if (!name.includes('batches')) t.ok(refusals > 0, 'something was refused');
  });
}
