/**
 * SHA-256 and its HMAC as the SDK's signer asks for them. The texts of a request are short, and an object
 * of OpenSSL's for each costs more than hashing them: a sum without a key is one call of Node's here. And
 * the signer looks up its key of the day by an HMAC of the credentials, which is the same every time.
 */
import { createHmac, hash } from 'node:crypto';

import type { Checksum, SourceData } from '@smithy/types';

/** The last HMAC under a key that is text, as those of the credentials are. */
let known: { readonly key: string; readonly bytes: Uint8Array; readonly sum: Buffer } | undefined;

export class Sha256 implements Checksum {
  readonly #key: SourceData | undefined;
  #pieces: Uint8Array[] = [];

  /** @param key absent: no HMAC */
  constructor(key?: SourceData) {
    this.#key = key;
  }

  update(piece: Uint8Array): void {
    this.#pieces.push(piece);
  }

  digest(): Promise<Uint8Array> {
    const [first] = this.#pieces;
    const isOne = first !== undefined && this.#pieces.length === 1;
    const bytes = isOne ? first : Buffer.concat(this.#pieces);
    return Promise.resolve(sumOf(bytes, this.#key));
  }

  reset(): void {
    this.#pieces = [];
  }
}

function sumOf(bytes: Uint8Array, key: SourceData | undefined): Buffer {
  if (key === undefined) return hash('sha256', bytes, 'buffer');
  if (typeof key !== 'string') return hmac(bytes, viewOf(key));
  if (known?.key !== key || Buffer.compare(known.bytes, bytes) !== 0) {
    known = { key, bytes, sum: hmac(bytes, key) };
  }
  return known.sum;
}

function viewOf(key: Exclude<SourceData, string>): Uint8Array {
  if (!ArrayBuffer.isView(key)) return new Uint8Array(key);
  return new Uint8Array(key.buffer, key.byteOffset, key.byteLength);
}

function hmac(bytes: Uint8Array, key: string | Uint8Array): Buffer {
  return createHmac('sha256', key).update(bytes).digest();
}
