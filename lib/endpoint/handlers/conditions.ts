/**
 * Conditional requests, as RFC 9110 section 13 and the S3 API reference have them.
 *
 * An entity tag beats a date: If-Match that holds makes If-Unmodified-Since irrelevant, and
 * If-None-Match makes If-Modified-Since irrelevant. Dates have whole seconds, and so has the
 * modification time they are compared with.
 */
import type { Call } from '../call.js';
import type { StoredObject } from '../storage/records.js';
import { S3Error } from '../wire/s3-error.js';

/** The four conditions of a request, as sent. */
export interface Conditions {
  readonly ifMatch: string | undefined;
  readonly ifNoneMatch: string | undefined;
  readonly ifModifiedSince: string | undefined;
  readonly ifUnmodifiedSince: string | undefined;
}

/** @param prefix `x-amz-copy-source-` for the conditions on a copy's source */
export function readConditions(call: Call, prefix = ''): Conditions {
  return {
    ifMatch: call.header(`${prefix}if-match`),
    ifNoneMatch: call.header(`${prefix}if-none-match`),
    ifModifiedSince: call.header(`${prefix}if-modified-since`),
    ifUnmodifiedSince: call.header(`${prefix}if-unmodified-since`),
  };
}

function tagsMatch(header: string, etag: string): boolean {
  return header.split(',').some((item) => {
    const tag = item.trim().replace(/^W\//, '');
    return tag === '*' || unquote(tag) === etag;
  });
}

/** An entity tag without its quotes. */
export function unquote(etag: string): string {
  return etag.replace(/^"(.*)"$/, '$1');
}

function seconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000);
}

/** A date header in seconds; one that is no date is as if absent. */
function dateSeconds(header: string | undefined): number | undefined {
  const time = header === undefined ? Number.NaN : Date.parse(header);
  return Number.isNaN(time) ? undefined : seconds(time);
}

/**
 * What an object is to a read with these conditions.
 * @throws S3Error PreconditionFailed
 */
export function evaluateRead(
  conditions: Conditions,
  object: StoredObject,
): 'proceed' | 'not modified' {
  const modified = seconds(object.modifiedMs);
  const unmodifiedSince = dateSeconds(conditions.ifUnmodifiedSince);
  if (conditions.ifMatch !== undefined) {
    if (!tagsMatch(conditions.ifMatch, object.etag)) throw failed('If-Match');
  } else if (unmodifiedSince !== undefined && modified > unmodifiedSince) {
    throw failed('If-Unmodified-Since');
  }
  const modifiedSince = dateSeconds(conditions.ifModifiedSince);
  if (conditions.ifNoneMatch !== undefined) {
    return tagsMatch(conditions.ifNoneMatch, object.etag) ? 'not modified' : 'proceed';
  }
  if (modifiedSince !== undefined && modified <= modifiedSince) return 'not modified';
  return 'proceed';
}

/**
 * Conditions on a copy's source: there is no 304, all failures are 412.
 * @throws S3Error PreconditionFailed
 */
export function checkCopySource(conditions: Conditions, object: StoredObject): void {
  if (evaluateRead(conditions, object) === 'not modified') {
    throw failed(
      conditions.ifNoneMatch === undefined
        ? 'x-amz-copy-source-If-Modified-Since'
        : 'x-amz-copy-source-If-None-Match',
    );
  }
}

/**
 * The check a write makes at the instant it takes effect (S3 user guide, "Conditional writes").
 * @throws S3Error NotImplemented at once for conditions that S3 has only for reads
 */
export function writeCheck(call: Call): (current: StoredObject | undefined) => void {
  const { ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince } = readConditions(call);
  const unknown =
    (ifNoneMatch !== undefined && ifNoneMatch !== '*') ||
    (ifNoneMatch !== undefined && ifMatch !== undefined) ||
    ifModifiedSince !== undefined ||
    ifUnmodifiedSince !== undefined;
  if (unknown) throw new S3Error('NotImplemented');
  return (current) => {
    if (ifNoneMatch !== undefined && current !== undefined) throw failed('If-None-Match');
    if (ifMatch === undefined) return;
    if (current === undefined) throw new S3Error('NoSuchKey', { elements: { Key: call.key } });
    if (!tagsMatch(ifMatch, current.etag)) throw failed('If-Match');
  };
}

/**
 * The check a delete makes (S3 user guide, "Conditional deletes"): the entity tag, or `*` for any.
 */
export function deleteCheck(
  ifMatch: string | undefined,
): (current: StoredObject | undefined) => void {
  return (current) => {
    if (ifMatch === undefined) return;
    if (current === undefined || !tagsMatch(ifMatch, current.etag)) throw failed('If-Match');
  };
}

function failed(condition: string): S3Error {
  return new S3Error('PreconditionFailed', { elements: { Condition: condition } });
}
