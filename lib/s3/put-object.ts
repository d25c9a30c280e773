/**
 * PutObject: a whole object from memory, with its checksum, its description and its condition, and the
 * question what became of it where the answer does not say.
 *
 * A PUT under If-None-Match carries a random token in the object's metadata, `s3jail-upload`, because
 * nothing else can prove afterwards whose PUT it was.
 */
import { PutObjectCommand } from '@aws-sdk/client-s3';

import type { Key } from '../path.js';
import type { Stored, WriteOptions } from '../store.js';
import type { ConditionalWrites } from './conditional-writes.js';
import type { Connection } from './connection/connection.js';
import type { Descriptions } from './description.js';
import { newToken, unproven } from './evidence.js';
import type { Evidence } from './evidence.js';
import type { Integrity } from './integrity.js';
import { targetError } from './multipart.js';
import type { CreateInput } from './multipart.js';
import { tokenName } from './object-info.js';
import { isInDoubt, settlePut } from './settle.js';

export interface PutterParts {
  readonly connection: Connection;
  readonly conditions: ConditionalWrites;
  readonly descriptions: Descriptions;
  readonly evidence: Evidence;
  readonly integrity: Integrity;
}

export class Putter {
  readonly #parts: PutterParts;

  constructor(parts: PutterParts) {
    this.#parts = parts;
  }

  /**
   * @param describe the fields that describe the object, asked for once the condition is known
   * @throws StoreError
   */
  async put(
    key: Key,
    content: { readonly body: Buffer; readonly crc32: number },
    options: WriteOptions,
    describe: () => Promise<CreateInput>,
  ): Promise<{ stored: Stored; storageClass: string | undefined }> {
    const { connection, conditions, descriptions, evidence, integrity } = this.#parts;
    const { body, crc32 } = content;
    const { signal } = options;
    const condition = await conditions.prepare('PutObject', key, options);
    const token = condition.IfNoneMatch === undefined ? evidence.token('PutObject') : newToken();
    const input = await describe();
    const metadata =
      token === undefined ? {} : { Metadata: { ...input.Metadata, [tokenName]: token } };
    const { StorageClass: storageClass } = input;
    try {
      const output = await descriptions.withTags(
        key,
        { ...connection.at(key), ...input, ...metadata, ...condition, Body: body },
        async (fields) =>
          await integrity.put(body, crc32, async (sums) => {
            const command = new PutObjectCommand({ ...fields, ...sums });
            return await connection.send(command, { key, signal, bodyBytes: body.length });
          }),
      );
      const etag = evidence.put(output, content);
      if (etag === undefined) throw unproven('PutObject', key);
      return { stored: { etag, crc32 }, storageClass };
    } catch (error) {
      if (!isInDoubt(error)) throw targetError(error, condition);
      const stored = await settlePut(connection, key, { ...content, token }, error);
      return { stored, storageClass };
    }
  }
}
