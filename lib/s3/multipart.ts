/**
 * Multipart uploads: S3's five actions, and what has to be remembered between them. How their bytes
 * are verified is said in upload-ways.ts, and what copied parts take in part-copies.ts.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type {
  CreateMultipartUploadCommandInput,
  CreateMultipartUploadCommandOutput,
  UploadPartCommandInput,
} from '@aws-sdk/client-s3';

import { unlessAborted } from '../concurrency/abort.js';
import { StoreError, isStoreError } from '../errors.js';
import { PartsRefused } from '../part-rules.js';
import type { PartRules } from '../part-rules.js';
import type { Key } from '../path.js';
import type { ByteRange, CopySource, MultipartUpload, Stored, UploadedPart } from '../store.js';
import { AbandonedUploads } from './abandoned-uploads.js';
import { conditionFailed } from './conditional-writes.js';
import type { ConditionInput } from './conditional-writes.js';
import type { Connection } from './connection/connection.js';
import type { Integrity } from './integrity.js';
import { proveGone, unproven } from './evidence.js';
import type { Evidence } from './evidence.js';
import { entityTag, tokenName } from './object-info.js';
import { PartCopies, notCopied } from './part-copies.js';
import { areRegular, refusalOfCopy, refusalOfParts } from './part-rules.js';
import { isGone, isInDoubt, settleComplete } from './settle.js';
import { base64Crc32, crc32OfText } from './stored-checksum.js';
import type { StreamedBody } from './streamed-body.js';
import { keyMarkOf, readState, writtenState } from './upload-memory.js';
import type { UploadState } from './upload-memory.js';
import { UploadWays, completedSums, isDeclared, partMd5s, wholeCrc32 } from './upload-ways.js';
import type { UploadWay } from './upload-ways.js';

/** Fields of CreateMultipartUpload beyond bucket and key. */
export type CreateInput = Omit<CreateMultipartUploadCommandInput, 'Bucket' | 'Key'>;

export class Multipart {
  readonly #connection: Connection;
  readonly #integrity: Integrity;
  readonly #evidence: Evidence;
  readonly #rules: PartRules;
  readonly #ways: UploadWays;
  readonly #states = new Map<string, UploadState>();
  readonly #abandoned: AbandonedUploads;
  readonly #copies: PartCopies;

  constructor(
    connection: Connection,
    parts: {
      readonly integrity: Integrity;
      readonly evidence: Evidence;
      readonly rules: PartRules;
    },
  ) {
    this.#connection = connection;
    this.#rules = parts.rules;
    this.#copies = new PartCopies(connection);
    this.#integrity = parts.integrity;
    this.#ways = new UploadWays(() => connection.isAws, connection.options.clock);
    this.#evidence = parts.evidence;
    this.#abandoned = new AbandonedUploads((upload) => this.#abort(upload), connection.log);
  }

  close(): void {
    this.#abandoned.close();
  }

  /** How uploads are verified, in words. */
  describe(): string {
    return this.#ways.current.name;
  }

  /** Whoever aborts it waits no longer; what S3 makes of it all the same is aborted once it is known. */
  async create(key: Key, fields: CreateInput, signal?: AbortSignal): Promise<MultipartUpload> {
    const given = { action: 'CreateMultipartUpload', key };
    const aborted = new StoreError(
      'aborted',
      `${given.action} ${JSON.stringify(key)}: aborted`,
      given,
    );
    if (signal?.aborted === true) throw aborted;
    const creating = this.#begin(key, fields);
    try {
      return await unlessAborted(creating, signal, aborted);
    } catch (error) {
      if (error === aborted) void this.#endUnheard(creating);
      throw error;
    }
  }

