/** A listing to its end, page by page as they are wanted, and what one tells of a single key. */
import type { Key } from './path.js';
import type { ListOptions, ListPage, ObjectInfo, ObjectStore } from './store.js';

/** As many as show whether the endpoint keeps S3's order. */
const orderedNames = 10;

type Lists = Pick<ObjectStore, 'list'>;

/** @throws StoreError */
export async function* allPages(
  store: Lists,
  options: Omit<ListOptions, 'from'>,
): AsyncGenerator<ListPage> {
  let page = await store.list(options);
  yield page;
  while (page.next !== undefined) {
    page = await store.list({ ...options, from: page.next });
    yield page;
  }
}

/** What a LIST shows at the very key, or undefined where nothing is. @throws StoreError */
export async function listedAt(
  store: Lists,
  key: Key,
  signal?: AbortSignal,
): Promise<ObjectInfo | undefined> {
  const query = { prefix: key, oneLevel: true, maxKeys: orderedNames, signal };
  for await (const { objects, prefixes, unordered } of allPages(store, query)) {
    const found = objects.find((info) => info.key === key);
    if (found !== undefined) return found;
    // It sorts before all that begin with it.
    if (unordered !== true && objects.length + prefixes.length > 0) return undefined;
  }
  return undefined;
}
