/**
 * UploadPartCopy: a part made of a range of another object, and what endpoints make of its source.
 *
 * Those that are not AWS's may ignore the condition on the source, so there the sources copied from are
 * looked at again right before the upload is completed: nothing has become visible by then.
 */
import { HeadObjectCommand, UploadPartCopyCommand } from '@aws-sdk/client-s3';
import type { CopyPartResult } from '@aws-sdk/client-s3';

import { isStoreError } from '../errors.js';
import type { StoreError } from '../errors.js';
import { PartsRefused } from '../part-rules.js';
import type { Key } from '../path.js';
import type { ByteRange, CopySource, ETag } from '../store.js';
import { conditionFailed } from './conditional-writes.js';
import type { Connection, ObjectInput } from './connection/connection.js';
import { copySource } from './copy-source.js';
import { entityTag } from './object-info.js';

export class PartCopies {
  readonly #connection: Connection;
  /** Ceph before 18 takes the source key of UploadPartCopy literally, though not of CopyObject. */
  #literalSources = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** @throws PartsRefused where the endpoint cannot copy this source, StoreError */
  async send(
    part: ObjectInput & { readonly UploadId: string; readonly PartNumber: number },
    source: CopySource,
    { range, signal }: { range: ByteRange; signal?: AbortSignal | undefined },
  ): Promise<CopyPartResult> {
    const { ExpectedBucketOwner: owner } = this.#connection.bucketInput;
    const copy = {
      ...part,
      ...(owner === undefined ? {} : { ExpectedSourceBucketOwner: owner }),
      // S3 takes a range only of objects over 5 MiB, so none where it would change nothing.
      ...(range.start === 0 && range.end === source.size
        ? {}
        : { CopySourceRange: `bytes=${range.start}-${range.end - 1}` }),
    };
    const output = await this.#connection.withSourceCondition(source.etag, async (condition) =>
      this.#withSource(source.key, async (CopySource) =>
        this.#connection.send(new UploadPartCopyCommand({ ...copy, ...condition, CopySource }), {
          key: source.key,
          signal,
        }),
      ),
    );
    return output.CopyPartResult ?? {};
  }

  /** @throws StoreError `changed` where one of the sources is another version now */
  async checkSources(
    sources: ReadonlyMap<Key, ETag>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (this.#connection.isAws) return;
    for (const [key, etag] of sources) {
      const found = await this.#connection.send(new HeadObjectCommand(this.#connection.at(key)), {
        key,
        signal,
        isPatient: true,
      });
      if (entityTag(found.ETag) !== etag) throw conditionFailed('UploadPartCopy', key);
    }
  }

  async #withSource<Output>(key: Key, send: (header: string) => Promise<Output>): Promise<Output> {
    const { bucket, prefix } = this.#connection.options;
    const literal = `${bucket}/${prefix}${key}`;
    const encoded = copySource(bucket, prefix + key);
    const canBeLiteral = /^[\x21-\x7e][\x20-\x7e]*$/.test(literal) && !literal.endsWith(' ');
    const forms = canBeLiteral ? [encoded, literal] : [encoded];
    if (this.#literalSources) forms.reverse();
    const [first = encoded, second] = forms;
    try {
      return await send(first);
    } catch (error) {
      if (this.#connection.isAws || encoded === literal || !isStoreError(error, 'notFound')) {
        throw error;
      }
      if (second === undefined)
        throw notCopied(key, 'the endpoint finds no source of this name', error);
      const output = await send(second);
      this.#literalSources = second === literal;
      return output;
    }
  }
}

export function notCopied(key: Key, why: string, cause?: StoreError): PartsRefused {
  const action = 'UploadPartCopy';
  const what = `${action} ${JSON.stringify(key)}: ${why}`;
  return new PartsRefused(what, ['noCopies'], { action, key, cause });
}
