/**
 * The open directories of a mount. fuse-native asks for the entries of a path and not of a handle,
 * so the listings that opendir made are found here by path.
 *
 * Each handle gives right to one reading: libfuse keeps what it got, and asks again only after
 * rewinddir(3), which is to show the directory as it is then. All readers of a path get its newest
 * listing, so that nobody sees one from before its own opendir(3).
 */
import type { DirectoryEntry, HandleId, Operations } from '../../operations.js';
import { isWithin, movedPath, type Path } from '../../path.js';

/** More than any directory holds; the core returns what there is. */
const all = Number.MAX_SAFE_INTEGER;

interface OpenDirectory {
  path: Path;
  isRead: boolean;
}

export class OpenDirectories {
  readonly #core: Operations;
  /** oldest first */
  readonly #open = new Map<HandleId, OpenDirectory>();

  constructor(core: Operations) {
    this.#core = core;
  }

  async open(path: Path): Promise<HandleId> {
    const handle = await this.#core.opendir(path, {});
    this.#open.set(handle, { path, isRead: false });
    return handle;
  }

  async read(path: Path): Promise<readonly DirectoryEntry[]> {
    const here = [...this.#open].filter(([, directory]) => directory.path === path);
    const unread = here.find(([, directory]) => !directory.isRead);
    const newest = here.at(-1);
    if (unread !== undefined && newest !== undefined) {
      unread[1].isRead = true;
      return await this.#core.readdir(newest[0], 0, all);
    }
    const handle = await this.#core.opendir(path, {});
    try {
      return await this.#core.readdir(handle, 0, all);
    } finally {
      this.#core.releasedir(handle);
    }
  }

  release(handle: HandleId): void {
    this.#open.delete(handle);
    this.#core.releasedir(handle);
  }

  /** `from`, a file or a directory, is called `to` now. */
  move(from: Path, to: Path): void {
    for (const directory of this.#open.values()) {
      if (isWithin(directory.path, from)) directory.path = movedPath(directory.path, from, to);
    }
  }
}
