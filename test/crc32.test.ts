import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { combineCrc32, crc32OfPieces } from '../lib/crc32.js';

void t.test('the combined checksum is the checksum of the joined bytes', (t) => {
  const bytes = fc.uint8Array({ maxLength: 5000 });
  fc.assert(
    fc.property(bytes, bytes, (first, second) => {
      const joined = Buffer.concat([first, second]);
      t.equal(combineCrc32(crc32(first), crc32(second), second.length), crc32(joined));
      t.equal(crc32OfPieces([first, second]), crc32(joined));
    }),
  );
  t.end();
});
