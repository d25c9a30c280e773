/**
 * What S3 says about an object, checked and in the form the core knows.
 *
 * Everything here comes from outside. An answer without an ETag, with a size that is no size or with
 * keys that are not below the prefix is not believed.
 */
import type {
  GetObjectCommandOutput,
  HeadObjectCommandOutput,
  ListObjectsV2CommandOutput,
  _Object,
} from '@aws-sdk/client-s3';

import { StoreError } from '../errors.js';
import { givenTimeName, timeOfText } from '../file-time.js';
import type { Key } from '../path.js';
import type { ETag, ListPage, ObjectInfo } from '../store.js';
import { wholeCrc32Of } from './stored-checksum.js';

/** Classes whose objects have to be restored before they can be read. GLACIER_IR is not one. */
const archiveClasses = new Set(['GLACIER', 'DEEP_ARCHIVE']);

export function isArchiveClass(storageClass: string | undefined): boolean {
  return archiveClasses.has(storageClass ?? '');
}

/** User metadata of the store's own, see s3-store.ts; not shown to the core. */
export const tokenName = 's3jail-upload';

/** User metadata without what the store wrote for itself. */
export function ownMetadata(
  metadata: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  const own = { ...metadata };
  Reflect.deleteProperty(own, tokenName);
  return own;
}

/**
 * An entity tag with its quotes: Ceph leaves them out of CopyObject's answer. A weak one is taken for
 * the strong one it was before a proxy touched the answer (RFC 9110 section 8.8.1); listings, which no
 * proxy touches, go on naming that. MinIO's HEAD of a marker under SSE-C has the tag as it is kept, sealed:
 * the end of that is the one that all else names.
 * @returns undefined where there is none
 */
export function entityTag(text: string | undefined): ETag | undefined {
  if (text !== undefined && /^"[^"]{1,64}"$/.test(text)) return text as ETag;
  const bare = text
    ?.replace(/^(?:W\/)?"|"$/g, '')
    .replace(/^20000f00[0-9a-f]{56}(?=[0-9a-f]{32}$)/, '');
  return bare === undefined || bare === '' ? undefined : (`"${bare}"` as ETag);
}

/** The MD5 in hexadecimal that an entity tag is for an object stored by one PUT, else undefined. */
export function md5OfTag(etag: string): string | undefined {
  return /^"?([0-9a-f]{32})"?$/.exec(etag)?.[1];
}

/** @param size of the whole object, where the answer was to a ranged GET */
export function infoOfAnswer(
  key: Key,
  answer: HeadObjectCommandOutput | GetObjectCommandOutput,
  action: string,
  size = answer.ContentLength,
): ObjectInfo {
  const etag = entityTag(answer.ETag);
  if (etag === undefined || size === undefined || !isSize(size)) {
    throw new StoreError(
      'corrupt',
      `${action} ${JSON.stringify(key)}: no ETag or size in the answer`,
      {
        action,
        key,
      },
    );
  }
  const { StorageClass: storageClass, ContentType: contentType } = answer;
  const metadata = ownMetadata(answer.Metadata);
  const crc32 = wholeCrc32Of(answer);
  return {
    key,
    size,
    etag,
    ...datesOf(answer.LastModified),
    ...(isDefaultClass(storageClass) ? {} : { storageClass }),
    ...(contentType === undefined ? {} : { contentType }),
    metadata,
    archived: isArchived(answer),
    givenTime: timeOfText(metadata[givenTimeName]) ?? 'none',
    ...(crc32 === undefined ? {} : { crc32 }),
  };
}

function isArchived(answer: HeadObjectCommandOutput | GetObjectCommandOutput): boolean {
  const archivedTier = 'ArchiveStatus' in answer && answer.ArchiveStatus !== undefined;
  if (!archivedTier && !isArchiveClass(answer.StorageClass)) return false;
  // `ongoing-request="false", expiry-date="…"` once a restored copy is there.
  return answer.Restore?.includes('ongoing-request="false"') !== true;
}

/** A page, with what its answer shows but does not tell enough of. */
export interface AnsweredPage extends ListPage {
  /** keys without ETag, size or time */
  readonly incomplete: readonly Key[];
  /** names that are no UTF-8, as they were written */
  readonly unnameable: readonly string[];
}

/**
 * One page of a listing, without what is not below `prefix`.
 * @throws StoreError `corrupt` where the answer is no listing, or says that it goes on but not how
 * @param mount the mount's prefix, taken off all keys
 * @param prefix what was listed, relative to it
 */
