/** What the store puts into requests, and what it reads from answers: the parts without a server. */
import { createHash } from 'node:crypto';
import type { ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';
import type { AwsCredentialIdentity } from '@smithy/types';
import fc from 'fast-check';
import t from 'tap';
import { isAwsHost, wantsPathStyle } from '../../lib/s3/connection/client.js';
import { copySource } from '../../lib/s3/copy-source.js';
import { sourceName } from '../../lib/s3/connection/credentials.js';
import { base64Crc32 } from '../../lib/s3/stored-checksum.js';
import { entityTag, md5OfTag, pageOfAnswer } from '../../lib/s3/object-info.js';
import { multipartTag } from '../../lib/s3/evidence.js';
import { partSizeFor } from '../../lib/s3/upload-source.js';
import { multipartLimits, type ETag } from '../../lib/store.js';
import { mebibyte } from '../support/sizes.js';

void t.test('parts of a file never exceed what S3 takes', (t) => {
  const largest = multipartLimits.maxPart * multipartLimits.maxParts;
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: largest }),
      fc.integer({ min: 1, max: 1024 * mebibyte }),
      (size, wanted) => {
        const part = partSizeFor(size, wanted);
        return (
          part >= multipartLimits.minPart &&
          part >= Math.min(wanted, multipartLimits.maxPart) &&
          part <= multipartLimits.maxPart &&
          Math.ceil(size / part) <= multipartLimits.maxParts
        );
      },
    ),
  );
  t.equal(partSizeFor(100 * mebibyte, 8 * mebibyte), 8 * mebibyte);
  t.equal(partSizeFor(78 * 1024 * mebibyte, 8 * mebibyte), 8 * mebibyte);
  t.equal(partSizeFor(79 * 1024 * mebibyte, 8 * mebibyte), 9 * mebibyte);
  t.throws(() => partSizeFor(largest + 1, 8 * mebibyte), { name: 'StoreError' });
  t.end();
});

void t.test('the bucket goes into the path where the host has no names below it', (t) => {
  for (const [url, path] of [
    [undefined, false],
    ['https://s3.eu-west-1.amazonaws.com', false],
    ['https://s3.cn-north-1.amazonaws.com.cn', false],
    ['http://127.0.0.1:9000', true],
    ['http://[::1]:9000', true],
    ['http://localhost', true],
    ['http://minio:9000', true],
    ['https://storage.example.com', true],
    ['not a url', false],
  ] as const) {
    t.equal(wantsPathStyle(url), path, url ?? 'AWS');
  }
  t.notOk(isAwsHost('amazonaws.com.evil.example'));
  t.notOk(isAwsHost('notamazonaws.com'));
  t.ok(isAwsHost('bucket.s3.eu-west-1.amazonaws.com'));
  t.end();
});

void t.test('a copy source decodes to bucket and key, and is a header', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1 }), (key) => {
      fc.pre(key.isWellFormed());
      const source = copySource('bucket', key);
      return /^[A-Za-z0-9/%._~-]+$/.test(source) && decodeURIComponent(source) === `bucket/${key}`;
    }),
  );
  t.equal(copySource('b', "a b/c+d/ü'(1)!*"), 'b/a%20b/c%2Bd/%C3%BC%27%281%29%21%2A');
  t.end();
});

void t.test('no listing yields a key from outside the prefix', (t) => {
  const prefix = 'home/alice/';
  const anyKey = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string().map((rest) => prefix + rest),
    fc.constantFrom(
      'home/alice',
      'home/alice2/x',
      '../x',
      'home/alice/../bob',
      '%',
      'home/alice/%FF',
    ),
  );
  fc.assert(
    fc.property(fc.array(anyKey), fc.array(anyKey), fc.boolean(), (keys, prefixes, encoded) => {
      const page = pageOfAnswer(listing(keys, prefixes, encoded ? 'url' : undefined), prefix, '');
      const found = [...page.objects.map((info) => info.key), ...page.prefixes];
      const sent = new Set([...keys, ...prefixes].map((key) => (encoded ? formDecoded(key) : key)));
      return found.every((key) => sent.has(prefix + key));
    }),
  );
  const page = pageOfAnswer(listing(['home/alice/a+b%2Bc', 'home/bob/x'], [], 'url'), prefix, '');
  t.strictSame(
    page.objects.map((info) => info.key),
    ['a b+c'],
  );
  t.end();
});

