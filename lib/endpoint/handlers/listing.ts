/**
 * One page of a listing over sorted keys: prefix, delimiter, position, limit. Pure.
 *
 * Keys and common prefixes come in one order and count alike against the limit. A page that ended
 * with a common prefix is continued after everything below it.
 */
import { compareUtf8, type SortedKeys } from '../storage/sorted-keys.js';

/** Where a listing goes on: after a key, or after all keys that start with a common prefix. */
export interface Position {
  readonly after: string;
  readonly below: boolean;
}

export interface ListRequest {
  readonly prefix: string;
  /** empty for none */
  readonly delimiter: string;
  readonly from: Position | undefined;
  readonly maxKeys: number;
}

export interface Listing {
  readonly keys: readonly string[];
  readonly commonPrefixes: readonly string[];
  /** where the next page starts; undefined on the last */
  readonly next: Position | undefined;
}

export function listKeys(sorted: SortedKeys, request: ListRequest): Listing {
  const { prefix, delimiter, maxKeys } = request;
  const keys: string[] = [];
  const commonPrefixes: string[] = [];
  if (maxKeys === 0) return { keys, commonPrefixes, next: undefined };
  let last: Position | undefined;
  let step = sorted.walk(start(prefix, request.from));
  for (let key = step(); key?.startsWith(prefix) === true; key = step()) {
    if (keys.length + commonPrefixes.length === maxKeys) {
      return { keys, commonPrefixes, next: last };
    }
    const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    if (cut === -1) {
      keys.push(key);
      last = { after: key, below: false };
    } else {
      const common = key.slice(0, cut + delimiter.length);
      commonPrefixes.push(common);
      last = { after: common, below: true };
      step = sorted.walk(isPast(last));
    }
  }
  return { keys, commonPrefixes, next: undefined };
}

function start(prefix: string, from: Position | undefined): (key: string) => boolean {
  if (from === undefined) return (key) => compareUtf8(key, prefix) >= 0;
  const past = isPast(from);
  return (key) => compareUtf8(key, prefix) >= 0 && past(key);
}

function isPast({ after, below }: Position): (key: string) => boolean {
  return (key) => compareUtf8(key, after) > 0 && !(below && key.startsWith(after));
}

/** A position as an opaque continuation token. */
export function encodeToken({ after, below }: Position): string {
  return Buffer.from(`${below ? 'p' : 'k'}${after}`).toString('base64');
}

/** The position of a continuation token, or undefined if it is none. */
export function decodeToken(token: string): Position | undefined {
  const text = Buffer.from(token, 'base64').toString();
  if (Buffer.from(text).toString('base64') !== token) return undefined;
  if (text.startsWith('p')) return { after: text.slice(1), below: true };
  return text.startsWith('k') ? { after: text.slice(1), below: false } : undefined;
}
