/**
 * The S3 endpoint of a benchmark, and what is in its bucket: put there before a row, checked and
 * cleared away after a measurement, all without the link in between.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  CopyObjectCommand,
  CreateBucketCommand,
  GetObjectCommand,
  S3Client,
  S3ServiceException,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { Child } from '../../lib/demo/child.js';
import type { EndpointOptions } from '../../lib/endpoint/endpoint.js';
import { Bucket, inParallel } from '../support/bucket.js';
import { bytesOf, check, type Content } from './content.js';

/** Where a bucket is, and the key to it. */
export interface Place {
  readonly url: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface NamedContent extends Content {
  readonly key: string;
}

const endpointProgram = fileURLToPath(new URL('endpoint-process.js', import.meta.url));
const listening = /^listening at (.*)$/m;

/** The SDK as anybody uses it. */
export function clientConfig(place: Place): S3ClientConfig {
  return { endpoint: place.url, credentials: place, region: 'us-east-1', forcePathStyle: true };
}

export class Storage {
  readonly place: Place;
  /** whether entity tags are not the MD5 of objects sent in one piece */
  readonly hasRandomTags: boolean;
  /** processes of the server; none where they are not known */
  readonly pids: readonly number[];
  readonly #bucket: Bucket;
  readonly #close: () => Promise<void>;
  readonly #present = new Set<string>();

  private constructor(place: Place, pids: readonly number[], close?: () => Promise<void>) {
    this.place = place;
    this.pids = pids;
    this.hasRandomTags = close !== undefined;
    this.#bucket = new Bucket(new S3Client(clientConfig(place)), place.bucket);
    this.#close = close ?? (() => Promise.resolve());
  }

  /** An endpoint that is there already; the bucket is made where it is missing. */
  static async at(place: Place, pids: readonly number[]): Promise<Storage> {
    const storage = new Storage(place, pids);
    try {
      await storage.#bucket.client.send(new CreateBucketCommand({ Bucket: place.bucket }));
    } catch (error) {
      const isThere = error instanceof S3ServiceException && /^Bucket/.test(error.name);
      if (!isThere) throw error;
    }
    return storage;
  }

  /** The embedded endpoint, its objects in a directory of its own below `parent`. */
  static async embedded(parent: string): Promise<Storage> {
    const credentials = { accessKeyId: 'AKIABENCH', secretAccessKey: 'secret-of-the-bench' };
    const bucket = 'bench';
    const directory = await mkdtemp(join(parent, 's3jail-bench-objects-'));
    const options: EndpointOptions = {
      ...{ directory, credentials: [credentials], buckets: [bucket] },
      // Nothing of the endpoint's own shall be the limit.
      ...{ fsync: false, etag: 'random' },
    };
    const child = await Child.start(process.execPath, [endpointProgram], {
      env: { ...process.env, BENCH_ENDPOINT: JSON.stringify(options) },
    });
    await child.untilSaid(listening);
    const url = listening.exec(child.stderr)?.[1] ?? '';
    return new Storage({ url, bucket, ...credentials }, [child.pid], async () => {
      await child.stop();
      await rm(directory, { recursive: true });
    });
  }

  /** Makes objects that are not there yet. */
  async provide(wanted: Iterable<NamedContent>): Promise<void> {
    const missing = [...wanted].filter(({ key }) => !this.#present.has(key));
    await inParallel(16, missing, async ({ key, ...content }) => {
      await this.#bucket.put(key, bytesOf(content));
      this.#present.add(key);
    });
  }

  /** Removes what `provide` made whose key begins so. */
  async withdraw(prefix: string): Promise<void> {
    const keys = [...this.#present].filter((key) => key.startsWith(prefix));
    await inParallel(16, keys, (key) => this.#bucket.delete(key));
    for (const key of keys) this.#present.delete(key);
  }

  async copy(from: string, to: string): Promise<void> {
    const { name, client } = this.#bucket;
    const CopySource = `${name}/${from}`;
    await client.send(new CopyObjectCommand({ Bucket: name, Key: to, CopySource }));
  }

  /** @throws Error where an object is missing, or holds other bytes */
  async verify(expected: Iterable<NamedContent>): Promise<void> {
    const { name, client } = this.#bucket;
    await inParallel(8, [...expected], async ({ key, ...content }) => {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: name, Key: key }));
      await check(Body as AsyncIterable<Uint8Array>, content);
    });
  }

  keys(prefix: string): Promise<string[]> {
    return this.#bucket.keys(prefix);
  }

  /** Removes all objects whose key begins so. */
  async clear(prefix: string): Promise<void> {
    await inParallel(16, await this.keys(prefix), (key) => this.#bucket.delete(key));
  }

  async close(): Promise<void> {
    this.#bucket.client.destroy();
    await this.#close();
  }
}
