/**
 * Removing the twin of an upload: the one that S3 made for a CreateMultipartUpload whose answer was
 * lost, before the request was sent again.
 *
 * S3 gives no way to tell whose upload it is, so a twin is known by all of this together: the same
 * key, begun between the first sending and our own upload by the server's clock, not an upload of
 * this process, and still without a part when our own has ended. Anything else is left alone. An
 * upload without parts occupies nothing, so where listing uploads is not allowed nothing is lost.
 */
import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
} from '@aws-sdk/client-s3';
import type { MultipartUpload as ListedUpload } from '@aws-sdk/client-s3';

import { isStoreError } from '../errors.js';
import type { Key } from '../path.js';
import type { MultipartUpload } from '../store.js';
import type { Connection } from './connection/connection.js';

/** Some servers list whole seconds. */
const clockGrainMs = 1000;

/**
 * @param tookMs from the first sending of CreateMultipartUpload to its answer
 * @param isOurs whether an upload id belongs to this process
 */
export async function removeTwins(
  connection: Connection,
  upload: MultipartUpload,
  begun: { initiated: Date; tookMs: number },
  isOurs: (uploadId: string) => boolean,
): Promise<void> {
  try {
    const latest = begun.initiated.getTime();
    const earliest = latest - begun.tookMs - clockGrainMs;
    for (const { UploadId, Initiated } of await listUploads(connection, upload.key)) {
      const at = Initiated?.getTime() ?? 0;
      if (UploadId === undefined || at < earliest || at > latest + clockGrainMs) continue;
      if (UploadId === upload.uploadId || isOurs(UploadId)) continue;
      const twin = { ...upload, uploadId: UploadId };
      if (!(await isEmpty(connection, twin))) continue;
      await abort(connection, twin);
      const removed = 'removed the empty upload of a request that was sent twice';
      connection.log.info({ key: twin.key }, removed);
    }
  } catch (error) {
    // Not allowed, or the endpoint is away: the twin stays, and the upload itself is not affected.
    if (!isStoreError(error)) throw error;
    const fields = { key: upload.key, error: error.message };
    connection.log.debug(fields, 'an empty upload may have been left open');
  }
}

/**
 * Aborts uploads of a key that a process began and had no time to take note of: in this time by the
 * server's clock, and without a part, as it had not used them. Without a time, all uploads of the key.
 * @throws StoreError
 */
export async function abortUploads(
  connection: Connection,
  key: Key,
  time?: { readonly earliest: number; readonly latest: number },
): Promise<void> {
  for (const { UploadId, Initiated } of await listUploads(connection, key)) {
    if (UploadId === undefined) continue;
    const upload = { key, uploadId: UploadId };
    if (time === undefined) {
      await abort(connection, upload);
      continue;
    }
    const at = Initiated?.getTime() ?? 0;
    const isThen = at >= time.earliest - clockGrainMs && at <= time.latest + clockGrainMs;
    if (isThen && (await isEmpty(connection, upload))) await abort(connection, upload);
  }
}

/** When an open upload began, by the server's clock. */
export async function initiatedAt(
  connection: Connection,
  upload: MultipartUpload,
): Promise<Date | undefined> {
  try {
    const uploads = await listUploads(connection, upload.key);
    return uploads.find((listed) => listed.UploadId === upload.uploadId)?.Initiated;
  } catch (error) {
    // As above.
    if (isStoreError(error)) return undefined;
    throw error;
  }
}

async function listUploads(connection: Connection, key: Key): Promise<ListedUpload[]> {
  const { Key, ...bucket } = connection.at(key);
  const output = await connection.send(
    new ListMultipartUploadsCommand({ ...bucket, Prefix: Key }),
    { key },
  );
  return (output.Uploads ?? []).filter((listed) => listed.Key === Key);
}

async function isEmpty(connection: Connection, upload: MultipartUpload): Promise<boolean> {
  const at = { ...connection.at(upload.key), UploadId: upload.uploadId };
  const { Parts } = await connection.send(new ListPartsCommand(at), { key: upload.key });
  return Parts === undefined || Parts.length === 0;
}

async function abort(connection: Connection, { key, uploadId }: MultipartUpload): Promise<void> {
  const at = { ...connection.at(key), UploadId: uploadId };
  await connection.send(new AbortMultipartUploadCommand(at), { key });
}