export function pageOfAnswer(
  answer: ListObjectsV2CommandOutput,
  mount: string,
  prefix: string,
): AnsweredPage {
  mustBeListing(answer);
  const decode = decoderOf(answer);
  const unnameable: string[] = [];
  const relative = (text = ''): string | undefined => {
    const full = decode(text);
    if (full === undefined) unnameable.push(text);
    return full?.startsWith(mount + prefix) === true ? full.slice(mount.length) : undefined;
  };
  const objects: ObjectInfo[] = [];
  const incomplete: Key[] = [];
  for (const entry of answer.Contents ?? []) {
    const key = relative(entry.Key) as Key | undefined;
    if (key === undefined) continue;
    const info = infoOfEntry(key, entry);
    if (info === undefined) incomplete.push(key);
    else objects.push(info);
  }
  const prefixes: string[] = [];
  for (const entry of answer.CommonPrefixes ?? []) {
    const found = relative(entry.Prefix);
    if (found?.endsWith('/') === true) prefixes.push(found);
  }
  return { objects, prefixes, incomplete, unnameable, ...nextOf(answer) };
}

/** All names of an answer, in its order. */
export function namesOfAnswer(answer: ListObjectsV2CommandOutput): {
  keys: string[];
  prefixes: string[];
} {
  const decode = decoderOf(answer);
  const all = (texts: readonly (string | undefined)[]): string[] =>
    texts.map((text = '') => decode(text) ?? '').filter((name) => name !== '');
  return {
    keys: all((answer.Contents ?? []).map(({ Key }) => Key)),
    prefixes: all((answer.CommonPrefixes ?? []).map(({ Prefix }) => Prefix)),
  };
}

/** With encoding-type=url; a server that does not know the parameter does not repeat it. */
function decoderOf(answer: ListObjectsV2CommandOutput): (text: string) => string | undefined {
  return answer.EncodingType === 'url' ? decodedName : (text) => text;
}

/**
 * Any document without the elements of a listing reads as an empty one: the page of a proxy that
 * wants a login, say, would make a full directory look empty.
 */
export function mustBeListing(answer: ListObjectsV2CommandOutput): void {
  if (answer.Name !== undefined || answer.IsTruncated !== undefined) return;
  const action = 'ListObjectsV2';
  throw new StoreError('corrupt', `${action}: the answer is not a listing`, { action });
}

function nextOf(answer: ListObjectsV2CommandOutput): { next?: string } {
  if (answer.IsTruncated !== true) return {};
  const next = answer.NextContinuationToken;
  if (next === undefined || next === '' || next === answer.ContinuationToken) {
    throw new StoreError(
      'corrupt',
      'ListObjectsV2: the listing goes on, but the answer has no way',
      {
        action: 'ListObjectsV2',
      },
    );
  }
  return { next };
}

function infoOfEntry(key: Key, entry: _Object): ObjectInfo | undefined {
  const etag = entityTag(entry.ETag);
  const { StorageClass: storageClass, LastModified: time } = entry;
  if (etag === undefined || !isSize(entry.Size) || time === undefined) return undefined;
  // Restored copies show only where RestoreStatus was asked for; elsewhere HEAD has the truth.
  const archived =
    isArchiveClass(storageClass) && entry.RestoreStatus?.RestoreExpiryDate === undefined;
  return {
    key,
    size: entry.Size,
    etag,
    ...datesOf(time),
    ...(isDefaultClass(storageClass) ? {} : { storageClass }),
    ...(archived ? { archived } : {}),
  };
}

/** Form encoding, as S3 has it in listings: a space is a plus. Undefined where it is no UTF-8. */
export function decodedName(text: string | undefined): string | undefined {
  if (text === undefined || !/[%+]/.test(text)) return text;
  try {
    return decodeURIComponent(text.replaceAll('+', '%20'));
  } catch (error) {
    // URIError: bytes that are no UTF-8, so no name that s3jail could hand back to S3.
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

function isSize(value: number | undefined): value is number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0;
}

function isDefaultClass(storageClass: string | undefined): storageClass is undefined | 'STANDARD' {
  return storageClass === undefined || storageClass === '' || storageClass === 'STANDARD';
}

/** In whole seconds: of one version HEAD tells no more, and a listing the same or milliseconds. */
function datesOf(date: Date | undefined): { mtimeMs: number; modifiedMs: number } {
  const time = date?.getTime() ?? 0;
  const ms = Number.isNaN(time) ? 0 : Math.floor(time / 1000) * 1000;
  return { mtimeMs: ms, modifiedMs: ms };
}
