/**
 * S3's additional checksums: algorithms, their text form, and composite values.
 *
 * A checksum travels as base64 of the big-endian value. A multipart object has either a COMPOSITE
 * one (the checksum of the parts' checksums, `-` and the number of parts) or a FULL_OBJECT one (as
 * if the object had been sent in one piece; CRCs only). Source: S3 user guide, "Checking object
 * integrity".
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { crc32c, crc64nvme, crcJoiner, crcKinds } from './crc.js';
import { S3Error } from './s3-error.js';

export const checksumAlgorithms = ['CRC32', 'CRC32C', 'SHA1', 'SHA256', 'CRC64NVME'] as const;
export type ChecksumAlgorithm = (typeof checksumAlgorithms)[number];
export type ChecksumType = 'COMPOSITE' | 'FULL_OBJECT';

/** A stored checksum. */
export interface Checksum {
  readonly algorithm: ChecksumAlgorithm;
  /** base64, with `-N` where composite */
  readonly value: string;
  readonly type: ChecksumType;
}

const lengths: Readonly<Record<ChecksumAlgorithm, number>> = {
  CRC32: 4,
  CRC32C: 4,
  SHA1: 20,
  SHA256: 32,
  CRC64NVME: 8,
};

/** A checksum being computed. */
export interface RunningChecksum {
  update(data: Uint8Array): void;
  /** base64 */
  finish(): string;
}

export function startChecksum(algorithm: ChecksumAlgorithm): RunningChecksum {
  switch (algorithm) {
    case 'CRC32':
      return runningCrc32((data, before) => crc32(data, before));
    case 'CRC32C':
      return runningCrc32(crc32c);
    case 'CRC64NVME': {
      let value = 0n;
      return {
        update: (data) => void (value = crc64nvme(data, value)),
        finish: () => encodeCrc(value, 64),
      };
    }
    case 'SHA1':
    case 'SHA256': {
      const hash = createHash(algorithm.toLowerCase());
      return { update: (data) => void hash.update(data), finish: () => hash.digest('base64') };
    }
  }
}

function runningCrc32(step: (data: Uint8Array, before: number) => number): RunningChecksum {
  let value = 0;
  return {
    update: (data) => void (value = step(data, value)),
    finish: () => encodeCrc(BigInt(value), 32),
  };
}

function encodeCrc(value: bigint, width: number): string {
  return Buffer.from(value.toString(16).padStart(width / 4, '0'), 'hex').toString('base64');
}

function decodeCrc(value: string): bigint {
  return BigInt(`0x${Buffer.from(value, 'base64').toString('hex')}`);
}

/** Header and trailer name of an algorithm. */
export function checksumHeader(algorithm: ChecksumAlgorithm): string {
  return `x-amz-checksum-${algorithm.toLowerCase()}`;
}

/** XML element of an algorithm. */
export function checksumElement(algorithm: ChecksumAlgorithm): string {
  return `Checksum${algorithm}`;
}

/** The algorithm of that name. @throws S3Error InvalidRequest */
export function parseAlgorithm(text: string): ChecksumAlgorithm {
  const found = checksumAlgorithms.find((algorithm) => algorithm === text.toUpperCase());
  if (found === undefined) {
    throw new S3Error('InvalidRequest', {
      message:
        'Checksum algorithm provided is unsupported. Please try again with any of the valid types',
    });
  }
  return found;
}

/** Whether `value` is a possible checksum of that algorithm. */
export function isChecksumValue(algorithm: ChecksumAlgorithm, value: string): boolean {
  const decoded = Buffer.from(value, 'base64');
  return decoded.length === lengths[algorithm] && decoded.toString('base64') === value;
}

/** A part as far as joining needs it. */
export interface SizedChecksum {
  readonly size: number;
  /** base64 */
  readonly value: string;
}

/** The checksum of an object made of parts. */
export function joinChecksums(
  algorithm: ChecksumAlgorithm,
  type: ChecksumType,
  parts: readonly SizedChecksum[],
): Checksum {
  if (type === 'FULL_OBJECT' && isCrc(algorithm)) {
    return { algorithm, type, value: joinCrcs(algorithm, parts) };
  }
  const whole = startChecksum(algorithm);
  for (const part of parts) whole.update(Buffer.from(part.value, 'base64'));
  return { algorithm, type: 'COMPOSITE', value: `${whole.finish()}-${parts.length}` };
}

type CrcAlgorithm = keyof typeof crcKinds;

/** Whether full-object checksums of this algorithm can be had for multipart uploads. */
export function isCrc(algorithm: ChecksumAlgorithm): algorithm is CrcAlgorithm {
  return algorithm in crcKinds;
}

function joinCrcs(algorithm: CrcAlgorithm, parts: readonly SizedChecksum[]): string {
  const kind = crcKinds[algorithm];
  const combine = crcJoiner(kind);
  let value = 0n;
  for (const part of parts) value = combine(value, decodeCrc(part.value), part.size);
  return encodeCrc(value, kind.width);
}
