import t from 'tap';
import { crc32 } from 'node:zlib';
import { base64Crc32 } from '../../lib/s3/stored-checksum.js';
import {
  UploadWays,
  completedSums,
  partMd5s,
  partSums,
  wholeSum,
} from '../../lib/s3/upload-ways.js';
import type { ETag, UploadedPart } from '../../lib/store.js';
import { ManualClock } from '../support/manual-clock.js';

const bodies = ['one', 'two', 'three'].map((text) => Buffer.from(text));
const parts = bodies.map((body, index): UploadedPart => {
  return { number: index + 1, etag: `"${index}"` as ETag, size: body.length, crc32: crc32(body) };
});
const sums = new Map(parts.map(({ number, crc32: sum = 0 }) => [number, base64Crc32(sum)]));
const bare = parts.map(({ number, etag }) => ({ PartNumber: number, ETag: etag }));

void t.test('the sum of each part is sent beside that of the whole', (t) => {
  t.strictSame(completedSums(parts, sums, true), {
    ChecksumType: 'FULL_OBJECT',
    MpuObjectSize: 11,
    ChecksumCRC32: base64Crc32(crc32(Buffer.concat(bodies))),
    MultipartUpload: {
      Parts: bare.map((part) => ({ ...part, ChecksumCRC32: sums.get(part.PartNumber) })),
    },
  });
  t.end();
});

void t.test('no sum is claimed that the endpoint does not have', (t) => {
  const without = new Map([...sums].slice(0, 2));
  t.match(completedSums(parts, without, true), { ChecksumCRC32: undefined, MpuObjectSize: 11 });
  t.equal(
    completedSums(parts, without, true).MultipartUpload?.Parts?.[2]?.ChecksumCRC32,
    undefined,
  );
  const ofParts = completedSums(parts, sums, false);
  t.strictSame(Object.keys(ofParts), ['MultipartUpload'], 'of the whole, who keeps none');
  t.equal(ofParts.MultipartUpload?.Parts?.[0]?.ChecksumCRC32, sums.get(1));
  t.end();
});

void t.test('none is sent for an upload that was created without', (t) => {
  t.strictSame(completedSums(parts, undefined, true), { MultipartUpload: { Parts: bare } });
  t.end();
});

void t.test('each refusal leads to another way, and back after a while', (t) => {
  for (const [isAws, first, second] of [
    [true, wholeSum, partSums],
    [false, partSums, wholeSum],
  ] as const) {
    const clock = new ManualClock();
    const ways = new UploadWays(() => isAws, clock);
    t.equal(ways.current, first);
    t.ok(ways.noteRefused(first));
    t.equal(ways.current, second);
    clock.pass(30_000);
    t.ok(ways.noteRefused(second));
    t.equal(ways.current, partMd5s, 'which everybody takes');
    t.notOk(ways.noteRefused(partMd5s));
    t.equal(ways.current, partMd5s);
    clock.pass(30_000);
    t.equal(ways.current, first);
  }
  t.end();
});
