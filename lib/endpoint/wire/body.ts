/**
 * Request bodies: decoded, counted, hashed and checked against everything the request promised.
 *
 * Content-MD5, x-amz-content-sha256, one x-amz-checksum-* header or trailer, and the length must
 * all hold; the caller hears of the bytes as they come and of success only at the end.
 */
import { createHash, type Hash } from 'node:crypto';
import type { Call } from '../call.js';
import {
  checksumAlgorithms,
  checksumHeader,
  isChecksumValue,
  parseAlgorithm,
  startChecksum,
  type ChecksumAlgorithm,
} from './checksum.js';
import { ChunkedDecoder } from './chunked.js';
import { S3Error } from './s3-error.js';

/** Longest request document: 10,000 parts with entity tag and checksum fit. */
const maxDocumentBytes = 4 * 1024 * 1024;

/** A checksum the request announces; its value comes as header or trailer. */
export interface ExpectedChecksum {
  readonly algorithm: ChecksumAlgorithm;
  /** base64; undefined while it is to come as trailer */
  readonly value: string | undefined;
}

/** What is known of a body that held what was promised. */
export interface ReceivedBody {
  readonly size: number;
  /** hex, where asked for */
  readonly md5: string | undefined;
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly value: string } | undefined;
}

export interface ReceiveOptions {
  /** largest body, bytes */
  readonly maxBytes: number;
  /** compute the MD5 */
  readonly md5: boolean;
  /** the x-amz-checksum header is about an object and not about this body */
  readonly foreignChecksum?: boolean;
  /** takes the bytes, in order */
  readonly write: (data: Buffer) => Promise<void>;
}

/**
 * Reads a whole body.
 * @throws S3Error MissingContentLength, EntityTooLarge, IncompleteBody, BadDigest, InvalidDigest,
 *   InvalidRequest, XAmzContentSHA256Mismatch, those of ChunkedDecoder
 */
export async function receiveBody(call: Call, options: ReceiveOptions): Promise<ReceivedBody> {
  const length = bodyLength(call);
  if (length > options.maxBytes) {
    throw new S3Error('EntityTooLarge', {
      elements: { ProposedSize: String(length), MaxSizeAllowed: String(options.maxBytes) },
    });
  }
  const contentMd5 = expectedMd5(call);
  const expected = options.foreignChecksum === true ? undefined : expectedChecksum(call);
  const { payload } = call;
  const md5 = options.md5 || contentMd5 !== undefined ? createHash('md5') : undefined;
  const sha256 = payload.kind === 'hash' ? createHash('sha256') : undefined;
  const checksum = expected === undefined ? undefined : startChecksum(expected.algorithm);
  const decoder =
    payload.kind === 'chunked' ? new ChunkedDecoder(payload.signer, payload.trailers) : undefined;
  const raw = wireBytes(call);
  let size = 0;
  for await (const piece of decoder?.decode(raw) ?? raw) {
    size += piece.length;
    if (size > length) throw new S3Error('IncompleteBody');
    md5?.update(piece);
    sha256?.update(piece);
    checksum?.update(piece);
    await options.write(piece);
  }
  if (size !== length) throw new S3Error('IncompleteBody');
  checkSha256(call, sha256);
  const md5Hex = md5?.digest('hex');
  if (contentMd5 !== undefined && md5Hex !== contentMd5) throw new S3Error('BadDigest');
  if (expected === undefined || checksum === undefined) {
    return { size, md5: md5Hex, checksum: undefined };
  }
  const value = checksum.finish();
  checkChecksum(expected, value, decoder?.trailers);
  return { size, md5: md5Hex, checksum: { algorithm: expected.algorithm, value } };
}

/** Reads a request document. @throws as receiveBody; MalformedXML if it is too long */
export async function receiveDocument(
  call: Call,
  options: Pick<ReceiveOptions, 'foreignChecksum'> = {},
): Promise<string> {
  const pieces: Buffer[] = [];
  await receiveBody(call, {
    ...options,
    maxBytes: maxDocumentBytes,
    md5: false,
    write: (data) => {
      pieces.push(data);
      return Promise.resolve();
    },
  });
  return Buffer.concat(pieces).toString();
}

