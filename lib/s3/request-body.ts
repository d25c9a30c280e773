/**
 * Bodies of requests: pieces in memory as one buffer, and its checksum.
 */
import { crc32 } from 'node:zlib';

import { StoreError } from '../errors.js';
import type { Key } from '../path.js';

/**
 * The CRC32 to send with a body. Where the caller knows it from when the bytes came, a difference
 * means they were damaged here since: compared here, unless the endpoint is known to do so.
 */
export function checkedCrc32(
  body: Buffer,
  expected: number | undefined,
  request: { action: string; key: Key; isCompared: boolean },
): number {
  if (expected !== undefined && request.isCompared) return expected;
  const sum = crc32(body);
  if (expected === undefined || expected === sum) return sum;
  const what = `${request.action} ${JSON.stringify(request.key)}: the bytes to send were damaged here`;
  throw new StoreError('corrupt', what, request);
}

/** One buffer of all pieces; no copy where there is one. */
export function joined(pieces: readonly Uint8Array[]): Buffer {
  const [first] = pieces;
  if (pieces.length === 1 && first !== undefined) {
    return Buffer.from(first.buffer, first.byteOffset, first.byteLength);
  }
  return Buffer.concat(pieces);
}
