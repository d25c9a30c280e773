/**
 * The files being written, by path: which staged file a path means, and which names are hidden.
 *
 * A name is hidden when a staged file that stood for its object was renamed before it was stored: the
 * old object stays in S3 until the new name is, so that a failure loses nothing, but this mount no
 * longer shows it.
 */
import { isWithin, movedPath, parentOf } from './path.js';
import type { Path } from './path.js';
import type { StagedFile } from './staged-file.js';

interface Use {
  readonly file: StagedFile;
  handles: number;
}

export class StagedFiles {
  readonly #byPath = new Map<Path, StagedFile>();
  readonly #uses = new Map<StagedFile, Use>();
  /** hidden name → the file whose commit will remove it */
  readonly #hidden = new Map<Path, StagedFile>();

  /** All files with an open handle, also those no path leads to. */
  get all(): StagedFile[] {
    return [...this.#uses.keys()];
  }

  /** The file that `path` means, if it is being written. */
  at(path: Path): StagedFile | undefined {
    const file = this.#byPath.get(path);
    if (file === undefined) return undefined;
    if (file.isAttached) return file;
    // It failed or was discarded: the path means what S3 has.
    this.#byPath.delete(path);
    return undefined;
  }

  /** Makes `path` mean `file`. */
  attach(path: Path, file: StagedFile): void {
    this.#byPath.set(path, file);
    this.#hidden.delete(path);
  }

  /** `path` no longer means a staged file. */
  detach(path: Path): void {
    this.#byPath.delete(path);
  }

  acquire(file: StagedFile): void {
    const use = this.#uses.get(file);
    if (use === undefined) this.#uses.set(file, { file, handles: 1 });
    else use.handles++;
  }

  /** @returns whether it was the last handle */
  release(file: StagedFile): boolean {
    const use = this.#uses.get(file);
    if (use === undefined) return true;
    use.handles--;
    if (use.handles > 0) return false;
    this.#uses.delete(file);
    if (this.#byPath.get(file.path) === file) this.#byPath.delete(file.path);
    for (const [path, owner] of this.#hidden) if (owner === file) this.#hidden.delete(path);
    return true;
  }

  handlesOf(file: StagedFile): number {
    return this.#uses.get(file)?.handles ?? 0;
  }

  /** The staged files directly in a directory. */
  within(directory: Path): StagedFile[] {
    return [...this.#byPath.keys()]
      .filter((path) => parentOf(path) === directory)
      .flatMap((path) => this.at(path) ?? []);
  }

  /** Whether any staged file lies below a directory, at any depth. */
  hasBelow(directory: Path): boolean {
    return [...this.#byPath.keys()].some(
      (path) => path !== directory && isWithin(path, directory) && this.at(path) !== undefined,
    );
  }

  /** Staged files below `from`, with the paths they get when it becomes `to`. */
  moves(from: Path, to: Path): { file: StagedFile; from: Path; to: Path }[] {
    return [...this.#byPath]
      .filter(([path]) => isWithin(path, from))
      .map(([path, file]) => ({ file, from: path, to: movedPath(path, from, to) }));
  }

  hide(path: Path, owner: StagedFile): void {
    this.#hidden.set(path, owner);
  }

  /** Something else is published under a hidden name: it shows, and stays when the owner is stored. */
  reveal(path: Path): void {
    this.#hidden.delete(path);
  }

  isHidden(path: Path): boolean {
    return this.#hidden.has(path);
  }

  /** The names that the commit of `file` makes obsolete; they are hidden no longer. */
  takeObsolete(file: StagedFile): Path[] {
    const paths = [...this.#hidden].filter(([, owner]) => owner === file).map(([path]) => path);
    for (const path of paths) this.#hidden.delete(path);
    return paths;
  }
}
