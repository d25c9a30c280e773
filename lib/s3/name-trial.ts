/**
 * Names that an endpoint takes for others, found out before anything is written under one.
 *
 * Servers that keep objects as files hold not every name that S3 does, and some do not say so: a
 * backslash is a slash (SeaweedFS), control characters come back as U+FFFD (versitygw), an ending of
 * the server's own is taken off (MinIO). What was written under such a name would be another object, or
 * be seen by nobody. So before the first write to an endpoint other than AWS of a name with any of
 * these, a scratch object with the same is written and listed: `.s3jail-probe-…`, empty, gone right
 * afterwards. Names that are refused outright need no trial.
 */
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { LRUCache } from 'lru-cache';

import { StoreError, isStoreError } from '../errors.js';
import type { Key } from '../path.js';
import type { Connection } from './connection/connection.js';
import type { ListPages } from './list-pages.js';
import { scratchKey, withScratch } from './scratch-object.js';
import { newObjectInput } from './write-input.js';

/** Sorts of names remembered; an hour, because a server may be another one after an update. */
const remembered = { max: 200, ttl: 3_600_000 };

export class NameTrial {
  readonly #connection: Connection;
  readonly #pages: ListPages;
  readonly #known = new LRUCache<string, Promise<boolean>>(remembered);

  constructor(connection: Connection, pages: ListPages) {
    this.#connection = connection;
    this.#pages = pages;
  }

  /** @throws StoreError `badName` for a key that the endpoint would take for another one */
  async refuse(key: Key): Promise<void> {
    const sort = oddPartOf(key);
    if (sort === '' || this.#connection.isAws) return;
    let known = this.#known.get(sort);
    if (known === undefined) {
      known = this.#try(sort);
      this.#known.set(sort, known);
    }
    try {
      if (await known) return;
    } catch (error) {
      // No permission, or no connection: asked again next time.
      if (!isStoreError(error)) throw error;
      this.#known.delete(sort);
      this.#connection.log.debug({ key, error: error.message }, 'cannot try a name');
      return;
    }
    const message = `${JSON.stringify(key)}: the endpoint holds no names with ${JSON.stringify(sort)}`;
    throw new StoreError('badName', message, { action: 'PutObject', key });
  }

  /** @returns whether a name with this comes back as it is */
  async #try(sort: string): Promise<boolean> {
    const scratch = scratchKey();
    const key = `${scratch}${sort}` as Key;
    const at = this.#connection.at(key);
    return await withScratch(this.#connection, key, {
      work: () => this.#comesBack(key, { sort, scratch }),
      remove: () => this.#connection.send(new DeleteObjectCommand(at), { key }),
    });
  }

  async #comesBack(key: Key, { sort, scratch }: { sort: string; scratch: Key }): Promise<boolean> {
    const written = newObjectInput({ ...this.#connection.options, storageClass: undefined }, {});
    const at = this.#connection.at(key);
    try {
      await this.#connection.send(
        new PutObjectCommand({ ...at, ...written, Body: Buffer.alloc(0) }),
        { key },
      );
      const { objects } = await this.#pages.page({ prefix: scratch, oneLevel: false });
      const isHeld = objects.some((found) => found.key === key);
      if (!isHeld) {
        this.#connection.log.warn(
          { with: sort },
          'the endpoint takes names with this for others; they are refused',
        );
      }
      return isHeld;
    } catch (error) {
      if (isStoreError(error, 'badName', 'nameTooLong')) return false;
      throw error;
    }
  }
}

/** What makes a name odd: its characters, each once, and an ending. */
function oddPartOf(key: Key): string {
  const characters = new Set(key.match(/[\u0001-\u001f\u007f\\]/g) ?? []);
  const ending = /__XLDIR__(?=\/|$)/.exec(key)?.[0] ?? '';
  return (
    [...characters]
      .sort()
      .map((character) => `${character}x`)
      .join('') + ending
  );
}
