/** A bucket as any other S3 client sees it: what tests put there by hand, and what they check. */
import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type HeadObjectCommandOutput,
  type MultipartUpload,
  type S3Client,
} from '@aws-sdk/client-s3';

export class Bucket {
  readonly name: string;
  readonly client: S3Client;

  constructor(client: S3Client, name: string) {
    this.client = client;
    this.name = name;
  }

  /** All keys with this prefix, in S3's order. */
  async keys(prefix = ''): Promise<string[]> {
    const keys: string[] = [];
    let next: string | undefined;
    do {
      const page = await this.client.send(
        new ListObjectsV2Command({ Bucket: this.name, Prefix: prefix, ContinuationToken: next }),
      );
      keys.push(...(page.Contents ?? []).map((object) => object.Key ?? ''));
      next = page.NextContinuationToken;
    } while (next !== undefined);
    return keys;
  }

  async head(key: string): Promise<HeadObjectCommandOutput> {
    return this.client.send(new HeadObjectCommand({ Bucket: this.name, Key: key }));
  }

  async bytes(key: string): Promise<Buffer> {
    const answer = await this.client.send(new GetObjectCommand({ Bucket: this.name, Key: key }));
    return Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
  }

  async text(key: string): Promise<string> {
    return (await this.bytes(key)).toString();
  }

  async sha256(key: string): Promise<string> {
    return sha256(await this.bytes(key));
  }

  async put(key: string, body: string | Uint8Array, contentType?: string): Promise<void> {
    // A buffer, because the SDK sends an empty string without a length.
    const Body = Buffer.from(body);
    await this.client.send(
      new PutObjectCommand({ Bucket: this.name, Key: key, Body, ContentType: contentType }),
    );
  }

  async delete(key: string): Promise<void> {
    await this.client.send(new DeleteObjectCommand({ Bucket: this.name, Key: key }));
  }

  /** Keys with a multipart upload open. */
  async uploads(): Promise<string[]> {
    return (await this.#openUploads()).map((upload) => upload.Key ?? '');
  }

  /** As a lifecycle rule does. */
  async abortUploads(): Promise<void> {
    for (const { Key, UploadId } of await this.#openUploads()) {
      await this.client.send(new AbortMultipartUploadCommand({ Bucket: this.name, Key, UploadId }));
    }
  }

  /** Removes all in it, then the bucket. Keys go one by one: batches cannot name all of them. */
  async remove(): Promise<void> {
    await this.abortUploads();
    const keys = await this.keys();
    await inParallel(16, keys, (key) => this.delete(key));
    await this.client.send(new DeleteBucketCommand({ Bucket: this.name }));
  }

  async #openUploads(): Promise<MultipartUpload[]> {
    const answer = await this.client.send(new ListMultipartUploadsCommand({ Bucket: this.name }));
    return answer.Uploads ?? [];
  }
}

/** Runs `task` on each item, `width` at a time. */
export async function inParallel<T>(
  width: number,
  items: readonly T[],
  task: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items.values();
  const worker = async (): Promise<void> => {
    for (const item of rest) await task(item);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
