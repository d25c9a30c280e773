/**
 * What describes an object beside its bytes, and how a new object keeps it: content headers, user
 * metadata, tags, class and key of encryption. CopyObject does part of that by itself; PutObject and
 * CreateMultipartUpload keep nothing, so for them the object is asked and all of it is said again.
 *
 * Tags need permissions of their own; where those are missing the write is made without, and the log
 * says so. An archive class whose objects cannot be read at once is not carried along: what has just
 * been written would be out of reach.
 */
import { GetObjectTaggingCommand, HeadObjectCommand } from '@aws-sdk/client-s3';
import type { HeadObjectCommandOutput } from '@aws-sdk/client-s3';

import { isStoreError } from '../errors.js';
import type { StoreError } from '../errors.js';
import { Limitation } from '../limitation.js';
import type { Key } from '../path.js';
import type { CopySource, WriteOptions } from '../store.js';
import { conditionFailed } from './conditional-writes.js';
import type { Connection } from './connection/connection.js';
import type { CreateInput } from './multipart.js';
import { entityTag, isArchiveClass, ownMetadata } from './object-info.js';
import { definedOf, newObjectInput } from './write-input.js';

export class Descriptions {
  readonly #connection: Connection;
  /** writes with tags, by rights that are seldom those of one object */
  readonly #refused: Limitation;
  /** the tags of an object could not be read: only for the log, because others' may be */
  readonly #unread: Limitation;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#refused = new Limitation(connection.options.clock);
    this.#unread = new Limitation(connection.options.clock);
  }

  /** Whether objects were written without their tags. */
  get areTagsRefused(): boolean {
    return this.#refused.isSuspected || this.#unread.isSuspected;
  }

  /** HEAD of one version. @throws StoreError `changed` where it is another one now */
  async head(source: CopySource, signal?: AbortSignal): Promise<HeadObjectCommandOutput> {
    const found = await this.#connection.send(
      new HeadObjectCommand(this.#connection.at(source.key)),
      { key: source.key, signal },
    );
    if (entityTag(found.ETag) !== source.etag) throw conditionFailed('HeadObject', source.key);
    return found;
  }

  /**
   * All fields of a new object: the mount's settings, and what is kept of the object `found`.
   * @param key of `found`
   */
  async inputLike(
    key: Key,
    found: HeadObjectCommandOutput,
    options: WriteOptions,
  ): Promise<CreateInput> {
    const { options: mount } = this.#connection;
    return {
      ...newObjectInput(mount, {
        ...options,
        storageClass: keptClass(options.storageClass ?? found.StorageClass),
      }),
      ...describedInput(found, options),
      ...(mount.sse === undefined && !this.#connection.customerKeys ? keptEncryption(found) : {}),
      ...(await this.#tagging(key, found, options.signal)),
    };
  }

  /** Sends a write; without its tags where they are denied. */
  async withTags<Input extends { readonly Tagging?: string | undefined }, Output>(
    key: Key,
    input: Input,
    send: (input: Input) => Promise<Output>,
  ): Promise<Output> {
    if (input.Tagging === undefined) return await send(input);
    return await this.tryTags(
      key,
      () => send(input),
      () => send({ ...input, Tagging: undefined }),
    );
  }

  /** The first refusal is the one to report where it was not about tags. */
  async tryTags<Output>(
    key: Key,
    withTags: () => Promise<Output>,
    withoutTags: () => Promise<Output>,
  ): Promise<Output> {
    if (this.#refused.holds) return await withoutTags();
    try {
      const output = await withTags();
      this.#refused.lift();
      return output;
    } catch (error) {
      if (!isStoreError(error, 'denied')) throw error;
      const output = await this.#retryDenied(error, withoutTags);
      this.#note(this.#refused, key);
      return output;
    }
  }

  async #retryDenied<Output>(denied: StoreError, send: () => Promise<Output>): Promise<Output> {
    try {
      return await send();
    } catch (error) {
      if (isStoreError(error, 'denied', 'unsupported', 'invalid')) throw denied;
      throw error;
    }
  }

  async #tagging(
    key: Key,
    found: HeadObjectCommandOutput,
    signal?: AbortSignal,
  ): Promise<CreateInput> {
    if ((found.TagCount ?? 0) === 0 || this.#refused.holds) return {};
    try {
      const output = await this.#connection.send(
        new GetObjectTaggingCommand(this.#connection.at(key)),
        { key, signal },
      );
      this.#unread.lift();
      // Ceph takes a plus sign for one, so no form encoding.
      const pairs = (output.TagSet ?? []).map(
        ({ Key: name = '', Value: value = '' }) =>
          `${encodeURIComponent(name)}=${encodeURIComponent(value)}`,
      );
      return pairs.length === 0 ? {} : { Tagging: pairs.join('&') };
    } catch (error) {
      if (!isStoreError(error, 'denied', 'unsupported')) throw error;
      this.#note(this.#unread, key);
      return {};
    }
  }

  #note(limitation: Limitation, key: Key): void {
    if (!limitation.note()) return;
    this.#connection.log.warn(
      { key },
      'objects are written without their tags: s3:GetObjectTagging and s3:PutObjectTagging are denied',
    );
  }
}

/**
 * The class that a copy of an object in `storageClass` gets; undefined: the mount's.
 * @param storageClass as S3 tells it, where the default class is left out
 */
export function keptClass(storageClass: string | undefined): string | undefined {
  return isArchiveClass(storageClass) ? undefined : (storageClass ?? 'STANDARD');
}

/** What describes an object and a copy by CopyObject would have kept. */
export function describedInput(
  found: HeadObjectCommandOutput,
  { like, contentType, metadata }: WriteOptions,
): CreateInput {
  const kept = ownMetadata(found.Metadata);
  const fields = {
    CacheControl: found.CacheControl,
    ContentDisposition: found.ContentDisposition,
    ContentEncoding: found.ContentEncoding,
    ContentLanguage: found.ContentLanguage,
    ContentType:
      like === undefined ? (contentType ?? found.ContentType) : (found.ContentType ?? contentType),
    WebsiteRedirectLocation: found.WebsiteRedirectLocation,
  };
  const expires = found.ExpiresString === undefined ? Number.NaN : Date.parse(found.ExpiresString);
  return {
    ...definedOf(fields),
    ...(Number.isNaN(expires) ? {} : { Expires: new Date(expires) }),
    Metadata: definedOf(like === undefined ? (metadata ?? kept) : { ...kept, ...metadata }),
  };
}

/** The object's own KMS key, for a mount that has no settings of its own. */
function keptEncryption(found: HeadObjectCommandOutput): CreateInput {
  const { ServerSideEncryption, SSEKMSKeyId } = found;
  if (ServerSideEncryption === undefined || SSEKMSKeyId === undefined) return {};
  return { ServerSideEncryption, SSEKMSKeyId };
}
