/**
 * The body of a request that is too large for memory: read from its source while it is sent.
 *
 * The SDK sends a request whose body is a stream only once, since it cannot know how to begin the
 * stream again. So it is given an empty body here, with the length and checksum of the true one, and
 * the bytes are put in behind its retries: each attempt reads the source from the start.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';

import type { UploadPartCommand } from '@aws-sdk/client-s3';
import type { HttpRequest } from '@smithy/types';

import { StoreError } from '../errors.js';
import type { Source } from '../store.js';
import { sourceWindow } from '../store.js';

/** One piece is being read, one waits, one is with the socket. */
const pieceBytes = sourceWindow / 4;

export class StreamedBody {
  /** bytes */
  readonly length: number;
  readonly #source: Source;
  #sha256: Promise<string> | undefined;

  constructor(source: Source) {
    this.#source = source;
    this.length = source.size;
  }

  /** @throws what `source.read` rejects with */
  async crc32(): Promise<number> {
    let sum = 0;
    for await (const piece of this.#pieces()) sum = crc32(piece, sum);
    return sum;
  }

  /** Base64. @throws what `source.read` rejects with */
  async md5(): Promise<string> {
    return await this.#hash('md5', 'base64');
  }

  /** A command whose input has this length and an empty body; returns it after its body was replaced. */
  sentBy(command: UploadPartCommand): UploadPartCommand {
    command.middlewareStack.add(
      (next) => async (args) => {
        const { headers } = args.request as HttpRequest;
        // What the signer would compute of the body it sees, where it is not told to leave it out.
        headers['x-amz-content-sha256'] ??= await (this.#sha256 ??= this.#hash('sha256', 'hex'));
        return await next(args);
      },
      { name: 's3jailStreamedSum', step: 'build', priority: 'low' },
    );
    command.middlewareStack.add(
      (next) => (args) => {
        const request = args.request as HttpRequest;
        const body = Readable.from(this.#pieces(), {
          objectMode: false,
          highWaterMark: pieceBytes,
        });
        return next({ ...args, request: { ...request, body } });
      },
      { name: 's3jailStreamedBody', step: 'finalizeRequest', priority: 'low' },
    );
    return command;
  }

  async #hash(algorithm: string, encoding: 'base64' | 'hex'): Promise<string> {
    const hash = createHash(algorithm);
    for await (const piece of this.#pieces()) hash.update(piece);
    return hash.digest(encoding);
  }

  async *#pieces(): AsyncGenerator<Buffer> {
    for (let at = 0; at < this.length; at += pieceBytes) {
      const piece = Buffer.allocUnsafe(Math.min(pieceBytes, this.length - at));
      await this.#source.read(piece, at);
      yield piece;
    }
  }
}

/** The failure of a request whose body could not be read to its end: final, unlike one of the wire. */
export function unreadable(cause: Error): StoreError {
  return new StoreError('corrupt', `the bytes to send could not be read: ${cause.message}`, {
    action: 'UploadPart',
    cause,
  });
}