void t.test('an entry that makes no sense is left out', (t) => {
  const answer = listing(['p/a', 'p/b', 'p/c'], ['p/no-slash', 'p/d/'], undefined);
  const entries = answer.Contents ?? [];
  Object.assign(entries[0] ?? {}, { Size: -1 });
  Object.assign(entries[1] ?? {}, { ETag: undefined });
  const page = pageOfAnswer(answer, 'p/', '');
  t.strictSame(
    page.objects.map((info) => info.key),
    ['c'],
  );
  t.strictSame(page.prefixes, ['d/']);
  t.end();
});

void t.test('a listing that says it goes on but not where is an error', (t) => {
  const answer = { ...listing([], [], undefined), IsTruncated: true };
  t.throws(() => pageOfAnswer(answer, '', ''), { name: 'StoreError' });
  const same = { NextContinuationToken: 't', ContinuationToken: 't' };
  t.throws(() => pageOfAnswer({ ...answer, ...same }, '', ''), { name: 'StoreError' });
  t.throws(() => pageOfAnswer({ $metadata: {} }, '', ''), { name: 'StoreError' }, 'not a listing');
  const next = pageOfAnswer({ ...answer, NextContinuationToken: 't' }, '', '').next;
  t.equal(next, 't');
  t.end();
});

void t.test('tags and checksums as S3 writes them', (t) => {
  t.equal(entityTag('"x"'), '"x"');
  t.equal(entityTag('x'), '"x"', 'Ceph leaves out the quotes in places');
  t.equal(entityTag(''), undefined);
  t.equal(entityTag('""'), undefined);
  t.equal(entityTag(undefined), undefined);
  const md5 = '9affad555af89da9b0bfcd5e45bc93da';
  t.equal(md5OfTag(`"${md5}"`), md5);
  t.equal(md5OfTag(`"${md5}-2"`), undefined);
  const part = { number: 1, etag: `"${md5}"` as ETag, size: 1 };
  const whole = createHash('md5').update(md5, 'hex').update(md5, 'hex').digest('hex');
  t.equal(multipartTag([part, { ...part, number: 2 }]), `"${whole}-2"`);
  t.equal(multipartTag([part, { ...part, etag: '"kms"' as ETag }]), undefined);
  t.equal(base64Crc32(0x0d4a1185), 'DUoRhQ==', 'of “hello world”');
  t.end();
});

void t.test('the provider of credentials is named by the mark it leaves', (t) => {
  const identity = { accessKeyId: 'AKIA', secretAccessKey: 'secret' };
  const from = (...marks: string[]): string => sourceName(marked(identity, marks), 'work');
  t.match(from('CREDENTIALS_ENV_VARS'), /environment variables AWS_ACCESS_KEY_ID/);
  t.equal(from('CREDENTIALS_PROFILE'), 'profile "work"');
  t.equal(from('CREDENTIALS_PROFILE', 'CREDENTIALS_PROFILE_SSO'), 'SSO of profile "work"');
  t.equal(
    from('CREDENTIALS_PROFILE_PROCESS', 'CREDENTIALS_PROFILE'),
    'credential_process of profile "work"',
  );
  t.match(sourceName(identity), /instance metadata/);
  t.end();
});

/** As the SDK's providers mark what they give. */
function marked(identity: AwsCredentialIdentity, marks: string[]): AwsCredentialIdentity {
  return Object.assign({}, identity, {
    $source: Object.fromEntries(marks.map((mark) => [mark, 'x'])),
  });
}

function listing(
  keys: readonly string[],
  prefixes: readonly string[],
  encoding: 'url' | undefined,
): ListObjectsV2CommandOutput {
  return {
    $metadata: {},
    Name: 'bucket',
    ...(encoding === undefined ? {} : { EncodingType: encoding }),
    Contents: keys.map((Key) => ({ Key, ETag: '"x"', Size: 1, LastModified: new Date(0) })),
    CommonPrefixes: prefixes.map((Prefix) => ({ Prefix })),
  };
}

function formDecoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', '%20'));
  } catch {
    // URIError: such a key cannot be decoded, and must not be yielded.
    return undefined;
  }
}
