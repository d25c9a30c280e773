/**
 * Checksums as S3 keeps them with an object and names them in headers.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';

type ChecksumFields = Pick<
  GetObjectCommandOutput,
  'ChecksumCRC32' | 'ChecksumSHA1' | 'ChecksumSHA256' | 'ChecksumType'
>;

/** A checksum that grows with the bytes as they pass. */
export interface RunningSum {
  update(chunk: Uint8Array): void;
  isRight(): boolean;
}

/** The checksum S3 keeps of the whole object, where it is of a kind that Node computes natively. */
export function checksumOf(output: ChecksumFields): RunningSum | undefined {
  if (output.ChecksumType === 'COMPOSITE') return undefined;
  const { ChecksumCRC32: crc, ChecksumSHA256: sha256, ChecksumSHA1: sha1 } = output;
  // A sum of the parts' sums, told apart by its suffix where the server does not name the type.
  if ([crc, sha256, sha1].some((sum) => sum?.includes('-') === true)) return undefined;
  if (crc !== undefined) return crc32Sum(crc);
  if (sha256 !== undefined) return hashSum('sha256', sha256);
  return sha1 === undefined ? undefined : hashSum('sha1', sha1);
}

/** The CRC32 of the whole object, where S3 keeps that of all checksums. */
export function wholeCrc32Of(output: ChecksumFields): number | undefined {
  const { ChecksumCRC32: crc, ChecksumType: type } = output;
  return type === 'COMPOSITE' ? undefined : crc32OfText(crc);
}

/** A CRC32 as S3 writes it; undefined for a composite one, which ends in `-N`, and for none. */
export function crc32OfText(text: string | undefined): number | undefined {
  const isPlain = text !== undefined && /^[A-Za-z0-9+/]{6}==$/.test(text);
  return isPlain ? Buffer.from(text, 'base64').readUInt32BE() : undefined;
}

function crc32Sum(wanted: string): RunningSum {
  let sum = 0;
  return {
    update: (chunk) => void (sum = crc32(chunk, sum)),
    isRight: () => base64Crc32(sum) === wanted,
  };
}

function hashSum(algorithm: string, wanted: string): RunningSum {
  const hash = createHash(algorithm);
  return {
    update: (chunk) => void hash.update(chunk),
    isRight: () => hash.digest('base64') === wanted,
  };
}

/** A CRC32 as S3 writes it: big endian, base64. */
export function base64Crc32(sum: number): string {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(sum);
  return bytes.toString('base64');
}
