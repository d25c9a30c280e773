/** Laws of directories: markers with what they say, and the move of all that is in one. */
import { GetObjectTaggingCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import type { Test } from 'tap';
import { silentLog } from '../../lib/log.js';
import { writeMarker } from '../../lib/filesystem/markers.js';
import { DirectoryMove } from '../../lib/filesystem/directory-move.js';
import { bytes, key, otherTag, pattern, fails, read, sourceOf } from './store-law-setup.js';
import type { LawSetup } from './store-law-setup.js';
import { mebibyte } from '../support/sizes.js';

const described = {
  ContentType: 'text/x-law',
  CacheControl: 'max-age=7',
  ContentDisposition: 'attachment; filename="a b"',
  ContentLanguage: 'de',
};

export async function directoryLaws(t: Test, setup: LawSetup): Promise<void> {
  const { bucket, deviations } = setup;

  await t.test('a marker that is there is not written over', async (t) => {
    const { store, prefix } = setup.makeStore(t);
    t.ok(await writeMarker(store, key('d/')), 'written where there is none');
    const other = { Bucket: bucket.name, Key: `${prefix}e/`, Body: Buffer.alloc(0) };
    await bucket.client.send(new PutObjectCommand({ ...other, Metadata: { owner: 'somebody' } }));
    t.notOk(await writeMarker(store, key('e/')));
    const said = deviations.describesMarkers ? { owner: 'somebody' } : {};
    t.strictSame((await store.head(key('e/'))).metadata, said);
  });

  await t.test('a directory is moved with its markers and what they say', async (t) => {
    const { store, prefix } = setup.makeStore(t);
    if (deviations.mistakesMarkers) {
      const { etag } = await store.put(key('m/'), []);
      const again = store.put(key('m/'), [], { condition: { etag } });
      await fails(t, again, { kind: 'changed' }, 'and so directories are not moved there');
      return;
    }
    for (const name of ['from/', 'from/deep/']) {
      const marker = { Bucket: bucket.name, Key: prefix + name, Body: Buffer.alloc(0) };
      await bucket.client.send(
        new PutObjectCommand({ ...marker, Metadata: { owner: 'somebody' } }),
      );
    }
    for (const name of ['x', 'deep/y']) await store.put(key(`from/${name}`), bytes(name));
    const ends = { from: key('from/'), to: key('to/') };
    const move = new DirectoryMove({ store, ...ends, mountId: 'one', log: silentLog });
    await move.claim(false);
    const other = new DirectoryMove({ store, ...ends, mountId: 'two', log: silentLog });
    await t.rejects(other.claim(false), { code: 'EEXIST' }, 'who saw nothing there is too late');
    if (deviations.describesMarkers) {
      await t.rejects(other.claim(true), { code: 'EEXIST' }, 'nobody else moves there meanwhile');
    }
    await move.run();
    const names = ['to/', 'to/deep/', 'to/deep/y', 'to/x'].map((name) => prefix + name);
    t.strictSame((await bucket.keys(prefix)).sort(), names);
    t.equal((await read(store, 'to/deep/y')).toString(), 'deep/y');
    const said = deviations.describesMarkers ? { owner: 'somebody' } : {};
    for (const name of ['to/', 'to/deep/']) {
      t.strictSame((await store.head(key(name))).metadata, said, name);
    }
  });

  for (const [name, size] of [
    ['small', 1000],
    ['by parts', 13 * mebibyte],
  ] as const) {
    await t.test(
      `a write that is like another object keeps its description (${name})`,
      async (t) => {
        const { store, prefix } = setup.makeStore(t);
        await bucket.client.send(
          new PutObjectCommand({
            ...{ Bucket: bucket.name, Key: `${prefix}base`, Body: Buffer.from('x'), ...described },
            Metadata: { mtime: '1', other: 'x' },
            ...(deviations.tags ? { Tagging: 'a=1&b=x%20y' } : {}),
          }),
        );
        const like = await store.head(key('base'));
        // What is no ASCII comes back as RFC 2047 has it where the server reads it at all.
        const more = deviations.encodesMetadata ? '=?UTF-8?q?gr=C3=BCn?=' : 'grün';
        const metadata = { mtime: undefined, more: 'grün' };
        await store.upload(key('new'), sourceOf(pattern(size)), { like, metadata });
        t.match(await bucket.head(`${prefix}new`), described);
        t.strictSame((await store.head(key('new'))).metadata, { other: 'x', more });
        if (deviations.tags && (name === 'small' || deviations.tagsUploads)) {
          const at = { Bucket: bucket.name, Key: `${prefix}new` };
          const { TagSet = [] } = await bucket.client.send(new GetObjectTaggingCommand(at));
          t.strictSame(TagSet.map(({ Key, Value }) => `${Key ?? ''}=${Value ?? ''}`).sort(), [
            ...['a=1', 'b=x y'],
          ]);
        }
        const stale = { ...like, etag: otherTag };
        await fails(t, store.put(key('base'), bytes('y'), { like: stale }), { kind: 'changed' });
      },
    );
  }

  await t.test('whether anything may be deleted is told without deleting', async (t) => {
    const { store, prefix } = setup.makeStore(t);
    await store.put(key('d/x'), bytes('x'));
    await store.requireDelete(key('d/x'));
    t.strictSame(await bucket.keys(prefix), [`${prefix}d/x`]);
  });
}
