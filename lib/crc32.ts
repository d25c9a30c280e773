/**
 * CRC32 arithmetic (IEEE 802.3 polynomial, reflected) beyond what zlib offers: the checksum of two
 * byte strings joined, from the checksums of both, without their bytes. S3's full-object checksum of
 * a multipart upload is the same combination over its parts (S3 user guide, "Checking object
 * integrity").
 */
import { crc32 } from 'node:zlib';

const polynomial = 0xedb88320;

/** Product of two polynomials over GF(2) modulo the CRC's, bits reflected (bit 31 is x^0). */
function multiply(a: number, b: number): number {
  let product = 0;
  let factor = b;
  for (let bit = 0x80000000; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) product ^= factor;
    factor = (factor & 1) !== 0 ? (factor >>> 1) ^ polynomial : factor >>> 1;
  }
  return product >>> 0;
}

const shiftCache = new Map<number, number>();

/** x^(8·bytes) modulo the polynomial: what appending that many bytes does to a checksum. */
function shiftOf(bytes: number): number {
  const known = shiftCache.get(bytes);
  if (known !== undefined) return known;
  let shift = 0x80000000;
  let square = 0x00800000; // x^8
  for (let left = bytes; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) shift = multiply(square, shift);
    square = multiply(square, square);
  }
  // Nearly all calls are for a few block and part sizes.
  if (shiftCache.size < 64) shiftCache.set(bytes, shift);
  return shift;
}

/**
 * CRC32 of `first` followed by `second`.
 * @param secondLength bytes of `second`
 */
export function combineCrc32(first: number, second: number, secondLength: number): number {
  return (multiply(shiftOf(secondLength), first) ^ second) >>> 0;
}

/** CRC32 of consecutive pieces. */
export function crc32OfPieces(pieces: Iterable<Uint8Array>): number {
  let sum = 0;
  for (const piece of pieces) sum = crc32(piece, sum);
  return sum;
}
