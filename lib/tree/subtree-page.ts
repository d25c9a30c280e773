/**
 * Directories out of a page of a listing without delimiter: how a walk through many small directories
 * costs one LIST for many of them. Pure, no I/O.
 */
import { classifyKey, childPath, markerOf, sortsAfter } from '../path.js';
import type { Key, Path } from '../path.js';
import type { ListPage, ObjectInfo } from '../store.js';

/** A directory as far as the page shows it. */
export interface PageDirectory {
  readonly files: Map<string, ObjectInfo>;
  readonly directories: Set<string>;
  hasMarker: boolean;
}

/**
 * Where to start so that the page has all keys below `directory` and those after them: the last key
 * that sorts before its marker and is no key below it begins with its name and a full stop, the
 * character before `/`.
 * @returns relative to the mount's prefix
 */
export function startOf(directory: Path): string {
  return `${directory.slice(1)}.`;
}

/**
 * The directories below `top` that the page shows whole.
 * @param from the directory whose `startOf` the page was asked for; is in the answer, even if empty,
 *   unless the page ends before its end
 * @param onOdd told of keys that no path can name
 */
export function wholeDirectories(
  page: ListPage,
  { top, from }: { top: Path; from: Path },
  onOdd: (key: string) => void,
): Map<Path, PageDirectory> {
  const found = new Map<Path, PageDirectory>();
  // Without order nothing is known to be whole.
  if (page.unordered === true) return found;
  for (const info of page.objects) add(found, top, info, onOdd);
  if (page.next === undefined) return withEmpty(found, from);
  const last = page.objects.at(-1)?.key ?? ('' as Key);
  // What goes on behind the page.
  for (const path of [...found.keys()]) if (last.startsWith(markerOf(path))) found.delete(path);
  const marker = markerOf(from);
  const isPassed = !last.startsWith(marker) && sortsAfter(last, marker);
  return isPassed ? withEmpty(found, from) : found;
}

function withEmpty(found: Map<Path, PageDirectory>, path: Path): Map<Path, PageDirectory> {
  if (!found.has(path)) found.set(path, newDirectory());
  return found;
}

function add(
  found: Map<Path, PageDirectory>,
  top: Path,
  info: ObjectInfo,
  onOdd: (key: string) => void,
): void {
  let path = top;
  for (;;) {
    const inside = classifyKey(markerOf(path), info.key);
    // What lies in `top` itself is only part of it.
    const directory = path === top ? undefined : directoryAt(found, path);
    if (inside.kind === 'odd') {
      onOdd(info.key);
      return;
    }
    if (inside.kind === 'marker') {
      if (directory !== undefined) directory.hasMarker = true;
      return;
    }
    if (!inside.isDirectory) {
      directory?.files.set(inside.name, info);
      return;
    }
    directory?.directories.add(inside.name);
    path = childPath(path, inside.name);
  }
}

function directoryAt(found: Map<Path, PageDirectory>, path: Path): PageDirectory {
  const known = found.get(path) ?? newDirectory();
  found.set(path, known);
  return known;
}

function newDirectory(): PageDirectory {
  return { files: new Map(), directories: new Set(), hasMarker: false };
}
