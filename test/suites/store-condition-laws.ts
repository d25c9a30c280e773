/**
 * Laws of conditional writes. On a server that does not keep a condition the store looks first, so
 * the outcome is the same unless writers race, and it says so once.
 */
import type { Test } from 'tap';
import { isStoreError } from '../../lib/errors.js';
import type { Condition, ETag } from '../../lib/store.js';
import { bytes, key, otherTag, pattern, read, sourceOf, fails } from './store-law-setup.js';
import type { LawSetup, LawStore } from './store-law-setup.js';
import type { KeptConditions } from './store-deviations.js';
import { mebibyte } from '../support/sizes.js';

/** A write under a condition: what it stores is `content`. */
interface Way {
  readonly name: string;
  readonly kept: (setup: LawSetup) => KeptConditions;
  readonly content: Buffer;
  write(law: LawStore, name: string, condition: Condition): Promise<{ etag: ETag }>;
}

const small = Buffer.from('new');
const large = pattern(6 * mebibyte);

const ways: Way[] = [
  {
    name: 'PutObject',
    kept: ({ deviations }) => deviations.conditions.put,
    content: small,
    write: async ({ store }, name, condition) => store.put(key(name), [small], { condition }),
  },
  {
    name: 'CompleteMultipartUpload',
    kept: ({ deviations }) => deviations.conditions.complete,
    content: large,
    write: async ({ store }, name, condition) =>
      store.upload(key(name), sourceOf(large), { condition }),
  },
  {
    name: 'CopyObject',
    kept: ({ deviations }) => deviations.conditions.copy,
    content: small,
    write: async ({ store }, name, condition) => {
      const { etag } = await store.put(key('source'), [small]);
      const source = { key: key('source'), etag, size: small.length };
      return store.copy(source, key(name), { condition });
    },
  },
];

export async function conditionLaws(t: Test, setup: LawSetup): Promise<void> {
  for (const way of ways) {
    await t.test(`${way.name} under a condition`, (t) => lawsOfOneWay(t, setup, way));
  }

  await t.test('of many exclusive creators one wins', async (t) => {
    const law = setup.makeStore(t);
    for (let round = 0; round < 3; round++) {
      const name = key(`lock${round}`);
      const writers = Array.from({ length: 12 }, (_, index) => `writer ${index}`);
      const ends = await Promise.allSettled(
        writers.map((who) => law.store.put(name, bytes(who), { condition: { absent: true } })),
      );
      const winners = writers.filter((_, index) => ends[index]?.status === 'fulfilled');
      const content = (await read(law.store, name)).toString();
      t.ok(winners.includes(content), 'the content is that of one who was told so');
      if (setup.deviations.conditions.put.absent) t.equal(winners.length, 1, 'one winner');
      for (const end of ends) {
        if (end.status !== 'rejected') continue;
        // Looked at again, and somebody else's by then: that may have come afterwards.
        const isInDoubt = !setup.deviations.tagsByMd5 && isStoreError(end.reason, 'corrupt');
        if (!isInDoubt) t.match(end.reason, { kind: 'changed' });
      }
    }
  });

  await t.test('the token of an exclusive create is not shown', async (t) => {
    const { store, prefix } = setup.makeStore(t);
    const options = { condition: { absent: true }, metadata: { mine: '1' } } as const;
    await store.put(key('x'), bytes('x'), options);
    t.strictSame((await store.head(key('x'))).metadata, { mine: '1' });
    const { Metadata } = await setup.bucket.head(`${prefix}x`);
    const isKept = setup.deviations.conditions.put.absent;
    t.match(Metadata, { mine: '1', ...(isKept ? { 's3jail-upload': /^[0-9a-f]{24}$/ } : {}) });
  });

  await t.test('trying the conditions leaves nothing behind', async (t) => {
    const { store, prefix } = setup.makeStore(t);
    await store.learnConditions();
    t.strictSame(await setup.bucket.keys(prefix), []);
    t.strictSame(await setup.bucket.uploads(), []);
    setup.proxy.reset();
    await store.put(key('x'), bytes('x'), { condition: { absent: true } });
    t.equal(setup.proxy.counts().PutObject, 1, 'and then the first write is one request');
  });
}

async function lawsOfOneWay(t: Test, setup: LawSetup, way: Way): Promise<void> {
  const law = setup.makeStore(t);
  const { store } = law;

  const first = await way.write(law, 'x', { absent: true });
  t.ok((await read(store, 'x')).equals(way.content), 'absent: written where nothing is');
  t.equal((await store.head(key('x'))).etag, first.etag, 'with the tag that was told');

  await store.put(key('x'), bytes('somebody else’s'));
  await fails(t, way.write(law, 'x', { absent: true }), { kind: 'changed' });
  await fails(t, way.write(law, 'x', { etag: otherTag }), { kind: 'changed' });
  await fails(t, way.write(law, 'none', { etag: otherTag }), { kind: 'changed' });
  t.equal((await read(store, 'x')).toString(), 'somebody else’s', 'left alone');
  await fails(t, store.head(key('none')), { kind: 'notFound' });

  const { etag } = await store.head(key('x'));
  await way.write(law, 'x', { etag });
  t.ok((await read(store, 'x')).equals(way.content), 'etag: replaced where it matches');
  t.strictSame(await setup.bucket.uploads(), [], 'no upload left open');

  const kept = way.kept(setup);
  const expected = kept.absent && kept.etag ? 0 : 1;
  const said = law.warnings.filter((text) => text.includes(`conditions of ${way.name}`));
  t.equal(said.length, expected, 'a server that does not keep them is reported once');
}
