/**
 * The object store on S3: one bucket, one prefix, by @aws-sdk/client-s3.
 *
 * This file is where the pieces beside it are put together: connection.ts sends and counts, get-body.ts
 * reads, put-object.ts, multipart.ts, upload-source.ts and copy-object.ts write, conditional-writes.ts
 * knows what the endpoint's conditions are worth, evidence.ts judges what an answer proves, and settle.ts
 * asks what became of writes whose answer was lost or proves nothing.
 *
 * An abort by signal ends the request, but S3 may have applied it by then: after an abort nothing is
 * known about the key until S3 was asked.
 */
import { HeadObjectCommand } from '@aws-sdk/client-s3';

import { StoreError, isStoreError } from '../errors.js';
import type { Beginning } from './upload-journal.js';
import type { Log } from '../log.js';
import { PartRules, PartsRefused } from '../part-rules.js';
import { maxKeyBytes } from '../path.js';
import type { Key } from '../path.js';
import { multipartLimits } from '../store.js';
import type {
  ByteRange,
  Content,
  CopySource,
  ETag,
  GetOptions,
  ListOptions,
  ListPage,
  ListedPart,
  MultipartUpload,
  ObjectInfo,
  ObjectStore,
  Source,
  Stored,
  UploadMemory,
  UploadedPart,
  WriteOptions,
} from '../store.js';
import type { StoreOptions } from './connection/client.js';
import { keepsVersions } from './bucket-versions.js';
import { ConditionalWrites, conditionalActions } from './conditional-writes.js';
import type { ConditionalAction, Kept } from './conditional-writes.js';
import { Connection } from './connection/connection.js';
import type { StoreCounters } from './connection/traffic.js';
import { Copier } from './copy-object.js';
import { CustomerEncryption } from './customer-encryption.js';
import { Deleter } from './delete-object.js';
import type { DeleteOptions } from './delete-object.js';
import { DeleteRight } from './delete-right.js';
import { Descriptions } from './description.js';
import { Evidence } from './evidence.js';
import { getObject } from './get-body.js';
import { Integrity } from './integrity.js';
import { ListPages } from './list-pages.js';
import { uploadLifeDays } from './lifecycle.js';
import { Listings } from './listing.js';
import { Multipart } from './multipart.js';
import type { CreateInput } from './multipart.js';
import { NameTrial } from './name-trial.js';
import { infoOfAnswer } from './object-info.js';
import { Putter } from './put-object.js';
import { Remembered } from './remembered.js';
import { checkedCrc32, joined } from './request-body.js';
import { StreamedBody } from './streamed-body.js';
import { believedAnswer } from './told-checksum.js';
import { removeBegun } from './unrecorded-uploads.js';
import { listParts } from './upload-memory.js';
import { uploadSource } from './upload-source.js';
import { objectAbove, verifyBucket, verifyCredentials } from './verify-bucket.js';
import { newObjectInput } from './write-input.js';

/** What a store knows of its endpoint. */
export interface EndpointFacts {
  readonly place: string;
  /** without user name and password */
  readonly proxy: string | undefined;
  readonly region: string;
  /** how far this machine's clock is ahead; undefined before the first answer */
  readonly clockAheadMs: number | undefined;
}

/** What goes with an upload to another process. */
interface RecalledState {
  readonly multipart?: unknown;
  readonly storageClass?: string | undefined;
}

/**
 * The store for `options`. No request is sent before the first use.
 * @throws Error (system error) if the CA bundle cannot be read
 */
export function openStore(options: StoreOptions, log: Log): Promise<S3Store> {
  return Promise.resolve(new S3Store(options, log));
}

export class S3Store implements ObjectStore {
  readonly url: string;
  readonly maxKeyBytes: number;
  readonly partRules: PartRules;
  readonly #options: StoreOptions;
  readonly #connection: Connection;
  readonly #deletes: DeleteRight;
  readonly #encryption: CustomerEncryption;
  readonly #conditions: ConditionalWrites;
  readonly #evidence: Evidence;
  readonly #integrity: Integrity;
  readonly #listings: Listings;
  readonly #pages: ListPages;
  readonly #names: NameTrial;
  readonly #multipart: Multipart;
  readonly #copier: Copier;
  readonly #descriptions: Descriptions;
  readonly #remembered = new Remembered();
  /** storage class the upload was created with, undefined for the default */
  readonly #uploadClasses = new WeakMap<MultipartUpload, string | undefined>();
  readonly #putter: Putter;
  readonly #deleter: Deleter;

