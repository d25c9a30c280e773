/**
 * Renames a directory that is not empty: every key below it is copied, then every source deleted.
 *
 * Not atomic, and said so in the documentation: until the last copy is there both names show
 * content. Nothing is deleted before all copies exist, so a rename that was cut off while it copied
 * can simply be repeated.
 */
import type { Log } from './log.js';
import type { Key } from './path.js';
import type { ObjectInfo, ObjectStore } from './store.js';

/** Copies and deletes are requests without bytes; this many keep a server busy, not drowned. */
const concurrency = 16;

export interface MoveTreeOptions {
  readonly store: ObjectStore;
  /** marker keys of the old and the new directory */
  readonly from: Key;
  readonly to: Key;
  readonly log: Log;
}

/**
 * Whether all that is at `to` are copies from `from`: what a rename leaves that was cut off while it
 * copied, so that repeating it goes on instead of finding the target in the way.
 */
export async function isCutOffMove({
  store,
  from,
  to,
}: Omit<MoveTreeOptions, 'log'>): Promise<boolean> {
  const sizes = new Map<string, number>();
  for (const { key, size } of await listAll(store, from)) sizes.set(key.slice(from.length), size);
  const targets = await listAll(store, to);
  return targets.every(({ key, size }) => key === to || sizes.get(key.slice(to.length)) === size);
}

/** @throws StoreError; then the source is complete, and some copies may exist */
export async function moveTree({ store, from, to, log }: MoveTreeOptions): Promise<void> {
  const objects = await listAll(store, from);
  log.info({ from, to, objects: objects.length }, 'renaming a directory: copying');
  let copied = 0;
  await inParallel(objects, async (object) => {
    const target = (to + object.key.slice(from.length)) as Key;
    await store.copy(object, target, { storageClass: object.storageClass });
    copied++;
    if (copied % 1000 === 0) {
      log.info({ from, to, copied, objects: objects.length }, 'renaming a directory: copying');
    }
  });
  log.info({ from, to, objects: objects.length }, 'renaming a directory: deleting the old keys');
  await inParallel(objects, (object) => store.delete(object.key, { ifMatch: object.etag }));
}

async function listAll(store: ObjectStore, prefix: Key): Promise<ObjectInfo[]> {
  const objects: ObjectInfo[] = [];
  let from: string | undefined;
  do {
    const page = await store.list({
      prefix,
      oneLevel: false,
      ...(from === undefined ? {} : { from }),
    });
    objects.push(...page.objects);
    from = page.next;
  } while (from !== undefined);
  return objects;
}

async function inParallel<T>(
  items: readonly T[],
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}
