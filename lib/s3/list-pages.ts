/**
 * Pages of listings as the core may believe them: a page that goes on shows something, what one level
 * shows is one level, and each entry has its attributes.
 *
 * An empty page that is truncated is followed by the next one, since only the end of a listing may say
 * that there is nothing (AWS, Google and MinIO send such pages where much was deleted). What an entry
 * leaves out is asked for by HEAD. Keys below a deeper level, as where the delimiter was ignored, are
 * taken together here. What makes no sense beyond that is refused, because less than there is looks like
 * deleted.
 */
import type { ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';

import { StoreError, isStoreError } from '../errors.js';
import { sortsAfter } from '../path.js';
import type { Key } from '../path.js';
import type { ETag, ListOptions, ListPage, ObjectInfo } from '../store.js';
import type { Connection } from './connection/connection.js';
import type { Listings } from './listing.js';
import { ListingProgress } from './listing-progress.js';
import { decodedName, namesOfAnswer, pageOfAnswer } from './object-info.js';

const action = 'ListObjectsV2';
/** HEADs at a time, where entries lack attributes. */
const concurrency = 16;

export interface ListPagesParts {
  readonly connection: Connection;
  readonly listings: Listings;
  readonly head: (key: Key, signal: AbortSignal | undefined) => Promise<ObjectInfo>;
}

export class ListPages {
  readonly #parts: ListPagesParts;
  readonly #progress = new ListingProgress();
  #isDisorderTold = false;

  constructor(parts: ListPagesParts) {
    this.#parts = parts;
  }

  /** What is known of their order, in words. */
  get order(): string {
    if (this.#progress.isDisordered) return 'not kept';
    return this.#isOrderBelieved ? 'kept' : 'not seen yet';
  }

  /** @throws StoreError `corrupt` for an answer that is no page of this listing, and as `send` does */
  async page(options: ListOptions): Promise<ListPage> {
    const { timeoutMs } = this.#parts.connection.options;
    const endMs = performance.now() + timeoutMs;
    let { from } = options;
    for (;;) {
      const { page, isEmpty } = await this.#one({ ...options, from });
      if (!isEmpty || page.next === undefined) return page;
      from = page.next;
      if (performance.now() > endMs) {
        throw fault(options, `nothing but empty pages for ${timeoutMs / 1000} s`, 'unavailable');
      }
    }
  }

  async #one(options: Position): Promise<{ page: ListPage; isEmpty: boolean }> {
    const answer = await this.#ask(options);
    const { prefix, oneLevel, from } = options;
    const names = namesOfAnswer(answer);
    const { next, ...answered } = pageOfAnswer(
      answer,
      this.#parts.connection.options.prefix,
      prefix,
    );
    this.#refuseOther(answer, options);
    const shown = answered.objects.length + answered.incomplete.length + answered.prefixes.length;
    const all = names.keys.length + names.prefixes.length;
    if (all > 0 && shown === 0 && next === undefined) {
      throw fault(options, 'the answer is about other keys');
    }
    this.#progress.note(`${oneLevel ? '/' : ''}${prefix}`, names, { from, next });
    this.#tellDisorder();
    const { prefixes, ...found } = oneLevel ? oneLevelOf(answered, prefix) : answered;
    const objects = await this.#completed(found, options);
    const isProof = next === undefined ? !this.#progress.isDisordered : this.#isOrderBelieved;
    const page = {
      ...{ objects, prefixes },
      ...(next === undefined ? {} : { next }),
      ...(isProof ? {} : { unordered: true as const }),
    };
    return { page, isEmpty: objects.length + prefixes.length === 0 && (all === 0 || shown > 0) };
  }

  async #ask(options: Position): Promise<ListObjectsV2CommandOutput> {
    const { prefix, oneLevel, maxKeys, from, after, signal } = options;
    const { connection, listings } = this.#parts;
    const mount = connection.options.prefix;
    return await listings.page(
      {
        ...connection.bucketInput,
        Prefix: mount + prefix,
        // XML cannot hold control characters, and S3 keys can.
        EncodingType: 'url',
        ...(oneLevel ? { Delimiter: '/' } : {}),
        ...(maxKeys === undefined ? {} : { MaxKeys: maxKeys }),
        ...(from === undefined ? {} : { ContinuationToken: from }),
        ...(after === undefined || from !== undefined ? {} : { StartAfter: mount + after }),
        ...(connection.isAws ? { OptionalObjectAttributes: ['RestoreStatus'] } : {}),
      },
      (command) => connection.send(command, { key: prefix, signal }),
    );
  }

  /** @throws StoreError where the answer is not whole, or to another question, as out of a cache */
  #refuseOther(answer: ListObjectsV2CommandOutput, options: Position): void {
    const { Contents = [], CommonPrefixes = [], KeyCount = 0 } = answer;
    if (answer.IsTruncated === undefined)
      throw fault(options, 'it is not said whether this is all');
    if (KeyCount > Contents.length + CommonPrefixes.length) {
      throw fault(options, `${KeyCount} entries are announced, and fewer came`);
    }
    const isNamed = [...Contents.map(({ Key }) => Key), ...CommonPrefixes.map((one) => one.Prefix)];
    if (isNamed.includes(undefined)) throw fault(options, 'an entry has no name');
    if (!options.oneLevel && CommonPrefixes.length > 0) {
      throw fault(options, 'keys are grouped, unasked');
    }
    if (CommonPrefixes.some(({ Prefix = '' }) => !/(\/|%2f)$/i.test(Prefix))) {
      throw fault(options, 'keys are grouped by something else than /');
    }
    const asked = this.#parts.connection.options.prefix + options.prefix;
    if (!isEcho(answer.Prefix, asked)) throw fault(options, 'the answer is about another prefix');
  }

  get #isOrderBelieved(): boolean {
    const { isDisordered, isOrderSeen } = this.#progress;
    return isOrderSeen || (this.#parts.connection.isAws && !isDisordered);
  }

  #tellDisorder(): void {
    if (!this.#progress.isDisordered || this.#isDisorderTold) return;
    this.#isDisorderTold = true;
    this.#parts.connection.log.warn(
      {},
      'the endpoint lists names in another order than S3; only whole listings are believed now',
    );
  }

  /** In order, and names that no request could carry in front, where nobody takes them for an end. */
  async #completed(
    { objects, incomplete, unnameable }: Omit<LeveledPage, 'prefixes'>,
    options: Position,
  ): Promise<readonly ObjectInfo[]> {
    const odd = unnameable.map((text) => oddInfo(options.prefix, text));
    if (incomplete.length === 0) return odd.length === 0 ? objects : [...odd, ...objects];
    const found: ObjectInfo[] = [...objects];
    for (let at = 0; at < incomplete.length; at += concurrency) {
      const some = incomplete.slice(at, at + concurrency);
      const heads = await Promise.all(some.map((key) => this.#head(key, options.signal)));
      found.push(...heads.filter((info) => info !== undefined));
    }
    return [...odd, ...found.sort((a, b) => (sortsAfter(a.key, b.key) ? 1 : -1))];
  }

  async #head(key: Key, signal: AbortSignal | undefined): Promise<ObjectInfo | undefined> {
    try {
      return await this.#parts.head(key, signal);
    } catch (error) {
      if (!isStoreError(error, 'notFound')) throw error;
      const text = 'a key that was listed without ETag, size or time is not there any more';
      this.#parts.connection.log.warn({ key }, text);
      return undefined;
    }
  }
}

