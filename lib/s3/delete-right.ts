/**
 * Whether objects may be deleted, known before anything is copied that a refused DELETE would leave at
 * both names, the target overwritten.
 *
 * Any DELETE tells: that of the scratch object which conditional-writes.ts tries conditions on, and
 * those of every day. Where none has told, or one was refused, a key is deleted that nobody ever had,
 * beside the one in question: policies are made for prefixes. (A DELETE of the object itself under a
 * condition that cannot hold would be no question everywhere: MinIO ignores the condition.) A key
 * whose own DELETE was refused is remembered for a while, since a policy may be about it alone.
 */
import { DeleteObjectCommand } from '@aws-sdk/client-s3';
import { LRUCache } from 'lru-cache';

import { isStoreError } from '../errors.js';
import type { StoreError } from '../errors.js';
import type { Key } from '../path.js';
import type { Connection } from './connection/connection.js';
import { scratchKey } from './scratch-object.js';

/** Refusals of single keys; after that long the answer may be another one. */
const remembered = { max: 1000, ttl: 60_000 };

export class DeleteRight {
  readonly #connection: Connection;
  readonly #refused = new LRUCache<string, StoreError>(remembered);
  #isGranted = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Sends a DELETE, and notes whether it was allowed. @throws StoreError */
  async noted(key: string, send: () => Promise<unknown>): Promise<void> {
    try {
      await send();
    } catch (error) {
      if (isStoreError(error, 'denied')) {
        this.#isGranted = false;
        this.#refused.set(key, error);
      }
      throw error;
    }
    this.#isGranted = true;
    this.#refused.delete(key);
  }

  /** @throws StoreError `denied` where the object at `key` could not be deleted */
  async require(key: Key): Promise<void> {
    const refusal = this.#refused.get(key);
    if (refusal !== undefined) throw refusal;
    if (this.#isGranted) return;
    const scratch = scratchKey(key.slice(0, key.lastIndexOf('/') + 1));
    const command = new DeleteObjectCommand(this.#connection.at(scratch));
    try {
      await this.noted(scratch, () => this.#connection.send(command, { key: scratch }));
    } catch (error) {
      // Some say that there is nothing to delete: then it was no matter of rights.
      if (!isStoreError(error, 'notFound')) throw error;
    }
  }
}
