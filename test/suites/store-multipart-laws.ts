/** Laws of multipart uploads, by their single steps and as one upload of a file. */
import { crc32 } from 'node:zlib';
import type { Test } from 'tap';
import { sha256 } from '../support/bucket.js';
import { mebibyte } from '../support/sizes.js';
import { key, otherTag, pattern, read, sourceOf, fails } from './store-law-setup.js';
import type { LawSetup } from './store-law-setup.js';

const part = 5 * mebibyte;

export async function multipartLaws(t: Test, setup: LawSetup): Promise<void> {
  await t.test('an upload is seen when it is completed, whole', async (t) => {
    const { store, prefix } = setup.makeStore(t);
    const content = pattern(2 * part + 1);
    const upload = await store.createUpload(key('x'), {
      contentType: 'text/x-law',
      metadata: { m: '1' },
    });
    const pieces = [0, 1, 2].map((n) => content.subarray(n * part, (n + 1) * part));
    // Parts may come in any order, and be sent again.
    const third = await store.uploadPart(upload, 3, [pieces[2]!]);
    await store.uploadPart(upload, 1, [pattern(part, 7)]);
    const first = await store.uploadPart(upload, 1, [
      pieces[0]!.subarray(0, 10),
      pieces[0]!.subarray(10),
    ]);
    const second = await store.uploadPart(upload, 2, [pieces[1]!], { crc32: crc32(pieces[1]!) });
    t.strictSame([first.size, first.crc32], [part, crc32(pieces[0]!)]);
    await fails(t, store.head(key('x')), { kind: 'notFound' }, 'nothing to see before');
    t.strictSame(await setup.bucket.keys(prefix), []);

    const headsBefore = store.counters.requests['HeadObject'] ?? 0;
    const { etag } = await store.completeUpload(upload, [first, second, third]);
    const asked = (store.counters.requests['HeadObject'] ?? 0) - headsBefore;
    t.equal(asked, setup.deviations.namesVersions ? 0 : 1, 'looks for the ETag if it is not told');
    const info = await store.head(key('x'));
    t.match(info, { etag, size: content.length, contentType: 'text/x-law', metadata: { m: '1' } });
    t.ok((await read(store, 'x')).equals(content));
    t.strictSame(await setup.bucket.uploads(), []);
  });

  await t.test('every part carries its checksum, and nothing is refused', async (t) => {
    const { store } = setup.makeStore(t);
    const content = pattern(2 * part + 12345);
    setup.proxy.reset();
    await store.upload(key('sum'), sourceOf(content));
    const sent = setup.proxy.log.filter(({ action }) => action === 'UploadPart');
    t.equal(sent.length, 3);
    t.ok(sent.every(({ headers }) => 'x-amz-checksum-crc32' in headers));
    t.ok(setup.proxy.log.every(({ status = 0 }) => status < 400));
    t.ok((await read(store, 'sum')).equals(content), 'nor does what HEAD says get in the way');
  });

  await t.test('a part with a wrong checksum is not sent', async (t) => {
    const { store } = setup.makeStore(t);
    const upload = await store.createUpload(key('x'));
    const body = pattern(100);
    const sending = store.uploadPart(upload, 1, [body], { crc32: crc32(body) ^ 1 });
    await fails(t, sending, { kind: 'corrupt' });
    await store.abortUpload(upload);
  });

  await t.test('an aborted upload is gone, and may be aborted again', async (t) => {
    const { store } = setup.makeStore(t);
    const upload = await store.createUpload(key('x'));
    const sent = await store.uploadPart(upload, 1, [pattern(part)]);
    await store.abortUpload(upload);
    await store.abortUpload(upload);
    t.strictSame(await setup.bucket.uploads(), []);
    await fails(t, store.uploadPart(upload, 2, [pattern(10)]), { kind: 'noUpload' });
    await t.rejects(store.completeUpload(upload, [sent]));
    await fails(t, store.head(key('x')), { kind: 'notFound' });
  });

  await t.test('parts that S3 does not take fail the upload', async (t) => {
    const { store } = setup.makeStore(t);
    const upload = await store.createUpload(key('x'));
    const first = await store.uploadPart(upload, 1, [pattern(1000)]);
    const second = await store.uploadPart(upload, 2, [pattern(1000)]);
    const completing = store.completeUpload(upload, [first, second]);
    if (setup.deviations.takesSmallParts) {
      await completing;
      t.ok((await read(store, 'x')).equals(Buffer.concat([pattern(1000), pattern(1000)])));
      return;
    }
    await t.rejects(completing, { code: 'EntityTooSmall' });
    await fails(t, store.completeUpload(upload, [{ ...first, etag: otherTag }]), {
      kind: 'corrupt',
      code: 'InvalidPart',
    });
    await store.abortUpload(upload);
    await fails(t, store.head(key('x')), { kind: 'notFound' });
  });

  await t.test('a file is one PUT up to a part, and parts of equal size above', async (t) => {
    const { store, prefix } = setup.makeStore(t);
    // What the endpoint has to be asked once is asked now.
    await store.put(key('first'), []);
    for (const [size, puts, parts] of [
      [0, 1, 0],
      [1, 1, 0],
      [part - 1, 1, 0],
      [part, 1, 0],
      [part + 1, 0, 2],
      [3 * part, 0, 3],
    ] as const) {
      const content = pattern(size);
      setup.proxy.reset();
      const { etag } = await store.upload(key(`f${size}`), sourceOf(content));
      const counts = setup.proxy.counts();
      t.strictSame([counts.PutObject ?? 0, counts.UploadPart ?? 0], [puts, parts], `${size} bytes`);
      t.equal((await store.head(key(`f${size}`))).etag, etag);
      t.equal(await setup.bucket.sha256(`${prefix}f${size}`), sha256(content), 'byte for byte');
    }
  });

  await t.test('a file that cannot be read is not uploaded', async (t) => {
    const { store } = setup.makeStore(t);
    let reads = 0;
    const source = {
      size: 4 * part,
      read: async (): Promise<void> => {
        reads += 1;
        if (reads > 2) throw Object.assign(new Error('disk gone'), { code: 'EIO' });
        await Promise.resolve();
      },
    };
    await t.rejects(store.upload(key('x'), source), { code: 'EIO' });
    t.strictSame(await setup.bucket.uploads(), []);
    await fails(t, store.head(key('x')), { kind: 'notFound' });
  });

  await t.test('parts can be copied from an object', async (t) => {
    const { store } = setup.makeStore(t);
    const base = pattern(2 * part + 500);
    const { etag } = await store.upload(key('base'), sourceOf(base));
    const source = { key: key('base'), etag, size: base.length };
    const upload = await store.createUpload(key('base'));
    const tail = pattern(77, 5);
    const parts = [
      await store.copyPart(upload, 1, source, { start: 0, end: part }),
      await store.copyPart(upload, 2, source, { start: part, end: base.length }),
      await store.uploadPart(upload, 3, [tail]),
    ];
    t.strictSame(
      parts.map((p) => p.size),
      [part, part + 500, 77],
    );
    await store.completeUpload(upload, parts, { condition: { etag } });
    t.ok((await read(store, 'base')).equals(Buffer.concat([base, tail])));
  });

  await t.test('parts of another version make no object', async (t) => {
    const { store } = setup.makeStore(t);
    const { etag } = await store.upload(key('base'), sourceOf(pattern(2 * part)));
    const source = { key: key('base'), etag, size: 2 * part };
    const upload = await store.createUpload(key('x'));
    const composing = async (): Promise<unknown> => {
      const first = await store.copyPart(upload, 1, source, { start: 0, end: part });
      await store.upload(key('base'), sourceOf(pattern(2 * part, 9)));
      const second = await store.copyPart(upload, 2, source, { start: part, end: 2 * part });
      return store.completeUpload(upload, [first, second]);
    };
    await fails(t, composing(), { kind: 'changed' });
    await store.abortUpload(upload);
    await fails(t, store.head(key('x')), { kind: 'notFound' });
  });
}
