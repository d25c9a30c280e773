/**
 * Directory markers, the objects whose key ends in `/`. Other tools write them too, with metadata and
 * content of their own: one that is there is never written over, and one that changes its place is
 * read and written anew, because some servers refuse to copy it (versitygw, SeaweedFS).
 *
 * On endpoints that do not keep If-None-Match the store looks right before it writes; of two hosts
 * that make one directory in that instant both are told that they did.
 */
import { allPages } from '../store.js';
import { isStoreError } from '../errors.js';
import { classifyKey } from '../path.js';
import type { Key } from '../path.js';
import type { Condition, ObjectInfo, ObjectStore } from '../store.js';

const markerType = 'application/x-directory';

/** User metadata of a marker whose directory is the target of a move that is not finished: which one. */
const moveName = 's3jail-move';

/** What S3 has in a directory. */
export interface DirectoryLook {
  readonly marker: ObjectInfo | undefined;
  /** nothing but the marker */
  readonly isEmpty: boolean;
}

/** @returns whether there was none */
export async function writeMarker(store: ObjectStore, key: Key): Promise<boolean> {
  try {
    await store.put(key, [], { contentType: markerType, condition: { absent: true } });
    return true;
  } catch (error) {
    if (isStoreError(error, 'changed')) return false;
    throw error;
  }
}

/**
 * Writes a marker with the content and the description of another one, or a plain one.
 * @param options.move noted in it
 */
export async function copyMarker(
  store: ObjectStore,
  source: ObjectInfo | undefined,
  target: Key,
  { condition, move }: { condition: Condition; move?: string | undefined },
): Promise<void> {
  const options = { condition, metadata: { [moveName]: move } };
  if (source === undefined) {
    await store.put(target, [], { ...options, contentType: markerType });
    return;
  }
  const content: Uint8Array[] = [];
  if (source.size > 0) {
    const { body } = await store.get(source.key, { ifMatch: source.etag });
    for await (const piece of body) content.push(piece);
  }
  await store.put(target, content, { ...options, like: source });
}

/** The marker at `key`, if there is one, with its metadata. */
export async function findMarker(store: ObjectStore, key: Key): Promise<ObjectInfo | undefined> {
  try {
    return await store.head(key);
  } catch (error) {
    if (isStoreError(error, 'notFound')) return undefined;
    throw error;
  }
}

/** Which move into a marker's directory is not finished, if any. */
export function moveInto(marker: ObjectInfo | undefined): string | undefined {
  return marker?.metadata?.[moveName];
}

/**
 * Asked anew: what is remembered may be out of date.
 * @returns the marker of a full directory where it comes first, as in S3's order it does
 */
export async function lookInto(store: ObjectStore, prefix: Key): Promise<DirectoryLook> {
  let marker: ObjectInfo | undefined;
  for await (const { objects } of allPages(store, { prefix, oneLevel: false, maxKeys: 2 })) {
    marker ??= objects.find(({ key }) => key === prefix);
    if (objects.some(({ key }) => classifyKey(prefix, key).kind !== 'marker')) {
      return { marker, isEmpty: false };
    }
  }
  return { marker, isEmpty: true };
}
