/**
 * Whether an endpoint tells the checksums that its multipart objects have, found out by one HEAD of
 * the first that this process made. AWS does.
 */
import { HeadObjectCommand } from '@aws-sdk/client-s3';

import { isStoreError } from '../errors.js';
import type { Key } from '../path.js';
import type { Stored } from '../store.js';
import type { Connection } from './connection.js';
import { entityTag } from './object-info.js';
import { wholeCrc32Of } from './stored-checksum.js';

/** Looks at what was just completed, if that is still to be found out. Never rejects. */
export async function compareTold(
  connection: Connection,
  key: Key,
  { etag, crc32 }: Stored,
): Promise<void> {
  const { readChecksums } = connection;
  if (connection.isAws || crc32 === undefined || !readChecksums.isToBeTried) return;
  try {
    const found = await connection.send(new HeadObjectCommand(connection.at(key)), { key });
    // Replaced by somebody in between.
    if (entityTag(found.ETag) !== etag) return;
    const told = wholeCrc32Of(found);
    if (!readChecksums.noteTold(told === undefined || told === crc32)) return;
    connection.log.warn(
      { key, told, computed: crc32 },
      `${connection.place} tells wrong checksums of multipart objects: what is read is not compared`,
    );
  } catch (error) {
    // Not allowed, or the endpoint is away: asked again after the next upload.
    if (!isStoreError(error)) throw error;
    connection.log.debug({ key, error: error.message }, 'cannot look at the checksum that is told');
  }
}
