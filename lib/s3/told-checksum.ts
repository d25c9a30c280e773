/**
 * Whether an endpoint tells the checksums that its multipart objects have. AWS does; of others the
 * last one that this process made is asked for by HEAD, before the first such checksum is believed:
 * most tell none, and then it costs nothing.
 */
import { HeadObjectCommand } from '@aws-sdk/client-s3';

import { isStoreError } from '../errors.js';
import type { Key } from '../path.js';
import type { Connection } from './connection/connection.js';
import { entityTag } from './object-info.js';
import { isMultipartTag, wholeCrc32Of } from './stored-checksum.js';
import type { ChecksumFields } from './stored-checksum.js';

/** An answer about `key` as far as its checksums are believed. */
export async function believedAnswer<Output extends ChecksumFields>(
  connection: Connection,
  key: Key,
  output: Output,
): Promise<Output> {
  const { readChecksums, isAws } = connection;
  const isTold = isMultipartTag(output.ETag) && wholeCrc32Of(output) !== undefined;
  if (isTold && !isAws) {
    readChecksums.comparison ??= compareSample(connection, key, output).finally(() => {
      readChecksums.comparison = undefined;
    });
    await readChecksums.comparison;
  }
  return readChecksums.believed(output);
}

async function compareSample(
  connection: Connection,
  key: Key,
  output: ChecksumFields,
): Promise<void> {
  const { readChecksums } = connection;
  const sample = readChecksums.takeSample();
  if (sample === undefined) return;
  const isSame = key === sample.key && entityTag(output.ETag) === sample.etag;
  const found = isSame ? output : await ask(connection, sample.key);
  // Replaced or gone by now: the next upload is as good.
  if (entityTag(found?.ETag) !== sample.etag) return;
  const told = found === undefined ? undefined : wholeCrc32Of(found);
  if (!readChecksums.noteTold(told === undefined || told === sample.crc32)) return;
  connection.log.warn(
    { key: sample.key, told, computed: sample.crc32 },
    `${connection.place} tells wrong checksums of multipart objects: what is read is not compared`,
  );
}

async function ask(connection: Connection, key: Key): Promise<ChecksumFields | undefined> {
  try {
    return await connection.send(new HeadObjectCommand(connection.at(key)), { key });
  } catch (error) {
    if (!isStoreError(error)) throw error;
    connection.log.debug({ key, error: error.message }, 'cannot look at the checksum that is told');
    return undefined;
  }
}
