/**
 * Multipart uploads: S3's five actions, and what has to be remembered between them.
 *
 * An upload asks for a CRC32 of the whole object (checksum type FULL_OBJECT). Whether the endpoint
 * knows that shows in its answer to CreateMultipartUpload; only then are the checksum, combined from
 * those of the parts, and the total size sent along when it is completed, and verified by S3.
 *
 * Endpoints that are not AWS's may ignore the condition on the source of UploadPartCopy, so there
 * the sources copied from are looked at again right before the upload is completed: nothing has
 * become visible by then.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import type {
  CreateMultipartUploadCommandInput,
  CreateMultipartUploadCommandOutput,
  UploadPartCommandInput,
} from '@aws-sdk/client-s3';

import { combineCrc32 } from '../crc32.js';
import { StoreError, isStoreError } from '../errors.js';
import type { Key } from '../path.js';
import type {
  ByteRange,
  CopySource,
  ETag,
  MultipartUpload,
  Stored,
  UploadedPart,
} from '../store.js';
import { AbandonedUploads } from './abandoned-uploads.js';
import { conditionFailed } from './conditional-writes.js';
import type { ConditionInput } from './conditional-writes.js';
import type { Connection } from './connection.js';
import { copySource } from './copy-source.js';
import { base64Crc32 } from './stored-checksum.js';
import type { Integrity } from './integrity.js';
import { entityTag } from './object-info.js';
import { refusalOfParts } from './part-rules.js';
import { isInDoubt, settleComplete } from './settle.js';
import type { StreamedBody } from './streamed-body.js';
import { initiatedAt, removeTwins } from './twin-uploads.js';

/** What is known of an upload that this process made. */
interface UploadState {
  /** the endpoint keeps a checksum of the whole object */
  readonly fullObject: boolean;
  /** objects copied from under a condition that may not have been kept, by key */
  readonly sources: Map<Key, ETag>;
  /** where CreateMultipartUpload was sent more than once: see twin-uploads.ts */
  readonly begun: { readonly initiated: Date; readonly tookMs: number } | undefined;
}

/** Fields of CreateMultipartUpload beyond bucket and key. */
export type CreateInput = Omit<CreateMultipartUploadCommandInput, 'Bucket' | 'Key'>;

