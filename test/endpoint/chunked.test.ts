/**
 * aws-chunked decoding: however the bytes are cut on their way, and whatever is wrong with them.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { ChunkedDecoder } from '../../lib/endpoint/wire/chunked.js';
import { S3Error } from '../../lib/endpoint/wire/s3-error.js';

const minChunk = 8192;

function encode(sizes: readonly number[], trailers: string): Buffer {
  const chunks = sizes.map((size, index) => {
    return `${size.toString(16)}\r\n${'abc'.charAt(index % 3).repeat(size)}\r\n`;
  });
  return Buffer.from(`${chunks.join('')}0\r\n${trailers}\r\n`);
}

function* cut(bytes: Buffer, sizes: readonly number[]): Generator<Buffer> {
  let position = 0;
  for (let index = 0; position < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? bytes.length;
    yield bytes.subarray(position, position + size);
    position += size;
  }
}

async function decode(
  pieces: Iterable<Buffer>,
  trailersExpected: boolean,
): Promise<{ data: string; trailers: Record<string, string> }> {
  const decoder = new ChunkedDecoder(null, trailersExpected);
  let data = '';
  const source = (async function* () {
    for (const piece of pieces) yield await Promise.resolve(piece);
  })();
  for await (const piece of decoder.decode(source)) data += piece.toString();
  return { data, trailers: Object.fromEntries(decoder.trailers) };
}

void t.test('content and trailers come out whole wherever the bytes are cut', async () => {
  const bodies = fc.array(fc.integer({ min: minChunk, max: minChunk + 99 }), { maxLength: 3 });
  const cuts = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 9 });
  await fc.assert(
    fc.asyncProperty(bodies, fc.nat({ max: 20 }), cuts, async (sizes, rest, pieces) => {
      const all = rest === 0 ? sizes : [...sizes, rest];
      const encoded = encode(all, 'x-amz-checksum-crc32:AAAAAA==\r\n');
      const { data, trailers } = await decode(cut(encoded, pieces), true);
      const expected = all.map((size, index) => 'abc'.charAt(index % 3).repeat(size)).join('');
      assert.equal(data, expected);
      assert.deepEqual(trailers, { 'x-amz-checksum-crc32': 'AAAAAA==' });
    }),
    { numRuns: 40 },
  );
});

async function fault(body: Buffer, trailersExpected = false): Promise<string> {
  try {
    await decode([body], trailersExpected);
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
  return 'none';
}

void t.test('a body that is not whole or not well-formed is refused', async (t) => {
  const whole = encode([minChunk, 5], '');
  t.equal(await fault(whole), 'none');
  for (const length of [0, 1, 5, 100, minChunk + 6, whole.length - 5, whole.length - 1]) {
    t.equal(await fault(whole.subarray(0, length)), 'IncompleteBody');
  }
  t.equal(await fault(encode([5, 5], '')), 'InvalidChunkSizeError', 'a short chunk in the middle');
  t.equal(await fault(encode([5], 'x:y\r\n')), 'MalformedTrailerError', 'nobody announced it');
  t.equal(await fault(encode([5], 'nonsense\r\n'), true), 'MalformedTrailerError');
  t.equal(await fault(Buffer.from('-5\r\nabcde\r\n0\r\n\r\n')), 'IncompleteBody');
  t.equal(await fault(Buffer.from('5\r\nabcdefg\r\n0\r\n\r\n')), 'IncompleteBody');
  t.equal(await fault(Buffer.alloc(10_000, '1')), 'IncompleteBody', 'a head without an end');
});
