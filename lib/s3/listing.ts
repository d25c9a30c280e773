/**
 * Pages of a listing, by whichever version of the request the endpoint knows.
 *
 * ListObjectsV2 is asked first. An endpoint that refuses it is asked by ListObjects, and so is one that
 * does not look at `list-type=2` and answers as to version 1: without a count of keys, and without a
 * token for the rest (S3 API reference, ListObjects). What was found is remembered for a time, and until
 * it is refused in its turn: another gateway may stand behind the name by then. Pages always have the form
 * of version 2; the token of one that came by version 1 is a marker.
 */
import { ListObjectsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import type {
  ListObjectsCommandOutput,
  ListObjectsV2CommandInput,
  ListObjectsV2CommandOutput,
} from '@aws-sdk/client-s3';

import { Limitation } from '../limitation.js';
import type { SendCommand } from './connection/commands.js';
import type { Connection } from './connection/connection.js';
import { sortsAfter } from '../path.js';
import { decodedName } from './object-info.js';
import { toStoreError } from './connection/s3-errors.js';

export class Listings {
  readonly #connection: Connection;
  /** version 2 is not known */
  readonly #older: Limitation;
  #isProven = false;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#older = new Limitation(connection.options.clock);
  }

  /** What is known so far, in words. */
  describe(): string {
    if (this.#older.isSuspected) return 'ListObjects (version 1)';
    const isKnown = this.#isProven || this.#connection.isAws;
    return isKnown ? 'ListObjectsV2' : 'ListObjectsV2, not refused yet';
  }

  /**
   * One page.
   * @throws what `send` throws
   */
  async page(
    query: ListObjectsV2CommandInput,
    send: SendCommand,
  ): Promise<ListObjectsV2CommandOutput> {
    const goesOn = query.ContinuationToken !== undefined && this.#older.isSuspected;
    if (this.#older.holds || goesOn) {
      const older = await this.#tryByMarker(query, send);
      if (older !== undefined) return older;
    }
    let page: ListObjectsV2CommandOutput;
    try {
      page = await send(new ListObjectsV2Command(query));
    } catch (error) {
      if (this.#connection.isAws || !isRefusal(error)) throw error;
      const older = await this.#tryByMarker(query, send);
      if (older === undefined) throw error;
      return older;
    }
    const isOfVersion2 = page.KeyCount !== undefined || this.#connection.isAws;
    if (isOfVersion2) {
      this.#isProven = true;
      this.#older.lift();
    }
    if (isOfVersion2 || !mayBeOfVersion1(page, query)) return page;
    return (await this.#tryByMarker(query, send)) ?? page;
  }

  /** @returns undefined where the endpoint does not do that either */
  async #tryByMarker(
    query: ListObjectsV2CommandInput,
    send: SendCommand,
  ): Promise<ListObjectsV2CommandOutput | undefined> {
    let page: ListObjectsV2CommandOutput;
    try {
      page = await pageByMarker(query, send);
    } catch (error) {
      // Then what came of version 2 is what there is to tell.
      if (isRefusal(error)) return undefined;
      throw error;
    }
    if (this.#older.note()) {
      this.#connection.log.info({}, 'the endpoint does not know ListObjectsV2; using ListObjects');
    }
    return page;
  }
}

/** Of the SDK's errors, as verify-bucket.ts gets them, and of the store's. */
function isRefusal(error: unknown): boolean {
  const { kind, status } = toStoreError(error, { action: 'ListObjectsV2' });
  // Credentials that have expired are 400 too.
  return kind !== 'denied' && (status === 400 || kind === 'unsupported');
}

/** Whether it matters, and cannot be seen, that the request was understood. */
function mayBeOfVersion1(
  page: ListObjectsV2CommandOutput,
  query: ListObjectsV2CommandInput,
): boolean {
  if (query.StartAfter !== undefined) return true;
  return page.IsTruncated === true && page.NextContinuationToken === undefined;
}

async function pageByMarker(
  query: ListObjectsV2CommandInput,
  send: SendCommand,
): Promise<ListObjectsV2CommandOutput> {
  const { ContinuationToken: token, StartAfter: after, ...common } = query;
  const Marker = token ?? after;
  const answer = await send(
    new ListObjectsCommand({ ...common, ...(Marker === undefined ? {} : { Marker }) }),
  );
  const next = answer.IsTruncated === true ? nextMarker(answer) : undefined;
  const isAhead = next !== undefined && (Marker === undefined || sortsAfter(next, Marker));
  return {
    ...answer,
    // A marker that leads nowhere new would be followed for ever.
    ...(isAhead ? { NextContinuationToken: next } : {}),
  };
}

/** Told by S3 only where there is a delimiter; otherwise, and elsewhere, it is the last name. */
function nextMarker(answer: ListObjectsCommandOutput): string | undefined {
  const name = (text: string | undefined): string | undefined =>
    answer.EncodingType === 'url' ? decodedName(text) : text;
  const told = name(answer.NextMarker);
  if (told !== undefined && told !== '') return told;
  const key = name(answer.Contents?.at(-1)?.Key);
  const prefix = name(answer.CommonPrefixes?.at(-1)?.Prefix);
  if (key === undefined || prefix === undefined) return key ?? prefix;
  return sortsAfter(prefix, key) ? prefix : key;
}
