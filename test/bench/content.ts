/**
 * The bytes that the benchmark moves: blocks of a pattern that never repeats, each with its number in
 * front, so that whoever reads them can tell at the speed of memory that they are right and in place.
 */
import { createCipheriv } from 'node:crypto';

export const blockSize = 1024 * 1024;
const numberLength = 8;

/** A block, but for the number in its first eight bytes. */
export const pattern: Buffer = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)) //
  .update(Buffer.alloc(blockSize));

/** What an object holds. */
export interface Content {
  /** bytes */
  readonly size: number;
  /** number of its first block */
  readonly firstBlock: number;
}

export function bytesOf({ size, firstBlock }: Content): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let at = 0; at < size; at += blockSize) {
    pattern.copy(bytes, at);
    bytes.set(numberOf(firstBlock + at / blockSize).subarray(0, size - at), at);
  }
  return bytes;
}

/** @throws Error where the bytes are others, fewer or more */
export async function check(body: AsyncIterable<Uint8Array>, content: Content): Promise<void> {
  let at = 0;
  for await (const piece of body) {
    if (!isRight(piece, at, content)) throw new Error(`wrong bytes at ${at} or soon after`);
    at += piece.length;
  }
  if (at !== content.size) throw new Error(`${at} bytes instead of ${content.size}`);
}

/** Whether `piece` is what the content has at `offset`. */
export function isRight(piece: Uint8Array, offset: number, { size, firstBlock }: Content): boolean {
  if (offset + piece.length > size) return false;
  for (let done = 0; done < piece.length;) {
    const inBlock = (offset + done) % blockSize;
    const length = Math.min(piece.length - done, blockSize - inBlock);
    const bytes = piece.subarray(done, done + length);
    const inNumber = Math.max(0, Math.min(length, numberLength - inBlock));
    const number = numberOf(firstBlock + Math.floor((offset + done) / blockSize));
    const isSame =
      number.subarray(inBlock, inBlock + inNumber).equals(bytes.subarray(0, inNumber)) &&
      pattern.compare(bytes, inNumber, length, inBlock + inNumber, inBlock + length) === 0;
    if (!isSame) return false;
    done += length;
  }
  return true;
}

function numberOf(block: number): Buffer {
  const bytes = Buffer.alloc(numberLength);
  bytes.writeBigUInt64LE(BigInt(block));
  return bytes;
}