  async #endUnheard(creating: Promise<MultipartUpload>): Promise<void> {
    try {
      await this.abort(await creating);
    } catch (error) {
      // There is none, or aborting it is tried again.
      this.#connection.log.debug({ error: String(error) }, 'an upload that was given up ended so');
    }
  }

  async #begin(key: Key, fields: CreateInput): Promise<MultipartUpload> {
    const token = this.#evidence.token('CompleteMultipartUpload');
    const input =
      token === undefined
        ? fields
        : { ...fields, Metadata: { ...fields.Metadata, [tokenName]: token } };
    const settle = this.#connection.options.uploadRecord?.beginning?.(key, 'upload');
    const { output, way } = await this.#create(key, input).catch((error: unknown) => {
      // In doubt it may be there.
      if (!isInDoubt(error)) settle?.();
      throw error;
    });
    const uploadId = output.UploadId;
    if (uploadId === undefined || uploadId === '') {
      throw fault('CreateMultipartUpload', key, 'no upload id in the answer');
    }
    const upload = { key, uploadId };
    await this.#record(upload);
    settle?.();
    const keepsWhole = output.ChecksumType === 'FULL_OBJECT';
    const { partSum } = way;
    this.#states.set(uploadId, {
      way,
      partSum,
      keepsWhole,
      sums: new Map(),
      copied: new Set(),
      sources: new Map(),
      token,
    });
    return upload;
  }

  async #create(
    key: Key,
    input: CreateInput,
  ): Promise<{ output: CreateMultipartUploadCommandOutput; way: UploadWay }> {
    const send = async (way: UploadWay): Promise<CreateMultipartUploadCommandOutput> =>
      await this.#connection.send(
        new CreateMultipartUploadCommand({
          ...this.#connection.at(key),
          ...input,
          ...way.created,
        }),
        { key },
      );
    const way = this.#ways.current;
    try {
      return { output: await send(way), way };
    } catch (error) {
      if (!isDeclared(way) || !isStoreError(error, 'unsupported', 'invalid')) throw error;
      const output = await send(partMd5s);
      this.#noteRefused(way, error);
      return { output, way: this.#ways.current };
    }
  }

  /** What is to be done again is done in another way. */
  #noted(state: UploadState | undefined, error: unknown): unknown {
    if (error instanceof PartsRefused && error.remedies.includes('again') && state !== undefined)
      this.#noteRefused(state.way, error);
    return error;
  }

  /** The next uploads go another way. */
  #noteRefused(way: UploadWay, { message: refused }: StoreError): void {
    if (!this.#ways.noteRefused(way)) return;
    this.#connection.log.info(
      { refused },
      `the endpoint takes no multipart uploads by ${way.name}; using ${this.describe()}`,
    );
  }

  async uploadPart(
    upload: MultipartUpload,
    number: number,
    body: Buffer | StreamedBody,
    options: { crc32: number; signal?: AbortSignal | undefined },
  ): Promise<UploadedPart> {
    const { crc32, signal } = options;
    const state = this.#states.get(upload.uploadId);
    let sum = state?.partSum ?? this.#ways.current.partSum;
    const output = await this.#integrity.send(
      { body, crc32, sum },
      async (sums) =>
        await this.#connection.send(
          partCommand({ ...this.#at(upload), ...sums, PartNumber: number }, body),
          { key: upload.key, signal, bodyBytes: body.length },
        ),
      (error) => {
        sum = 'MD5';
        if (state === undefined) return;
        state.partSum = sum;
        this.#noteRefused(state.way, error);
      },
    );
    if (sum === 'CRC32') state?.sums.set(number, base64Crc32(crc32));
    else state?.sums.delete(number);
    state?.copied.delete(number);
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
    const { range } = options;
    const state = this.#states.get(upload.uploadId);
    const at = { ...this.#at(upload), PartNumber: number };
    const copied = await this.#copies.send(at, source, options).catch((error: unknown) => {
      const { isAws } = this.#connection;
      throw this.#noted(state, refusalOfCopy(error, { isAws, isSummed: isSummed(state) }));
    });
    const etag = entityTag(copied.ETag);
    // Taken for an UploadPart without a body.
    if (etag === undefined) throw notCopied(source.key, 'no ETag in the answer');
    state?.sources.set(source.key, source.etag);
    state?.copied.add(number);
    const told = crc32OfText(copied.ChecksumCRC32);
    if (told === undefined) state?.sums.delete(number);
    else state?.sums.set(number, base64Crc32(told));
    // Some tell that of the whole source for a range of it.
    const crc32 = this.#connection.isAws ? told : undefined;
    const part = { number, etag, size: range.end - range.start };
    return crc32 === undefined ? part : { ...part, crc32 };
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
          ...completedSums(parts, isSummed(state) ? state.sums : undefined, state?.keepsWhole),
        }),
        { key: upload.key, signal },
      );
      const crc32 = wholeCrc32(parts);
      const etag = this.#evidence.complete(output, { parts, crc32 });
      if (etag === undefined) throw unproven('CompleteMultipartUpload', upload.key);
      this.#forget(upload);
      this.#noteTaken(parts, state);
      if (crc32 !== undefined)
        this.#connection.readChecksums.noteMade({ key: upload.key, etag, crc32 });
      return { etag, crc32 };
    } catch (error) {
      const { isAws } = this.#connection;
      const copied = state?.copied ?? new Set();
      const refused = { isAws, isSummed: isSummed(state), parts, copied };
      const failure = refusalOfParts(error, refused);
      const proof = { parts, token: state?.token };
      const stored =
        isStoreError(error) && (isInDoubt(failure) || error.kind === 'noUpload')
          ? await settleComplete(this.#connection, upload, proof, error)
          : undefined;
      if (stored === undefined) throw targetError(this.#noted(state, failure), condition);
      this.#forget(upload);
      this.#noteTaken(parts, state);
      return { ...stored, crc32: wholeCrc32(parts) };
    }
  }

  /** What went through is not refused any more. */
  #noteTaken(parts: readonly UploadedPart[], state: UploadState | undefined): void {
    if (!areRegular(parts)) this.#rules.equalSizes.lift();
    if (parts.some(({ number }) => state?.copied.has(number) === true)) this.#rules.noCopies.lift();
  }

  /** For `recall` by another process. */
  stateOf({ uploadId }: MultipartUpload): unknown {
    const state = this.#states.get(uploadId);
    return state && writtenState(state, this.#connection.customerKeys?.markOf(uploadId));
  }

  recall({ uploadId }: MultipartUpload, written: unknown): void {
    if (written === undefined) return;
    this.#states.set(uploadId, readState(written));
    this.#connection.customerKeys?.recall(uploadId, keyMarkOf(written));
  }

  /** Tries now; where the endpoint is away, goes on trying in the background and rejects. */
  async abort(upload: MultipartUpload): Promise<void> {
    try {
      await this.#abort(upload);
      this.#forget(upload);
    } catch (error) {
      this.#states.delete(upload.uploadId);
      if (isStoreError(error, 'unavailable', 'throttled', 'corrupt')) this.#abandoned.add(upload);
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
  #forget(upload: MultipartUpload): void {
    this.#connection.options.uploadRecord?.ended(upload);
    this.#states.delete(upload.uploadId);
  }

  async #abort(upload: MultipartUpload): Promise<void> {
    try {
      const output = await this.#connection.send(
        new AbortMultipartUploadCommand(this.#at(upload)),
        { key: upload.key },
      );
      proveGone('AbortMultipartUpload', upload.key, output);
    } catch (error) {
      if (isStoreError(error, 'corrupt') && (await isGone(this.#connection, upload, false))) return;
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
    const sources = new Map(state?.sources);
    // If-Match on the target says it for the object that is being rewritten.
    if (sources.get(upload.key) === condition.IfMatch) sources.delete(upload.key);
    await this.#copies.checkSources(sources, signal);
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

/** Whether sums go into Complete. */
function isSummed(state: UploadState | undefined): state is UploadState {
  return state !== undefined && isDeclared(state.way);
}

/** A condition on a missing object is refused with 404. */
export function targetError(error: unknown, condition: ConditionInput): unknown {
  if (condition.IfMatch === undefined || !isStoreError(error, 'notFound')) return error;
  return conditionFailed(error.action, error.key ?? '', error);
}

function fault(action: string, key: Key, what: string): StoreError {
  return new StoreError('corrupt', `${action} ${JSON.stringify(key)}: ${what}`, { action, key });
}
