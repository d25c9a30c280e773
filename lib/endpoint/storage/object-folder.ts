/**
 * Buckets, objects and uploads in a folder: `journal` (what there is) and `blobs/` (the bytes).
 *
 * Promises: a change is journalled before anybody can see it or is told of it, and a blob is on the
 * disk before the journal names it, so after kill -9 at any instant every object is there whole,
 * old or new. Checks and the change they guard are one step for each key. Keys are never file names,
 * so no key can do harm on disk. One process at a time: starting removes blobs that the journal
 * does not name.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { BlobFolder } from './blobs.js';
import { Journal, readJournal } from './journal.js';
import type {
  BucketRecord,
  Change,
  CompletedUpload,
  PartRecord,
  StoredObject,
  UploadRecord,
} from './records.js';
import { S3Error } from '../wire/s3-error.js';
import { SortedKeys } from './sorted-keys.js';

/** A bucket in memory. */
export interface Bucket {
  readonly record: BucketRecord;
  readonly keys: SortedKeys;
  readonly objects: ReadonlyMap<string, StoredObject>;
}

/** An open upload in memory. */
export interface Upload {
  readonly record: UploadRecord;
  readonly parts: ReadonlyMap<number, PartRecord>;
}

interface MutableBucket extends Bucket {
  record: BucketRecord;
  readonly objects: Map<string, StoredObject>;
}

interface MutableUpload extends Upload {
  readonly parts: Map<number, PartRecord>;
}

/** S3 forgets finished uploads after a while; this many are remembered here. */
const rememberedCompletions = 10_000;

export class ObjectFolder {
  readonly blobs: BlobFolder;
  readonly #buckets = new Map<string, MutableBucket>();
  readonly #uploads = new Map<string, MutableUpload>();
  readonly #completed = new Map<string, CompletedUpload>();
  readonly #locks = new Map<string, Promise<void>>();
  #journal: Journal | undefined;

  private constructor(blobs: BlobFolder) {
    this.blobs = blobs;
  }

