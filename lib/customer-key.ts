/**
 * A key of SSE-C: S3 encrypts an object with it and does not keep it, so that each request about the
 * object brings it along. Nothing that prints a value shows one.
 */
import { createHash } from 'node:crypto';

/** AES-256. */
export const customerKeyBytes = 32;

export class CustomerKey {
  readonly #bytes: Buffer;
  readonly #md5: string;

  /** @param bytes as many as `customerKeyBytes` */
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes);
    this.#md5 = createHash('md5').update(bytes).digest('base64');
  }

  get base64(): string {
    return this.#bytes.toString('base64');
  }

  /** What S3 calls the key by, in base64. */
  get md5(): string {
    return this.#md5;
  }

  /** Tells it from other keys where it may not stand itself; another one for each upload. */
  markOf(uploadId: string): string {
    return createHash('sha256').update(uploadId).update(this.#bytes).digest('hex').slice(0, 32);
  }
}
