/**
 * Endpoints that are stricter about multipart uploads than S3, and how they say it.
 *
 * Cloudflare R2 wants all parts but the last to be of one size, and says so when the upload is to be
 * completed, as InvalidPart; others want numbers without gaps. S3 itself uses these codes too, for
 * parts that are not there, so they only mean the rules where parts break them. Garage and MinIO find
 * fault with the sums of copied parts, under codes of their own.
 */
import { isStoreError } from '../errors.js';
import type { StoreError } from '../errors.js';
import { PartsRefused } from '../part-rules.js';
import type { PartRemedy } from '../part-rules.js';
import type { UploadedPart } from '../store.js';

const codesOfSizes = new Set([
  'InvalidArgument',
  'InvalidPart',
  'InvalidPartOrder',
  'InvalidRequest',
]);
/** How sums are found fault with: of the servers that were tried, no two have the same code. */
const codesOfSums = new Set([
  'BadDigest',
  'BadRequest',
  'InvalidArgument',
  'InvalidDigest',
  'InvalidPart',
  'InvalidRequest',
  'MalformedXML',
  'NotImplemented',
]);
/** How servers refuse an UploadPartCopy that they do not know, or take for an UploadPart. */
const statusesOfCopies = new Set([400, 405, 411, 422, 501]);

/** The parts of an upload that was refused. */
export interface RefusedUpload {
  readonly isAws: boolean;
  /** sums were sent along */
  readonly isSummed: boolean;
  readonly parts: readonly UploadedPart[];
  /** numbers of those that were copied */
  readonly copied: ReadonlySet<number>;
}

/**
 * @param error of a CompleteMultipartUpload
 * @returns the same with what may help, where something may
 */
export function refusalOfParts(error: unknown, upload: RefusedUpload): unknown {
  if (!isRefusal(error)) return error;
  const { isAws, isSummed, parts, copied } = upload;
  const code = error.code ?? '';
  const remedies: PartRemedy[] = [];
  if (isSummed && codesOfSums.has(code)) remedies.push('again');
  if (!isAws && codesOfSizes.has(code) && !areRegular(parts)) remedies.push('equalSizes');
  if (!isAws && parts.some(({ number }) => copied.has(number))) remedies.push('noCopies');
  return remedies.length === 0 ? error : withRemedies(error, remedies);
}

/**
 * @param error of an UploadPartCopy
 * @returns as refusalOfParts
 */
export function refusalOfCopy(error: unknown, upload: { isAws: boolean; isSummed: boolean }) {
  if (!isRefusal(error) || !statusesOfCopies.has(error.status ?? 0)) return error;
  if (upload.isAws && error.kind !== 'unsupported') return error;
  return withRemedies(error, upload.isSummed ? ['again', 'noCopies'] : ['noCopies']);
}

/** Answered, and found fault with the request itself. */
function isRefusal(error: unknown): error is StoreError {
  return isStoreError(error, 'invalid', 'corrupt', 'unsupported') && (error.status ?? 0) >= 400;
}

function withRemedies(error: StoreError, remedies: readonly PartRemedy[]): PartsRefused {
  const { action, key, status, code, requestId, cause } = error;
  return new PartsRefused(error.message, remedies, {
    action,
    ...(key === undefined ? {} : { key }),
    ...(status === undefined ? {} : { status }),
    ...(code === undefined ? {} : { code }),
    ...(requestId === undefined ? {} : { requestId }),
    cause,
  });
}

/** Whether parts are numbered from 1 on, and all but the last of one size. */
export function areRegular(parts: readonly UploadedPart[]): boolean {
  const size = parts[0]?.size ?? 0;
  return parts.every((part, index) => {
    const isLast = index === parts.length - 1;
    return part.number === index + 1 && (isLast ? part.size <= size : part.size === size);
  });
}
