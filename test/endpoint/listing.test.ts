/**
 * Listings against a model that is too simple to be wrong: sort all keys by bytes, roll up, cut.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import {
  DeleteObjectCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import {
  decodeToken,
  encodeToken,
  listKeys,
  type Position,
} from '../../lib/endpoint/handlers/listing.js';
import { compareUtf8, SortedKeys } from '../../lib/endpoint/storage/sorted-keys.js';
import { refusal, testBucket, useClient, useEndpoint } from '../support/embedded.js';

const Bucket = testBucket;

/** Few letters, so that prefixes meet, and characters on both sides of the surrogates. */
const keyArbitrary = fc
  .array(
    fc.constantFrom(
      'a',
      'b',
      '/',
      '-',
      '\u00e9',
      '\ud7ff',
      '\ue000',
      '\uffff',
      '\u{10000}',
      '\u{1f600}',
    ),
    {
      minLength: 1,
      maxLength: 6,
    },
  )
  .map((characters) => characters.join(''));

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Keys and common prefixes in one order, common prefixes marked. */
function model(keys: readonly string[], prefix: string, delimiter: string): string[] {
  const entries = new Set<string>();
  for (const key of [...new Set(keys)].sort(byBytes)) {
    if (!key.startsWith(prefix)) continue;
    const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    entries.add(cut === -1 ? `key ${key}` : `prefix ${key.slice(0, cut + delimiter.length)}`);
  }
  return [...entries];
}

function sortedKeys(keys: readonly string[]): SortedKeys {
  const sorted = new SortedKeys();
  for (const key of keys) sorted.add(key);
  return sorted;
}

void t.test('strings compare as their UTF-8 bytes do', (t) => {
  fc.assert(
    fc.property(keyArbitrary, keyArbitrary, (a, b) => {
      return Math.sign(compareUtf8(a, b)) === byBytes(a, b);
    }),
  );
  t.end();
});

void t.test('adding and deleting in any order leaves the keys sorted', (t) => {
  const step = fc.record({ add: fc.boolean(), key: keyArbitrary });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const sorted = new SortedKeys();
      const expected = new Set<string>();
      for (const { add, key } of steps) {
        if (add) sorted.add(key);
        else sorted.delete(key);
        if (add) expected.add(key);
        else expected.delete(key);
      }
      const walked = [];
      const next = sorted.walk(() => true);
      for (let key = next(); key !== undefined; key = next()) walked.push(key);
      assert.deepEqual(walked, [...expected].sort(byBytes));
      assert.equal(sorted.size, expected.size);
    }),
  );
  t.end();
});

void t.test('chunks of sorted keys split and join without losing any', (t) => {
  const names = Array.from({ length: 5000 }, (_, index) => String((index * 7919) % 5000));
  const sorted = sortedKeys(names);
  for (const name of names.slice(0, 4000)) sorted.delete(name);
  const left = listKeys(sorted, { prefix: '', delimiter: '', from: undefined, maxKeys: 5000 });
  t.strictSame(left.keys, names.slice(4000).sort(byBytes));
  t.equal(sorted.size, 1000);
  t.end();
});

void t.test('pages of any size add up to the whole listing', (t) => {
  const prefixes = fc.constantFrom('', 'a', 'a/', 'b-', '\u00e9');
  const delimiters = fc.constantFrom('', '/', '-', 'ab');
  const keyLists = fc.array(keyArbitrary, { maxLength: 60 });
  fc.assert(
    fc.property(keyLists, prefixes, delimiters, fc.integer({ min: 1, max: 7 }), (...given) => {
      const [keys, prefix, delimiter, maxKeys] = given;
      const sorted = sortedKeys(keys);
      const found: string[] = [];
      let from: Position | undefined;
      do {
        const page = listKeys(sorted, { prefix, delimiter, from, maxKeys });
        const entries = [
          ...page.keys.map((key) => `key ${key}`),
          ...page.commonPrefixes.map((common) => `prefix ${common}`),
        ];
        // Only the last page may be short.
        if (page.next !== undefined) assert.equal(entries.length, maxKeys);
        found.push(...entries);
        from = page.next === undefined ? undefined : decodeToken(encodeToken(page.next));
      } while (from !== undefined);
      assert.deepEqual(found.sort(byBytes), model(keys, prefix, delimiter).sort(byBytes));
    }),
  );
  t.end();
});

async function putAll(client: S3Client, keys: readonly string[]): Promise<void> {
  await Promise.all(
    keys.map((Key) => client.send(new PutObjectCommand({ Bucket, Key, Body: 'x' }))),
  );
}

void t.test('a page holds what max-keys says, common prefixes counted', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  await putAll(client, ['a', 'b/1', 'b/2', 'c', 'd/1', 'd/2']);
  const list = async (MaxKeys: number, ContinuationToken?: string): Promise<unknown[]> => {
    const command = new ListObjectsV2Command({
      Bucket,
      Delimiter: '/',
      MaxKeys,
      ContinuationToken,
    });
    const page = await client.send(command);
    const keys = (page.Contents ?? []).map(({ Key }) => Key);
    const prefixes = (page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix);
    t.equal(page.KeyCount, keys.length + prefixes.length);
    t.equal(page.IsTruncated, page.NextContinuationToken !== undefined);
    return [[...keys, ...prefixes], page.NextContinuationToken];
  };
  t.strictSame(await list(4), [['a', 'c', 'b/', 'd/'], undefined], 'exactly full is the last page');
  const [first, next] = await list(2);
  t.strictSame(first, ['a', 'b/']);
  t.strictSame(
    await list(2, String(next)),
    [['c', 'd/'], undefined],
    'a prefix does not come twice',
  );
  t.strictSame(await list(0), [[], undefined]);
  t.strictSame(await list(5000), [['a', 'c', 'b/', 'd/'], undefined]);
});

void t.test('a listing goes on where its token says though keys went and came', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  await putAll(client, ['a', 'b', 'c', 'd']);
  const first = await client.send(new ListObjectsV2Command({ Bucket, MaxKeys: 2 }));
  await client.send(new DeleteObjectCommand({ Bucket, Key: 'b' }));
  await putAll(client, ['aa', 'bb']);
  const ContinuationToken = first.NextContinuationToken;
  const second = await client.send(new ListObjectsV2Command({ Bucket, ContinuationToken }));
  t.strictSame(
    second.Contents?.map(({ Key }) => Key),
    ['bb', 'c', 'd'],
  );
  const bogus = new ListObjectsV2Command({ Bucket, ContinuationToken: 'bogus' });
  t.equal(await refusal(client.send(bogus)), '400 InvalidArgument');
  const negative = new ListObjectsV2Command({ Bucket, MaxKeys: -1 });
  t.equal(await refusal(client.send(negative)), '400 InvalidArgument');
});

void t.test('version 1 continues behind a common prefix that is its marker', async (t) => {
  const { url } = await useEndpoint(t);
  const client = useClient(t, url);
  await putAll(client, ['a/1', 'a/2', 'b/1', 'c']);
  const Delimiter = '/';
  const first = await client.send(new ListObjectsCommand({ Bucket, Delimiter, MaxKeys: 1 }));
  t.strictSame(first.CommonPrefixes, [{ Prefix: 'a/' }]);
  const Marker = first.NextMarker;
  const second = await client.send(new ListObjectsCommand({ Bucket, Delimiter, Marker }));
  t.strictSame(second.CommonPrefixes, [{ Prefix: 'b/' }]);
  t.strictSame(
    second.Contents?.map(({ Key }) => Key),
    ['c'],
  );
});
