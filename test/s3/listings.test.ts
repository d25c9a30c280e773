/**
 * Answers to LIST that say less than they seem to: pages that are empty though there is more, entries
 * in no order or without their attributes, listings that lead nowhere. What such a server holds is
 * shown as it is, or the operation fails.
 */
import t, { type Test } from 'tap';
import { isStoreError } from '../../lib/errors.js';
import { silentLog } from '../../lib/log.js';
import type { Key } from '../../lib/path.js';
import type { ListOptions, ListPage, ObjectStore } from '../../lib/store.js';
import { Program, useCore, type Core, type CoreOptions } from '../support/core.js';
import { dayOptions, liveADay } from '../support/day.js';
import { testBucket } from '../support/embedded.js';
import {
  backwards,
  emptyFirst,
  onePerPage,
  rewriteLists,
  tokenAfter,
  without,
  type Rewriting,
} from '../support/list-answers.js';

t.setTimeout(300_000);

const fullAnswers: Record<string, Rewriting> = {
  'an empty page before the first': emptyFirst,
  'an empty page before each': (list, parameters) =>
    isSecondAsking(parameters) ? list : { contents: [], prefixes: [], next: askAgain(parameters) },
  'one entry a page': onePerPage,
  'the last first': backwards,
  'neither ETags nor sizes': (list, parameters) =>
    without('ETag')(without('Size')(list, parameters), parameters),
  'no times': without('LastModified'),
};

/** Tokens that were handed out in vain once. */
const askedBefore = new Set<string>();
function isSecondAsking(parameters: URLSearchParams): boolean {
  return askedBefore.delete(askAgain(parameters));
}
function askAgain(parameters: URLSearchParams): string {
  const token =
    parameters.get('continuation-token') ?? tokenAfter(parameters.get('start-after') ?? '');
  askedBefore.add(token);
  return token;
}

const keys = [
  ...['alice/d/', 'alice/d/a', 'alice/d/b', 'alice/d/c/x', 'alice/e/1', 'alice/e/2', 'alice/f'],
  ...['alice/g/deep/er/x', 'alice/g-1', 'alice/g.txt', 'alice/g/y'],
];

async function useListing(t: Test, options: CoreOptions = {}): Promise<Core> {
  const settings = { renameDir: 'recursive', metadataTtlMs: 0 } as const;
  const core = await useCore(t, { settings, ...options });
  for (const key of keys) await core.bucket.put(key, key.endsWith('/') ? '' : key);
  return core;
}

for (const [name, rewriting] of Object.entries(fullAnswers)) {
  void t.test(
    `${name}: everything is shown, and nothing that is full counts as empty`,
    async (t) => {
      const core = await useListing(t);
      rewriteLists(core.proxy, rewriting);
      await showsAndKeeps(t, core);
    },
  );

  void t.test(`${name}: a day`, async (t) => {
    const core = await useCore(t, dayOptions);
    rewriteLists(core.proxy, rewriting);
    await liveADay(t, core);
  });
}

void t.test('the delimiter is ignored', async (t) => {
  const options: CoreOptions = {
    buckets: [{ name: testBucket, anonymous: 'read-write' }],
    misread: ({ action }, url) =>
      action === 'ListObjectsV2' ? url.replace(/&?delimiter=[^&]*/, '') : undefined,
  };
  await showsAndKeeps(t, await useListing(t, options));
  await liveADay(t, await useCore(t, { ...dayOptions, ...options }));
});

