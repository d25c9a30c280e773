/**
 * What was told of objects lately and is asked for again soon: their storage classes, so that a rename
 * need not ask, and whole answers to HEAD, for the copy with other metadata that comes right after one.
 */
import type { HeadObjectCommandOutput } from '@aws-sdk/client-s3';
import { LRUCache } from 'lru-cache';

import type { Key } from '../path.js';
import type { CopySource, ETag, ObjectInfo, Stored } from '../store.js';
import { entityTag } from './object-info.js';

const rememberedClasses = 20_000;
const rememberedHeads = { max: 500, ttl: 5_000 };

export class Remembered {
  readonly #classes = new LRUCache<string, { etag: ETag; storageClass: string }>({
    max: rememberedClasses,
  });
  readonly #heads = new LRUCache<string, HeadObjectCommandOutput>(rememberedHeads);

  note({ key, etag, storageClass }: ObjectInfo): void {
    this.#classes.set(key, { etag, storageClass: storageClass ?? 'STANDARD' });
  }

  noteHead(key: Key, output: HeadObjectCommandOutput): void {
    this.#heads.set(key, output);
  }

  /** What was just written. Returns it. */
  noteWritten(key: Key, stored: Stored, storageClass: string | undefined): Stored {
    this.#classes.set(key, { etag: stored.etag, storageClass: storageClass ?? 'STANDARD' });
    // The same bytes have the same ETag again, whatever is said of them now.
    this.#heads.delete(key);
    return stored;
  }

  /** The class of a version, if it is known. */
  classOf({ key, etag }: CopySource): string | undefined {
    const known = this.#classes.get(key);
    return known?.etag === etag ? known.storageClass : undefined;
  }

  /** The answer to a HEAD of a version a moment ago. */
  headOf({ key, etag }: Pick<CopySource, 'key' | 'etag'>): HeadObjectCommandOutput | undefined {
    const found = this.#heads.get(key);
    return entityTag(found?.ETag) === etag ? found : undefined;
  }
}
