/**
 * Server-side copies: one CopyObject for small objects, parallel UploadPartCopy for large ones,
 * which is the only way above 5 GiB and the faster one long before.
 *
 * CopyObject keeps metadata, content type and tags by itself but not the storage class; a multipart
 * copy keeps nothing, so the source is asked and everything is said again (see description.ts).
 *
 * An endpoint may ignore the condition on the source (Ceph before 18 does). Of an object stored by
 * one PUT, the ETag of the copy then proves which version was copied; otherwise the source is looked
 * at again after the copy.
 */
import { CopyObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3';
import type {
  CopyObjectCommandInput,
  CopyObjectCommandOutput,
  HeadObjectCommandOutput,
} from '@aws-sdk/client-s3';

import type { StoreError } from '../errors.js';
import { isStoreError } from '../errors.js';
import { inParallel } from '../concurrency/in-parallel.js';
import { PartsRefused } from '../part-rules.js';
import type { Key } from '../path.js';
import { multipartLimits } from '../store.js';
import type { CopySource, ETag, Stored, WriteOptions } from '../store.js';
import type { ConditionInput } from './conditional-writes.js';
import type { Connection } from './connection/connection.js';
import { copySource } from './copy-source.js';
import { describedInput, keptClass } from './description.js';
import type { Descriptions } from './description.js';
import { unproven } from './evidence.js';
import { targetError } from './multipart.js';
import type { Multipart } from './multipart.js';
import { entityTag, md5OfTag } from './object-info.js';
import { isInDoubt } from './settle.js';
import { newObjectInput } from './write-input.js';

/** Above this several part copies side by side are faster than one CopyObject. */
export const defaultCopyThreshold = 256 * 1024 * 1024;
const largestCopyPart = 64 * 1024 * 1024;
/** No bytes pass through here, so more may be in flight than of uploads. */
const copyConcurrency = 16;

export interface CopyJob {
  readonly source: CopySource;
  readonly target: Key;
  readonly options: WriteOptions;
  /** headers for the target that the endpoint keeps in CopyObject, or Complete for large sources */
  readonly condition: ConditionInput;
  /** class of the source, where it is known: `STANDARD` or another */
  readonly storageClass: string | undefined;
  /** an answer about the source from a moment ago, of whatever version */
  readonly head: HeadObjectCommandOutput | undefined;
}

export class Copier {
  readonly #connection: Connection;
  readonly #multipart: Multipart;
  readonly #descriptions: Descriptions;
  readonly #threshold: number;

  constructor(connection: Connection, multipart: Multipart, descriptions: Descriptions) {
    this.#connection = connection;
    this.#multipart = multipart;
    this.#descriptions = descriptions;
    const wanted = connection.options.copyThreshold ?? defaultCopyThreshold;
    this.#threshold = Math.min(wanted, multipartLimits.maxPart);
  }

  /** Whether a source of this size is copied by parts. */
  isByParts(size: number): boolean {
    return size > this.#threshold;
  }

  async copy(job: CopyJob): Promise<Stored> {
    if (!this.isByParts(job.source.size)) return await this.#copySmall(job);
    for (let isAgain = false; ; isAgain = true) {
      try {
        return await this.#copyByParts(job);
      } catch (error) {
        if (!isStoreError(error, 'unsupported')) throw error;
        const mayHelp = error instanceof PartsRefused && error.remedies.includes('again');
        if (mayHelp && !isAgain) continue;
        // Not every service that cannot copy parts has S3's limit of 5 GiB for whole copies.
        return await this.#copyWhole(job);
      }
    }
  }

  /** Ceph copies what is under SSE-C by UploadPartCopy alone. */
  async #copySmall(job: CopyJob): Promise<Stored> {
    try {
      return await this.#copyWhole(job);
    } catch (error) {
      const isKeyed = this.#connection.customerKeys !== undefined && job.source.size > 0;
      if (!isKeyed || !isStoreError(error, 'unsupported')) throw error;
      return await this.#copyByParts(job);
    }
  }

  async #copyWhole(job: CopyJob): Promise<Stored> {
    const { source, target, options } = job;
    const isReplacing = options.metadata !== undefined || options.contentType !== undefined;
    const isKnown = job.storageClass !== undefined && !isReplacing;
    const recent = entityTag(job.head?.ETag) === source.etag ? job.head : undefined;
    const found = isKnown
      ? undefined
      : (recent ?? (await this.#descriptions.head(source, options.signal)));
    const input: CopyObjectCommandInput = {
      ...this.#connection.at(target),
      ...this.#sourceInput(source),
      ...newObjectInput(this.#connection.options, {
        ...options,
        storageClass: keptClass(job.storageClass ?? found?.StorageClass),
      }),
      ...job.condition,
      ...(found !== undefined && isReplacing
        ? { ...describedInput(found, options), MetadataDirective: 'REPLACE' }
        : {}),
    };
    try {
      const output = await this.#sendCopy(input, job);
      const etag = entityTag(output.CopyObjectResult?.ETag);
      if (etag === undefined) throw unproven('CopyObject', target);
      await this.#checkSource(job, etag);
      return { etag };
    } catch (error) {
      if (!isInDoubt(error)) throw targetError(error, job.condition);
      return await this.#settle(job, error);
    }
  }

  async #sendCopy(input: CopyObjectCommandInput, job: CopyJob): Promise<CopyObjectCommandOutput> {
    const { source } = job;
    const send = async (more: Partial<CopyObjectCommandInput>): Promise<CopyObjectCommandOutput> =>
      await this.#connection.withSourceCondition(source.etag, async (condition) =>
        this.#connection.send(new CopyObjectCommand({ ...input, ...condition, ...more }), {
          key: source.key,
          signal: job.options.signal,
        }),
      );
    return await this.#descriptions.tryTags(
      source.key,
      // Copying tags needs GetObjectTagging and PutObjectTagging, also where an object has none.
      async () => await send({}),
      async () => await send({ TaggingDirective: 'REPLACE' }),
    );
  }

  async #copyByParts(job: CopyJob): Promise<Stored> {
    const { source, target, options } = job;
    const { signal } = options;
    const found = await this.#descriptions.head(source, signal);
    const input = await this.#descriptions.inputLike(source.key, found, options);
    const upload = await this.#descriptions.withTags(
      source.key,
      input,
      async (fields) => await this.#multipart.create(target, fields, signal),
    );
    try {
      // A listing may have said too little.
      const size = found.ContentLength ?? source.size;
      const ranges = copyRanges(size, this.#threshold);
      const parts = await inParallel(copyConcurrency, ranges, async (range, n) =>
        this.#multipart.copyPart(upload, n + 1, { ...source, size }, { range, signal }),
      );
      return await this.#multipart.complete(upload, parts, { condition: job.condition, signal });
    } catch (error) {
      await this.#multipart.abort(upload).catch((failure: unknown) => {
        if (!isStoreError(failure)) throw failure;
        const fields = { key: target, uploadId: upload.uploadId, error: failure.message };
        this.#connection.log.warn(fields, 'the multipart upload of a failed copy is still open');
      });
      throw error;
    }
  }

  #sourceInput(source: CopySource) {
    const { bucket, prefix } = this.#connection.options;
    const { ExpectedBucketOwner: owner } = this.#connection.bucketInput;
    return {
      CopySource: copySource(bucket, prefix + source.key),
      ...(owner === undefined ? {} : { ExpectedSourceBucketOwner: owner }),
    };
  }

  async #checkSource({ source, target, options }: CopyJob, copied: ETag): Promise<void> {
    // An object that was copied onto itself is another version now.
    if (this.#connection.isAws || copied === source.etag || target === source.key) return;
    // Two MD5s of single PUTs that differ: other bytes.
    await this.#descriptions.head(source, options.signal);
  }

  /** After a CopyObject in doubt: done if the target holds what the source does. */
  async #settle(job: CopyJob, error: StoreError): Promise<Stored> {
    const found = await this.#connection
      .send(new HeadObjectCommand(this.#connection.at(job.target)), { key: job.target })
      .catch((failure: unknown) => {
        // Not there, or not to be asked: the copy has failed as far as anybody can tell.
        if (isStoreError(failure)) throw error;
        throw failure;
      });
    const etag = entityTag(found.ETag);
    const isSame = etag === job.source.etag && found.ContentLength === job.source.size;
    if (etag === undefined || !isSame || md5OfTag(etag) === undefined) throw error;
    // Copied onto itself for the sake of its metadata, it has the same bytes either way.
    const wanted = Object.entries(job.options.metadata ?? {});
    if (wanted.some(([name, value]) => found.Metadata?.[name] !== value)) throw error;
    return { etag };
  }
}

/** Equal ranges but for the last, so that 10,000 suffice. */
function copyRanges(size: number, threshold: number): { start: number; end: number }[] {
  const wanted = Math.min(largestCopyPart, Math.max(multipartLimits.minPart, threshold));
  const part = Math.max(wanted, Math.ceil(size / multipartLimits.maxParts));
  const ranges = [];
  for (let start = 0; start < size; start += part) {
    ranges.push({ start, end: Math.min(size, start + part) });
  }
  return ranges;
}
