/**
 * AWS Signature Version 4 in the Authorization header, the server's side.
 *
 * The canonical request is made again from what arrived; the signature must be equal, the clock
 * within 15 minutes, and every x-amz-* header signed. Source: AWS General Reference, "Create a
 * signed AWS API request", and S3 API reference, "Authenticating Requests".
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { ChunkSigner, Query } from '../call.js';
import { S3Error } from '../wire/s3-error.js';

const algorithm = 'AWS4-HMAC-SHA256';
/** How far a client's clock may be off. */
const maxSkewMs = 15 * 60 * 1000;
const emptyHash = createHash('sha256').digest('hex');

/** The parts of an Authorization header. */
export interface Authorization {
  readonly accessKeyId: string;
  /** `20250131/us-east-1/s3/aws4_request` */
  readonly scope: string;
  readonly date: string;
  readonly region: string;
  readonly service: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
}

/**
 * Reads an Authorization header.
 * @throws S3Error AuthorizationHeaderMalformed, InvalidRequest for other schemes
 */
export function parseAuthorization(header: string): Authorization {
  if (!header.startsWith(`${algorithm} `)) {
    throw new S3Error('InvalidRequest', {
      message: `The authorization mechanism you have provided is not supported. Please use ${algorithm}.`,
    });
  }
  const fields = new Map<string, string>();
  for (const field of header.slice(algorithm.length).split(',')) {
    const equals = field.indexOf('=');
    fields.set(field.slice(0, equals).trim(), field.slice(equals + 1).trim());
  }
  const credential = fields.get('Credential')?.split('/') ?? [];
  const [accessKeyId, date, region, service, end] = credential;
  const signedHeaders = fields.get('SignedHeaders')?.split(';');
  const signature = fields.get('Signature');
  if (
    accessKeyId === undefined ||
    date === undefined ||
    region === undefined ||
    service === undefined ||
    end !== 'aws4_request' ||
    credential.length !== 5 ||
    signedHeaders === undefined ||
    signature === undefined
  ) {
    throw new S3Error('AuthorizationHeaderMalformed');
  }
  const scope = credential.slice(1).join('/');
  return { accessKeyId, scope, date, region, service, signedHeaders, signature };
}

export interface SignedRequest {
  readonly request: IncomingMessage;
  readonly authorization: Authorization;
  readonly path: string;
  readonly query: Query;
  /** x-amz-content-sha256, or the body's hash for services that do not send it */
  readonly payloadHash: string;
  readonly secretAccessKey: string;
  readonly nowMs: number;
}

/**
 * Checks a request's signature.
 * @returns what continues it over aws-chunked bodies
 * @throws S3Error AccessDenied, RequestTimeTooSkewed, SignatureDoesNotMatch
 */
export function verifySignature(signed: SignedRequest): ChunkSigner {
  const { request, authorization } = signed;
  const time = requestTime(request, authorization, signed.nowMs);
  checkSignedHeaders(request, authorization);
  const canonical = canonicalRequest(signed);
  const stringToSign = [
    algorithm,
    time,
    authorization.scope,
    // Header values are wire bytes, which Node hands out as latin1.
    createHash('sha256').update(canonical, 'latin1').digest('hex'),
  ].join('\n');
  const key = signingKey(signed.secretAccessKey, authorization);
  const expected = hmac(key, stringToSign).toString('hex');
  if (!sameText(expected, authorization.signature)) {
    throw new S3Error('SignatureDoesNotMatch', {
      elements: {
        AWSAccessKeyId: authorization.accessKeyId,
        StringToSign: stringToSign,
        SignatureProvided: authorization.signature,
        CanonicalRequest: canonical,
      },
    });
  }
  return chunkSigner(key, time, authorization);
}

function requestTime(request: IncomingMessage, auth: Authorization, nowMs: number): string {
  const time = request.headers['x-amz-date'];
  const match =
    typeof time === 'string' ? /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(time) : null;
  if (typeof time !== 'string' || match === null) {
    throw new S3Error('AccessDenied', {
      message: 'AWS authentication requires a valid Date or x-amz-date header',
    });
  }
  const [, year, month, day, hour, minute, second] = match.map(Number);
  const sentMs = Date.UTC(
    year ?? 0,
    (month ?? 1) - 1,
    day ?? 1,
    hour ?? 0,
    minute ?? 0,
    second ?? 0,
  );
  if (!(Math.abs(sentMs - nowMs) <= maxSkewMs)) {
    throw new S3Error('RequestTimeTooSkewed', {
      elements: {
        RequestTime: time,
        ServerTime: new Date(nowMs).toISOString(),
        MaxAllowedSkewMilliseconds: String(maxSkewMs),
      },
    });
  }
  if (auth.date !== time.slice(0, 8)) {
    throw new S3Error('AuthorizationHeaderMalformed', {
      message: 'The authorization header is malformed; Invalid credential date',
    });
  }
  return time;
}

function checkSignedHeaders(request: IncomingMessage, { signedHeaders }: Authorization): void {
  const unsigned = Object.keys(request.headers).filter(
    (name) =>
      (name === 'host' || name === 'content-md5' || name.startsWith('x-amz-')) &&
      !signedHeaders.includes(name),
  );
  if (unsigned.length > 0) {
    throw new S3Error('AccessDenied', {
      message: 'There were headers present in the request which were not signed',
      elements: { HeadersNotSigned: unsigned.join(', ') },
    });
  }
}

function canonicalRequest(signed: SignedRequest): string {
  const { request, authorization, path, query, payloadHash } = signed;
  const headers = canonicalHeaders(request.rawHeaders);
  return [
    request.method ?? '',
    path.split('/').map(encodeStrictly).join('/'),
    query.pairs
      .map(([name, value]) => `${encodeStrictly(name)}=${encodeStrictly(value)}`)
      .sort()
      .join('&'),
    ...authorization.signedHeaders.map((name) => `${name}:${headers.get(name) ?? ''}`),
    '',
    authorization.signedHeaders.join(';'),
    payloadHash,
  ].join('\n');
}

function canonicalHeaders(raw: readonly string[]): Map<string, string> {
  const headers = new Map<string, string>();
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = (raw[index] ?? '').toLowerCase();
    const value = (raw[index + 1] ?? '').trim().replace(/\s+/g, ' ');
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before},${value}`);
  }
  return headers;
}

/** Percent-encodes all but RFC 3986's unreserved characters. */
export function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function signingKey(secretAccessKey: string, { date, region, service }: Authorization): Buffer {
  const dateKey = hmac(`AWS4${secretAccessKey}`, date);
  return hmac(hmac(hmac(dateKey, region), service), 'aws4_request');
}

function hmac(key: string | Buffer, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest();
}

function sameText(expected: string, actual: string): boolean {
  const left = Buffer.from(expected);
  const right = Buffer.from(actual);
  return left.length === right.length && timingSafeEqual(left, right);
}

function chunkSigner(key: Buffer, time: string, { scope, signature }: Authorization): ChunkSigner {
  let before = signature;
  const sign = (kind: string, ...hashes: string[]): string => {
    const text = [`${algorithm}-${kind}`, time, scope, before, ...hashes].join('\n');
    before = hmac(key, text).toString('hex');
    return before;
  };
  return {
    chunk: (sha256) => sign('PAYLOAD', emptyHash, sha256),
    trailer: (sha256) => sign('TRAILER', sha256),
  };
}
