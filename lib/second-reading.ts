/**
 * What is read and has not the checksum that S3 keeps of it is read once more: whether the same comes
 * again tells damage on the way from an endpoint whose checksum is wrong.
 */
import { crc32 } from 'node:zlib';

import { isStoreError } from './errors.js';
import type { ObjectInfo, ObjectStore } from './store.js';

/** Bytes that are read again for it; whoever waits for the failure would wait too long for more. */
const mostBytes = 256 * 1024 * 1024;

/** What to say. @param isConfirmed the same came again; undefined where it is not known */
export function wrongSum(isConfirmed: boolean | undefined): string {
  const what = 'what came has not the checksum that the endpoint tells';
  if (isConfirmed === false) return `${what}: it was damaged on its way`;
  const often = isConfirmed === true ? ', twice and alike' : '';
  const cure = 'if the object is as it should be, --no-read-checksums goes on without comparing';
  return `${what}${often}: the endpoint's may be wrong; ${cure}`;
}

/** CRC32 of a version that is read once more; undefined where it does not come, or is too long. */
export async function crc32OfSecond(
  store: Pick<ObjectStore, 'get'>,
  { key, etag, size }: ObjectInfo,
): Promise<number | undefined> {
  if (size > mostBytes) return undefined;
  try {
    // A range: of the whole, the store would compare the checksum itself.
    const { body } = await store.get(key, { range: { start: 0, end: size }, ifMatch: etag });
    let sum = 0;
    for await (const piece of body) sum = crc32(piece, sum);
    return sum;
  } catch (error) {
    if (isStoreError(error)) return undefined;
    throw error;
  }
}
