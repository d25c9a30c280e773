/**
 * The core without a kernel: a Filesystem over the S3 store, over HTTP through the counting proxy, to
 * an embedded endpoint. Tests call operations as a driver would.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { S3Client } from '@aws-sdk/client-s3';
import type { Test } from 'tap';
import { systemClock, type Clock } from '../../lib/clock.js';
import type { Endpoint, EndpointOptions } from '../../lib/endpoint/endpoint.js';
import { FsError } from '../../lib/errors.js';
import { Filesystem } from '../../lib/filesystem/filesystem.js';
import type { FilesystemSettings } from '../../lib/filesystem/settings.js';
import { silentLog, type Log } from '../../lib/log.js';
import type { HandleId, OpenFlags, Operations, RequestContext } from '../../lib/operations.js';
import { parsePath } from '../../lib/path.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import { openStore } from '../../lib/s3/s3-store.js';
import { Bucket } from './bucket.js';
import { testBucket, testKey, useClient, useEndpoint } from './embedded.js';
import { startFaultProxy } from './fault-proxy.js';
import type { FaultProxy, Misreading, Refusal } from './fault-proxy.js';

export interface Core {
  readonly fs: Filesystem;
  readonly store: S3Store;
  readonly proxy: FaultProxy;
  readonly endpoint: Endpoint;
  /** straight to the endpoint, past the proxy and the prefix */
  readonly client: S3Client;
  readonly bucket: Bucket;
  readonly tempDir: string;
}

export interface CoreOptions {
  readonly prefix?: string;
  readonly settings?: Partial<FilesystemSettings>;
  /** smallest part the endpoint takes, so that composed commits can be tried with few bytes */
  readonly minPart?: number;
  readonly maxAttempts?: number;
  /** for one S3 request */
  readonly requestTimeoutMs?: number;
  /** what the server is to be too simple for */
  readonly refuse?: Refusal;
  /** what the server is not to understand; its bucket has to be open to everybody */
  readonly misread?: Misreading;
  readonly buckets?: EndpointOptions['buckets'];
  /** of another core: this one is another host on the same bucket */
  readonly endpoint?: Endpoint;
  /** the server's date, ms since 1970 */
  readonly serverNow?: () => number;
  /** as of EndpointOptions */
  readonly strictPartSums?: boolean;
  /** bytes; larger objects are copied by parts */
  readonly copyThreshold?: number;
  readonly log?: Log;
  readonly clock?: Clock;
}

export const defaultSettings: Omit<FilesystemSettings, 'tempDir'> = {
  uid: 1000,
  gid: 1000,
  fileMode: 0o644,
  dirMode: 0o755,
  chroot: false,
  readOnly: false,
  utimens: 'refuse',
  interrupted: 'discard',
  renameDir: 'refuse',
  mountId: 'host:/srv/alice',
  // So long that nothing grows old while a busy machine takes its time; for what does, see ManualClock.
  metadataTtlMs: 600_000,
  contentType: true,
  partSize: 8 * 1024 * 1024,
  uploadConcurrency: 4,
  downloadConcurrency: 8,
  memoryLimit: 256 * 1024 * 1024,
  tempLimit: 1024 * 1024 * 1024,
  timeoutMs: 10_000,
};

export async function useCore(t: Test, options: CoreOptions = {}): Promise<Core> {
  const { minPart, prefix = 'alice/', maxAttempts = 3, requestTimeoutMs = 5000 } = options;
  const { log = silentLog, clock = systemClock } = options;
  const { refuse, misread, buckets, serverNow } = options;
  const { copyThreshold, strictPartSums = false } = options;
  const endpoint =
    options.endpoint ??
    (await useEndpoint(t, {
      strictPartSums,
      ...(minPart === undefined ? {} : { limits: { minPart } }),
      ...(buckets && { buckets }),
      ...(serverNow && { now: serverNow }),
    }));
  const proxy = await startFaultProxy({
    target: endpoint.url,
    ...(refuse && { refuse }),
    ...(misread && { misread }),
  });
  t.teardown(() => proxy.close());
  const tempDir = await mkdtemp(join(tmpdir(), 's3jail-core-'));
  t.teardown(() => rm(tempDir, { recursive: true, force: true }));
  const settings: FilesystemSettings = {
    ...defaultSettings,
    tempDir,
    ...(minPart === undefined ? {} : { minPart }),
    ...options.settings,
  };
  const store = await openStore(
    {
      bucket: testBucket,
      prefix,
      endpointUrl: proxy.url,
      region: 'us-east-1',
      forcePathStyle: true,
      partSize: settings.partSize,
      uploadConcurrency: settings.uploadConcurrency,
      timeoutMs: requestTimeoutMs,
      patienceMs: 0,
      maxAttempts,
      copyThreshold,
      homes: settings.homes,
      credentials: testKey,
      clock,
    },
    log,
  );
  t.teardown(() => store.close());
  await store.learnConditions();
  proxy.reset();
  const client = useClient(t, endpoint.url);
  const fs = new Filesystem({ store, settings, log, clock });
  return { fs, store, proxy, endpoint, client, bucket: new Bucket(client, testBucket), tempDir };
}

