/** Laws of listings: order, pages, levels, and nothing from outside the prefix. */
import type { Test } from 'tap';
import { inParallel } from '../support/bucket.js';
import { isStoreError } from '../../lib/errors.js';
import type { ListPage, ObjectStore } from '../../lib/store.js';
import { bytes, key, read, storable } from './store-law-setup.js';
import type { LawSetup } from './store-law-setup.js';

export async function listingLaws(t: Test, setup: LawSetup): Promise<void> {
  await t.test('one level shows objects and prefixes, all levels every object', async (t) => {
    const { store, prefix } = setup.makeStore(t);
    const { nesting, nestsMarkers } = setup.deviations;
    const isNested = nesting === 'kept' && nestsMarkers;
    const file = isNested ? ['a'] : [];
    const names = [...file, 'a.txt', 'a/', ...(isNested ? ['a/b'] : []), 'a/b/c', 'd/e/f', 'z'];
    for (const name of names) await store.put(key(name), name.endsWith('/') ? [] : bytes(name));
    // Beside the prefix, and sharing its letters.
    await setup.bucket.put(`${prefix.slice(0, -1)}2/x`, 'x');
    if (isNested) await setup.bucket.put(prefix.slice(0, -1), 'x');

    const top = await store.list({ prefix: key(''), oneLevel: true });
    t.strictSame(keysOf(top), [...file, 'a.txt', 'z']);
    t.strictSame(top.prefixes, ['a/', 'd/']);
    t.equal(top.next, undefined);
    const below = await store.list({ prefix: key('a/'), oneLevel: true });
    t.strictSame([keysOf(below), below.prefixes], [isNested ? ['a/', 'a/b'] : ['a/'], ['a/b/']]);
    const all = await store.list({ prefix: key(''), oneLevel: false });
    const wanted = setup.deviations.listsByFolder ? byFolder(names) : names;
    t.strictSame([keysOf(all), all.prefixes], [wanted, []]);
    const none = await store.list({ prefix: key('b/'), oneLevel: true });
    t.strictSame([none.objects, none.prefixes], [[], []]);
  });

  await t.test('an object and what is below its name', async (t) => {
    const { store } = setup.makeStore(t);
    await store.put(key('a'), bytes('a'));
    const marking = store.put(key('a/'), []);
    if (setup.deviations.nestsMarkers) await marking;
    else await t.rejects(marking, 'a marker of its name');
    const ending = await store.put(key('a/b'), bytes('b')).then(
      async () => {
        const { objects } = await store.list({ prefix: key(''), oneLevel: false });
        return objects.some((object) => object.key === 'a/b') ? 'kept' : 'hidden';
      },
      (error: unknown) => {
        t.ok(isStoreError(error), 'refused in words of S3');
        return 'refused';
      },
    );
    t.equal(ending, setup.deviations.nesting);
    t.equal((await read(store, 'a')).toString(), 'a', 'the object stays');
    await store.delete(key('a/b')).catch((error: unknown) => t.ok(isStoreError(error)));
  });

  await t.test('the attributes of a listing are those of HEAD', async (t) => {
    const { store } = setup.makeStore(t);
    await store.put(key('x'), bytes('four'), { contentType: 'text/x-law' });
    const info = await store.head(key('x'));
    const [entry] = (await store.list({ prefix: key(''), oneLevel: true })).objects;
    const { size, etag } = info;
    t.match(entry, { key: 'x', size, etag });
    // Some servers list whole seconds and answer HEAD with a fraction, or the other way round.
    t.ok(Math.abs((entry?.mtimeMs ?? 0) - info.mtimeMs) < 2000, 'time');
  });

  await t.test('the order is that of UTF-8 bytes, over all pages', async (t) => {
    const { store } = setup.makeStore(t);
    // UTF-16 would put the emoji before U+FFFD; locales would mix the cases.
    const names = ['B', 'Z', 'a', 'b', 'ä', 'é', '漢', '\ufffd', '🙂', 'a b', 'a+b', 'a-b'];
    for (const name of names) await store.put(key(name), bytes('x'));
    const wanted = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    for (const maxKeys of [1, 5, 1000]) {
      const pages = await allPages(store, { oneLevel: true, maxKeys });
      t.strictSame(pages.flatMap(keysOf), wanted, `${maxKeys} a page`);
      t.equal(pages.length, Math.ceil(names.length / maxKeys), 'no page more than needed');
    }
  });

  await t.test('pages hold a thousand, and prefixes count as much as objects', async (t) => {
    const { store, prefix } = setup.makeStore(t);
    const numbers = Array.from({ length: 1203 }, (_, index) => String(index).padStart(4, '0'));
    await inParallel(16, numbers, async (n) => {
      await setup.bucket.put(`${prefix}${Number(n) % 3 === 0 ? `${n}/file` : n}`, 'x');
    });
    const pages = await allPages(store, { oneLevel: true });
    t.equal(pages.length, 2);
    const found = pages.flatMap((page) => [...keysOf(page), ...page.prefixes]);
    t.equal(found.length, numbers.length);
    t.strictSame(
      found.map((name) => name.replace('/', '')).sort(),
      numbers,
      'each once, whatever page it is on',
    );
  });

  await t.test('a bad name does not break a listing', async (t) => {
    const { store } = setup.makeStore(t);
    const names = storable(setup, ['\u0001', 'a//b', './x', '../x', 'x/', '100%', 'a+b', ' ']);
    for (const name of names) await store.put(key(name), name.endsWith('/') ? [] : bytes('x'));
    const { objects } = await store.list({ prefix: key(''), oneLevel: false });
    t.strictSame(objects.map((info) => info.key).sort(), [...names].sort());
  });
}

/** As one sees them who walks through folders: what is in `a/` before `a.txt`. */
function byFolder(names: readonly string[]): string[] {
  const place = (name: string): string => name.replaceAll('/', '\0');
  return [...names].sort((a, b) => (place(a) < place(b) ? -1 : 1));
}

async function allPages(
  store: ObjectStore,
  options: { oneLevel: boolean; maxKeys?: number },
): Promise<ListPage[]> {
  const pages: ListPage[] = [];
  let from: string | undefined;
  do {
    const more = from === undefined ? {} : { from };
    const page = await store.list({ prefix: key(''), ...options, ...more });
    pages.push(page);
    from = page.next;
  } while (from !== undefined);
  return pages;
}

function keysOf(page: ListPage): string[] {
  return page.objects.map((info) => info.key);
}
