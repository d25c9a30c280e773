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
import type { MultipartUpload } from '../store.js';
import type { Connection } from './connection.js';

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
    for (const { UploadId, Initiated } of await listUploads(connection, upload)) {
      const at = Initiated?.getTime() ?? 0;
      if (UploadId === undefined || at < earliest || at > latest + clockGrainMs) continue;
      if (UploadId === upload.uploadId || isOurs(UploadId)) continue;
      await removeIfEmpty(connection, { ...upload, uploadId: UploadId });
    }
  } catch (error) {
    // Not allowed, or the endpoint is away: the twin stays, and the upload itself is not affected.
    if (!isStoreError(error)) throw error;
    const fields = { key: upload.key, error: error.message };
    connection.log.debug(fields, 'an empty upload may have been left open');
  }
}

/** When an open upload began, by the server's clock. */
export async function initiatedAt(
  connection: Connection,
  upload: MultipartUpload,
): Promise<Date | undefined> {
  try {
    const uploads = await listUploads(connection, upload);
    return uploads.find((listed) => listed.UploadId === upload.uploadId)?.Initiated;
  } catch (error) {
    // As above.
    if (isStoreError(error)) return undefined;
    throw error;
  }
}

async function listUploads(
  connection: Connection,
  upload: MultipartUpload,
): Promise<ListedUpload[]> {
  const { Key, ...bucket } = connection.at(upload.key);
  const output = await connection.send(
    new ListMultipartUploadsCommand({ ...bucket, Prefix: Key }),
    { key: upload.key },
  );
  return (output.Uploads ?? []).filter((listed) => listed.Key === Key);
}

async function removeIfEmpty(connection: Connection, twin: MultipartUpload): Promise<void> {
  const at = { ...connection.at(twin.key), UploadId: twin.uploadId };
  const { Parts } = await connection.send(new ListPartsCommand(at), { key: twin.key });
  if (Parts !== undefined && Parts.length > 0) return;
  await connection.send(new AbortMultipartUploadCommand(at), { key: twin.key });
  connection.log.info(
    { key: twin.key },
    'removed the empty upload of a request that was sent twice',
  );
}