  constructor(options: StoreOptions, log: Log) {
    this.url = `s3://${options.bucket}/${options.prefix}`;
    this.maxKeyBytes = maxKeyBytes - Buffer.byteLength(options.prefix);
    this.#options = options;
    this.partRules = new PartRules(options.clock);
    this.#connection = new Connection(options, log);
    this.#evidence = new Evidence(this.#connection);
    this.#deletes = new DeleteRight(this.#connection);
    this.#encryption = new CustomerEncryption(this.#connection, this.#deletes);
    this.#conditions = new ConditionalWrites(this.#connection, {
      evidence: this.#evidence,
      deletes: this.#deletes,
    });
    this.#integrity = new Integrity(this.#connection);
    this.#listings = new Listings(this.#connection);
    this.#pages = new ListPages({
      connection: this.#connection,
      listings: this.#listings,
      head: (key, signal) => this.head(key, signal),
    });
    this.#names = new NameTrial(this.#connection, this);
    this.#multipart = new Multipart(this.#connection, {
      integrity: this.#integrity,
      evidence: this.#evidence,
      rules: this.partRules,
    });
    this.#descriptions = new Descriptions(this.#connection);
    this.#putter = new Putter({
      connection: this.#connection,
      conditions: this.#conditions,
      descriptions: this.#descriptions,
      evidence: this.#evidence,
      integrity: this.#integrity,
    });
    this.#deleter = new Deleter({
      connection: this.#connection,
      conditions: this.#conditions,
      right: this.#deletes,
      store: this,
    });
    this.#copier = new Copier(this.#connection, this.#multipart, this.#descriptions);
  }

  get comparesCrc32(): boolean {
    return this.#connection.comparesCrc32 || this.#connection.isAws;
  }

  /** What went over the wire so far. */
  get counters(): Readonly<StoreCounters> {
    return this.#connection.counters;
  }

  /** The credential provider that answered last, in words, for messages. */
  get credentialsFrom(): string {
    return this.#connection.credentials.answeredBy();
  }

  /** Where requests go: the endpoint's URL, or AWS and its host. */
  get place(): string {
    return this.#connection.place;
  }

  /** What was found out about the endpoint so far, in words, by what it is about. */
  get capabilities(): Readonly<Record<string, string>> {
    return {
      'conditional PutObject': this.#conditions.describe('PutObject'),
      'conditional CompleteMultipartUpload': this.#conditions.describe('CompleteMultipartUpload'),
      'conditional CopyObject': this.#conditions.describe('CopyObject'),
      'conditional DeleteObject': this.#deleter.describe(),
      'checksums of uploads': this.#integrity.usesCrc32 ? 'CRC32' : 'MD5 only',
      'checksums of multipart uploads': this.#multipart.describe(),
      'copying parts': this.partRules.noCopies.isSuspected ? 'refused' : 'not refused yet',
      'parts of different sizes': this.partRules.equalSizes.isSuspected
        ? 'refused'
        : 'not refused yet',
      'tags of what is copied': this.#descriptions.areTagsRefused ? 'not kept' : 'kept',
      listings: this.#listings.describe(),
      'order of listings': this.#pages.order,
      ...this.#connection.capabilities,
    };
  }

  /**
   * Proves bucket and credentials with one LIST of the prefix, within seconds.
   * @throws StoreError whose message is a sentence for the user: what is wrong and what to do
   */
  async verifyBucket(): Promise<void> {
    await verifyBucket(this.#connection, this.#listings);
  }

  /**
   * Asks for the credentials, nothing of the endpoint.
   * @throws StoreError as verifyBucket
   */
  async verifyCredentials(): Promise<void> {
    await verifyCredentials(this.#connection);
  }

  /** Where requests go, in words, and what is known of it; more after the first answer. */
  async endpoint(): Promise<EndpointFacts> {
    const { place, proxy, clockAheadMs } = this.#connection;
    return { place, proxy, region: await this.#connection.region(), clockAheadMs };
  }

  /** Whether the endpoint keeps If-None-Match and If-Match for an action; asked once, see below. */
  async keepsConditions(action: ConditionalAction): Promise<Kept> {
    const absent = await this.#conditions.keeps(action, { absent: true });
    return { absent, etag: await this.#conditions.keeps(action, { etag: '""' as ETag }) };
  }

  /**
   * An object named like the prefix or a directory above it, without the slash, if there is one: some
   * services hide everything below it. Keys above the prefix that may not be looked at count as none.
   * @returns its URL
   */
  /** Whether what replaces or deletes the object `key` leaves a version of it. @throws StoreError */
  async keepsVersions(key: Key): Promise<boolean> {
    return await keepsVersions(this.#connection, key);
  }

  async objectAbove(): Promise<string | undefined> {
    return await objectAbove(this.#connection);
  }

  /**
   * Finds out which conditional writes the endpoint keeps, so that the first ones need not wait for
   * it. Sends nothing to AWS, and some requests about a scratch object to others.
   */
  async learnConditions(): Promise<void> {
    for (const action of conditionalActions) await this.#conditions.keeps(action, { absent: true });
  }

  /** Closes connections. Nothing may be in flight. */
  close(): void {
    this.#multipart.close();
    this.#connection.destroy();
  }

  async head(key: Key, signal?: AbortSignal): Promise<ObjectInfo> {
    const at = this.#at(key, 'HeadObject');
    await this.#names.requireListed(key, signal);
    const output = await this.#connection.send(new HeadObjectCommand(at), { key, signal });
    const believed = await believedAnswer(this.#connection, key, output);
    const info = infoOfAnswer(key, believed, 'HeadObject');
    this.#remembered.note(info);
    this.#remembered.noteHead(key, output);
    return info;
  }

  async list(options: ListOptions): Promise<ListPage> {
    const page = await this.#pages.page(options);
    for (const info of page.objects) this.#remembered.note(info);
    return page;
  }

  async get(key: Key, options: GetOptions = {}): Promise<{ info: ObjectInfo; body: Content }> {
    const input = this.#at(key, 'GetObject');
    // A known version is that of a HEAD or a listing.
    if (options.ifMatch === undefined) await this.#names.requireListed(key, options.signal);
    const answer = await getObject(this.#connection, { key, input }, options);
    this.#remembered.note(answer.info);
    return answer;
  }

  async put(key: Key, body: readonly Uint8Array[], options: WriteOptions = {}): Promise<Stored> {
    this.#at(key, 'PutObject');
    await this.#requireStorable(key);
    const bytes = joined(body);
    const sum = checkedCrc32(bytes, options.crc32, {
      action: 'PutObject',
      key,
      isCompared: this.comparesCrc32,
    });
    const content = { body: bytes, crc32: sum };
    const describe = (): Promise<CreateInput> => this.#newObject(options);
    const { stored, storageClass } = await this.#putter.put(key, content, options, describe);
    return this.#remembered.noteWritten(key, stored, storageClass);
  }

  async upload(key: Key, source: Source, options: WriteOptions = {}): Promise<Stored> {
    const { partSize, uploadConcurrency: concurrency } = this.#options;
    if (source.size <= Math.max(partSize, multipartLimits.minPart)) {
      const body = Buffer.allocUnsafe(source.size);
      if (source.size > 0) await source.read(body, 0);
      return await this.put(key, [body], options);
    }
    const { signal } = options;
    const send = async (): Promise<Stored> =>
      await uploadSource({
        key,
        source,
        partSize,
        concurrency,
        client: this.#connection.client,
        steps: {
          create: async () => await this.createUpload(key, options),
          part: async (upload, number, body) =>
            await this.uploadPart(upload, number, [body], { signal }),
          complete: async (upload, parts) => await this.completeUpload(upload, parts, options),
          abort: async (upload) => await this.#abortQuietly(upload),
        },
      });
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof PartsRefused) || !error.remedies.includes('again')) throw error;
      return await send();
    }
  }

  async copy(source: CopySource, target: Key, options: WriteOptions = {}): Promise<Stored> {
    this.#at(target, 'CopyObject');
    await this.#requireStorable(target);
    this.#at(source.key, 'CopyObject');
    const action = this.#copier.isByParts(source.size) ? 'CompleteMultipartUpload' : 'CopyObject';
    return await this.#copier.copy({
      source,
      target,
      options,
      condition: await this.#conditions.prepare(action, target, options),
      storageClass: options.storageClass ?? this.#remembered.classOf(source),
      head: this.#remembered.headOf(source),
    });
  }

  async delete(key: Key, options: DeleteOptions = {}): Promise<void> {
    this.#at(key, 'DeleteObject');
    if (!(await this.#names.isListed(key, options.signal))) return;
    await this.#deleter.delete(key, options);
  }

  async requireDelete(key: Key): Promise<void> {
    await this.#deletes.require(key);
  }

  async createUpload(key: Key, options: WriteOptions = {}): Promise<MultipartUpload> {
    this.#at(key, 'CreateMultipartUpload');
    await this.#requireStorable(key);
    const input = await this.#newObject(options);
    const upload = await this.#descriptions.withTags(
      key,
      input,
      async (fields) => await this.#multipart.create(key, fields, options.signal),
    );
    this.#uploadClasses.set(upload, input.StorageClass);
    return upload;
  }

  async uploadPart(
    upload: MultipartUpload,
    number: number,
    body: readonly Uint8Array[] | Source,
    options: { crc32?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<UploadedPart> {
    const { signal } = options;
    if ('read' in body) {
      const streamed = new StreamedBody(body);
      const crc32 = options.crc32 ?? (await streamed.crc32());
      return await this.#multipart.uploadPart(upload, number, streamed, { crc32, signal });
    }
    const bytes = joined(body);
    const sum = checkedCrc32(bytes, options.crc32, {
      action: 'UploadPart',
      key: upload.key,
      isCompared: this.comparesCrc32,
    });
    return await this.#multipart.uploadPart(upload, number, bytes, { crc32: sum, signal });
  }

  async copyPart(
    upload: MultipartUpload,
    number: number,
    source: CopySource,
    range: ByteRange,
    signal?: AbortSignal,
  ): Promise<UploadedPart> {
    return await this.#multipart.copyPart(upload, number, source, { range, signal });
  }

  async completeUpload(
    upload: MultipartUpload,
    parts: readonly UploadedPart[],
    options: Pick<WriteOptions, 'condition' | 'signal'> = {},
  ): Promise<Stored> {
    const condition = await this.#conditions.prepare(
      'CompleteMultipartUpload',
      upload.key,
      options,
    );
    const { signal } = options;
    const stored = await this.#multipart.complete(upload, parts, { condition, signal });
    return this.#remembered.noteWritten(upload.key, stored, this.#uploadClasses.get(upload));
  }

  memoryOf(upload: MultipartUpload): UploadMemory {
    const state: RecalledState = {
      multipart: this.#multipart.stateOf(upload),
      storageClass: this.#uploadClasses.get(upload),
    };
    return { key: upload.key, uploadId: upload.uploadId, state };
  }

  recall({ key, uploadId, state }: UploadMemory): MultipartUpload {
    const { multipart, storageClass } = (state ?? {}) as RecalledState;
    const upload = { key, uploadId };
    this.#multipart.recall(upload, multipart);
    this.#uploadClasses.set(upload, storageClass);
    return upload;
  }

  async listParts(upload: MultipartUpload): Promise<ListedPart[] | undefined> {
    return await listParts(this.#connection, upload);
  }

  async abortUpload(upload: MultipartUpload): Promise<void> {
    await this.#multipart.abort(upload);
  }

  /** As lifecycle.ts has it. */
  async uploadLifeDays(): Promise<number | undefined> {
    return await uploadLifeDays(this.#connection);
  }

  /** Removes what a process was about to make when it was killed, if it came to that. */
  async removeBegun(begun: Beginning): Promise<void> {
    await removeBegun(this.#connection, begun);
  }

  /** Before anything is written there. */
  async #requireStorable(key: Key): Promise<void> {
    await this.#encryption.require();
    await this.#names.requireHeld(key);
  }

  async #newObject(options: WriteOptions): Promise<CreateInput> {
    const { like, signal } = options;
    if (like === undefined) return newObjectInput(this.#options, options);
    const recent = this.#remembered.headOf(like);
    const found = recent ?? (await this.#descriptions.head(like, signal));
    return await this.#descriptions.inputLike(like.key, found, options);
  }

  async #abortQuietly(upload: MultipartUpload): Promise<void> {
    try {
      await this.abortUpload(upload);
    } catch (error) {
      // The failure of the upload itself is what its caller has to hear.
      if (!isStoreError(error)) throw error;
      this.#connection.log.warn(
        { key: upload.key, uploadId: upload.uploadId, error: error.message },
        'the multipart upload of a failed write is still open',
      );
    }
  }

  #at(key: Key, action: string) {
    const input = this.#connection.at(key);
    // Without this, an empty key in an empty prefix would make a request about the bucket itself.
    if (input.Key !== '') return input;
    throw new StoreError('notFound', `${action}: the bucket itself is no object`, { action, key });
  }
}
