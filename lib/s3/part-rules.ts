/**
 * Endpoints that are stricter about multipart uploads than S3, and how they say it.
 *
 * Cloudflare R2 wants all parts but the last to be of one size, and says so when the upload is to be
 * completed, as InvalidPart; others want numbers without gaps. S3 itself uses these codes too, for
 * parts that are not there, so they only mean the rules where parts break them.
 */
import { StoreError, isStoreError } from '../errors.js';
import type { UploadedPart } from '../store.js';

const codes = new Set(['InvalidArgument', 'InvalidPart', 'InvalidPartOrder', 'InvalidRequest']);

/**
 * @param error of a CompleteMultipartUpload
 * @returns the same as kind `unsupported` where it may be about sizes or numbers of the parts
 */
export function refusalOfParts(error: unknown, parts: readonly UploadedPart[]): unknown {
  if (!isStoreError(error) || !codes.has(error.code ?? '') || areRegular(parts)) return error;
  const { action, key = '', code = '', cause } = error;
  return new StoreError(
    'unsupported',
    `${action} ${JSON.stringify(key)}: ${code}: the endpoint refuses parts of different sizes`,
    { action, key, code, ...(error.status === undefined ? {} : { status: error.status }), cause },
  );
}

/** Whether parts are numbered from 1 on, and all but the last of one size. */
function areRegular(parts: readonly UploadedPart[]): boolean {
  const size = parts[0]?.size ?? 0;
  return parts.every((part, index) => {
    const isLast = index === parts.length - 1;
    return part.number === index + 1 && (isLast ? part.size <= size : part.size === size);
  });
}
