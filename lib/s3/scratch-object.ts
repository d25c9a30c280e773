/**
 * Objects of the mount's own that something is tried on: `.s3jail-probe-…` below the prefix, written
 * down in the journal before they begin, so that the next start removes what a killed process left,
 * and gone right afterwards.
 */
import { randomBytes } from 'node:crypto';

import { isStoreError } from '../errors.js';
import type { Key } from '../path.js';
import type { Connection } from './connection/connection.js';

/** A key that nobody else has. @param directory its prefix, empty or ending in `/` */
export function scratchKey(directory = ''): Key {
  return `${directory}.s3jail-probe-${randomBytes(8).toString('hex')}` as Key;
}

/**
 * Does `work` on the object at `key`, which it makes, and has it removed by `remove` however that
 * ends. One that cannot be removed stays in the journal, and the log says so.
 * @throws what `work` rejects with
 */
export async function withScratch<T>(
  { options, log }: Connection,
  key: Key,
  { work, remove }: { work: () => Promise<T>; remove: () => Promise<unknown> },
): Promise<T> {
  const settle = options.uploadRecord?.beginning?.(key, 'scratch');
  try {
    return await work();
  } finally {
    try {
      await remove();
      settle?.();
    } catch (error) {
      if (!isStoreError(error)) throw error;
      log.warn({ key, error: error.message }, 'a scratch object could not be removed again');
    }
  }
}
