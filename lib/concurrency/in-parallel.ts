/**
 * Work on many items, some at a time. After a failure no new item is begun, and the caller hears of it
 * once nothing is in flight any more: what it does next never overlaps with an item of this call.
 */

/**
 * @param width how many at a time
 * @param work is given a signal that aborts at the first failure
 * @returns results in the order of the items
 * @throws what failed first
 */
export async function inParallel<Item, Result>(
  width: number,
  items: readonly Item[],
  work: (item: Item, index: number, signal: AbortSignal) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const queue = items.entries();
  const abort = new AbortController();
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (const [index, item] of queue) {
      try {
        results[index] = await work(item, index, abort.signal);
      } catch (error) {
        failures.push(error);
        abort.abort();
      }
      // A queue that has been left is done for everybody.
      if (failures.length > 0) return;
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
  return results;
}
