/**
 * DeleteObject, of one version too where the endpoint knows that condition (MinIO, Ceph 16 and Garage
 * ignore it and delete; others refuse it even where it holds).
 */
import { DeleteObjectCommand } from '@aws-sdk/client-s3';

import { isStoreError } from '../errors.js';
import type { StoreError } from '../errors.js';
import { Limitation } from '../limitation.js';
import type { Key } from '../path.js';
import type { ETag, ObjectInfo } from '../store.js';
import { conditionFailed } from './conditional-writes.js';
import type { ConditionalWrites } from './conditional-writes.js';
import type { Connection } from './connection/connection.js';
import type { DeleteRight } from './delete-right.js';
import { proveGone } from './evidence.js';
import { isAbsent, isInDoubt } from './settle.js';

export interface DeleteOptions {
  readonly ifMatch?: ETag;
  readonly signal?: AbortSignal;
}

export interface DeleterParts {
  readonly connection: Connection;
  readonly conditions: ConditionalWrites;
  readonly right: DeleteRight;
  /** for questions about an object, or whether one is there */
  readonly store: Parameters<typeof isAbsent>[0] & {
    head(key: Key, signal?: AbortSignal): Promise<ObjectInfo>;
  };
}

export class Deleter {
  readonly #parts: DeleterParts;
  /** the endpoint refuses If-Match on DeleteObject even where it holds, or does not know it */
  readonly #isPlain: Limitation;

  constructor(parts: DeleterParts) {
    this.#parts = parts;
    this.#isPlain = new Limitation(parts.connection.options.clock);
  }

  /** Whether conditions are kept, in words. */
  describe(): string {
    return this.#isPlain.isSuspected || this.#parts.conditions.deletesAnyway
      ? 'not kept'
      : 'not refused yet';
  }

  /** @throws StoreError; not where nothing is there */
  async delete(key: Key, options: DeleteOptions): Promise<void> {
    const { connection, conditions, right, store } = this.#parts;
    const { ifMatch, signal } = options;
    const at = connection.at(key);
    const input = ifMatch === undefined || this.#isPlain.holds ? at : { ...at, IfMatch: ifMatch };
    if (ifMatch !== undefined && conditions.deletesAnyway) {
      await this.#refuseOther(key, ifMatch, signal);
    }
    try {
      const command = new DeleteObjectCommand(input);
      await right.noted(key, async () => {
        proveGone('DeleteObject', key, await connection.send(command, { key, signal }));
      });
      if (input !== at) this.#isPlain.lift();
    } catch (error) {
      if (isStoreError(error, 'notFound')) return;
      if (input !== at && isStoreError(error, 'changed', 'unsupported', 'invalid')) {
        await this.#deleteAfterRefusal(key, options, error);
        return;
      }
      if (isInDoubt(error) && (await isAbsent(store, key, error))) return;
      throw error;
    }
  }

  /** Looks first, where the endpoint would not: what is gone in between is gone already. */
  async #refuseOther(key: Key, etag: ETag, signal: AbortSignal | undefined): Promise<void> {
    const found = await this.#versionAt(key, signal);
    if (found !== undefined && found !== etag) throw conditionFailed('DeleteObject', key);
  }

  /** @returns undefined where nothing is */
  async #versionAt(key: Key, signal: AbortSignal | undefined): Promise<ETag | undefined> {
    try {
      return (await this.#parts.store.head(key, signal)).etag;
    } catch (error) {
      if (isStoreError(error, 'notFound')) return undefined;
      throw error;
    }
  }

  /** Tells another version from an endpoint that cannot do conditional deletes. */
  async #deleteAfterRefusal(key: Key, options: DeleteOptions, refusal: StoreError): Promise<void> {
    const found = await this.#versionAt(key, options.signal);
    // Deleted by the first sending of this very request, or by somebody else.
    if (found === undefined) return;
    if (found !== options.ifMatch) throw conditionFailed('DeleteObject', key, refusal);
    this.#isPlain.note();
    await this.delete(key, options);
  }
}
