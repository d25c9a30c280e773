/**
 * Checksums of request bodies: which one a request carries.
 *
 * CRC32 in a header: computed natively, stored with the object by AWS and others, and combinable
 * over parts. An endpoint that refuses the header gets Content-MD5 instead, which is as old as S3.
 * What the parts of a multipart upload carry is upload-ways.ts's to say.
 *
 * The signature covers a SHA-256 of the body as well, so that a bit flipped on the way is refused
 * even by servers that ignore both. It costs more than all the rest of a request, so it is left out
 * (UNSIGNED-PAYLOAD, as S3 allows) where it adds nothing: TLS keeps others out, and the endpoint is
 * known to compare the CRC32, because it is AWS or repeats the checksum in its answers.
 */
import { createHash } from 'node:crypto';

import { StoreError, isStoreError } from '../errors.js';
import { Limitation } from '../limitation.js';
import type { Connection } from './connection/connection.js';
import { base64Crc32 } from './stored-checksum.js';
import { StreamedBody } from './streamed-body.js';

/** Checksum headers of a request with a body. */
export interface BodyIntegrity {
  readonly ChecksumAlgorithm?: 'CRC32';
  readonly ChecksumCRC32?: string;
  readonly ContentMD5?: string;
}

/** A body and which sum it is to carry. */
export interface SummedBody {
  readonly body: Buffer | StreamedBody;
  /** of `body` */
  readonly crc32: number;
  readonly sum: 'CRC32' | 'MD5';
}

interface Answer {
  readonly ChecksumCRC32?: string | undefined;
}

export class Integrity {
  readonly #connection: Connection;
  /** PutObject with a CRC32 */
  readonly #crc32Refused: Limitation;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#crc32Refused = new Limitation(connection.options.clock);
  }

  /** Whether PutObject may carry CRC32 checksums; true until the endpoint has refused them. */
  get usesCrc32(): boolean {
    return !this.#crc32Refused.holds;
  }

  /** Sends a whole object with its checksum. */
  async put<Output extends Answer>(
    body: Buffer,
    crc32: number,
    send: (integrity: BodyIntegrity) => Promise<Output>,
  ): Promise<Output> {
    const sum = this.usesCrc32 ? 'CRC32' : 'MD5';
    return await this.send({ body, crc32, sum }, send, (error) => {
      if (!this.#crc32Refused.note()) return;
      const fields = { refused: error.message };
      this.#connection.log.info(fields, 'the endpoint takes no CRC32 checksums; using MD5');
    });
  }

  /**
   * Sends a body with a CRC32 and, where that is refused, with an MD5.
   * @param onRefused called once the same request without the CRC32 has gone through
   */
  async send<Output extends Answer>(
    { body, crc32, sum }: SummedBody,
    send: (integrity: BodyIntegrity) => Promise<Output>,
    onRefused: (error: StoreError) => void,
  ): Promise<Output> {
    const withMd5 = async (): Promise<Output> => await send({ ContentMD5: await md5Of(body) });
    if (sum === 'MD5') return await withMd5();
    try {
      // Ceph looks at the checksum only where its kind is named as well.
      const output = await send({ ChecksumAlgorithm: 'CRC32', ChecksumCRC32: base64Crc32(crc32) });
      this.#noteEcho(output, base64Crc32(crc32));
      return output;
    } catch (error) {
      if (!isStoreError(error, 'unsupported', 'invalid')) throw error;
      const output = await withMd5();
      onRefused(error);
      return output;
    }
  }

  #noteEcho({ ChecksumCRC32: echoed }: Answer, sum: string): void {
    this.#connection.comparesCrc32 = echoed === sum;
    if (echoed !== undefined && echoed !== sum) {
      throw new StoreError('corrupt', 'the endpoint computed another checksum than was sent', {
        action: 'PutObject',
      });
    }
  }
}

async function md5Of(body: Buffer | StreamedBody): Promise<string> {
  if (body instanceof StreamedBody) return await body.md5();
  return createHash('md5').update(body).digest('base64');
}
