/**
 * DeleteObject, of one version too. MinIO, Ceph 16 and Garage ignore that condition and delete; others
 * refuse it even where it holds. So the object is looked at first wherever the condition is not known to
 * be kept.
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
    return this.#isPlain.isSuspected || this.#parts.conditions.keepsDeletes === false
      ? 'not kept'
      : 'not refused yet';
  }

  /** @throws StoreError; not where nothing is there */
  async delete(key: Key, options: DeleteOptions): Promise<void> {
    const { connection, conditions, right, store } = this.#parts;
    const { ifMatch, signal } = options;
    const at = connection.at(key);
    const isConditional = ifMatch !== undefined && !this.#isPlain.holds;
    const isKept = isConditional && conditions.keepsDeletes === true;
    if (ifMatch !== undefined && !isKept && !(await this.#isStill(key, ifMatch, signal))) return;
    const input = isConditional ? { ...at, IfMatch: ifMatch } : at;
    try {
      const command = new DeleteObjectCommand(input);
      await right.noted(key, async () => {
        proveGone('DeleteObject', key, await connection.send(command, { key, signal }));
      });
      if (isConditional) this.#isPlain.lift();
    } catch (error) {
      if (isStoreError(error, 'notFound')) return;
      if (isConditional && isStoreError(error, 'changed', 'unsupported', 'invalid')) {
        await this.#deleteAfterRefusal(key, { ifMatch, signal }, error);
        return;
      }
      if (isInDoubt(error) && (await isAbsent(store, key, error))) return;
      throw error;
    }
  }

  /**
   * Looks where the endpoint would not, or did not say what it saw.
   * @returns false where nothing is there any more
   * @throws StoreError `changed` where another version is
   */
  async #isStill(
    key: Key,
    etag: ETag,
    signal: AbortSignal | undefined,
    refusal?: StoreError,
  ): Promise<boolean> {
    try {
      const found = await this.#parts.store.head(key, signal);
      if (found.etag === etag) return true;
    } catch (error) {
      if (isStoreError(error, 'notFound')) return false;
      throw error;
    }
    throw conditionFailed('DeleteObject', key, refusal);
  }

  /** Tells another version from an endpoint that cannot do conditional deletes. */
  async #deleteAfterRefusal(
    key: Key,
    { ifMatch, signal }: { ifMatch: ETag; signal: AbortSignal | undefined },
    refusal: StoreError,
  ): Promise<void> {
    // Gone: deleted by the first sending of this very request, or by somebody else.
    if (!(await this.#isStill(key, ifMatch, signal, refusal))) return;
    // AWS means it: somebody is writing there at this moment.
    if (this.#parts.connection.isAws && refusal.kind === 'changed') throw refusal;
    await this.delete(key, signal === undefined ? {} : { signal });
    this.#isPlain.note();
  }
}
