/**
 * Uploads that a process began, and was killed before it had recorded their ids. S3 gives no way to
 * tell whose an upload is, so one is known by all of this together: its key, the time it was begun by
 * the server's clock, and that it has no part yet. Anything else is left alone: an upload without parts
 * occupies nothing.
 */
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
} from '@aws-sdk/client-s3';
import type { MultipartUpload as ListedUpload } from '@aws-sdk/client-s3';

import type { Key } from '../path.js';
import type { MultipartUpload } from '../store.js';
import type { Connection } from './connection/connection.js';
import type { Beginning } from './upload-journal.js';

/** Some servers list whole seconds. */
const clockGrainMs = 1000;

/**
 * Aborts uploads of a key that a process began and had no time to take note of: in this time by the
 * server's clock, and without a part, as it had not used them. Without a time, all uploads of the key.
 * @throws StoreError
 */
async function abortUploads(
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

/** Removes what a process was about to make when it was killed, if it came to that. */
export async function removeBegun(
  connection: Connection,
  { key, kind, fromMs, untilMs }: Beginning,
): Promise<void> {
  if (kind === 'upload') {
    const latest = Math.min(untilMs, fromMs + connection.options.timeoutMs);
    await abortUploads(connection, key, { earliest: fromMs, latest });
    return;
  }
  // Nobody else uses its name.
  await abortUploads(connection, key);
  await connection.send(new DeleteObjectCommand(connection.at(key)), { key });
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
