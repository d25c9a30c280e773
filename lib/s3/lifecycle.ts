/** What a bucket's lifecycle rules do to uploads that are not complete. */
import { GetBucketLifecycleConfigurationCommand } from '@aws-sdk/client-s3';

import { isStoreError } from '../errors.js';
import type { Connection } from './connection/connection.js';

/**
 * After how many days a rule aborts an upload below the prefix, counted from when it began; undefined
 * where none does, or where that may not be asked.
 * @throws StoreError where nobody answers
 */
export async function uploadLifeDays(connection: Connection): Promise<number | undefined> {
  const { bucketInput, options } = connection;
  try {
    const command = new GetBucketLifecycleConfigurationCommand(bucketInput);
    const { Rules = [] } = await connection.send(command, {});
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- old rules have nothing else
    const days = Rules.filter(({ Status, Prefix, Filter }) => {
      const below = Filter?.Prefix ?? Filter?.And?.Prefix ?? Prefix ?? '';
      const meets = below.startsWith(options.prefix) || options.prefix.startsWith(below);
      return Status === 'Enabled' && meets;
    }).map((rule) => rule.AbortIncompleteMultipartUpload?.DaysAfterInitiation ?? Infinity);
    const least = Math.min(...days);
    return Number.isFinite(least) ? least : undefined;
  } catch (error) {
    // No rules are a 404 (NoSuchLifecycleConfiguration).
    if (isStoreError(error, 'notFound', 'denied', 'unsupported', 'invalid')) return undefined;
    throw error;
  }
}
