/**
 * One request as the handlers see it, and what they answer.
 *
 * The target is taken from the raw request line and never normalised: `a//b`, `./x` and `../x` are
 * ordinary keys. Keys and query values are percent-decoded UTF-8; anything else is InvalidURI.
 */
import type { IncomingMessage } from 'node:http';
import type { Segment } from './storage/segment.js';
import type { Principal } from './access/identity.js';
import { S3Error } from './wire/s3-error.js';

/** A decoded query; the first of equal names counts. */
export class Query {
  readonly pairs: readonly (readonly [name: string, value: string])[];

  constructor(raw: string) {
    this.pairs = raw
      .split('&')
      .filter((pair) => pair !== '')
      .map((pair) => {
        const equals = pair.indexOf('=');
        if (equals === -1) return [decode(pair), ''] as const;
        return [decode(pair.slice(0, equals)), decode(pair.slice(equals + 1))] as const;
      });
  }

  get(name: string): string | undefined {
    return this.pairs.find(([other]) => other === name)?.[1];
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }
}

function decode(text: string): string {
  return decodePercent(text.replaceAll('+', ' '));
}

/** @throws S3Error InvalidURI */
export function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) throw new S3Error('InvalidURI');
    throw error;
  }
}

/** What a request names. */
export interface Target {
  /** decoded path as sent */
  readonly path: string;
  /** empty for the service itself */
  readonly bucket: string;
  /** empty for the bucket itself */
  readonly key: string;
  readonly query: Query;
}

/**
 * Reads path style (`/bucket/key`) and virtual host style (`bucket.domain`).
 * @param domains host names below which the first labels are a bucket
 * @throws S3Error InvalidURI
 */
export function parseTarget(url: string, host: string, domains: readonly string[]): Target {
  const mark = url.indexOf('?');
  const path = decodePercent(mark === -1 ? url : url.slice(0, mark));
  const query = new Query(mark === -1 ? '' : url.slice(mark + 1));
  if (!path.startsWith('/')) throw new S3Error('InvalidURI');
  const hostBucket = bucketOfHost(host, domains);
  const slash = path.indexOf('/', 1);
  const bucket = hostBucket ?? (slash === -1 ? path.slice(1) : path.slice(1, slash));
  const key = hostBucket !== undefined ? path.slice(1) : slash === -1 ? '' : path.slice(slash + 1);
  return { path, bucket, key, query };
}

function bucketOfHost(host: string, domains: readonly string[]): string | undefined {
  const name = host.replace(/:\d+$/, '').toLowerCase();
  const domain = domains.find((candidate) => name.endsWith(`.${candidate}`));
  return domain === undefined ? undefined : name.slice(0, -domain.length - 1);
}

/** A request, after its signature was checked. */
export interface Call extends Target {
  readonly request: IncomingMessage;
  readonly requestId: string;
  /** who signed; undefined for anonymous requests */
  readonly principal: Principal | undefined;
  /** decodes and checks the body according to the signature */
  readonly payload: Payload;
  /** the value of a header, or undefined */
  header(name: string): string | undefined;
  /** tells a client that waits with its body (Expect: 100-continue) to send it */
  askForBody(): void;
}

/** How a body was signed. */
export type Payload =
  | { readonly kind: 'unsigned' }
  | { readonly kind: 'hash'; readonly sha256: string }
  | { readonly kind: 'chunked'; readonly trailers: boolean; readonly signer: ChunkSigner | null };

/** Continues the signature of a request over its chunks. */
export interface ChunkSigner {
  /** the signature that the next chunk must carry, given its SHA-256 in hex */
  chunk(sha256: string): string;
  /** the signature of the trailers, given the SHA-256 of their canonical form in hex */
  trailer(sha256: string): string;
}

/** What is sent back. */
export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** a document or nothing */
  readonly body?: string;
  readonly content?: Content;
}

/**
 * Bytes of an object. The handler counts itself among the blobs' users, so that no overwrite takes
 * them away; whoever sends the bytes releases them.
 */
export interface Content {
  readonly segments: readonly Segment[];
  readonly start: number;
  readonly end: number;
}
