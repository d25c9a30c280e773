/** Requests that are shared: who joins one that is under way already gets its answer, but not its failure. */
import { isStoreError, mayBeOver } from '../errors.js';

/**
 * What a request under way answers, or where there is none what `ask` gives. One that fails for a while was
 * sent earlier, and its failure is no answer to a later caller: S3 may be back by now.
 * @throws as either; of `earlier` what would be the same now
 */
export async function joined<T>(
  earlier: Promise<T> | undefined,
  ask: () => Promise<T>,
): Promise<T> {
  try {
    if (earlier !== undefined) return await earlier;
  } catch (error) {
    if (!isStoreError(error) || !mayBeOver(error.kind)) throw error;
  }
  return await ask();
}
