/** What the store's laws have in common: the setting of a case, and content to store and read. */
import { randomBytes } from 'node:crypto';
import type { Test } from 'tap';
import '../support/no-jitter.js';
import { isStoreError } from '../../lib/errors.js';
import type { StoreErrorDetail, StoreErrorKind } from '../../lib/errors.js';
import type { LogFields } from '../../lib/log.js';
import { normalisePrefix } from '../../lib/path.js';
import type { Key } from '../../lib/path.js';
import type { StoreOptions } from '../../lib/s3/connection/client.js';
import { S3Store } from '../../lib/s3/s3-store.js';
import type { ETag } from '../../lib/store.js';
import type { Bucket } from '../support/bucket.js';
import type { FaultProxy } from '../support/fault-proxy.js';
import type { TestServer } from '../support/servers.js';
import { mebibyte } from '../support/sizes.js';
import type { Deviations } from './store-deviations.js';

/** An ETag that nothing has. */
export const otherTag = '"00000000000000000000000000000000"' as ETag;

/** What a case works with: one server, one bucket. */
export interface LawSetup {
  readonly server: TestServer;
  readonly bucket: Bucket;
  readonly proxy: FaultProxy;
  readonly deviations: Deviations;
  /**
   * whether to try the client's part too: faults that no server ever hears of. Once is enough, on the
   * embedded endpoint; each further server is asked what depends on its answers.
   */
  readonly isClientTried: boolean;
  /** a store below a prefix of its own, through the proxy, closed with the test */
  makeStore(t: Test, options?: Partial<StoreOptions>): LawStore;
}

/** A store with what it logged. */
export interface LawStore {
  readonly store: S3Store;
  readonly prefix: string;
  readonly warnings: readonly string[];
}

export function makeStore(
  t: Test,
  place: { server: TestServer; proxy: FaultProxy },
  options: Partial<StoreOptions> = {},
): LawStore {
  const warnings: string[] = [];
  const keep = (_fields: LogFields, message: string): void => void warnings.push(message);
  const ignore = (): void => undefined;
  const prefix = normalisePrefix(`laws/${randomBytes(4).toString('hex')}`);
  const store = new S3Store(
    {
      bucket: place.server.bucket.name,
      prefix,
      endpointUrl: place.proxy.url,
      credentials: place.server.credentials,
      partSize: 5 * mebibyte,
      uploadConcurrency: 3,
      timeoutMs: 20_000,
      patienceMs: 0,
      copyThreshold: 6 * mebibyte,
      ...options,
    },
    { error: keep, warn: keep, info: ignore, debug: ignore },
  );
  t.teardown(() => {
    place.proxy.clear();
    store.close();
  });
  return { store, prefix: options.prefix ?? prefix, warnings };
}

export function key(text: string): Key {
  return text as Key;
}

export function bytes(text: string): readonly Uint8Array[] {
  return [Buffer.from(text)];
}

/** Bytes that are the same each time and unlike their neighbours. */
export function pattern(size: number, seed = 1): Buffer {
  const buffer = Buffer.allocUnsafe(size);
  let state = seed;
  for (let at = 0; at + 4 <= size; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    buffer.writeUInt32LE(state, at);
  }
  buffer.fill(seed, size - (size % 4));
  return buffer;
}

/** All bytes of a body. */
export async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** The whole of an object, by GET. */
export async function read(store: S3Store, name: string): Promise<Buffer> {
  return collect((await store.get(key(name))).body);
}

/** A source as upload takes it. */
export function sourceOf(content: Buffer) {
  return {
    size: content.length,
    read: (into: Uint8Array, offset: number): Promise<void> => {
      content.copy(into, 0, offset, offset + into.length);
      return Promise.resolve();
    },
  };
}

/** Those of the names that the server holds. */
export function storable({ deviations }: LawSetup, names: readonly string[]): string[] {
  const { lostNames, longestSegment } = deviations;
  return names.filter(
    (name) =>
      !lostNames.includes(name) &&
      name.split('/').every((segment) => Buffer.byteLength(segment) <= longestSegment),
  );
}

/** What a rejection has to be, as far as it matters. */
export type WantedFailure = Partial<Pick<StoreErrorDetail, 'code' | 'key' | 'status'>> & {
  readonly kind: StoreErrorKind;
};

/** `promise` rejects with a StoreError of this kind. */
export async function fails(
  t: Test,
  promise: Promise<unknown>,
  wanted: WantedFailure,
  what = 'rejected',
): Promise<void> {
  const end = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (isStoreError(end)) t.match(end, wanted, `${what}: ${end.message}`);
  else t.fail(`${what}: wanted ${wanted.kind}`, { found: end });
}
