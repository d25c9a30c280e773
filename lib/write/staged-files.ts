/**
 * The files being written, by path: which staged file a path means, and which names are hidden.
 *
 * A name is hidden when a staged file that stood for its object was renamed before it was stored: the
 * old object stays in S3 until the new name is, so that a failure loses nothing, but this mount no
 * longer shows it. A file is in these tables as long as somebody has it open, and not longer.
 */
import { isWithin, movedPath, parentOf } from '../path.js';
import type { Path } from '../path.js';
import type { HeldRecord } from './held-record.js';
import type { StagedFile } from './staged-file.js';
import type { ETag } from '../store.js';

/** A name that is hidden. */
export interface FormerName {
  /** another one once a directory above was renamed */
  path: Path;
  /** whose commit will remove the object; undefined once that has begun */
  owner: StagedFile | undefined;
  /** the object */
  readonly etag: ETag;
}

interface Use {
  readonly file: StagedFile;
  handles: number;
}

export class StagedFiles {
  readonly #byPath = new Map<Path, StagedFile>();
  readonly #uses = new Map<StagedFile, Use>();
  readonly #hidden = new Map<Path, FormerName>();

  /** All files with an open handle, also those no path leads to. */
  get all(): StagedFile[] {
    return [...this.#uses.keys()];
  }

  /** The file that `path` means, if it is being written. */
  at(path: Path): StagedFile | undefined {
    // Nearly always, and then no path of a long listing need be looked up.
    if (this.#byPath.size === 0) return undefined;
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
  }

  /** `path` no longer means `file`. */
  detach(path: Path, file: StagedFile): void {
    if (this.#byPath.get(path) === file) this.#byPath.delete(path);
  }

  /** A file at `path` is unlinked or replaced: it is written in vain from now on. */
  async discard(path: Path, file: StagedFile): Promise<void> {
    await file.discard();
    this.detach(path, file);
  }

  /** `to` means `file` now, unless nobody has it open any more, and `from` no longer does. */
  move(from: Path, to: Path, file: StagedFile): void {
    this.detach(from, file);
    if (this.#uses.has(file)) this.attach(to, file);
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
    // What is held of an interrupted upload waits for whoever goes on with it.
    if (file.heldRecord === undefined) this.detach(file.path, file);
    for (const [path, { owner }] of this.#hidden) if (owner === file) this.#hidden.delete(path);
    return true;
  }

  /** What is held of uploads that were interrupted, oldest first. */
  get held(): { readonly file: StagedFile; readonly record: HeldRecord }[] {
    return [...this.#byPath.values()]
      .flatMap((file) => {
        const record = file.isAttached ? file.heldRecord : undefined;
        return record === undefined ? [] : [{ file, record }];
      })
      .sort((one, other) => one.record.heldAtMs - other.record.heldAtMs);
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

  /** The files that lie at or below some paths. */
  atOrBelow(paths: readonly Path[]): StagedFile[] {
    return [...this.#byPath]
      .filter(([path]) => paths.some((top) => isWithin(path, top)))
      .map(([, file]) => file);
  }

  /** `path`, which `owner` was called, shows no longer what S3 has there, until that is removed. */
  hide(path: Path, owner: StagedFile, etag: ETag): void {
    // What was to be removed with another file still is.
    if (this.#uses.has(owner) && !this.#hidden.has(path)) {
      this.#hidden.set(path, { path, owner, etag });
    }
  }

  /** Something else is in S3 under a hidden name: it shows, and stays when the owner is stored. */
  reveal(path: Path): void {
    this.#hidden.delete(path);
  }

  isHidden(path: Path): boolean {
    return this.#hidden.size > 0 && this.#hidden.has(path);
  }

  /** The objects of a directory are called otherwise now, hidden ones too. */
  moveHidden(from: Path, to: Path): void {
    for (const [path, former] of [...this.#hidden]) {
      if (!isWithin(path, from)) continue;
      this.#hidden.delete(path);
      former.path = movedPath(path, from, to);
      this.#hidden.set(former.path, former);
    }
  }

  /** The names that the commit of `file`, or its end, makes obsolete. They stay hidden till removed. */
  takeFormerNames(file: StagedFile): FormerName[] {
    const names = [...this.#hidden.values()].filter(({ owner }) => owner === file);
    for (const name of names) name.owner = undefined;
    return names;
  }

  /** Whether a name that was taken is still to be removed. */
  isObsolete(name: FormerName): boolean {
    return this.#hidden.get(name.path) === name;
  }
}