async function showsAndKeeps(t: Test, core: Core): Promise<void> {
  const program = new Program(core.fs);
  t.strictSame(await program.list('/'), ['d/', 'e/', 'f', 'g-1', 'g.txt', 'g/'], 'the root');
  t.strictSame(await program.list('/d'), ['a', 'b', 'c/']);
  const files = keys.filter((key) => !key.endsWith('/')).map(asPath);
  t.strictSame((await walk(program, '/')).sort(), files.sort());
  for (const directory of ['/d', '/d/c', '/e', '/g', '/g/deep', '/g/deep/er']) {
    t.equal((await program.stat(directory)).kind, 'directory', directory);
    await t.rejects(program.rmdir(directory), { code: 'ENOTEMPTY' }, directory);
  }
  for (const path of ['/d/a', '/d/b', '/e/1', '/e/2', '/f', '/g-1', '/g.txt', '/g/y']) {
    t.equal((await program.stat(path)).kind, 'file', path);
  }
  t.equal((await program.stat('/g.txt')).size, 'alice/g.txt'.length);
  await t.rejects(program.stat('/e/3'), { code: 'ENOENT' });
  await t.rejects(program.put('/d', 'x'), { code: 'EISDIR' });
  await t.rejects(program.mkdir('/e'), { code: 'EEXIST' });
  await program.mkdir('/empty');
  await program.rename('/empty', '/still');
  await program.rmdir('/still');
  await program.rename('/g', '/moved');
  await t.rejects(program.rename('/e', '/d'), { code: 'ENOTEMPTY' });
  t.strictSame(
    core.endpoint.keys(testBucket).filter((key) => /\/(g|moved|still|empty)\//.test(key)),
    ['alice/moved/deep/er/x', 'alice/moved/y'],
  );
}

/** As the server has them: all files, by path. */
async function walk(program: Program, path: string): Promise<string[]> {
  const files: string[] = [];
  for (const name of await program.list(path)) {
    const child = `${path === '/' ? '' : path}/${name.replace('/', '')}`;
    files.push(...(name.endsWith('/') ? await walk(program, child) : [child]));
  }
  return files;
}

function asPath(key: string): string {
  return key.replace('alice', '');
}

void t.test('disorder is noticed once, and names are looked up without it', async (t) => {
  const core = await useCore(t);
  const names = Array.from({ length: 30 }, (_, index) => `f${10 + index}`);
  for (const name of names) await core.bucket.put(`alice/d/${name}`, name);
  await core.bucket.put('alice/d/f10/inside', 'x');
  // Hash order, as directory buckets have it: a page shows some, in no order, and the rest follows.
  rewriteLists(core.proxy, backwards);
  const program = new Program(core.fs);
  t.equal((await program.stat('/d/f10')).kind, 'directory');
  for (const name of names.slice(1)) t.ok(await program.exists(`/d/${name}`), name);
  core.proxy.reset();
  t.equal((await program.list('/d')).length, names.length);
  for (let index = 0; index < 5; index++) await program.exists(`/d/no-${index}`);
  t.notOk(
    core.proxy.log.some(({ query }) => query.includes('start-after')),
    'nothing is asked from a name on any more',
  );
  t.match(core.store.capabilities, { 'order of listings': 'not kept' });
});

void t.test('a disordered listing too long for memory has each name once', async (t) => {
  const core = await useCore(t, { settings: { longestListing: 1 } });
  const names = Array.from({ length: 40 }, (_, index) => `f${10 + index}`);
  for (const name of names) await core.bucket.put(`alice/d/${name}`, name);
  await core.bucket.put('alice/d/f20/inside', 'x');
  // The directories first, so that a file of such a name comes after them.
  rewriteLists(core.proxy, ({ contents, prefixes, next }, parameters) => {
    const later = parameters.has('continuation-token');
    if (later) return { contents: [...contents].reverse(), prefixes, next };
    return { contents: [], prefixes, next: tokenAfter('') };
  });
  t.strictSame(
    await new Program(core.fs).list('/d'),
    names.map((name) => (name === 'f20' ? 'f20/' : name)),
  );
});

const nowhere: Record<string, (list: { n: number; sent: string | null }) => string> = {
  'the same token for ever': () => tokenAfter('alice/d/a'),
  'the token that was sent': ({ sent }) => sent ?? tokenAfter('alice/d/a'),
  'two tokens in turn': ({ n }) => tokenAfter(n % 2 === 0 ? 'alice/d/a' : 'alice/d/b'),
  'ever new tokens': ({ n }) => tokenAfter(`alice/d/a${n}`),
};

for (const [name, token] of Object.entries(nowhere)) {
  for (const isEmpty of [true, false]) {
    void t.test(`${name}, ${isEmpty ? 'without entries' : 'and the same entries'}`, async (t) => {
      const core = await useListing(t);
      let n = 0;
      rewriteLists(core.proxy, (list, parameters) => {
        n += 1;
        const next = token({ n, sent: parameters.get('continuation-token') });
        return { contents: isEmpty ? [] : list.contents.slice(0, 1), prefixes: [], next };
      });
      const program = new Program(core.fs);
      await t.rejects(program.list('/d'), { code: 'EIO' });
      if (name !== 'ever new tokens') {
        if (isEmpty) await t.rejects(program.stat('/d/c'), { code: 'EIO' });
        await t.rejects(program.rmdir('/e'), { code: isEmpty ? 'EIO' : 'ENOTEMPTY' });
      }
      t.ok(n <= (isEmpty && name === 'ever new tokens' ? 1100 : 20), `${n} requests`);
    });
  }
}

const broken: Record<string, Rewriting> = {
  'an entry without a name': without('Key'),
  'an entry whose size is none': ({ contents, ...list }) => ({
    ...list,
    contents: contents.map((entry) => entry.replace(/<Size>\d+/, '<Size>-1')),
  }),
};

for (const [name, rewriting] of Object.entries(broken)) {
  void t.test(`${name} is shown, or the listing fails`, async (t) => {
    const core = await useListing(t);
    rewriteLists(core.proxy, rewriting);
    const program = new Program(core.fs);
    const shown = await program.list('/d').catch((error: unknown) => String(error));
    if (Array.isArray(shown)) t.strictSame(shown, ['a', 'b', 'c/']);
    else t.match(shown, /listing|ListObjectsV2/);
    await t.rejects(program.rmdir('/d'));
    t.ok(core.endpoint.keys(testBucket).includes('alice/d/'));
  });
}

const otherAnswers: Record<string, (body: string) => string> = {
  'a count that is more than what came': (body) =>
    body.replaceAll(/<Contents>.*?<\/Contents>/gs, ''),
  'an answer about another prefix': (body) =>
    body
      .replaceAll(/<(Contents|CommonPrefixes)>.*?<\/\1>/gs, '')
      .replace(/<KeyCount>\d+/, '<KeyCount>0')
      .replace(/<Prefix>.*?<\/Prefix>/, '<Prefix>alice/other/</Prefix>'),
  'entries that are all from elsewhere': (body) =>
    body.replaceAll('<Key>alice/', '<Key>bob/').replaceAll('<Prefix>alice/d', '<Prefix>bob/d'),
  'a document that does not say whether it is all': (body) =>
    body
      .replaceAll(/<(Contents|CommonPrefixes)>.*?<\/\1>/gs, '')
      .replace(/<KeyCount>\d+/, '<KeyCount>0')
      .replace(/<IsTruncated>\w+<\/IsTruncated>/, ''),
  'groups where none were asked for': (body) =>
    body.includes('<Delimiter>')
      ? body
      : body
          .replaceAll(/<Contents>.*?<\/Contents>/gs, '')
          .replace(
            '</ListBucketResult>',
            '<CommonPrefixes><Prefix>alice/d/c/</Prefix></CommonPrefixes></ListBucketResult>',
          ),
};

for (const [name, change] of Object.entries(otherAnswers)) {
  void t.test(`${name}: not an empty directory`, async (t) => {
    const core = await useListing(t);
    core.proxy.inject({
      action: 'ListObjectsV2',
      count: Number.POSITIVE_INFINITY,
      fault: {
        kind: 'rewrite',
        rewrite: (answer) => ({ ...answer, body: change(answer.body) }),
      },
    });
    const { store } = core;
    t.equal(await store.list({ prefix: 'd/' as Key, oneLevel: false }).catch(asKind), 'corrupt');
    const program = new Program(core.fs);
    await t.rejects(program.rmdir('/d'), { code: 'EIO' });
    await t.rejects(program.rename('/d', '/x'), { code: 'EIO' });
    t.ok(core.endpoint.keys(testBucket).includes('alice/d/'));
  });
}

void t.test('an entry without attributes that is gone meanwhile is not shown', async (t) => {
  const warnings: string[] = [];
  const warn = (_fields: object, message: string): void => void warnings.push(message);
  const core = await useListing(t, { log: { ...silentLog, warn } });
  rewriteLists(core.proxy, without('ETag'));
  core.proxy.inject({
    action: 'HeadObject',
    key: 'alice/d/a',
    count: Number.POSITIVE_INFINITY,
    fault: { kind: 'status', status: 404, code: 'NoSuchKey' },
  });
  t.strictSame(await new Program(core.fs).list('/d'), ['b', 'c/']);
  t.ok(
    warnings.some((text) => text.includes('without')),
    'and the log says so',
  );
});

void t.test('a name that is no UTF-8 is counted, and its directory is not empty', async (t) => {
  const core = await useListing(t);
  rewriteLists(core.proxy, ({ contents, ...list }) => ({
    ...list,
    contents: contents
      .map((entry) => entry.replace('<Key>alice/e/', '<Key>alice/e/%FF'))
      .filter((entry) => !entry.includes('alice/d/') || entry.includes('<Key>alice/d/<')),
  }));
  const program = new Program(core.fs);
  t.strictSame(await program.list('/e'), []);
  t.equal(core.fs.status.oddKeys, 2);
  await t.rejects(program.rmdir('/e'), { code: 'ENOTEMPTY' });
  t.equal((await program.stat('/e')).kind, 'directory');
});

void t.test('a DELETE without an answer is not done because a LIST says little', async (t) => {
  for (const rewriting of [without('ETag'), emptyFirst, backwards]) {
    const core = await useListing(t, { maxAttempts: 1 });
    const program = new Program(core.fs);
    t.ok(await program.exists('/f'));
    rewriteLists(core.proxy, rewriting);
    core.proxy.inject({ action: 'DeleteObject', count: Infinity, fault: { kind: 'reset-before' } });
    await t.rejects(program.unlink('/f'), { code: 'EIO' });
    t.ok(core.endpoint.keys(testBucket).includes('alice/f'));
  }
});

void t.test('pages of the store', async (t) => {
  await t.test('one that goes on shows something', async (t) => {
    const core = await useListing(t);
    rewriteLists(core.proxy, emptyFirst);
    for (const options of [{}, { maxKeys: 1 }, { maxKeys: 2 }, { after: 'd/' }]) {
      for (const oneLevel of [true, false]) {
        const { objects, prefixes } = await core.store.list({
          prefix: 'd/' as Key,
          oneLevel,
          ...options,
        });
        t.ok(objects.length + prefixes.length > 0, JSON.stringify({ oneLevel, ...options }));
      }
    }
  });

  await t.test('empty ones end with the patience for an answer', async (t) => {
    const core = await useListing(t, { requestTimeoutMs: 200 });
    let n = 0;
    rewriteLists(core.proxy, () => {
      n += 1;
      return { contents: [], prefixes: [], next: tokenAfter(`${n}`) };
    });
    const startMs = performance.now();
    const failure = await core.store.list({ prefix: 'd/' as Key, oneLevel: true }).catch(asKind);
    t.match(failure, /^(unavailable|corrupt)$/);
    t.ok(performance.now() - startMs < 5000);
  });

  await t.test('order is that of the names, whatever is filled in', async (t) => {
    const core = await useListing(t);
    rewriteLists(core.proxy, ({ contents, ...list }) => ({
      ...list,
      contents: contents.map((entry, index) =>
        index % 2 === 0 ? entry.replace(/<ETag>.*?<\/ETag>/, '') : entry,
      ),
    }));
    const pages = await allPages(core.store, { oneLevel: false });
    const sorted = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    t.strictSame(
      pages.flatMap(({ objects }) => objects.map(({ key }) => `alice/${key}`)),
      sorted,
    );
  });
});

async function allPages(store: ObjectStore, query: Partial<ListOptions>): Promise<ListPage[]> {
  const pages: ListPage[] = [];
  let from: string | undefined;
  do {
    const more = from === undefined ? {} : { from };
    const page = await store.list({ prefix: '' as Key, oneLevel: true, ...query, ...more });
    pages.push(page);
    from = page.next;
  } while (from !== undefined);
  return pages;
}

function asKind(error: unknown): string {
  return isStoreError(error) ? error.kind : 'none of ours';
}
