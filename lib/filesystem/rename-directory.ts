/**
 * Renames a directory, for a caller who holds all names in it: an empty one by its marker, a full one
 * by the copies of directory-move.ts where `--rename-dir` says so; else it is refused.
 */
import { FsError, isStoreError } from '../errors.js';
import type { Log } from '../log.js';
import type { RenameFlags } from '../operations.js';
import { isWithin, keyOf, markerOf, movedPath } from '../path.js';
import type { Path } from '../path.js';
import type { ObjectInfo } from '../store.js';
import { DirectoryMove } from './directory-move.js';
import { copyMarker, findMarker, lookInto, moveInto } from './markers.js';
import { keepingParent } from './parent-directory.js';
import type { FileRename, FileRenameParts } from './rename-file.js';

export interface DirectoryRenameSettings {
  readonly renameDir: 'refuse' | 'recursive';
  /** this mount, among all that use the bucket, also after a restart */
  readonly mountId: string;
}

export interface DirectoryRenameParts extends FileRenameParts {
  readonly settings: DirectoryRenameSettings;
  readonly log: Log;
  readonly files: FileRename;
}

/** The new name. */
interface Target {
  readonly to: Path;
  /** whether a directory has it already */
  readonly isThere: boolean;
}

export class DirectoryRename {
  readonly #parts: DirectoryRenameParts;

  constructor(parts: DirectoryRenameParts) {
    this.#parts = parts;
  }

  /** @throws FsError EEXIST, EBUSY, ENOTDIR, ENOTEMPTY, ENOSYS; StoreError */
  async run(from: Path, to: Path, flags: RenameFlags): Promise<void> {
    const { staged, store, tree } = this.#parts;
    if (isWithin(to, from)) throw new FsError('EBUSY', `${to} lies inside ${from}`);
    const source = await lookInto(store, markerOf(from));
    const isEmpty = source.isEmpty && !staged.hasBelow(from);
    if (!isEmpty) await this.#refuseFull(from, to);
    await store.requireDelete(markerOf(from));
    const isThere = await this.#isDirectory(to);
    if (isThere && flags.noReplace === true) throw new FsError('EEXIST', `${to} exists`);
    if (staged.hasBelow(to)) throw new FsError('ENOTEMPTY', `${to} is not empty`);
    const keepParent = keepingParent(this.#parts, from, to);
    if (isEmpty) await this.#moveEmpty(source.marker, from, { to, isThere });
    else await this.#moveFull(from, { to, isThere });
    tree.recordNoDirectory(from);
    tree.forget(to);
    if (isEmpty) tree.recordNewDirectory(to);
    else tree.recordDirectory(to, source.marker !== undefined);
    await keepParent();
  }

  /** @throws FsError ENOTDIR where a file has the new name; StoreError */
  async #isDirectory(to: Path): Promise<boolean> {
    const { staged, store, tree } = this.#parts;
    if (staged.at(to) !== undefined) throw new FsError('ENOTDIR', `${to} is not a directory`);
    if (staged.isHidden(to)) await store.delete(keyOf(to));
    staged.reveal(to);
    const target = await tree.lookupAnew(to);
    if (target?.kind === 'file') throw new FsError('ENOTDIR', `${to} is not a directory`);
    return target !== undefined;
  }

  /** @throws FsError where a directory that is not empty is not renamed at all */
  async #refuseFull(from: Path, to: Path): Promise<void> {
    const { staged, store, settings, tree } = this.#parts;
    if (settings.renameDir === 'recursive') return;
    if (staged.at(to) !== undefined) throw new FsError('ENOTDIR', `${to} is not a directory`);
    const target = staged.isHidden(to) ? undefined : await tree.lookup(to);
    if (target?.kind === 'file') throw new FsError('ENOTDIR', `${to} is not a directory`);
    const isEmpty =
      target === undefined ||
      (!staged.hasBelow(to) && (await lookInto(store, markerOf(to))).isEmpty);
    if (!isEmpty) throw new FsError('ENOTEMPTY', `${to} is not empty`);
    throw new FsError('ENOSYS', `${from} is not empty; --rename-dir recursive would copy it`);
  }

  async #moveEmpty(
    marker: ObjectInfo | undefined,
    from: Path,
    { to, isThere }: Target,
  ): Promise<void> {
    const { store } = this.#parts;
    if (isThere && !(await lookInto(store, markerOf(to))).isEmpty) {
      throw new FsError('ENOTEMPTY', `${to} is not empty`);
    }
    const there = isThere ? await findMarker(store, markerOf(to)) : undefined;
    if (moveInto(there) !== undefined) {
      throw new FsError('EEXIST', `${to} is the target of a move that is not finished`);
    }
    const condition = there === undefined ? { absent: true as const } : { etag: there.etag };
    try {
      await copyMarker(store, marker, markerOf(to), { condition });
    } catch (error) {
      if (!isStoreError(error, 'changed')) throw error;
      throw new FsError('EEXIST', `${to} was made by somebody else`, { cause: error });
    }
    await store.delete(markerOf(from));
  }

  async #moveFull(from: Path, { to, isThere }: Target): Promise<void> {
    const { files: renames, staged, store, settings, log } = this.#parts;
    const { mountId } = settings;
    const keys = { from: markerOf(from), to: markerOf(to) };
    const move = new DirectoryMove({ store, ...keys, mountId, log });
    const files = staged.atOrBelow([from]);
    for (const file of files) file.refuseIfBound();
    await move.claim(isThere);
    // Files being written move on their own, each with the object it builds on.
    for (const file of files) {
      await renames.ofStaged(file, movedPath(file.path, from, to), undefined);
    }
    staged.moveHidden(from, to);
    await move.run();
  }
}
