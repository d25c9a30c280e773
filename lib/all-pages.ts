/** A listing to its end, page by page as they are wanted. */
import type { ListOptions, ListPage, ObjectStore } from './store.js';

/** @throws StoreError */
export async function* allPages(
  store: ObjectStore,
  options: Omit<ListOptions, 'from'>,
): AsyncGenerator<ListPage> {
  let page = await store.list(options);
  yield page;
  while (page.next !== undefined) {
    page = await store.list({ ...options, from: page.next });
    yield page;
  }
}
