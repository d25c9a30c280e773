/**
 * How the bytes of a multipart upload are verified: one table, and which line of it an endpoint gets.
 *
 * AWS keeps a CRC32 of the whole object where the upload was created with one (checksum type
 * FULL_OBJECT), and compares it and those of the parts at the end. Of the others some want what AWS
 * does not (the sum of every part, or none of the whole) and some cannot combine the sums of copied
 * parts: what works on all that were tried (MinIO, versitygw, SeaweedFS, Garage, s3mock, moto) is an
 * upload created without an algorithm, whose parts carry their CRC32 nevertheless. An endpoint as
 * strict as AWS refuses that ("Checksum Type mismatch occurred, expected checksum Type: null"), and
 * Content-MD5, as old as S3, is taken by everybody; Object Lock is content with each of the three.
 *
 * A refusal moves an endpoint to the next way; see limitation.ts for how long.
 */
import type {
  CompleteMultipartUploadCommandInput,
  CreateMultipartUploadCommandInput,
} from '@aws-sdk/client-s3';

import type { Clock } from '../clock.js';
import { combineCrc32 } from '../crc32.js';
import { Limitation } from '../limitation.js';
import type { UploadedPart } from '../store.js';
import { base64Crc32 } from './stored-checksum.js';

export interface UploadWay {
  /** for status */
  readonly name: string;
  /** fields of CreateMultipartUpload; sums go into Complete if and only if there are some */
  readonly created: Pick<CreateMultipartUploadCommandInput, 'ChecksumAlgorithm' | 'ChecksumType'>;
  /** what each part carries */
  readonly partSum: 'CRC32' | 'MD5';
}

export const wholeSum: UploadWay = {
  name: 'CRC32 of the whole object',
  created: { ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' },
  partSum: 'CRC32',
};
export const partSums: UploadWay = { name: 'CRC32 of each part', created: {}, partSum: 'CRC32' };
export const partMd5s: UploadWay = { name: 'MD5 of each part', created: {}, partSum: 'MD5' };

/** Whether an upload was created with an algorithm. */
export function isDeclared(way: UploadWay): boolean {
  return way.created.ChecksumAlgorithm !== undefined;
}

/** The way of one endpoint. */
export class UploadWays {
  readonly #isAws: () => boolean;
  readonly #refused: ReadonlyMap<UploadWay, Limitation>;

  constructor(isAws: () => boolean, clock?: Clock) {
    this.#isAws = isAws;
    this.#refused = new Map([wholeSum, partSums].map((way) => [way, new Limitation(clock)]));
  }

  /** For the next upload. */
  get current(): UploadWay {
    const order = this.#isAws() ? [wholeSum, partSums] : [partSums, wholeSum];
    return order.find((way) => this.#refused.get(way)?.holds === false) ?? partMd5s;
  }

  /** @returns whether that is news */
  noteRefused(way: UploadWay): boolean {
    return this.#refused.get(way)?.note() === true;
  }
}

/** What Complete says of the bytes. */
export type CompletedSums = Pick<
  CompleteMultipartUploadCommandInput,
  'ChecksumCRC32' | 'ChecksumType' | 'MpuObjectSize' | 'MultipartUpload'
>;

/**
 * The fields of CompleteMultipartUpload.
 * @param sums base64, of those parts of which the endpoint has one, by number; undefined where the
 *   upload was not created with an algorithm
 * @param keepsWhole the endpoint said that it keeps a sum of the whole
 */
export function completedSums(
  parts: readonly UploadedPart[],
  sums: ReadonlyMap<number, string> | undefined,
  keepsWhole: boolean | undefined,
): CompletedSums {
  const Parts = parts.map(({ number, etag }) => {
    const sum = sums?.get(number);
    const part = { PartNumber: number, ETag: etag };
    return sum === undefined ? part : { ...part, ChecksumCRC32: sum };
  });
  const bare = { MultipartUpload: { Parts } };
  if (sums === undefined || keepsWhole !== true) return bare;
  const whole = parts.every(({ number }) => sums.has(number)) ? wholeCrc32(parts) : undefined;
  return {
    ...bare,
    ChecksumType: 'FULL_OBJECT',
    MpuObjectSize: parts.reduce((size, part) => size + part.size, 0),
    ...(whole === undefined ? {} : { ChecksumCRC32: base64Crc32(whole) }),
  };
}

/** CRC32 of all parts together, where each one's is known. */
export function wholeCrc32(parts: readonly UploadedPart[]): number | undefined {
  let sum = 0;
  for (const { crc32, size } of parts) {
    if (crc32 === undefined) return undefined;
    sum = combineCrc32(sum, crc32, size);
  }
  return sum;
}