/** The body as sent; a connection that breaks half way is an IncompleteBody nobody will read. */
async function* wireBytes(call: Call): AsyncGenerator<Buffer> {
  const { request } = call;
  call.askForBody();
  try {
    for await (const piece of request as AsyncIterable<Buffer>) yield piece;
  } catch (error) {
    if (request.destroyed && !request.complete) throw new S3Error('IncompleteBody');
    throw error;
  }
}

function bodyLength(call: Call): number {
  const text =
    call.payload.kind === 'chunked'
      ? call.header('x-amz-decoded-content-length')
      : call.header('content-length');
  if (text === undefined) {
    // A request without a body has neither header (RFC 9112, section 6.3).
    if (call.header('transfer-encoding') === undefined && call.request.method !== 'PUT') return 0;
    throw new S3Error('MissingContentLength');
  }
  const length = Number(text);
  if (!Number.isSafeInteger(length) || length < 0) throw new S3Error('InvalidArgument');
  return length;
}

function expectedMd5(call: Call): string | undefined {
  const text = call.header('content-md5');
  if (text === undefined) return undefined;
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length !== 16)
    throw new S3Error('InvalidDigest', { elements: { 'Content-MD5': text } });
  return bytes.toString('hex');
}

/**
 * The checksum a request with a body announces.
 * @throws S3Error InvalidRequest
 */
export function expectedChecksum(call: Call): ExpectedChecksum | undefined {
  const sent = checksumAlgorithms.filter((name) => call.header(checksumHeader(name)) !== undefined);
  const trailers = checksumTrailers(call);
  if (sent.length + trailers.length > 1) {
    throw new S3Error('InvalidRequest', {
      message:
        'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
    });
  }
  const algorithm = sent[0] ?? trailers[0];
  const announced = call.header('x-amz-sdk-checksum-algorithm');
  if (announced !== undefined && parseAlgorithm(announced) !== algorithm) {
    throw new S3Error('InvalidRequest', {
      message:
        'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or ' +
        'x-amz-trailer headers were found.',
    });
  }
  if (algorithm === undefined) return undefined;
  const value = call.header(checksumHeader(algorithm));
  if (value !== undefined && !isChecksumValue(algorithm, value)) {
    throw new S3Error('InvalidRequest', {
      message: `Value for ${checksumHeader(algorithm)} header is invalid.`,
    });
  }
  return { algorithm, value };
}

function checksumTrailers(call: Call): ChecksumAlgorithm[] {
  const names = (call.header('x-amz-trailer') ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '');
  return names.map((name) => {
    const found = checksumAlgorithms.find((algorithm) => checksumHeader(algorithm) === name);
    if (found === undefined) {
      throw new S3Error('InvalidRequest', {
        message: 'The value specified in the x-amz-trailer header is not supported',
      });
    }
    return found;
  });
}

function checkSha256({ payload }: Call, hash: Hash | undefined): void {
  const computed = hash?.digest('hex');
  if (payload.kind !== 'hash' || computed === payload.sha256) return;
  throw new S3Error('XAmzContentSHA256Mismatch', {
    elements: {
      ClientComputedContentSHA256: payload.sha256,
      S3ComputedContentSHA256: computed ?? '',
    },
  });
}

function checkChecksum(
  { algorithm, value }: ExpectedChecksum,
  computed: string,
  trailers: ReadonlyMap<string, string> | undefined,
): void {
  const sent = value ?? trailers?.get(checksumHeader(algorithm));
  if (sent === undefined) throw new S3Error('MalformedTrailerError');
  if (!isChecksumValue(algorithm, sent)) {
    throw new S3Error('InvalidRequest', {
      message: `Value for ${checksumHeader(algorithm)} trailing header is invalid.`,
    });
  }
  if (sent !== computed) {
    throw new S3Error('BadDigest', {
      message: `The ${algorithm} you specified did not match the calculated checksum.`,
    });
  }
}
