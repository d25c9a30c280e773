/**
 * Decodes aws-chunked bodies: `size[;chunk-signature=…]CRLF data CRLF … 0 CRLF trailers CRLF`.
 *
 * Bytes are handed on as they come, before the chunk's signature is known to be right; the caller
 * publishes nothing until `decode` has ended. Source: S3 API reference, "Signature Calculations
 * … Transferring Payload in Multiple Chunks".
 */
import { createHash, type Hash } from 'node:crypto';
import type { ChunkSigner } from '../call.js';
import { S3Error } from './s3-error.js';

/** All chunks but the last have at least this size. */
const minChunk = 8192;
/** Longest line of a chunk head or trailer. */
const maxLine = 4096;

export class ChunkedDecoder {
  readonly #signer: ChunkSigner | null;
  readonly #trailersExpected: boolean;
  #buffer: Buffer = Buffer.alloc(0);
  #input: AsyncIterator<Buffer> | undefined;
  readonly trailers = new Map<string, string>();

  /** @param signer continues the request's signature; null for unsigned chunks */
  constructor(signer: ChunkSigner | null, trailersExpected: boolean) {
    this.#signer = signer;
    this.#trailersExpected = trailersExpected;
  }

  /**
   * The bytes inside; `trailers` is filled when it ends.
   * @throws S3Error IncompleteBody, InvalidChunkSizeError, SignatureDoesNotMatch,
   *   MalformedTrailerError
   */
  async *decode(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    this.#input = body[Symbol.asyncIterator]();
    let sawShort = false;
    for (;;) {
      const { size, signature } = parseHead(await this.#line());
      if (size > 0 && sawShort) throw new S3Error('InvalidChunkSizeError');
      sawShort ||= size < minChunk;
      const hash = this.#signer === null ? undefined : createHash('sha256');
      yield* this.#data(size, hash);
      if (hash !== undefined) this.#checkSignature(hash, signature);
      if (size === 0) break;
      if ((await this.#line()) !== '') throw new S3Error('IncompleteBody');
    }
    await this.#readTrailers();
  }

  async *#data(size: number, hash: Hash | undefined): AsyncGenerator<Buffer> {
    for (let left = size; left > 0;) {
      if (this.#buffer.length === 0) await this.#more();
      const piece = this.#buffer.subarray(0, left);
      this.#buffer = this.#buffer.subarray(piece.length);
      left -= piece.length;
      hash?.update(piece);
      yield piece;
    }
  }

  #checkSignature(hash: Hash, signature: string | undefined): void {
    if (this.#signer?.chunk(hash.digest('hex')) !== signature) {
      throw new S3Error('SignatureDoesNotMatch');
    }
  }

  async #readTrailers(): Promise<void> {
    let signature: string | undefined;
    let canonical = '';
    for (let line = await this.#line(); line !== ''; line = await this.#line()) {
      const colon = line.indexOf(':');
      if (colon <= 0) throw new S3Error('MalformedTrailerError');
      const name = line.slice(0, colon).trim().toLowerCase();
      const value = line.slice(colon + 1).trim();
      if (name === 'x-amz-trailer-signature') signature = value;
      else {
        this.trailers.set(name, value);
        canonical += `${name}:${value}\n`;
      }
    }
    if (this.trailers.size > 0 && !this.#trailersExpected) {
      throw new S3Error('MalformedTrailerError');
    }
    if (this.#signer !== null && this.#trailersExpected) {
      const hash = createHash('sha256').update(canonical).digest('hex');
      if (this.#signer.trailer(hash) !== signature) throw new S3Error('SignatureDoesNotMatch');
    }
  }

  /** The next line without its CRLF. */
  async #line(): Promise<string> {
    for (;;) {
      const end = this.#buffer.indexOf('\r\n');
      if (end !== -1) {
        const line = this.#buffer.toString('latin1', 0, end);
        this.#buffer = this.#buffer.subarray(end + 2);
        return line;
      }
      if (this.#buffer.length > maxLine) throw new S3Error('IncompleteBody');
      await this.#more();
    }
  }

  async #more(): Promise<void> {
    const next = await this.#input?.next();
    if (next === undefined || next.done === true) throw new S3Error('IncompleteBody');
    this.#buffer =
      this.#buffer.length === 0 ? next.value : Buffer.concat([this.#buffer, next.value]);
  }
}

function parseHead(line: string): { size: number; signature: string | undefined } {
  const match = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line);
  if (match?.[1] === undefined) throw new S3Error('IncompleteBody');
  return { size: Number.parseInt(match[1], 16), signature: match[2] };
}