const nobody: RequestContext = {};

/**
 * Operations with strings and whole buffers, as a program on the mount would see them. As the kernel
 * driver does, it asks for an answer at once first.
 */
export class Program {
  readonly #fs: Operations;

  constructor(fs: Operations) {
    this.#fs = fs;
  }

  async open(path: string, flags: OpenFlags): Promise<HandleId> {
    const at = parsePath(path);
    return this.#fs.openNow(at, flags, nobody) ?? (await this.#fs.open(at, flags, nobody));
  }

  async create(path: string, flags: Partial<OpenFlags> = {}): Promise<HandleId> {
    const all = { access: 'write', exclusive: false, ...flags } as const;
    const at = parsePath(path);
    return this.#fs.createNow(at, all, nobody) ?? (await this.#fs.create(at, all, nobody));
  }

  async write(handle: HandleId, data: Uint8Array | string, offset = 0): Promise<void> {
    const bytes = Buffer.from(data);
    if (!this.#fs.writeNow(handle, bytes, offset))
      await this.#fs.write(handle, bytes, offset, nobody);
  }

  /** close(2): flush, then the last reference goes; a failed flush releases too. */
  async close(handle: HandleId, context: RequestContext = nobody): Promise<void> {
    try {
      if (!this.#fs.flushNow(handle)) await this.#fs.flush(handle, context);
    } finally {
      if (!this.#fs.releaseNow(handle)) await this.#fs.release(handle);
    }
  }

  async put(path: string, data: Uint8Array | string): Promise<void> {
    const exists = await this.exists(path);
    const handle = exists
      ? await this.open(path, { access: 'write', truncate: true })
      : await this.create(path);
    await this.write(handle, data);
    await this.close(handle);
  }

  async get(path: string): Promise<Buffer> {
    const handle = await this.open(path, { access: 'read' });
    try {
      return await this.read(handle);
    } finally {
      await this.close(handle);
    }
  }

  /** Everything from `offset` on, in requests of the kernel's size. */
  async read(handle: HandleId, offset = 0): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    for (let at = offset; ;) {
      const got =
        this.#fs.readNow(handle, at, 131_072, nobody) ??
        (await this.#fs.read(handle, at, 131_072, nobody));
      const length = got.reduce((sum, piece) => sum + piece.length, 0);
      if (length === 0) return Buffer.concat(pieces);
      pieces.push(...got);
      at += length;
    }
  }

  async exists(path: string): Promise<boolean> {
    try {
      await this.stat(path);
      return true;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
      throw error;
    }
  }

  async stat(path: string): ReturnType<Filesystem['getattr']> {
    const at = parsePath(path);
    const known = this.#fs.getattrNow(at);
    if (known === 'absent') throw new FsError('ENOENT', `${path} is known to be absent`);
    return known ?? (await this.#fs.getattr(at, nobody));
  }

  async list(path: string): Promise<string[]> {
    const at = parsePath(path);
    const handle = this.#fs.opendirNow(at, nobody) ?? (await this.#fs.opendir(at, nobody));
    const known = this.#fs.readdirNow(handle, 0, 1_000_000);
    const entries = known ?? (await this.#fs.readdir(handle, 0, 1_000_000));
    const names = entries.map(({ name, attributes }) =>
      attributes.kind === 'directory' ? `${name}/` : name,
    );
    this.#fs.releasedir(handle);
    return names.sort();
  }

  async mkdir(path: string): Promise<void> {
    await this.#fs.mkdir(parsePath(path), nobody);
  }

  async rmdir(path: string): Promise<void> {
    await this.#fs.rmdir(parsePath(path), nobody);
  }

  async unlink(path: string): Promise<void> {
    await this.#fs.unlink(parsePath(path), nobody);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#fs.rename(parsePath(from), parsePath(to), nobody, {});
  }

  async truncate(path: string, size: number): Promise<void> {
    await this.#fs.truncate(parsePath(path), size, nobody);
  }
}
