/**
 * Settling lost answers: what became of a write whose answer did not arrive.
 *
 * A connection that breaks after S3 applied a write looks like one that broke before. The SDK sends
 * such a request again; a conditional one is then refused, because of its own first try. So
 * whenever a write ends in doubt the key is asked, and the write counts as done only if what is
 * there proves to be ours:
 * - the random token in the metadata (`x-amz-meta-s3jail-upload`), where one was set, as always in a PUT
 *   under If-None-Match. Content proves nothing there: two clients may create the same lock file, and
 *   one has to lose.
 * - other PUTs: the MD5 of the body, which is the ETag except under KMS encryption, or the CRC32
 *   that S3 stored. Another writer of the same bytes leaves the same object.
 * - CompleteMultipartUpload: the upload being gone, together with an object whose ETag is made of
 *   those of the parts, or at least of as many parts and as large. An upload that is still there was
 *   refused, even if the same content is at the key.
 * - DeleteObject: a LIST to its end without the key; a bare 404 may come from anybody.
 */
import { createHash } from 'node:crypto';

import { HeadObjectCommand, ListPartsCommand } from '@aws-sdk/client-s3';
import type { HeadObjectCommandOutput } from '@aws-sdk/client-s3';

import { listedAt } from '../store.js';
import { StoreError, isStoreError } from '../errors.js';
import type { Key } from '../path.js';
import type { ETag, MultipartUpload, ObjectStore, Stored, UploadedPart } from '../store.js';
import { attemptsOf } from './connection/connection.js';
import type { Connection } from './connection/connection.js';
import { multipartTag } from './evidence.js';
import { entityTag, md5OfTag, tokenName } from './object-info.js';
import { wholeCrc32Of } from './stored-checksum.js';

/** What would prove that a body was stored. */
export interface PutProof {
  readonly body: Buffer;
  readonly crc32: number;
  /** in the metadata */
  readonly token: string | undefined;
}

/**
 * Whether the server may have applied a write that failed like this. A refusal is in doubt where the
 * request had been sent before: it may be that first sending which the refusal is about.
 */
export function isInDoubt(error: unknown): error is StoreError {
  if (!isStoreError(error) || error.kind === 'aborted') return false;
  return error.kind === 'unavailable' || error.kind === 'corrupt' || attemptsOf(error) > 1;
}

/**
 * After a PUT that failed with `error`, in doubt.
 * @throws `error` where the write did not happen; StoreError `unavailable` where asking failed too
 */
export async function settlePut(
  connection: Connection,
  key: Key,
  proof: PutProof,
  error: StoreError,
): Promise<Stored> {
  const found = await headForProof(connection, key, error);
  const etag = found === undefined ? undefined : entityTag(found.ETag);
  if (found === undefined || etag === undefined || !isOurBody(found, etag, proof)) throw error;
  noteSettled(connection, error);
  return { etag };
}

/**
 * After a CompleteMultipartUpload that failed with `error`, in doubt, or with noUpload.
 * @param proof.token in the metadata that the upload was created with
 * @returns undefined where it did not happen
 * @throws StoreError `error` or `unavailable` where asking failed
 */
export async function settleComplete(
  connection: Connection,
  upload: MultipartUpload,
  proof: { readonly parts: readonly UploadedPart[]; readonly token: string | undefined },
  error: StoreError,
): Promise<Stored | undefined> {
  const { parts, token } = proof;
  const found = await headForProof(connection, upload.key, error);
  const etag = found === undefined ? undefined : entityTag(found.ETag);
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  if (found === undefined || etag === undefined || found.ContentLength !== size) {
    return undefined;
  }
  const isOurs =
    hasToken(found, token) ??
    (isLikeParts(etag, found, parts) &&
      (error.kind === 'noUpload' || (await isGone(connection, upload, error.kind !== 'changed'))));
  if (!isOurs) return undefined;
  noteSettled(connection, error);
  return { etag };
}

/** After a DeleteObject that failed in doubt: whether the object is gone. */
export async function isAbsent(
  store: Pick<ObjectStore, 'list'>,
  key: Key,
  error: StoreError,
): Promise<boolean> {
  try {
    return (await listedAt(store, key)) === undefined;
  } catch (failure) {
    throw isStoreError(failure) ? error : failure;
  }
}

/** A known kind of answer that leaves the proof to a HEAD is no news each time. */
function noteSettled(connection: Connection, error: StoreError): void {
  const { key } = error;
  const level = error.kind === 'corrupt' ? 'debug' : 'info';
  connection.log[level]({ key, error: error.message }, 'no proof in the answer, but it is stored');
}

async function headForProof(
  connection: Connection,
  key: Key,
  error: StoreError,
): Promise<HeadObjectCommandOutput | undefined> {
  try {
    // Without the caller's signal: the question has to be answered even where the caller has given up.
    return await connection.send(new HeadObjectCommand(connection.at(key)), { key });
  } catch (failure) {
    if (isStoreError(failure, 'notFound')) return undefined;
    // Of these the original would claim to know what is not known.
    if (!isStoreError(failure) || !isStoreError(error, 'changed', 'noUpload', 'notFound'))
      throw error;
    throw new StoreError('unavailable', `${error.message}; and asking for the object failed`, {
      action: error.action,
      key,
      cause: failure,
    });
  }
}

function isOurBody(found: HeadObjectCommandOutput, etag: ETag, proof: PutProof): boolean {
  const isMarked = hasToken(found, proof.token);
  if (isMarked !== undefined) return isMarked;
  if (found.ContentLength !== proof.body.length) return false;
  const sum = wholeCrc32Of(found);
  if (sum !== undefined) return sum === proof.crc32;
  const md5 = md5OfTag(etag);
  return md5 !== undefined && md5 === createHash('md5').update(proof.body).digest('hex');
}

/** Whether what was found is of the write that carried the token; undefined where there was none. */
function hasToken(found: HeadObjectCommandOutput, token: string | undefined): boolean | undefined {
  return token === undefined ? undefined : found.Metadata?.[tokenName] === token;
}

/**
 * Under a key of KMS or of SSE-C the tag of a part is no MD5, though it may look like one, so only the form
 * of the object's can be foretold.
 */
function isLikeParts(
  etag: ETag,
  { ServerSideEncryption: kind, SSECustomerAlgorithm: customer }: HeadObjectCommandOutput,
  parts: readonly UploadedPart[],
): boolean {
  const isUnderKey = kind?.startsWith('aws:kms') === true || customer !== undefined;
  const expected = isUnderKey ? undefined : multipartTag(parts);
  return expected === undefined ? etag.endsWith(`-${parts.length}"`) : etag === expected;
}

/**
 * Whether an upload is over: completed or aborted.
 * @param unasked what to believe where asking is not allowed
 */
export async function isGone(
  connection: Connection,
  upload: MultipartUpload,
  unasked: boolean,
): Promise<boolean> {
  try {
    const input = { ...connection.at(upload.key), UploadId: upload.uploadId, MaxParts: 1 };
    await connection.send(new ListPartsCommand(input), { key: upload.key });
    return false;
  } catch (error) {
    // notFound: how Ceph says it.
    if (isStoreError(error, 'noUpload', 'notFound')) return true;
    if (isStoreError(error, 'denied', 'unsupported')) return unasked;
    if (isStoreError(error)) return false;
    throw error;
  }
}
