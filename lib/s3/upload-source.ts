/**
 * Uploading a whole local file, larger than a part, by @aws-sdk/lib-storage: it cuts the parts and
 * keeps several of them in flight.
 *
 * The requests it makes are not sent by its client but by the store: a stand-in for the client hands
 * them to the store's own multipart methods, so that they carry checksums, end with the caller's
 * signal, and are settled when an answer is lost. Aborting through lib-storage is not used, because
 * that rejects before the parts in flight have ended and leaves the abort to the background; here
 * every part has ended and the upload is gone before the failure is reported.
 */
import { Readable } from 'node:stream';

import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';

import { StoreError } from '../errors.js';
import type { Key } from '../path.js';
import { multipartLimits } from '../store.js';
import type { MultipartUpload, Source, Stored, UploadedPart } from '../store.js';

const mebibyte = 1024 * 1024;

/** The steps of a multipart upload, as the store takes them. */
export interface UploadSteps {
  create(): Promise<MultipartUpload>;
  part(upload: MultipartUpload, number: number, body: Buffer): Promise<UploadedPart>;
  complete(upload: MultipartUpload, parts: readonly UploadedPart[]): Promise<Stored>;
  /** never rejects */
  abort(upload: MultipartUpload): Promise<void>;
}

export interface UploadJob {
  readonly key: Key;
  readonly source: Source;
  readonly partSize: number;
  /** parts in flight */
  readonly concurrency: number;
  /** supplies configuration; no request goes through it */
  readonly client: S3Client;
  readonly steps: UploadSteps;
}

/** @throws StoreError, or what `source.read` rejects with */
export async function uploadSource(job: UploadJob): Promise<Stored> {
  const { source, steps } = job;
  const partSize = partSizeFor(source.size, job.partSize);
  const conductor = new Conductor(steps);
  const client = Object.create(job.client) as S3Client;
  Object.defineProperty(client, 'send', {
    value: async (command: unknown) => await conductor.send(command),
  });
  const upload = new Upload({
    client,
    params: {
      Bucket: 'unused',
      Key: job.key,
      Body: Readable.from(pieces(source), { highWaterMark: 1 }),
      ContentLength: source.size,
    },
    partSize,
    // As many bytes in flight as with parts of the size asked for.
    queueSize: Math.max(1, Math.floor((job.concurrency * job.partSize) / partSize)),
  });
  await upload.done();
  return conductor.stored();
}

/** Bytes of each part but the last, in whole MiB, so that S3's 10,000 parts suffice. */
export function partSizeFor(size: number, wanted: number): number {
  const needed = Math.ceil(size / multipartLimits.maxParts);
  if (needed > multipartLimits.maxPart) {
    throw new StoreError('tooLarge', `${size} bytes are more than S3 takes in one object`, {
      action: 'CreateMultipartUpload',
    });
  }
  if (needed <= wanted) return Math.max(wanted, multipartLimits.minPart);
  return Math.min(multipartLimits.maxPart, Math.ceil(needed / mebibyte) * mebibyte);
}

/**
 * lib-storage joins what it is given until it has more than a part, and copies it all for that: with
 * pieces of a whole part each byte is copied twice, with small ones once.
 */
const pieceBytes = 512 * 1024;

async function* pieces(source: Source): AsyncGenerator<Buffer> {
  for (let at = 0; at < source.size; at += pieceBytes) {
    const piece = Buffer.allocUnsafe(Math.min(pieceBytes, source.size - at));
    await source.read(piece, at);
    yield piece;
  }
}

/** Takes lib-storage's commands. */
class Conductor {
  readonly #steps: UploadSteps;
  readonly #parts = new Map<number, UploadedPart>();
  #upload: MultipartUpload | undefined;
  #stored: Stored | undefined;
  #failure: Error | undefined;

  constructor(steps: UploadSteps) {
    this.#steps = steps;
  }

  async send(command: unknown): Promise<object> {
    if (command instanceof CreateMultipartUploadCommand) {
      this.#upload = await this.#steps.create();
      return { UploadId: this.#upload.uploadId };
    }
    if (this.#upload === undefined) throw new Error('lib-storage sent a part before its upload');
    if (command instanceof UploadPartCommand) {
      return await this.#sendPart(this.#upload, command);
    }
    if (command instanceof CompleteMultipartUploadCommand) {
      const parts = [...this.#parts.values()].sort((a, b) => a.number - b.number);
      this.#stored = await this.#steps.complete(this.#upload, parts);
      return { ETag: this.#stored.etag };
    }
    if (command instanceof AbortMultipartUploadCommand) {
      await this.#steps.abort(this.#upload);
      return {};
    }
    throw new Error('lib-storage sent a command that is not part of a multipart upload');
  }

  stored(): Stored {
    if (this.#stored === undefined) throw new Error('lib-storage ended without completing');
    return this.#stored;
  }

  async #sendPart(upload: MultipartUpload, command: UploadPartCommand): Promise<object> {
    const { PartNumber: number, Body: body } = command.input;
    if (number === undefined || !Buffer.isBuffer(body)) {
      throw new Error('lib-storage sent a part that is no buffer');
    }
    // lib-storage goes through all parts before it tells that one of them has failed.
    if (this.#failure !== undefined) throw this.#failure;
    try {
      const part = await this.#steps.part(upload, number, body);
      this.#parts.set(number, part);
      return { ETag: part.etag };
    } catch (error) {
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }
}
