/**
 * Names that an endpoint does not hold as they are, found out before anything is written under one.
 *
 * Servers that keep objects as files hold not every name that S3 does, and some do not say so:
 * - a name is taken for another: a backslash is a slash (SeaweedFS), control characters come back as
 *   U+FFFD (versitygw), an ending of the server's own is taken off (MinIO). What is written there
 *   replaces another object, and what is read is another object's.
 * - what lies below a directory of the server's own is seen by no listing: `.uploads` and those that
 *   end in `.versions` (SeaweedFS), `.sgwtmp` (versitygw).
 * - an object can be made and never replaced: long names, which leave the server no room for those of
 *   its temporary files (versitygw).
 *
 * So before the first write to an endpoint other than AWS of a name with any of these, a scratch
 * object with the same is written, written over and listed: `.s3jail-probe-…`, empty, gone right
 * afterwards. Reading and deleting try nothing: a name that may be taken for another is there if a
 * listing has it. Names that are refused outright need no trial.
 */
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { LRUCache } from 'lru-cache';

import { StoreError, isStoreError } from '../errors.js';
import type { Key } from '../path.js';
import { listedAt } from '../store.js';
import type { ObjectStore } from '../store.js';
import type { Connection } from './connection/connection.js';
import { scratchKey, withScratch } from './scratch-object.js';
import { newObjectInput } from './write-input.js';

/** Sorts of names remembered; an hour, because a server may be another one after an update. */
const remembered = { max: 200, ttl: 3_600_000 };

/** What makes a name odd, so that it has to be tried. */
interface Oddity {
  /** for messages: names … */
  readonly words: string;
  readonly kind: 'badName' | 'nameTooLong';
  readonly trial: (scratch: Key) => Trial;
}

/** A scratch object as odd as the name. */
interface Trial {
  readonly key: string;
  /** what a listing of `prefix` shows where the name is held: an object or a directory */
  readonly shown: string;
  readonly prefix: string;
  /** what may stay of it where names are folders, beside the object */
  readonly left?: string;
}

export class NameTrial {
  readonly #connection: Connection;
  readonly #store: Pick<ObjectStore, 'list'>;
  /** names that a listing had, which reads need not ask for */
  readonly #listed = new LRUCache<string, true>(remembered);
  /** whether names that are odd like this are held, by words */
  readonly #held = new LRUCache<string, Promise<boolean>>(remembered);

  constructor(connection: Connection, store: Pick<ObjectStore, 'list'>) {
    this.#connection = connection;
    this.#store = store;
  }

  /** Before a write. @throws StoreError `badName` or `nameTooLong` for a key that is not held */
  async requireHeld(key: Key): Promise<void> {
    for (const oddity of [aliasOf(key), hiddenOf(key), lengthOf(key)]) {
      if (oddity !== undefined) await this.#require(key, oddity);
    }
  }

  /** Before a read. @throws StoreError `notFound` where the answer would be about another object */
  async requireListed(key: Key, signal: AbortSignal | undefined): Promise<void> {
    if (await this.isListed(key, signal)) return;
    const message = `HeadObject ${JSON.stringify(key)}: no listing has this name`;
    throw new StoreError('notFound', message, { action: 'HeadObject', key });
  }

