/** Waiting for what others may go on waiting for. */
import { FsError } from './errors.js';

/**
 * The outcome of `promise`, unless this caller gives up first; the promise itself goes on.
 * @throws FsError EINTR when `signal` aborts
 */
export async function unlessAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return await promise;
  const interrupted = new FsError('EINTR', 'the wait was interrupted');
  if (signal.aborted) throw interrupted;
  let onAbort: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(interrupted);
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
