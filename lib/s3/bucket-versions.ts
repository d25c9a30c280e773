/** Whether a bucket keeps versions, as its answers about an object tell: no permission of its own is needed. */
import { HeadObjectCommand } from '@aws-sdk/client-s3';
import type { Key } from '../path.js';
import type { Connection } from './connection/connection.js';
import { toStoreError } from './connection/s3-errors.js';

/**
 * @param key of an object
 * @throws StoreError
 */
export async function keepsVersions(connection: Connection, key: Key): Promise<boolean> {
  const { prefix } = connection.options;
  const asked = { ...connection.bucketInput, Key: prefix + key };
  const command = new HeadObjectCommand(asked);
  const { VersionId } = await connection.send(command).catch((error: unknown) => {
    throw toStoreError(error, { action: 'HeadObject', key });
  });
  // `null` is the version of buckets that kept versions once (S3 user guide, "Versioning-suspended").
  return VersionId !== undefined && VersionId !== 'null' && VersionId !== '';
}
