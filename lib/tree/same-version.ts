/**
 * What stays of what was known when S3 says something anew of the same version of an object. Pure.
 *
 * What was shown once is shown again: an own upload shows the time of its last write, which S3 does not
 * know; programs take another time for another content. What a listing cannot tell stays known.
 */
import type { Entry } from './listing.js';
import type { ObjectInfo } from '../store.js';

/** Servers tell a time in whole seconds here, in milliseconds there, and round either way. */
const roundingMs = 1000;

/** The same bytes written anew have the same ETag, and a later date. */
function isSameVersion(known: ObjectInfo, fresh: ObjectInfo): boolean {
  if (known.etag !== fresh.etag || known.size !== fresh.size) return false;
  const { modifiedMs: was = Infinity } = known;
  const { modifiedMs: is = -Infinity } = fresh;
  return is - was <= roundingMs;
}

/**
 * @param known what was known of the same path, wherever
 * @returns `fresh`, with what is known of its version
 */
export function withKnown(
  fresh: Entry | undefined,
  ...known: readonly (Entry | undefined)[]
): Entry | undefined {
  if (fresh?.kind !== 'file') return fresh;
  for (const entry of known) {
    if (entry?.kind !== 'file' || !isSameVersion(entry.info, fresh.info)) continue;
    const { mtimeMs, modifiedMs = -Infinity, givenTime, crc32 } = entry.info;
    const info = {
      ...(givenTime === undefined ? {} : { givenTime }),
      ...(crc32 === undefined ? {} : { crc32 }),
      ...fresh.info,
      mtimeMs,
      modifiedMs: Math.max(modifiedMs, fresh.info.modifiedMs ?? -Infinity),
    };
    return { kind: 'file', info };
  }
  return fresh;
}
