/** Waiting for what others may go on waiting for. */
import { FsError } from '../errors.js';

/**
 * The outcome of `promise`, unless this caller gives up first; the promise itself goes on.
 * @param failure what is thrown then
 * @throws FsError EINTR when `signal` aborts, if not told otherwise
 */
export async function unlessAborted<T>(
  promise: Promise<T>,
  signal?: AbortSignal,
  failure: Error = new FsError('EINTR', 'the wait was interrupted'),
): Promise<T> {
  if (signal === undefined) return await promise;
  if (signal.aborted) throw failure;
  let onAbort: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(failure);
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
