/**
 * Checksums of request bodies: which one a request carries.
 *
 * CRC32 in a header: computed natively, stored with the object by AWS and others, and combinable
 * over parts. An endpoint that refuses the header gets Content-MD5 instead, which is as old as S3.
 *
 * The signature covers a SHA-256 of the body as well, so that a bit flipped on the way is refused
 * even by servers that ignore both. It costs more than all the rest of a request, so it is left out
 * (UNSIGNED-PAYLOAD, as S3 allows) where it adds nothing: TLS keeps others out, and the endpoint is
 * known to compare the CRC32, because it is AWS or repeats the checksum in its answers.
 */
import { createHash } from 'node:crypto';

import { StoreError, isStoreError } from '../errors.js';
import type { Connection } from './connection.js';
import { base64Crc32 } from './stored-checksum.js';
import { StreamedBody } from './streamed-body.js';

/** Checksum headers of a request with a body. */
export interface BodyIntegrity {
  readonly ChecksumAlgorithm?: 'CRC32';
  readonly ChecksumCRC32?: string;
  readonly ContentMD5?: string;
}

export class Integrity {
  readonly #connection: Connection;
  #crc32Refused = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Whether the endpoint may be asked for CRC32 checksums; true until it has refused them. */
  get usesCrc32(): boolean {
    return !this.#crc32Refused;
  }

  /**
   * Sends a request by `send`, first with CRC32; where the endpoint refuses that, with `otherwise`.
   * A refusal counts only once the same request without the checksum has gone through.
   */
  async withFallback<Input, Output>(
    preferred: Input,
    otherwise: () => Input | Promise<Input>,
    send: (input: Input) => Promise<Output>,
  ): Promise<Output> {
    if (this.#crc32Refused) return await send(await otherwise());
    try {
      return await send(preferred);
    } catch (error) {
      if (this.#connection.isAws || !isStoreError(error, 'unsupported', 'invalid')) throw error;
      const output = await send(await otherwise());
      this.#crc32Refused = true;
      const fields = { refused: error.message };
      this.#connection.log.info(fields, 'the endpoint takes no CRC32 checksums; using MD5');
      return output;
    }
  }

  /** Sends a body with its checksum. @param crc32 of `body` */
  async withBody<Output extends { ChecksumCRC32?: string | undefined }>(
    body: Buffer | StreamedBody,
    crc32: number,
    send: (integrity: BodyIntegrity) => Promise<Output>,
  ): Promise<Output> {
    const sum = base64Crc32(crc32);
    const output = await this.withFallback<BodyIntegrity, Output>(
      // Ceph looks at the checksum only where its kind is named as well.
      { ChecksumAlgorithm: 'CRC32', ChecksumCRC32: sum },
      async () => ({ ContentMD5: await md5Of(body) }),
      send,
    );
    if (output.ChecksumCRC32 === sum) this.#connection.comparesCrc32 = true;
    else if (output.ChecksumCRC32 !== undefined) {
      throw new StoreError('corrupt', 'the endpoint computed another checksum than was sent', {
        action: 'PutObject',
      });
    }
    return output;
  }
}

async function md5Of(body: Buffer | StreamedBody): Promise<string> {
  if (body instanceof StreamedBody) return await body.md5();
  return createHash('md5').update(body).digest('base64');
}