  /**
   * Opens the folder, making it where there is none.
   * @throws Error if the journal is damaged or of another format; system errors
   */
  static async open(
    directory: string,
    options: { fsync: boolean; onError: (error: unknown) => void },
  ): Promise<ObjectFolder> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const folder = new ObjectFolder(new BlobFolder(join(directory, 'blobs'), options));
    await folder.blobs.prepare();
    const path = join(directory, 'journal');
    // Only this class writes the journal, and each line has a checksum.
    for (const change of (await readJournal(path)) as Change[]) folder.#apply(change);
    folder.#journal = await Journal.rewrite(path, folder.#snapshot(), options.fsync);
    await folder.blobs.removeUnused();
    return folder;
  }

  async close(): Promise<void> {
    await this.#journal?.close();
    await this.blobs.settle();
  }

  get buckets(): ReadonlyMap<string, Bucket> {
    return this.#buckets;
  }

  get uploads(): ReadonlyMap<string, Upload> {
    return this.#uploads;
  }

  /** @throws S3Error NoSuchBucket */
  bucket(name: string): Bucket {
    const bucket = this.#buckets.get(name);
    if (bucket === undefined) {
      throw new S3Error('NoSuchBucket', { elements: { BucketName: name } });
    }
    return bucket;
  }

  /** @throws S3Error NoSuchUpload */
  upload(bucket: string, key: string, uploadId: string): Upload {
    const upload = this.#uploads.get(uploadId);
    if (upload?.record.bucket !== bucket || upload.record.key !== key) {
      throw new S3Error('NoSuchUpload', { elements: { UploadId: uploadId } });
    }
    return upload;
  }

  /** A completed upload that is still remembered. */
  completed(bucket: string, key: string, uploadId: string): CompletedUpload | undefined {
    const completed = this.#completed.get(uploadId);
    return completed?.bucket === bucket && completed.key === key ? completed : undefined;
  }

  /** Makes a bucket, or gives an existing one another record. */
  async setBucket(record: BucketRecord): Promise<void> {
    await this.#commit({ type: 'bucket', bucket: record });
  }

  /** @throws S3Error NoSuchBucket, BucketNotEmpty */
  async deleteBucket(name: string): Promise<void> {
    const bucket = this.bucket(name);
    if (bucket.objects.size > 0) {
      throw new S3Error('BucketNotEmpty', { elements: { BucketName: name } });
    }
    await this.#commit({ type: 'bucketGone', name });
  }

  /**
   * Publishes an object unless `check` throws; no other change of the key comes between.
   * @param check is given what the key holds
   */
  async putObject(
    bucket: string,
    object: StoredObject,
    check: (current: StoredObject | undefined) => void,
  ): Promise<void> {
    await this.exclusive(bucket, object.key, async () => {
      check(this.bucket(bucket).objects.get(object.key));
      await this.#commit({ type: 'object', bucket, object });
    });
  }

  /** Removes an object unless `check` throws; nothing happens where there is none. */
  async deleteObject(
    bucket: string,
    key: string,
    check: (current: StoredObject | undefined) => void,
  ): Promise<void> {
    await this.exclusive(bucket, key, async () => {
      const current = this.bucket(bucket).objects.get(key);
      check(current);
      if (current !== undefined) await this.#commit({ type: 'objectGone', bucket, key });
    });
  }

  async createUpload(record: UploadRecord): Promise<void> {
    await this.#commit({ type: 'upload', upload: record });
  }

  /** @throws S3Error NoSuchUpload */
  async putPart(upload: UploadRecord, part: PartRecord): Promise<void> {
    await this.exclusive(upload.bucket, upload.key, async () => {
      this.upload(upload.bucket, upload.key, upload.uploadId);
      await this.#commit({ type: 'part', uploadId: upload.uploadId, part });
    });
  }

  /**
   * Publishes the object of an upload and forgets the upload. Only within `exclusive`, after the
   * checks.
   */
  async completeUpload(completed: CompletedUpload, object: StoredObject): Promise<void> {
    await this.#commit({ type: 'completed', completed, object });
  }

  /** @throws S3Error NoSuchUpload */
  async abortUpload(bucket: string, key: string, uploadId: string): Promise<void> {
    await this.exclusive(bucket, key, async () => {
      this.upload(bucket, key, uploadId);
      await this.#commit({ type: 'uploadGone', uploadId });
    });
  }

  /** Runs `work` while nothing else changes the key. */
  async exclusive<T>(bucket: string, key: string, work: () => Promise<T>): Promise<T> {
    const name = `${bucket}/${key}`;
    const result = (this.#locks.get(name) ?? Promise.resolve()).then(work);
    const settled = result.then(
      () => undefined,
      // The caller gets the failure; the next in line only waits for the end.
      () => undefined,
    );
    this.#locks.set(name, settled);
    try {
      return await result;
    } finally {
      if (this.#locks.get(name) === settled) this.#locks.delete(name);
    }
  }

  async #commit(change: Change): Promise<void> {
    if (this.#journal === undefined) throw new Error('the folder is not open');
    await this.#journal.append(change);
    this.#apply(change);
  }

  #apply(change: Change): void {
    switch (change.type) {
      case 'format':
        this.#checkVersion(change.version);
        break;
      case 'bucket':
        this.#setBucket(change.bucket);
        break;
      case 'bucketGone':
        this.#forgetBucket(change.name);
        break;
      case 'object':
        this.#setObject(change.bucket, change.object);
        break;
      case 'objectGone':
        this.#forgetObject(change.bucket, change.key);
        break;
      case 'upload':
        this.#uploads.set(change.upload.uploadId, { record: change.upload, parts: new Map() });
        break;
      case 'part':
        this.#setPart(change.uploadId, change.part);
        break;
      case 'uploadGone':
        this.#forgetUpload(change.uploadId);
        break;
      case 'completed':
        if (change.object !== null) this.#setObject(change.completed.bucket, change.object);
        this.#forgetUpload(change.completed.uploadId);
        this.#remember(change.completed);
        break;
    }
  }

  #checkVersion(version: number): void {
    if (version !== 1) throw new Error(`the folder has format ${version}, this program knows 1`);
  }

  #setBucket(record: BucketRecord): void {
    const bucket = this.#buckets.get(record.name);
    if (bucket !== undefined) bucket.record = record;
    else this.#buckets.set(record.name, { record, keys: new SortedKeys(), objects: new Map() });
  }

  #setObject(bucketName: string, object: StoredObject): void {
    const bucket = this.#buckets.get(bucketName);
    if (bucket === undefined) return;
    const before = bucket.objects.get(object.key);
    this.blobs.retain(object.segments);
    bucket.objects.set(object.key, object);
    if (before === undefined) bucket.keys.add(object.key);
    else this.blobs.release(before.segments);
  }

  #forgetObject(bucketName: string, key: string): void {
    const bucket = this.#buckets.get(bucketName);
    const object = bucket?.objects.get(key);
    if (bucket === undefined || object === undefined) return;
    bucket.objects.delete(key);
    bucket.keys.delete(key);
    this.blobs.release(object.segments);
  }

  #forgetBucket(name: string): void {
    const bucket = this.#buckets.get(name);
    for (const key of [...(bucket?.objects.keys() ?? [])]) this.#forgetObject(name, key);
    for (const [uploadId, { record }] of [...this.#uploads]) {
      if (record.bucket === name) this.#forgetUpload(uploadId);
    }
    this.#buckets.delete(name);
  }

  #setPart(uploadId: string, part: PartRecord): void {
    const upload = this.#uploads.get(uploadId);
    if (upload === undefined) return;
    const before = upload.parts.get(part.number);
    this.blobs.retain(part.segments);
    upload.parts.set(part.number, part);
    if (before !== undefined) this.blobs.release(before.segments);
  }

  #forgetUpload(uploadId: string): void {
    for (const part of this.#uploads.get(uploadId)?.parts.values() ?? []) {
      this.blobs.release(part.segments);
    }
    this.#uploads.delete(uploadId);
  }

  #remember(completed: CompletedUpload): void {
    this.#completed.set(completed.uploadId, completed);
    if (this.#completed.size <= rememberedCompletions) return;
    const oldest = this.#completed.keys().next();
    if (oldest.done !== true) this.#completed.delete(oldest.value);
  }

  *#snapshot(): Generator<Change> {
    yield { type: 'format', version: 1 };
    for (const [name, bucket] of this.#buckets) {
      yield { type: 'bucket', bucket: bucket.record };
      for (const object of bucket.objects.values()) yield { type: 'object', bucket: name, object };
    }
    for (const completed of this.#completed.values()) {
      yield { type: 'completed', completed, object: null };
    }
    for (const [uploadId, { record, parts }] of this.#uploads) {
      yield { type: 'upload', upload: record };
      for (const part of parts.values()) yield { type: 'part', uploadId, part };
    }
  }
}
