/**
 * Checksums as S3 keeps them with an object and names them in headers.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';

export type ChecksumFields = Pick<
  GetObjectCommandOutput,
  'ChecksumCRC32' | 'ChecksumSHA1' | 'ChecksumSHA256' | 'ChecksumType' | 'ETag'
>;

/** A checksum that grows with the bytes as they pass. */
export interface RunningSum {
  update(chunk: Uint8Array): void;
  /** base64 */
  value(): string;
}

/** A checksum that an object has to have. */
export interface WantedSum {
  readonly value: string;
  /** a new one of its kind */
  readonly start: () => RunningSum;
}

/** The checksum S3 keeps of the whole object, where it is of a kind that Node computes natively. */
export function checksumOf(output: ChecksumFields): WantedSum | undefined {
  if (!areOfWhole(output)) return undefined;
  const { ChecksumCRC32: crc, ChecksumSHA256: sha256, ChecksumSHA1: sha1 } = output;
  if (crc !== undefined) return { value: crc, start: crc32Sum };
  if (sha256 !== undefined) return { value: sha256, start: () => hashSum('sha256') };
  return sha1 === undefined ? undefined : { value: sha1, start: () => hashSum('sha1') };
}

/** The CRC32 of the whole object, where S3 keeps that of all checksums. */
export function wholeCrc32Of(output: ChecksumFields): number | undefined {
  return areOfWhole(output) ? crc32OfText(output.ChecksumCRC32) : undefined;
}

/**
 * Whether checksums are those of all bytes, and not of the parts' checksums. S3 names the type, and
 * marks the latter by `-N`; Garage and moto do neither, but their ETag of a multipart object has its
 * `-N`.
 */
function areOfWhole(output: ChecksumFields): boolean {
  const { ChecksumCRC32: crc, ChecksumSHA256: sha256, ChecksumSHA1: sha1 } = output;
  if ([crc, sha256, sha1].some((sum) => sum?.includes('-') === true)) return false;
  const { ChecksumType: type, ETag: etag } = output;
  return type === undefined ? !isMultipartTag(etag) : type === 'FULL_OBJECT';
}

/** Whether an entity tag is that of an object made of parts. */
export function isMultipartTag(etag: string | undefined): boolean {
  return /-\d+"?$/.test(etag ?? '');
}

/** A CRC32 as S3 writes it; undefined for a composite one, which ends in `-N`, and for none. */
export function crc32OfText(text: string | undefined): number | undefined {
  const isPlain = text !== undefined && /^[A-Za-z0-9+/]{6}==$/.test(text);
  return isPlain ? Buffer.from(text, 'base64').readUInt32BE() : undefined;
}

function crc32Sum(): RunningSum {
  let sum = 0;
  return {
    update: (chunk) => void (sum = crc32(chunk, sum)),
    value: () => base64Crc32(sum),
  };
}

function hashSum(algorithm: string): RunningSum {
  const hash = createHash(algorithm);
  return {
    update: (chunk) => void hash.update(chunk),
    value: () => hash.digest('base64'),
  };
}

/** A CRC32 as S3 writes it: big endian, base64. */
export function base64Crc32(sum: number): string {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(sum);
  return bytes.toString('base64');
}