  /** Whether what is done to a key that may be taken for another is done to its own object. */
  async isListed(key: Key, signal: AbortSignal | undefined): Promise<boolean> {
    const alias = aliasOf(key);
    if (alias === undefined || this.#connection.isAws) return true;
    const { words } = alias;
    const isListed =
      this.#listed.has(words) ||
      (await this.#known(alias)) === true ||
      (await listedAt(this.#store, key, signal)) !== undefined;
    if (isListed) this.#listed.set(words, true);
    return isListed;
  }

  async #require(key: Key, oddity: Oddity): Promise<void> {
    if (this.#connection.isAws) return;
    const { words, kind } = oddity;
    if (!this.#held.has(words)) this.#held.set(words, this.#try(oddity));
    if ((await this.#known(oddity)) !== false) return;
    const message = `${JSON.stringify(key)}: the endpoint holds no names ${words}`;
    throw new StoreError(kind, message, { action: 'PutObject', key });
  }

  /** @returns undefined where it was not tried, or could not be; then it is tried again next time */
  async #known({ words }: Oddity): Promise<boolean | undefined> {
    try {
      return await this.#held.get(words);
    } catch (error) {
      // No permission, or no connection.
      if (!isStoreError(error)) throw error;
      this.#held.delete(words);
      this.#connection.log.debug({ names: words, error: error.message }, 'cannot try a name');
      return undefined;
    }
  }

  async #try(oddity: Oddity): Promise<boolean> {
    const trial = oddity.trial(scratchKey());
    const key = trial.key as Key;
    const isHeld = await withScratch(this.#connection, key, {
      work: () => this.#comesBack(key, trial),
      remove: async () => {
        await this.#delete(key);
        if (trial.left !== undefined) await this.#delete(trial.left as Key);
      },
    });
    if (!isHeld) {
      this.#connection.log.warn(
        { names: oddity.words },
        'the endpoint does not hold names like this; they are refused',
      );
    }
    return isHeld;
  }

  async #delete(key: Key): Promise<void> {
    await this.#connection.send(new DeleteObjectCommand(this.#connection.at(key)), { key });
  }

  /** @returns whether it can be written, written over and listed */
  async #comesBack(key: Key, { shown, prefix }: Trial): Promise<boolean> {
    const written = newObjectInput({ ...this.#connection.options, storageClass: undefined }, {});
    const input = { ...this.#connection.at(key), ...written, Body: Buffer.alloc(0) };
    try {
      await this.#connection.send(new PutObjectCommand(input), { key });
      await this.#connection.send(new PutObjectCommand(input), { key });
    } catch (error) {
      if (isStoreError(error, 'badName', 'nameTooLong')) return false;
      throw error;
    }
    const page = await this.#store.list({ prefix: prefix as Key, oneLevel: true });
    const names: string[] = [...page.objects.map((found) => found.key), ...page.prefixes];
    return names.includes(shown);
  }
}

/** A name that a server may take for another: characters, each once, and an ending. */
function aliasOf(key: Key): Oddity | undefined {
  const characters = [...new Set(key.match(/[\u0001-\u001f\u007f\\]/g) ?? [])].sort();
  const ending = /__XLDIR__(?=\/|$)/.exec(key)?.[0] ?? '';
  const parts = characters.map((character) => `${character}x`).join('') + ending;
  if (parts === '') return undefined;
  return {
    words: `with ${JSON.stringify(characters.join('') + ending)}`,
    kind: 'badName',
    trial: (scratch) => {
      const name = scratch + parts;
      return { key: name, shown: name, prefix: scratch, left: `${scratch}/` };
    },
  };
}

/** A name below a directory that may be a server's own. */
function hiddenOf(key: Key): Oddity | undefined {
  const [, whole, ending = ''] =
    /(?:^|\/)(?:(\.uploads|\.sgwtmp)|[^/]*(\.versions))\//.exec(key) ?? [];
  if (whole === undefined && ending === '') return undefined;
  return {
    words: `below a directory ${whole ?? `…${ending}`}`,
    kind: 'badName',
    trial: (scratch) => {
      if (whole !== undefined)
        return { key: `${whole}/${scratch}`, shown: `${whole}/`, prefix: whole };
      const directory = `${scratch}${ending}/`;
      return { key: `${directory}x`, shown: directory, prefix: scratch, left: directory };
    },
  };
}

/** Servers that keep objects as files want some of their 255 bytes (versitygw 28). */
const safeNameBytes = 220;

/** A name of an object that may leave no room for a temporary one. */
function lengthOf(key: Key): Oddity | undefined {
  const bytes = Buffer.byteLength(key.slice(key.lastIndexOf('/') + 1));
  if (bytes <= safeNameBytes) return undefined;
  return {
    words: `of ${bytes} bytes`,
    kind: 'nameTooLong',
    trial: (scratch) => {
      const name = scratch.padEnd(bytes, 'x');
      return { key: name, shown: name, prefix: scratch };
    },
  };
}
