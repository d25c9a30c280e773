/** Laws of server-side copies, small ones and those by parts. */
import { GetObjectTaggingCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import type { Test } from 'tap';
import {
  bytes,
  key,
  otherTag,
  pattern,
  read,
  sourceOf,
  storable,
  fails,
} from './store-law-setup.js';
import type { LawSetup } from './store-law-setup.js';
import { mebibyte } from '../support/sizes.js';

const described = {
  ContentType: 'text/x-law',
  CacheControl: 'max-age=7',
  ContentDisposition: 'attachment; filename="a b"',
  ContentLanguage: 'de',
  Metadata: { mtime: '1700000000', other: 'x' },
};

export async function copyLaws(t: Test, setup: LawSetup): Promise<void> {
  const { otherClass, tags: knowsTags } = setup.deviations;
  for (const [name, size] of [
    ['small', 1000],
    ['empty', 0],
    ['by parts', 13 * mebibyte],
  ] as const) {
    await t.test(`a copy keeps content and description (${name})`, async (t) => {
      const { store, prefix } = setup.makeStore(t);
      const content = pattern(size);
      await setup.bucket.client.send(
        new PutObjectCommand({
          Bucket: setup.bucket.name,
          Key: `${prefix}from`,
          Body: content,
          StorageClass: otherClass,
          ...(knowsTags ? { Tagging: 'a=1&b=x%20y' } : {}),
          ...described,
        }),
      );
      const { etag } = await store.head(key('from'));
      const copied = await store.copy({ key: key('from'), etag, size }, key('to'));
      t.ok((await read(store, 'to')).equals(content));
      t.match(await setup.bucket.head(`${prefix}to`), {
        ...described,
        ...(otherClass === undefined ? {} : { StorageClass: otherClass }),
        ETag: copied.etag,
      });
      t.ok((await read(store, 'from')).equals(content), 'the source stays');
      t.strictSame(await setup.bucket.uploads(), []);
      if (!knowsTags) return;
      const at = { Bucket: setup.bucket.name, Key: `${prefix}to` };
      const tags = await setup.bucket.client.send(new GetObjectTaggingCommand(at));
      const isLost = name === 'by parts' && !setup.deviations.tagsUploads;
      t.strictSame(
        (tags.TagSet ?? []).map((tag) => `${tag.Key ?? ''}=${tag.Value ?? ''}`).sort(),
        isLost ? [] : ['a=1', 'b=x y'],
        'tags',
      );
    });

    await t.test(`another version is not copied (${name})`, async (t) => {
      const { store } = setup.makeStore(t);
      await store.upload(key('from'), sourceOf(pattern(size)));
      const source = { key: key('from'), etag: otherTag, size };
      await fails(t, store.copy(source, key('to')), { kind: 'changed' });
      await fails(t, store.head(key('to')), { kind: 'notFound' });
      t.strictSame(await setup.bucket.uploads(), []);
    });
  }

  await t.test('a copy of what was just listed is one request', async (t) => {
    const { store } = setup.makeStore(t);
    await store.put(key('from'), bytes('x'), { storageClass: otherClass });
    const { objects } = await store.list({ prefix: key(''), oneLevel: true });
    setup.proxy.reset();
    await store.copy(objects[0]!, key('to'));
    const asks = setup.deviations.tagsByMd5 ? {} : { HeadObject: 1 };
    t.strictSame(setup.proxy.counts(), { CopyObject: 1, ...asks });
    t.equal((await store.head(key('to'))).storageClass, otherClass);
  });

  await t.test('a copy onto itself changes metadata and leaves the rest', async (t) => {
    const { store, prefix } = setup.makeStore(t);
    await setup.bucket.client.send(
      new PutObjectCommand({
        Bucket: setup.bucket.name,
        Key: `${prefix}x`,
        Body: 'x',
        StorageClass: otherClass,
        ...described,
      }),
    );
    const info = await store.head(key('x'));
    setup.proxy.reset();
    await store.copy(info, key('x'), { metadata: { mtime: '1' } });
    t.strictSame(setup.proxy.counts(), { CopyObject: 1 }, 'HEAD was only just asked');
    t.match(await setup.bucket.head(`${prefix}x`), {
      ...described,
      Metadata: { mtime: '1' },
      ...(otherClass === undefined ? {} : { StorageClass: otherClass }),
    });
    t.strictSame((await store.head(key('x'))).metadata, { mtime: '1' });
  });

  await t.test('odd keys are copied, from and to', async (t) => {
    const { store } = setup.makeStore(t);
    const odd = ['a b', 'a+b', '100%', '%41', "it's (1)!*", 'ü', '🙂', 'a//b', '../x', 'q?x=1#y&z'];
    const names = storable(setup, odd);
    for (const name of names) {
      const { etag } = await store.put(key(name), bytes(name));
      const size = Buffer.byteLength(name);
      await store.copy({ key: key(name), etag, size }, key(`copy ${name}`));
      t.equal((await read(store, `copy ${name}`)).toString(), name, JSON.stringify(name));
    }
  });

  await t.test('odd keys are copied by parts', async (t) => {
    const { store } = setup.makeStore(t);
    const content = pattern(7 * mebibyte);
    for (const name of ['plain', 'a b+c', 'ü 100%']) {
      const { etag } = await store.upload(key(name), sourceOf(content));
      await store.copy({ key: key(name), etag, size: content.length }, key(`copy ${name}`));
      t.ok((await read(store, `copy ${name}`)).equals(content), JSON.stringify(name));
    }
    t.strictSame(await setup.bucket.uploads(), []);
  });

  await t.test('a missing source is not found', async (t) => {
    const { store } = setup.makeStore(t);
    for (const size of [10, 20 * mebibyte]) {
      const source = { key: key('none'), etag: otherTag, size };
      await fails(t, store.copy(source, key('to')), { kind: 'notFound' });
    }
    t.strictSame(await setup.bucket.uploads(), []);
  });
}
