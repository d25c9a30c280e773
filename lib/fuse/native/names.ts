/**
 * Names as libfuse uses them: it hides a file that is removed or replaced while it is open under a name
 * of its own, which no user may see, and hands over paths without telling who opened them.
 */
import { FsError, toFsError } from '../../errors.js';
import type { Log } from '../../log.js';
import type { HandleId, Operations } from '../../operations.js';
import { parentOf, parsePath, rootPath, type Path } from '../../path.js';
import type { OpenDirectories } from './open-directories.js';
import { isHiddenName, type OpenFiles } from './open-files.js';
import { Removals } from './removals.js';

/** The binding knows nothing about the caller. */
const unknown = {};

export interface NativeNamesParts {
  readonly core: Operations;
  readonly files: OpenFiles;
  readonly directories: OpenDirectories;
  readonly log: Log;
}

export class NativeNames {
  readonly #parts: NativeNamesParts;
  readonly #removals: Removals;

  constructor(parts: NativeNamesParts) {
    this.#parts = parts;
    this.#removals = new Removals((path) => this.#remove(path));
  }

  async unlink(path: Path): Promise<void> {
    const { core, files } = this.#parts;
    // libfuse removes what it hid once the last handle is gone; the core did so long ago.
    if (files.removedName(path) !== undefined) files.forget(path);
    else await core.unlink(await this.settled(path), unknown);
  }

  async rename(from: Path, to: Path): Promise<void> {
    const { core, directories, files } = this.#parts;
    if (isHiddenName(to)) {
      this.#hide(from, to);
      return;
    }
    refuseHidden(from, 'ENOENT');
    await this.#removals.settled(from);
    this.refuseOpenBelow(to);
    await this.#removals.replace(to);
    await core.rename(from, to, unknown, {});
    files.move(from, to);
    directories.move(from, to);
  }

  /** Waits for the removal of the file that a handle is open on. */
  async removalOf(handle: HandleId): Promise<void> {
    const name = this.#parts.files.coreName(handle);
    if (name !== undefined) await this.#removals.settled(name);
  }

  /** A directory that loses its name would take those of the open files below it along. */
  refuseOpenBelow(directory: Path): void {
    if (!this.#parts.files.isAnyBelow(directory)) return;
    throw new FsError('ENOTEMPTY', `files in ${directory} are still open`);
  }

  /** `text` as a path that users may name, with what is going on there awaited. */
  async settled(text: string, refusal: 'ENOENT' | 'EPERM' = 'ENOENT'): Promise<Path> {
    const path = visibleName(text, refusal);
    await this.#removals.settled(path);
    return path;
  }

  /** libfuse removes, or is about to replace, a file that is open. */
  #hide(path: Path, hidden: Path): void {
    const { files } = this.#parts;
    if (parentOf(path) !== parentOf(hidden) || files.handleAt(path) === undefined) {
      throw new FsError('EPERM', `${hidden} is a name that libfuse keeps for itself`);
    }
    const isRemoved = files.removedName(path) !== undefined;
    files.hide(path, hidden);
    if (!isRemoved) this.#removals.schedule(path);
  }

  /** The removal of an open file; its caller has been answered already. */
  async #remove(path: Path): Promise<void> {
    const { core, log } = this.#parts;
    try {
      await core.unlink(path, unknown);
    } catch (error) {
      const { code, message } = toFsError(error);
      if (code === 'ENOENT') return;
      log.error({ path, cause: message }, `${path} was removed while open, and is still there`);
    }
  }
}

/**
 * A path as the binding hands it over. Bytes that are not UTF-8 arrive as U+FFFD, and so does a name
 * that really holds that character: the two cannot be told apart, and guessing could hit another
 * file.
 */
export function parseName(text: string): Path {
  if (text.includes('\uFFFD')) throw new FsError('EILSEQ', 'the name is not valid UTF-8');
  return text === '/' ? rootPath : parsePath(text);
}

/** The same for one that users may name. */
export function visibleName(text: string, refusal: 'ENOENT' | 'EPERM' = 'ENOENT'): Path {
  const path = parseName(text);
  refuseHidden(path, refusal);
  return path;
}

/** Whether libfuse keeps the name of an entry for itself. */
export function isHiddenEntry(name: string): boolean {
  return name.startsWith('.fuse_hidden') && isHiddenName(parsePath(`/${name}`));
}

function refuseHidden(path: Path, errno: 'ENOENT' | 'EPERM'): void {
  if (!isHiddenName(path)) return;
  throw new FsError(errno, `${path} is a name that libfuse keeps for itself`);
}