/** What is listed, and from which token on. */
type Position = Omit<ListOptions, 'from'> & { readonly from: string | undefined };

/** A page with what still has to be asked for. */
type LeveledPage = Pick<
  ReturnType<typeof pageOfAnswer>,
  'objects' | 'prefixes' | 'incomplete' | 'unnameable'
>;

/** One level of a page that may show others: a server that ignores the delimiter shows them all. */
function oneLevelOf(page: LeveledPage, prefix: Key): LeveledPage {
  const isDeeper = (key: string): boolean => key.includes('/', prefix.length);
  const deeper = [...page.objects.map(({ key }) => key), ...page.incomplete].filter(isDeeper);
  if (deeper.length === 0) return page;
  const groups = deeper.map((key) => key.slice(0, key.indexOf('/', prefix.length) + 1));
  return {
    objects: page.objects.filter(({ key }) => !isDeeper(key)),
    incomplete: page.incomplete.filter((key) => !isDeeper(key)),
    prefixes: [...new Set([...page.prefixes, ...groups])].sort((a, b) =>
      sortsAfter(a, b) ? 1 : -1,
    ),
    unnameable: page.unnameable,
  };
}

/** Stands for a key that is no UTF-8: nobody can name it, so nothing else of it matters. */
function oddInfo(prefix: Key, text: string): ObjectInfo {
  return { key: `${prefix}\0${text}` as Key, size: 0, etag: '""' as ETag, mtimeMs: 0 };
}

/** Servers that tell the prefix tell it as it was asked for, encoded or not. */
function isEcho(told: string | undefined, asked: string): boolean {
  if (told === undefined || told === '' || told === asked) return true;
  return [told, decodedName(told)].some(
    (text) => text !== undefined && inXml(text) === inXml(asked),
  );
}

/** As it comes through a document that is not encoded. */
function inXml(text: string): string {
  return text.replaceAll(/[\p{Cc}\ufffd]/gu, '\ufffd').trim();
}

function fault(
  { prefix }: Pick<ListOptions, 'prefix'>,
  what: string,
  kind: 'corrupt' | 'unavailable' = 'corrupt',
): StoreError {
  const message = `${action} ${JSON.stringify(prefix)}: ${what}`;
  return new StoreError(kind, message, { action, key: prefix });
}
