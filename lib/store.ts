/**
 * The object store port: what the core asks of S3, in keys relative to the mount's prefix.
 *
 * Laws every implementation keeps (test/suites/store.ts checks them on each server):
 * - A method either does the whole thing and resolves, or rejects with a StoreError and has done
 *   nothing that a reader could see. Where an answer got lost and it is unknown which, the
 *   implementation asks the server before it answers; it never guesses.
 * - Retries of transient failures happen inside; a rejection is final for the caller.
 * - `signal` aborts the request and its retries; the rejection has kind `aborted`.
 * - A body handed out by `get` yields exactly the bytes asked for, of the version asked for, or
 *   throws; a connection that breaks half way is resumed inside.
 * - Keys that S3 returns outside the prefix are never handed on.
 */
import type { PartRules } from './part-rules.js';
import type { Key } from './path.js';

declare const brand: unique symbol;
/** An entity tag exactly as S3 sends it, quotes included. */
export type ETag = string & { readonly [brand]: 'ETag' };

/** Attributes of a stored object. HEAD and GET fill all; LIST the first five. */
export interface ObjectInfo {
  readonly key: Key;
  /** bytes */
  readonly size: number;
  readonly etag: ETag;
  /** milliseconds since 1970: Last-Modified, or what this mount showed of the version before it knew */
  readonly mtimeMs: number;
  /** Last-Modified as S3 told it last; absent where nobody asked since this mount wrote the object */
  readonly modifiedMs?: number | undefined;
  /** absent for the endpoint's default class */
  readonly storageClass?: string;
  readonly contentType?: string;
  /** user metadata, names in lower case without `x-amz-meta-` */
  readonly metadata?: Readonly<Record<string, string>>;
  /** the time a user gave it, as file-time.ts has it; `none`: it has none; absent where nobody told */
  readonly givenTime?: bigint | 'none' | undefined;
  /** true where a GET would be refused until the object is restored from its archive class */
  readonly archived?: boolean;
  /** true where a LIST shows it and a HEAD is refused */
  readonly denied?: boolean;
  /** of the whole, where S3 keeps it and HEAD told, or this mount wrote it; a listing does not tell */
  readonly crc32?: number;
}

/**
 * One page of a listing, in S3's order (UTF-8 bytes). One that is followed by another shows something:
 * only where `next` is undefined is nothing a sign of nothing.
 */
export interface ListPage {
  readonly objects: readonly ObjectInfo[];
  /** with a delimiter: the common prefixes, each ending in `/` */
  readonly prefixes: readonly string[];
  /** where the next page starts, or undefined on the last page */
  readonly next?: string;
  /** the endpoint's order is another, or not known yet: what the page leaves out may be on any other */
  readonly unordered?: true;
}

export interface ListOptions {
  /** marker key of the directory, or empty for the whole mount; or what keys are to begin with */
  readonly prefix: Key;
  /** true: one level (delimiter `/`); false: everything below */
  readonly oneLevel: boolean;
  /** at most 1,000, the default */
  readonly maxKeys?: number;
  /** `next` of the page before */
  readonly from?: string;
  /** only keys that sort after this one, on the first page */
  readonly after?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Bytes from `start` up to, not including, `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface GetOptions {
  /** whole object if absent; never empty */
  readonly range?: ByteRange;
  /** the version wanted; another one rejects with kind `changed` */
  readonly ifMatch?: ETag;
  /** of the whole object, where the caller knows; only the way it comes by depends on it */
  readonly size?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A condition on what the key holds at the instant a write takes effect. */
export type Condition =
  /** nothing: If-None-Match: * */
  | { readonly absent: true }
  /** this version: If-Match */
  | { readonly etag: ETag };

/** How a new object is to be stored. */
export interface WriteOptions {
  readonly contentType?: string | undefined;
  /** undefined in place of a value: not even where `like` has it */
  readonly metadata?: Readonly<Record<string, string | undefined>> | undefined;
  /**
   * an object whose description the new one keeps: content headers and type, tags, class (of archive
   * classes the mount's instead), KMS key, and user metadata, to which `metadata` is added. Rejects
   * with `changed` where it is another version by now. Of copies it is the source.
   */
  readonly like?: CopySource | undefined;
  /** overrides the mount's `--storage-class`, as when a rename keeps the source's */
  readonly storageClass?: string | undefined;
  /** rejects with kind `changed` where it does not hold */
  readonly condition?: Condition | undefined;
  /** CRC32 of the body where the caller knows it; S3 refuses a body that differs (`corrupt`) */
  readonly crc32?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a completed write made. */
export interface Stored {
  readonly etag: ETag;
  /** of the whole, where it was computed on the way */
  readonly crc32?: number | undefined;
}

/**
 * Local bytes to upload; may be read more than once, and from several places at a time.
 * `read` fills the whole buffer from `offset` or rejects.
 */
export interface Source {
  /** bytes */
  readonly size: number;
  read(into: Uint8Array, offset: number): Promise<void>;
}

/** Bytes of a source in memory while it is sent as one part. */
export const sourceWindow = 1024 * 1024;

/** An open multipart upload. */
export interface MultipartUpload {
  readonly key: Key;
  readonly uploadId: string;
}

/** An open multipart upload as another process has to know it, as JSON. */
export interface UploadMemory extends MultipartUpload {
  /** the store's own */
  readonly state?: unknown;
}

/** A part as ListParts shows it. */
export interface ListedPart {
  readonly number: number;
  readonly etag: ETag;
  /** bytes */
  readonly size: number;
}

/** A part the server has acknowledged. */
export interface UploadedPart {
  readonly number: number;
  readonly etag: ETag;
  /** bytes */
  readonly size: number;
  /** CRC32 of the part's bytes; unknown for copied parts of some servers */
  readonly crc32?: number;
}

export interface CopySource {
  readonly key: Key;
  /** the version to copy; another one rejects with kind `changed` */
  readonly etag: ETag;
  /** bytes */
  readonly size: number;
}

/**
 * Takes bytes, which are lent until it returns.
 * @returns a promise where it has no room for more until that resolves; it was not called again before
 */
export type Sink = (bytes: Uint8Array) => Promise<void> | undefined;

/** The content of an object on its way: for one reader, by a sink or as an iterable. */
export interface Content extends AsyncIterable<Uint8Array> {
  /** Resolves once all bytes were taken. Rejects with what the sink threw, or a StoreError. */
  drain(sink: Sink): Promise<void>;
}

export interface ObjectStore {
  /** Where the objects are, for messages: `s3://bucket/prefix/`. */
  readonly url: string;
  /** Longest key relative to the prefix, in UTF-8 bytes. */
  readonly maxKeyBytes: number;
  /** Kept by whoever composes parts. */
  readonly partRules: PartRules;
  /** Whether the endpoint is known to refuse bodies that differ from the CRC32 sent with them. */
  readonly comparesCrc32: boolean;

