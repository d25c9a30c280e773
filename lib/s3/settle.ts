/**
 * Settling lost answers: what became of a write whose answer did not arrive.
 *
 * A connection that breaks after S3 applied a write looks like one that broke before. The SDK sends
 * such a request again; a conditional one is then refused, because of its own first try. So
 * whenever a write ends in doubt the key is asked, and the write counts as done only if what is
 * there proves to be ours:
 * - PUT under If-None-Match: a random token in the metadata (`x-amz-meta-s3jail-upload`). Content
 *   proves nothing there: two clients may create the same lock file, and one has to lose.
 * - other PUTs: the MD5 of the body, which is the ETag except under KMS encryption, or the CRC32
 *   that S3 stored. Another writer of the same bytes leaves the same object.
 * - CompleteMultipartUpload: the upload being gone, together with an object whose ETag is made of
 *   those of the parts, or at least of as many parts and as large. An upload that is still there was
 *   refused, even if the same content is at the key.
 */
import { createHash } from 'node:crypto';

import { HeadObjectCommand, ListPartsCommand } from '@aws-sdk/client-s3';
import type { HeadObjectCommandOutput } from '@aws-sdk/client-s3';

import { StoreError, isStoreError } from '../errors.js';
import type { Key } from '../path.js';
import type { ETag, MultipartUpload, Stored, UploadedPart } from '../store.js';
import { attemptsOf } from './connection.js';
import type { Connection } from './connection.js';
import { base64Crc32 } from './stored-checksum.js';
import { entityTag, md5OfTag, tokenName } from './object-info.js';

/** What would prove that a body was stored. */
export interface PutProof {
  readonly body: Buffer;
  readonly crc32: number;
  /** in the metadata of a PUT under If-None-Match */
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
  connection.log.info(
    { key, error: error.message },
    'the answer was lost, but the object is stored',
  );
  return { etag };
}

/**
 * After a CompleteMultipartUpload that failed with `error`, in doubt, or with noUpload.
 * @throws as settlePut
 */
export async function settleComplete(
  connection: Connection,
  upload: MultipartUpload,
  parts: readonly UploadedPart[],
  error: StoreError,
): Promise<Stored> {
  const found = await headForProof(connection, upload.key, error);
  const etag = found === undefined ? undefined : entityTag(found.ETag);
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  if (found === undefined || etag === undefined || found.ContentLength !== size) throw error;
  const expected = multipartTag(parts);
  // Under KMS encryption the tag of a part is no MD5, so only the form of the tag can be foretold.
  const isLike = expected === undefined ? etag.endsWith(`-${parts.length}"`) : etag === expected;
  const isOver = error.kind === 'noUpload' || (await isGone(connection, upload, error));
  if (!isLike || !isOver) throw error;
  const fields = { key: upload.key, error: error.message };
  connection.log.info(fields, 'the answer was lost, but the upload is complete');
  return { etag };
}

/** After a DeleteObject that failed in doubt: whether the object is gone. */
export async function isAbsent(
  connection: Connection,
  key: Key,
  error: StoreError,
): Promise<boolean> {
  return (await headForProof(connection, key, error)) === undefined;
}

async function headForProof(
  connection: Connection,
  key: Key,
  error: StoreError,
): Promise<HeadObjectCommandOutput | undefined> {
  try {
    // Without the caller's signal: the question has to be answered even if he has lost patience.
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
  if (proof.token !== undefined) return found.Metadata?.[tokenName] === proof.token;
  if (found.ContentLength !== proof.body.length) return false;
  if (found.ChecksumCRC32 !== undefined) return found.ChecksumCRC32 === base64Crc32(proof.crc32);
  const md5 = md5OfTag(etag);
  return md5 !== undefined && md5 === createHash('md5').update(proof.body).digest('hex');
}

/** The ETag S3 gives an object completed from these parts, where theirs are MD5s. */
export function multipartTag(parts: readonly UploadedPart[]): ETag | undefined {
  const hash = createHash('md5');
  for (const part of parts) {
    const md5 = md5OfTag(part.etag);
    if (md5 === undefined) return undefined;
    hash.update(md5, 'hex');
  }
  return `"${hash.digest('hex')}-${parts.length}"` as ETag;
}

async function isGone(
  connection: Connection,
  upload: MultipartUpload,
  failure: StoreError,
): Promise<boolean> {
  try {
    const input = { ...connection.at(upload.key), UploadId: upload.uploadId, MaxParts: 1 };
    await connection.send(new ListPartsCommand(input), { key: upload.key });
    return false;
  } catch (error) {
    // notFound: how Ceph says it.
    if (isStoreError(error, 'noUpload', 'notFound')) return true;
    // Not allowed to ask. Where no refusal has to be explained, the ETag is proof enough.
    if (isStoreError(error, 'denied', 'unsupported')) return failure.kind !== 'changed';
    if (isStoreError(error)) return false;
    throw error;
  }
}
