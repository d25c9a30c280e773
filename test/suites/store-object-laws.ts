/** Laws of single objects: stored, described, read, deleted; odd keys; kinds of failure. */
import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import {
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import type { Test } from 'tap';
import { isStoreError } from '../../lib/errors.js';
import { Bucket } from '../support/bucket.js';
import { mebibyte } from '../support/sizes.js';
import {
  bytes,
  collect,
  key,
  otherTag,
  pattern,
  read,
  storable,
  fails,
} from './store-law-setup.js';
import type { LawSetup } from './store-law-setup.js';

/** Names that need care somewhere between here and the disk of the server. */
const oddKeys = [
  'with space',
  ' leading and trailing ',
  'a+b',
  '100%',
  '%2F',
  "it's",
  '"quoted"',
  'semi;colon&amp=?#frag',
  'back\\slash',
  '<tag>',
  '~!@$^*()_-=[]{}|:,.',
  'grüße',
  'é decomposed',
  '漢字',
  'emoji 🙂',
  '.hidden',
  'tab\there',
  'line\nbreak',
  'control\u0001\u001f\u007f',
  'a//b',
  './x',
  '../x',
  'x/../y',
  'directory/',
  'n'.repeat(255),
];

export async function objectLaws(t: Test, setup: LawSetup): Promise<void> {
  await t.test('what is put comes back: bytes, size, tag, type, metadata', async (t) => {
    const { store, prefix } = setup.makeStore(t);
    const before = Date.now();
    const { etag } = await store.put(key('a'), [Buffer.from('hello '), Buffer.from('world')], {
      contentType: 'text/x-law',
      metadata: { mtime: '1700000000.5', other: 'a b' },
    });
    const info = await store.head(key('a'));
    t.match(info, {
      key: 'a',
      size: 11,
      etag,
      contentType: 'text/x-law',
      metadata: { mtime: '1700000000.5', other: 'a b' },
      archived: false,
    });
    t.ok(Math.abs(info.mtimeMs - before) < 60_000, 'time of storing');
    t.notOk('storageClass' in info, 'the default class goes without saying');
    t.equal((await read(store, 'a')).toString(), 'hello world');
    t.strictSame(await setup.bucket.keys(prefix), [`${prefix}a`], 'below the prefix');
  });

  await t.test('the empty object is an object', async (t) => {
    const { store } = setup.makeStore(t);
    await store.put(key('empty'), []);
    t.equal((await store.head(key('empty'))).size, 0);
    t.equal((await read(store, 'empty')).length, 0);
  });

  await t.test('a range is exactly that range', async (t) => {
    const { store } = setup.makeStore(t);
    const content = pattern(3 * mebibyte);
    const { etag } = await store.put(key('r'), [content]);
    for (const [start, end] of [
      [0, 1],
      [1, 1000],
      [mebibyte - 1, 2 * mebibyte + 1],
      [0, content.length],
      [content.length - 1, content.length],
      [content.length - 10, content.length + 1000],
    ] as const) {
      const { info, body } = await store.get(key('r'), { range: { start, end }, ifMatch: etag });
      t.ok((await collect(body)).equals(content.subarray(start, end)), `${start} to ${end}`);
      t.equal(info.size, content.length, 'the size is that of the object');
    }
    const beyond = { start: content.length, end: content.length + 1 };
    await fails(t, store.get(key('r'), { range: beyond }), { kind: 'invalid', status: 416 });
  });

  await t.test('another version is not read', async (t) => {
    const { store } = setup.makeStore(t);
    const { etag } = await store.put(key('v'), bytes('one'));
    await store.put(key('v'), bytes('two'));
    setup.proxy.reset();
    await fails(t, store.get(key('v'), { ifMatch: etag }), { kind: 'changed' });
    const range = { start: 0, end: 1 };
    await fails(t, store.get(key('v'), { ifMatch: etag, range }), { kind: 'changed' });
    const asked = setup.proxy.log.map(({ action, headers }) => [action, headers['if-match']]);
    t.strictSame(asked, [
      ['GetObject', etag],
      ['GetObject', etag],
    ]);
  });

  await t.test('odd keys lead to their own object and nowhere else', async (t) => {
    const { store, prefix } = setup.makeStore(t);
    const longest = longestKey(store.maxKeyBytes, setup.deviations.longestSegment);
    const names = [...storable(setup, oddKeys), longest];
    for (const name of names) await store.put(key(name), bytes(`content of ${name}`));
    for (const name of names) {
      t.equal((await read(store, name)).toString(), `content of ${name}`, JSON.stringify(name));
      t.equal((await store.head(key(name))).key, name);
    }
    t.strictSame(
      await namesIn(setup, prefix),
      names.map((name) => prefix + name).sort(byBytes),
      'under exactly these names',
    );
    for (const name of names) await store.delete(key(name));
    t.strictSame(await namesIn(setup, prefix), []);
  });

  await t.test('names that the server is known to lose are lost still', async (t) => {
    for (const name of oddKeys.filter((odd) => setup.deviations.lostNames.includes(odd))) {
      const { store, prefix } = setup.makeStore(t);
      const content = `content of ${name}`;
      const isHeld = await store.put(key(name), bytes(content)).then(
        async () => {
          const names = await namesIn(setup, prefix);
          return names.includes(prefix + name) && (await read(store, name)).toString() === content;
        },
        (error: unknown) => {
          t.ok(isStoreError(error), `${JSON.stringify(name)} is refused`);
          return false;
        },
      );
      t.notOk(isHeld, JSON.stringify(name));
    }
  });

  await t.test('delete is done with once the object is not there', async (t) => {
    const { store } = setup.makeStore(t);
    const { etag } = await store.put(key('d'), bytes('x'));
    await store.delete(key('d'), { ifMatch: etag });
    await fails(t, store.head(key('d')), { kind: 'notFound' });
    await store.delete(key('d'));
    await store.delete(key('d'), { ifMatch: etag });
  });

  await t.test('a delete of another version', async (t) => {
    const { store } = setup.makeStore(t);
    await store.put(key('d'), bytes('x'));
    await fails(t, store.delete(key('d'), { ifMatch: otherTag }), { kind: 'changed' });
    t.equal((await read(store, 'd')).toString(), 'x', 'on no server is it deleted');
  });

  await t.test('a delete of another version, once the conditions were tried', async (t) => {
    const { store } = setup.makeStore(t);
    await store.learnConditions();
    const { etag } = await store.put(key('d'), bytes('x'));
    await fails(t, store.delete(key('d'), { ifMatch: otherTag }), { kind: 'changed' });
    t.equal((await read(store, 'd')).toString(), 'x', 'on no server is it deleted');
    setup.proxy.reset();
    await store.delete(key('d'), { ifMatch: etag });
    const looks = setup.proxy.counts().HeadObject ?? 0;
    t.equal(looks, setup.deviations.deletesAnyway ? 1 : 0, 'looked at first where it has to be');
    await fails(t, store.head(key('d')), { kind: 'notFound' });
  });

  await t.test('what is not there is told apart', async (t) => {
    const { store } = setup.makeStore(t);
    await fails(t, store.head(key('no')), { kind: 'notFound', key: 'no', status: 404 });
    await fails(t, store.get(key('no')), { kind: 'notFound', code: 'NoSuchKey' });
    await fails(t, store.head(key('')), { kind: 'notFound' });
    const bucket = `s3jail-none-${randomBytes(6).toString('hex')}`;
    const elsewhere = setup.makeStore(t, { bucket }).store;
    await fails(t, elsewhere.get(key('no')), { kind: 'noBucket' });
    await fails(t, elsewhere.list({ prefix: key(''), oneLevel: true }), { kind: 'noBucket' });
    const writing = elsewhere.put(key('no'), bytes('x'));
    if (!setup.deviations.makesBuckets) {
      await fails(t, writing, { kind: 'noBucket' });
      return;
    }
    await writing;
    await new Bucket(setup.bucket.client, bucket).remove();
  });

  await t.test('wrong keys are denied, also for a large body refused early', async (t) => {
    const { credentials } = setup.server;
    const wrong = { ...credentials, secretAccessKey: 'x'.repeat(40) };
    const { store } = setup.makeStore(t, { credentials: wrong, maxAttempts: 3 });
    await fails(t, store.head(key('a')), { kind: 'denied', status: 403 });
    await fails(t, store.put(key('a'), bytes('x')), { kind: 'denied' });
    const large = store.put(key('a'), [pattern(5 * mebibyte)]);
    if (setup.deviations.resetsEarly) await t.rejects(large);
    else await fails(t, large, { kind: 'denied' });
  });

  await t.test('bytes that were damaged before sending are not sent', async (t) => {
    const { store } = setup.makeStore(t);
    const body = Buffer.from('damaged');
    await fails(t, store.put(key('c'), [body], { crc32: crc32(body) ^ 1 }), { kind: 'corrupt' });
    await fails(t, store.head(key('c')), { kind: 'notFound' });
    await store.put(key('c'), [body], { crc32: crc32(body) });
    t.equal((await read(store, 'c')).toString(), 'damaged');
  });

  await t.test('the whole object is checked against the checksum S3 keeps', async (t) => {
    const { store, prefix } = setup.makeStore(t);
    const content = pattern(2 * mebibyte);
    await store.put(key('sum'), [content]);
    const { ChecksumCRC32 } = await setup.bucket.client.send(
      new HeadObjectCommand({
        Bucket: setup.bucket.name,
        Key: `${prefix}sum`,
        ChecksumMode: 'ENABLED',
      }),
    );
    t.equal(ChecksumCRC32 !== undefined, setup.deviations.storesChecksums, 'kept by the server');
    setup.proxy.inject({ action: 'GetObject', count: 9, fault: { kind: 'flip-response', at: 99 } });
    const { body } = await store.get(key('sum'));
    if (setup.deviations.storesChecksums) {
      await fails(t, collect(body), { kind: 'corrupt' });
    } else {
      t.notOk((await collect(body)).equals(content), 'this server leaves it unnoticed');
    }
  });

  await t.test('a signal that aborts ends a request', async (t) => {
    const { store } = setup.makeStore(t);
    await store.put(key('s'), [pattern(mebibyte)]);
    await fails(t, store.head(key('s'), AbortSignal.abort()), { kind: 'aborted' });
    setup.proxy.inject({ action: 'HeadObject', fault: { kind: 'no-answer' } });
    const waiting = new AbortController();
    const heading = store.head(key('s'), waiting.signal);
    setTimeout(() => waiting.abort(), 50);
    await fails(t, heading, { kind: 'aborted' });
    setup.proxy.inject({ action: 'GetObject', fault: { kind: 'stall', afterBytes: 1000 } });
    const reading = new AbortController();
    const { body } = await store.get(key('s'), { signal: reading.signal });
    setTimeout(() => reading.abort(), 50);
    await fails(t, collect(body), { kind: 'aborted' });
    const busy = setup.makeStore(t, { maxAttempts: 100 }).store;
    const injection = setup.proxy.inject({ action: 'HeadObject', count: 100, fault: slowDown });
    const retrying = new AbortController();
    const asking = fails(t, busy.head(key('s'), retrying.signal), { kind: 'aborted' });
    while (injection.fired < 2) await new Promise((resolve) => setImmediate(resolve));
    retrying.abort();
    await asking;
    t.ok(injection.fired < 100, 'while it was sent again');
  });

  await t.test('one signal may stand over many requests', async (t) => {
    const { store } = setup.makeStore(t);
    const warnings: Error[] = [];
    const keep = (warning: Error): void => void warnings.push(warning);
    process.on('warning', keep);
    t.teardown(() => process.off('warning', keep));
    const { signal } = new AbortController();
    await store.put(key('s'), bytes('x'));
    await Promise.all(Array.from({ length: 30 }, () => store.head(key('s'), signal)));
    // Warnings are told in the next turn.
    await new Promise((resolve) => setImmediate(resolve));
    t.strictSame(warnings, []);
  });

  await t.test('an archived object is shown as such, and not read', async (t) => {
    if (!setup.deviations.archives) {
      t.pass('this server has no archive class');
      return;
    }
    const { store, prefix } = setup.makeStore(t);
    await setup.bucket.client.send(
      new PutObjectCommand({
        Bucket: setup.bucket.name,
        Key: `${prefix}cold`,
        Body: 'x',
        StorageClass: 'GLACIER',
      }),
    );
    t.match(await store.head(key('cold')), { storageClass: 'GLACIER', archived: true });
    const { objects } = await store.list({ prefix: key(''), oneLevel: true });
    t.match(objects, [{ key: 'cold', storageClass: 'GLACIER', archived: true }]);
    await fails(t, store.get(key('cold')), { kind: 'archived' });
  });

  await t.test('the mount’s class and settings apply to what is written', async (t) => {
    const { otherClass, tags: knowsTags } = setup.deviations;
    const { store, prefix } = setup.makeStore(t, { storageClass: otherClass });
    await store.put(key('ia'), bytes('x'));
    t.equal((await store.head(key('ia'))).storageClass, otherClass);
    await store.put(key('std'), bytes('x'), { storageClass: 'STANDARD' });
    t.equal((await store.head(key('std'))).storageClass, undefined);
    if (!knowsTags) return;
    const at = { Bucket: setup.bucket.name, Key: `${prefix}ia` };
    const tags = await setup.bucket.client.send(new GetObjectTaggingCommand(at));
    t.strictSame(tags.TagSet ?? [], [], 'and nothing that nobody asked for');
  });
}

/** A key of so many bytes, in segments no longer than that. */
function longestKey(bytes: number, segment: number): string {
  const whole = `${'k'.repeat(Math.min(segment, bytes) - 1)}/`;
  const text = whole.repeat(Math.ceil(bytes / whole.length)).slice(0, bytes);
  return text.endsWith('/') ? `${text.slice(0, -1)}k` : text;
}

const slowDown = { kind: 'status', status: 503, code: 'SlowDown' } as const;

/** Keys as another client sees them; encoded, because XML cannot hold control characters. */
async function namesIn({ bucket }: LawSetup, prefix: string): Promise<string[]> {
  const page = await bucket.client.send(
    new ListObjectsV2Command({ Bucket: bucket.name, Prefix: prefix, EncodingType: 'url' }),
  );
  const names = (page.Contents ?? []).map((entry) => entry.Key ?? '');
  if (page.EncodingType !== 'url') return names;
  return names.map((name) => decodeURIComponent(name.replaceAll('+', '%20')));
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
