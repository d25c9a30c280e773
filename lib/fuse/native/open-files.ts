/**
 * The open files of a mount by the name libfuse knows them under, which is not always the name the
 * core does.
 *
 * libfuse 2 removes an open file by renaming it to `.fuse_hidden…`, and its own remedy, the option
 * `hard_remove`, is not safe here: flush(2) of a file without a name then reaches the binding with a
 * NULL path, which it hands to V8 as an uninitialised value, and the process dies of it. So libfuse
 * keeps its hidden name, and this table keeps what that name stands for; the core and S3 never hear
 * of it. For the same reason no directory may lose its name while a file below it is open.
 */
import type { HandleId } from '../../operations.js';
import { isWithin, movedPath, nameOf, type Path } from '../../path.js';

/** What libfuse calls a file that is removed and still open: node and counter in hexadecimal. */
const hiddenName = /^\.fuse_hidden[0-9a-f]{16}$/;

/** Whether `path` ends in a name that libfuse keeps for itself. */
export function isHiddenName(path: Path): boolean {
  return hiddenName.test(nameOf(path));
}

export class OpenFiles {
  readonly #names = new Map<HandleId, Path>();
  readonly #synchronous = new Set<HandleId>();
  /** libfuse's hidden name → the name the file had */
  readonly #removed = new Map<Path, Path>();

  /** @param isSynchronous opened with O_SYNC or O_DSYNC */
  add(handle: HandleId, path: Path, isSynchronous = false): void {
    this.#names.set(handle, path);
    if (isSynchronous) this.#synchronous.add(handle);
  }

  delete(handle: HandleId): void {
    this.#names.delete(handle);
    this.#synchronous.delete(handle);
  }

  /** Whether what is written through the handle is to be stored before write(2) returns. */
  isSynchronous(handle: HandleId): boolean {
    return this.#synchronous.has(handle);
  }

  /** The name of an open file as the core knew it last. */
  coreName(handle: HandleId): Path | undefined {
    const name = this.#names.get(handle);
    return name === undefined ? undefined : (this.#removed.get(name) ?? name);
  }

  /** A handle that is open on `path`. */
  handleAt(path: Path): HandleId | undefined {
    for (const [handle, name] of this.#names) if (name === path) return handle;
    return undefined;
  }

  /** Whether a file is open somewhere below `directory`. */
  isAnyBelow(directory: Path): boolean {
    for (const name of this.#names.values()) {
      if (name !== directory && isWithin(name, directory)) return true;
    }
    return false;
  }

  /** `from`, a file or a directory, is called `to` now. */
  move(from: Path, to: Path): void {
    for (const [handle, name] of this.#names) {
      if (isWithin(name, from)) this.#names.set(handle, movedPath(name, from, to));
    }
    for (const [hidden, name] of [...this.#removed]) {
      if (!isWithin(hidden, from)) continue;
      this.#removed.delete(hidden);
      this.#removed.set(movedPath(hidden, from, to), name);
    }
  }

  /** libfuse calls the open file `path` `hidden` from here on: it was removed or replaced. */
  hide(path: Path, hidden: Path): void {
    const name = this.#removed.get(path) ?? path;
    this.#removed.delete(path);
    this.#removed.set(hidden, name);
    for (const [handle, at] of this.#names) if (at === path) this.#names.set(handle, hidden);
  }

  /** The name that a hidden file had, if `path` is one. */
  removedName(path: Path): Path | undefined {
    return this.#removed.get(path);
  }

  /** The last handle of a hidden file is gone. */
  forget(hidden: Path): void {
    this.#removed.delete(hidden);
  }
}
