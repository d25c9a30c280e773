/**
 * A directory without a marker exists as long as something is in it. Where this mount takes the last
 * entry away the directory stays, as on a disk: a marker keeps it in being.
 */
import { markerOf, nameOf, parentOf } from '../path.js';
import type { Path } from '../path.js';
import type { ObjectStore } from '../store.js';
import type { Tree } from '../tree/tree.js';
import { writeMarker } from './markers.js';

export interface ParentDirectoryParts {
  readonly store: ObjectStore;
  readonly tree: Tree;
}

/**
 * To be asked before `path` goes: what is known then tells whether its directory goes on existing.
 * Where nothing is known a marker is written to be sure: it costs no more than asking. One that others
 * have described stays as it is.
 * @param target where `path` goes to, if it is renamed
 * @returns to be run once it has gone
 */
export function keepingParent(
  { store, tree }: ParentDirectoryParts,
  path: Path,
  target?: Path,
): () => Promise<void> {
  const directory = parentOf(path);
  const isRefilled = target !== undefined && parentOf(target) === directory;
  if (isRefilled || tree.staysWithout(directory, nameOf(path)) === true) {
    return () => Promise.resolve();
  }
  return async () => {
    await writeMarker(store, markerOf(directory));
    tree.recordDirectory(directory, true);
  };
}