  /** HeadObject. Rejects with `notFound` where there is none. */
  head(key: Key, signal?: AbortSignal): Promise<ObjectInfo>;
  /** ListObjectsV2, one page. */
  list(options: ListOptions): Promise<ListPage>;
  /** GetObject; resolves once the first bytes are on their way. */
  get(key: Key, options?: GetOptions): Promise<{ info: ObjectInfo; body: Content }>;

  /** PutObject of bytes in memory, in order. */
  put(key: Key, body: readonly Uint8Array[], options?: WriteOptions): Promise<Stored>;
  /** A whole local file: one PutObject up to a part, a multipart upload above, parts in parallel. */
  upload(key: Key, source: Source, options?: WriteOptions): Promise<Stored>;
  /**
   * Server-side copy keeping metadata, content type and storage class; by parts where large.
   * `options.condition` is on the target.
   */
  copy(source: CopySource, target: Key, options?: WriteOptions): Promise<Stored>;
  /**
   * DeleteObject; resolves too where there was none.
   * With `ifMatch`, rejects with `changed` if the object is another version (where the server can tell).
   */
  delete(key: Key, options?: { ifMatch?: ETag; signal?: AbortSignal }): Promise<void>;

  /**
   * Before anything is copied that is to be deleted afterwards. Rejects with `denied` where that is
   * known to be refused.
   */
  requireDelete(key: Key): Promise<void>;

  createUpload(key: Key, options?: WriteOptions): Promise<MultipartUpload>;
  /**
   * UploadPart; the same number again replaces the part. A source is read while it is sent, with no
   * more than `sourceWindow` of it in memory, and again for each attempt.
   */
  uploadPart(
    upload: MultipartUpload,
    number: number,
    body: readonly Uint8Array[] | Source,
    options?: { crc32?: number; signal?: AbortSignal | undefined },
  ): Promise<UploadedPart>;
  /** UploadPartCopy of a range of an object. Rejects with PartsRefused where the endpoint cannot. */
  copyPart(
    upload: MultipartUpload,
    number: number,
    source: CopySource,
    range: ByteRange,
    signal?: AbortSignal,
  ): Promise<UploadedPart>;
  /**
   * CompleteMultipartUpload. Parts ascending by number. Rejects with PartsRefused where the endpoint
   * refuses them and they could be made otherwise.
   */
  completeUpload(
    upload: MultipartUpload,
    parts: readonly UploadedPart[],
    options?: Pick<WriteOptions, 'condition' | 'signal'>,
  ): Promise<Stored>;
  /** All of an open upload that another process needs to go on with it. */
  memoryOf(upload: MultipartUpload): UploadMemory;
  /** Goes on with an upload that another process began. No request is made. */
  recall(memory: UploadMemory): MultipartUpload;
  /**
   * ListParts, to the end. Undefined where S3 does not let it be asked; rejects with `noUpload` where
   * the upload is gone.
   */
  listParts(upload: MultipartUpload): Promise<ListedPart[] | undefined>;
  /** AbortMultipartUpload; resolves too where the upload is gone already. */
  abortUpload(upload: MultipartUpload): Promise<void>;
}

/** S3's limits on multipart uploads (S3 user guide, "Multipart upload limits"). */
export const multipartLimits = {
  /** smallest part but the last, bytes */
  minPart: 5 * 1024 * 1024,
  /** largest part and largest single PUT or CopyObject, bytes */
  maxPart: 5 * 1024 * 1024 * 1024,
  maxParts: 10_000,
} as const;

/** As many as show whether the endpoint keeps S3's order. */
const orderedNames = 10;

type Lists = Pick<ObjectStore, 'list'>;

/** @throws StoreError */
export async function* allPages(
  store: Lists,
  options: Omit<ListOptions, 'from'>,
): AsyncGenerator<ListPage> {
  let page = await store.list(options);
  yield page;
  while (page.next !== undefined) {
    page = await store.list({ ...options, from: page.next });
    yield page;
  }
}

/** What a LIST shows at the very key, or undefined where nothing is. @throws StoreError */
export async function listedAt(
  store: Lists,
  key: Key,
  signal?: AbortSignal,
): Promise<ObjectInfo | undefined> {
  const query = { prefix: key, oneLevel: true, maxKeys: orderedNames, signal };
  for await (const { objects, prefixes, unordered } of allPages(store, query)) {
    const found = objects.find((info) => info.key === key);
    if (found !== undefined) return found;
    // It sorts before all that begin with it.
    if (unordered !== true && objects.length + prefixes.length > 0) return undefined;
  }
  return undefined;
}
