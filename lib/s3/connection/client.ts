/**
 * Options of the store, and the S3 client made of them.
 *
 * Checksums are the store's own business: the SDK is told to add them only where S3 demands one,
 * because its default, a trailer in an aws-chunked body, is refused by older endpoints (411). The
 * store sends bodies of known length with their CRC32 in a header, which AWS verifies before it
 * stores and others ignore.
 */
import { isIP } from 'node:net';

import { S3Client } from '@aws-sdk/client-s3';
import type { S3ClientConfig } from '@aws-sdk/client-s3';

import type { Clock } from '../../clock.js';
import type { CustomerKey } from '../../customer-key.js';
import type { CredentialOptions, CredentialSource } from './credentials.js';
import type { UploadRecord } from '../upload-journal.js';
import type { HttpHandler } from './http.js';
import type { RequestObserver } from './request-observer.js';
import { Retry } from './retry.js';
import type { RetrySettings } from './retry.js';
import { Sha256 } from './sha256.js';

export interface StoreOptions extends CredentialOptions {
  readonly bucket: string;
  /** empty, or ending in `/`: as normalisePrefix makes it */
  readonly prefix: string;
  /** absent: AWS */
  readonly endpointUrl?: string | undefined;
  /** absent: from the environment or profile, else found from the bucket */
  readonly region?: string | undefined;
  /** bucket in the path instead of the host name; absent: by what the endpoint's name allows */
  readonly forcePathStyle?: boolean | undefined;
  readonly storageClass?: string | undefined;
  readonly sse?: string | undefined;
  readonly sseKmsKeyId?: string | undefined;
  /** of SSE-C: the first encrypts what is written, the others only read; empty: none */
  readonly customerKeys?: readonly CustomerKey[] | undefined;
  readonly acl?: string | undefined;
  readonly requesterPays?: boolean | undefined;
  readonly expectedBucketOwner?: string | undefined;
  /** the names below the prefix are homes: of one user each */
  readonly homes?: boolean | undefined;
  /** `scoped`: each home has a session of `roleArn` for itself */
  readonly homeCredentials?: 'shared' | 'scoped' | undefined;
  readonly readOnly?: boolean | undefined;
  /** PEM file */
  readonly caBundle?: string | undefined;
  /** bytes; the least size of the parts of an upload, and the largest single PUT of `upload` */
  readonly partSize: number;
  /** parts of one upload in flight */
  readonly uploadConcurrency: number;
  /** bytes a second of all bodies sent together; absent: no limit */
  readonly maxUploadRate?: number | undefined;
  /** bytes a second of all objects received together; absent: no limit */
  readonly maxDownloadRate?: number | undefined;
  /** for each request: until its answer begins, and for silence in the middle of one */
  readonly timeoutMs: number;
  /** how long what is to be stored waits for S3 to come back; absent: timeoutMs */
  readonly patienceMs?: number | undefined;
  /** requests for one call, the first included; default 5 */
  readonly maxAttempts?: number | undefined;
  /** what is read is not compared with the checksums that S3 tells */
  readonly noReadChecksums?: boolean | undefined;
  /** bytes; larger objects are copied by parts, several at a time; default 256 MiB */
  readonly copyThreshold?: number | undefined;
  /** told of every multipart upload, so that none outlives a killed process */
  readonly uploadRecord?: UploadRecord | undefined;
  /** told of every request */
  readonly observer?: RequestObserver | undefined;
  /** absent: the system's */
  readonly clock?: Clock | undefined;
}

export const defaultMaxAttempts = 5;

export interface ClientParts {
  readonly credentials: CredentialSource;
  readonly requestHandler: HttpHandler;
  readonly region: () => Promise<string>;
  readonly retry: RetrySettings;
}

/** The S3 client for `options`. Opens no connection yet. */
export function createClient(options: StoreOptions, parts: ClientParts): S3Client {
  silenceVersionWarning();
  const { provider } = parts.credentials;
  const config: S3ClientConfig = {
    ...(options.endpointUrl === undefined ? {} : { endpoint: options.endpointUrl }),
    ...(options.profile === undefined ? {} : { profile: options.profile }),
    region: parts.region,
    forcePathStyle: options.forcePathStyle ?? wantsPathStyle(endpointOf(options)),
    // An unsigned request needs no identity, but the client insists on having a provider.
    ...(provider === undefined ? anonymous : { credentials: provider }),
    requestHandler: parts.requestHandler,
    sha256: Sha256,
    retryStrategy: new Retry(parts.retry),
    maxAttempts: parts.retry.maxAttempts,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // See bucket-region.ts.
    followRegionRedirects: false,
    expectContinueHeader: false,
    logger: quiet,
  };
  return new S3Client(config);
}

const anonymous: S3ClientConfig = {
  credentials: { accessKeyId: '', secretAccessKey: '' },
  signer: { sign: (request) => Promise.resolve(request) },
};

/** The SDK's own log names inputs in full and would write to the console; the store has its own. */
const quiet = {
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/**
 * The SDK warns once per process on Node 20 about what versions of next year will need. That
 * concerns developers who update the dependency, not operators who mount a bucket.
 */
function silenceVersionWarning(): void {
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
}

/** The region that AWS's environment variables or configuration files name, if any. */
export async function defaultRegion(
  options: Pick<StoreOptions, 'profile'>,
): Promise<string | undefined> {
  silenceVersionWarning();
  const { profile } = options;
  const client = new S3Client({ ...(profile === undefined ? {} : { profile }), logger: quiet });
  try {
    return await client.config.region();
  } catch {
    // "Region is missing" has neither class nor code. A configuration file that cannot be read lands
    // here too; the credentials come from the same file, so it is reported when they are fetched.
    return undefined;
  } finally {
    client.destroy();
  }
}

/** The endpoint asked for by option or by AWS's variables; undefined for AWS itself. */
export function endpointOf(options: Pick<StoreOptions, 'endpointUrl'>): string | undefined {
  return (
    options.endpointUrl ?? process.env['AWS_ENDPOINT_URL_S3'] ?? process.env['AWS_ENDPOINT_URL']
  );
}

/**
 * Whether the bucket has to go into the path, where no option says so: a host that is an address or
 * a single label (`localhost`, a container's name) has no names below it.
 */
export function wantsPathStyle(endpointUrl: string | undefined): boolean {
  if (endpointUrl === undefined || !URL.canParse(endpointUrl)) return false;
  const { hostname } = new URL(endpointUrl);
  const bare = hostname.replace(/^\[|\]$/g, '');
  if (isIP(bare) !== 0 || !bare.includes('.') || bare.endsWith('.localhost')) return true;
  // AWS has a name for every bucket. Others often serve buckets below their host, but have no
  // wildcard certificate or DNS record for it; all of them take the bucket in the path.
  return !isAwsHost(bare);
}

/** Whether a host is one of AWS's own. */
export function isAwsHost(hostname: string): boolean {
  return /\.(?:amazonaws\.com(?:\.cn)?|amazonaws\.(?:eu|scloud)|api\.aws)$/.test(hostname);
}