/** The checksum fields of CreateMultipartUpload. */
const fullObjectCrc32 = { ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' } as const;

export class Multipart {
  readonly #connection: Connection;
  readonly #integrity: Integrity;
  readonly #states = new Map<string, UploadState>();
  readonly #abandoned: AbandonedUploads;
  /** Ceph before 18 takes the source key of UploadPartCopy literally, though not of CopyObject. */
  #literalSources = false;

  constructor(connection: Connection, integrity: Integrity) {
    this.#connection = connection;
    this.#integrity = integrity;
    this.#abandoned = new AbandonedUploads((upload) => this.#abort(upload), connection.log);
  }

  close(): void {
    this.#abandoned.close();
  }

  async create(key: Key, input: CreateInput, signal?: AbortSignal): Promise<MultipartUpload> {
    const startMs = performance.now();
    const output = await this.#integrity.withFallback<
      CreateInput,
      CreateMultipartUploadCommandOutput
    >(
      { ...input, ...fullObjectCrc32 },
      () => input,
      async (fields) =>
        await this.#connection.send(
          new CreateMultipartUploadCommand({ ...this.#connection.at(key), ...fields }),
          { key, signal },
        ),
    );
    const uploadId = output.UploadId;
    if (uploadId === undefined || uploadId === '') {
      throw fault('CreateMultipartUpload', key, 'no upload id in the answer');
    }
    const upload = { key, uploadId };
    await this.#record(upload);
    const fullObject = output.ChecksumType === 'FULL_OBJECT';
    const tookMs = performance.now() - startMs;
    const initiated =
      (output.$metadata.attempts ?? 1) > 1
        ? await initiatedAt(this.#connection, upload)
        : undefined;
    const begun = initiated === undefined ? undefined : { initiated, tookMs };
    this.#states.set(uploadId, { fullObject, sources: new Map(), begun });
    return upload;
  }

  async uploadPart(
    upload: MultipartUpload,
    number: number,
    body: Buffer | StreamedBody,
    options: { crc32: number; signal?: AbortSignal | undefined },
  ): Promise<UploadedPart> {
    const { crc32, signal } = options;
    const output = await this.#integrity.withBody(
      body,
      crc32,
      async (sums) =>
        await this.#connection.send(
          partCommand({ ...this.#at(upload), ...sums, PartNumber: number }, body),
          { key: upload.key, signal, bodyBytes: body.length },
        ),
    );
    const etag = entityTag(output.ETag);
    if (etag === undefined) throw fault('UploadPart', upload.key, 'no ETag in the answer');
    return { number, etag, size: body.length, crc32 };
  }

  async copyPart(
    upload: MultipartUpload,
    number: number,
    source: CopySource,
    options: { range: ByteRange; signal?: AbortSignal | undefined },
  ): Promise<UploadedPart> {
    const { range, signal } = options;
    const { ExpectedBucketOwner: owner } = this.#connection.bucketInput;
    const copy = {
      ...this.#at(upload),
      ...(owner === undefined ? {} : { ExpectedSourceBucketOwner: owner }),
      PartNumber: number,
      // S3 takes a range only of objects over 5 MiB, so none where it would change nothing.
      ...(range.start === 0 && range.end === source.size
        ? {}
        : { CopySourceRange: `bytes=${range.start}-${range.end - 1}` }),
    };
    const output = await this.#connection
      .withSourceCondition(source.etag, async (condition) =>
        this.#withSource(source.key, async (CopySource) =>
          this.#connection.send(new UploadPartCopyCommand({ ...copy, ...condition, CopySource }), {
            key: source.key,
            signal,
          }),
        ),
      )
      .catch((error: unknown) => {
        // Not everybody has a code for what he does not know.
        const isWrong = isStoreError(error, 'invalid') && error.status === 400;
        throw isWrong && !this.#connection.isAws
          ? this.#notCopied(source.key, error.message, error)
          : error;
      });
    const etag = entityTag(output.CopyPartResult?.ETag);
    // Taken for an UploadPart without a body.
    if (etag === undefined) throw this.#notCopied(source.key, 'no ETag in the answer');
    this.#states.get(upload.uploadId)?.sources.set(source.key, source.etag);
    const sum = output.CopyPartResult?.ChecksumCRC32;
    const size = range.end - range.start;
    return sum === undefined
      ? { number, etag, size }
      : { number, etag, size, crc32: Buffer.from(sum, 'base64').readUInt32BE(0) };
  }

  /**
   * @param options.condition headers that the endpoint is known to keep
   */
  async complete(
    upload: MultipartUpload,
    parts: readonly UploadedPart[],
    options: { condition: ConditionInput; signal?: AbortSignal | undefined },
  ): Promise<Stored> {
    const state = this.#states.get(upload.uploadId);
    const { condition, signal } = options;
    await this.#checkSources(upload, state, condition, signal);
    try {
      const output = await this.#connection.send(
        new CompleteMultipartUploadCommand({
          ...this.#at(upload),
          ...condition,
          ...(state?.fullObject === true ? wholeSums(parts) : {}),
          MultipartUpload: { Parts: parts.map(partInput) },
        }),
        { key: upload.key, signal },
      );
      await this.#forget(upload);
      const etag = entityTag(output.ETag) ?? (await this.#tagOf(upload.key));
      return { etag, crc32: crc32Of(parts) };
    } catch (error) {
      const failure = this.#connection.isAws ? error : refusalOfParts(error, parts);
      if (!isInDoubt(failure) && !isStoreError(failure, 'noUpload'))
        throw targetError(failure, condition);
      const stored = await settleComplete(this.#connection, upload, parts, failure);
      await this.#forget(upload);
      return stored;
    }
  }

  /** Tries now; where the endpoint is away, goes on trying in the background and rejects. */
  async abort(upload: MultipartUpload): Promise<void> {
    try {
      await this.#abort(upload);
      await this.#forget(upload);
    } catch (error) {
      this.#states.delete(upload.uploadId);
      if (isStoreError(error, 'unavailable', 'throttled')) this.#abandoned.add(upload);
      throw error;
    }
  }

  /** An upload that cannot be recorded would outlive a killed process: better none. */
  async #record(upload: MultipartUpload): Promise<void> {
    try {
      this.#connection.options.uploadRecord?.begun(upload);
    } catch (error) {
      await this.#abort(upload);
      throw error;
    }
  }

  /** The upload has ended. */
  async #forget(upload: MultipartUpload): Promise<void> {
    this.#connection.options.uploadRecord?.ended(upload);
    const begun = this.#states.get(upload.uploadId)?.begun;
    this.#states.delete(upload.uploadId);
    if (begun === undefined) return;
    await removeTwins(this.#connection, upload, begun, (id) => this.#states.has(id));
  }

  async #abort(upload: MultipartUpload): Promise<void> {
    try {
      await this.#connection.send(new AbortMultipartUploadCommand(this.#at(upload)), {
        key: upload.key,
      });
    } catch (error) {
      // Gone already, by an earlier try whose answer was lost or by a lifecycle rule.
      if (!isStoreError(error, 'noUpload', 'notFound', 'noBucket')) throw error;
    }
  }

  async #checkSources(
    upload: MultipartUpload,
    state: UploadState | undefined,
    condition: ConditionInput,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (state === undefined || this.#connection.isAws) return;
    for (const [key, etag] of state.sources) {
      // If-Match on the target says it for the object that is being rewritten.
      if (key === upload.key && condition.IfMatch === etag) continue;
      const found = await this.#connection.send(new HeadObjectCommand(this.#connection.at(key)), {
        key,
        signal,
      });
      if (entityTag(found.ETag) !== etag) throw conditionFailed('UploadPartCopy', key);
    }
  }

  async #withSource<Output>(key: Key, send: (header: string) => Promise<Output>): Promise<Output> {
    const { bucket, prefix } = this.#connection.options;
    const literal = `${bucket}/${prefix}${key}`;
    const encoded = copySource(bucket, prefix + key);
    const canBeLiteral = /^[\x21-\x7e][\x20-\x7e]*$/.test(literal) && !literal.endsWith(' ');
    if (this.#literalSources && canBeLiteral) return await send(literal);
    try {
      return await send(encoded);
    } catch (error) {
      if (this.#connection.isAws || encoded === literal || !isStoreError(error, 'notFound')) {
        throw error;
      }
      if (!canBeLiteral)
        throw this.#notCopied(key, 'the endpoint finds no source of this name', error);
      const output = await send(literal);
      this.#literalSources = true;
      return output;
    }
  }

  #notCopied(key: Key, why: string, cause?: StoreError): StoreError {
    const action = 'UploadPartCopy';
    const what = `${action} ${JSON.stringify(key)}: ${why}`;
    return new StoreError('unsupported', what, { action, key, cause });
  }

  /** The version at a key, for endpoints whose answer leaves it out (Ceph before 18). */
  async #tagOf(key: Key): Promise<ETag> {
    const input = this.#connection.at(key);
    const found = await this.#connection.send(new HeadObjectCommand(input), { key });
    const etag = entityTag(found.ETag);
    if (etag === undefined) throw fault('HeadObject', key, 'no ETag in the answer');
    return etag;
  }

  #at(upload: MultipartUpload) {
    return { ...this.#connection.at(upload.key), UploadId: upload.uploadId };
  }
}

