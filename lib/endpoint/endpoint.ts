/**
 * A small S3 endpoint for one machine: strict as AWS is, objects in a folder, nothing but node:http.
 *
 * For `s3jail demo`, for tests and for measurements. Not for the open network: its owner's
 * secrets are in memory in clear, and nothing limits what a client with a key may use up.
 */
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { newBucketRecord, isBucketName, type BucketOptions } from './handlers/bucket-handlers.js';
import { Identities, type AccessKey, type SessionCredentials } from './access/identity.js';
import { ObjectFolder } from './storage/object-folder.js';
import { Front } from './server.js';
import type { Role, Service, SizeLimits } from './service.js';

const defaultLimits: SizeLimits = {
  minPart: 5 * 1024 * 1024,
  maxPut: 5 * 1024 * 1024 * 1024,
  maxCopy: 5 * 1024 * 1024 * 1024,
};

export interface EndpointOptions {
  /** where objects are kept; made if absent; for one process at a time */
  readonly directory: string;
  /** 127.0.0.1 if absent */
  readonly host?: string;
  /** a free one if absent or 0 */
  readonly port?: number;
  readonly credentials: readonly AccessKey[];
  /** made if they are not there yet */
  readonly buckets?: readonly (string | BucketOptions)[];
  /** us-east-1 if absent */
  readonly region?: string;
  /** 12 digits; what x-amz-expected-bucket-owner is compared with */
  readonly accountId?: string;
  /** host names below which the first labels name a bucket */
  readonly domains?: readonly string[];
  /** `random` leaves out MD5, for measurements */
  readonly etag?: 'md5' | 'random';
  /** false: survives kill -9 but not a power cut */
  readonly fsync?: boolean;
  readonly limits?: Partial<SizeLimits>;
  /**
   * refuse parts with a checksum in uploads that were created without one, as AWS does; false, as
   * other services: take and verify them
   */
  readonly strictPartSums?: boolean;
  /** roles that can be assumed; any if absent */
  readonly roles?: readonly Role[];
  /** how long sessions live, whatever the caller asks for */
  readonly sessionMs?: number;
  /** for https */
  readonly tls?: { readonly key: string; readonly cert: string };
  /** the clock, milliseconds since the epoch */
  readonly now?: () => number;
  /** hears of failures that clients see as InternalError */
  readonly onInternalError?: (error: unknown) => void;
}

/** An open multipart upload. */
export interface OpenUpload {
  readonly bucket: string;
  readonly key: string;
  readonly uploadId: string;
  /** numbers of the parts it has, ascending */
  readonly parts: readonly number[];
}

export interface Endpoint {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly region: string;
  /** Replaces all access keys; sessions of keys that are gone end. */
  setCredentials(credentials: readonly AccessKey[]): void;
  /** Temporary credentials of an access key, for whoever hands such out. @throws S3Error */
  startSession(accessKeyId: string, lifetimeMs: number): SessionCredentials;
  /** Multipart uploads neither completed nor aborted. */
  openUploads(): OpenUpload[];
  /** Keys of a bucket in S3's order. @throws S3Error NoSuchBucket */
  keys(bucket: string): string[];
  /** Ends connections, waits for the disk. */
  close(): Promise<void>;
}

/**
 * Starts an endpoint.
 * @throws Error where a bucket name is invalid, the folder is damaged or the port taken
 */
export async function startEndpoint(options: EndpointOptions): Promise<Endpoint> {
  const onError = options.onInternalError ?? (() => undefined);
  const folder = await ObjectFolder.open(options.directory, {
    fsync: options.fsync ?? true,
    onError,
  });
  const accountId = options.accountId ?? '123456789012';
  const service: Service = {
    folder,
    identities: new Identities(options.credentials, accountId),
    region: options.region ?? 'us-east-1',
    accountId,
    domains: options.domains ?? ['s3.localhost', 's3.localtest', 'localhost'],
    limits: { ...defaultLimits, ...options.limits },
    etag: options.etag ?? 'md5',
    strictPartSums: options.strictPartSums ?? false,
    roles: options.roles,
    sessionMs: options.sessionMs,
    now: options.now ?? Date.now,
  };
  try {
    await makeBuckets(service, options.buckets ?? []);
    const front = new Front(service, onError);
    const server = createServer(front, options);
    await listen(server, options);
    return makeEndpoint({ service, front, server }, options);
  } catch (error) {
    await folder.close();
    throw error;
  }
}

async function makeBuckets(
  service: Service,
  buckets: readonly (string | BucketOptions)[],
): Promise<void> {
  for (const given of buckets) {
    const wanted = typeof given === 'string' ? { name: given } : given;
    if (!isBucketName(wanted.name)) throw new Error(`${wanted.name} is no bucket name`);
    const existing = service.folder.buckets.get(wanted.name)?.record;
    if (existing !== undefined && typeof given === 'string') continue;
    const createdMs = existing?.createdMs ?? service.now();
    await service.folder.setBucket({ ...newBucketRecord(service, wanted), createdMs });
  }
}

function createServer(front: Front, { tls }: EndpointOptions): Server {
  const settings = { keepAliveTimeout: 60_000, requestTimeout: 0, noDelay: true };
  const server =
    tls === undefined ? createHttpServer(settings) : createHttpsServer({ ...settings, ...tls });
  server.on('request', (request, response) => front.answer(request, response, false));
  server.on('checkContinue', (request, response) => front.answer(request, response, true));
  return server;
}

function listen(server: Server, { port = 0, host = '127.0.0.1' }: EndpointOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

interface Parts {
  readonly service: Service;
  readonly front: Front;
  readonly server: Server;
}

function makeEndpoint({ service, front, server }: Parts, options: EndpointOptions): Endpoint {
  // A server listening on a port has an AddressInfo.
  const { port } = server.address() as AddressInfo;
  const scheme = options.tls === undefined ? 'http' : 'https';
  return {
    url: `${scheme}://${options.host ?? '127.0.0.1'}:${port}`,
    region: service.region,
    setCredentials: (credentials) => service.identities.setKeys(credentials),
    startSession: (accessKeyId, lifetimeMs) => {
      const arn = `arn:aws:sts::${service.accountId}:assumed-role/${accessKeyId}/session`;
      const expiresMs = service.now() + lifetimeMs;
      return service.identities.startSession({ by: accessKeyId, arn, expiresMs });
    },
    openUploads: () =>
      [...service.folder.uploads.values()].map(({ record, parts }) => ({
        bucket: record.bucket,
        key: record.key,
        uploadId: record.uploadId,
        parts: [...parts.keys()].sort((a, b) => a - b),
      })),
    keys: (name) => {
      const step = service.folder.bucket(name).keys.walk(() => true);
      const keys: string[] = [];
      for (let key = step(); key !== undefined; key = step()) keys.push(key);
      return keys;
    },
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
      await front.settle();
      await service.folder.close();
    },
  };
}