function partCommand(
  input: Omit<UploadPartCommandInput, 'Body'>,
  body: Buffer | StreamedBody,
): UploadPartCommand {
  if (Buffer.isBuffer(body)) return new UploadPartCommand({ ...input, Body: body });
  const { length: ContentLength } = body;
  return body.sentBy(new UploadPartCommand({ ...input, ContentLength, Body: Buffer.alloc(0) }));
}

function partInput(part: UploadedPart) {
  return { PartNumber: part.number, ETag: part.etag };
}

/** Size and, if those of all parts are known, checksum of the object, for S3 to verify. */
function wholeSums(parts: readonly UploadedPart[]) {
  const sum = crc32Of(parts);
  return {
    ChecksumType: 'FULL_OBJECT',
    MpuObjectSize: parts.reduce((size, part) => size + part.size, 0),
    ...(sum === undefined ? {} : { ChecksumCRC32: base64Crc32(sum) }),
  } as const;
}

/** Of all parts together, where each one's is known. */
function crc32Of(parts: readonly UploadedPart[]): number | undefined {
  let sum = 0;
  for (const { crc32, size } of parts) {
    if (crc32 === undefined) return undefined;
    sum = combineCrc32(sum, crc32, size);
  }
  return sum;
}

/** A condition on a missing object is refused with 404. */
export function targetError(error: unknown, condition: ConditionInput): unknown {
  if (condition.IfMatch === undefined || !isStoreError(error, 'notFound')) return error;
  return conditionFailed(error.action, error.key ?? '', error);
}

function fault(action: string, key: Key, what: string): StoreError {
  return new StoreError('corrupt', `${action} ${JSON.stringify(key)}: ${what}`, { action, key });
}
