/**
 * Renames one file, for a caller who holds both names and the files at them: one that S3 has by a copy
 * and a delete; one that is being written takes its new name with it.
 */
import type { Clock } from '../clock.js';
import { FsError, isStoreError } from '../errors.js';
import { keyOf } from '../path.js';
import type { Path } from '../path.js';
import type { ObjectInfo, ObjectStore } from '../store.js';
import type { Tree } from '../tree/tree.js';
import type { StagedFile } from '../write/staged-file.js';
import type { StagedFiles } from '../write/staged-files.js';
import { keepingParent } from './parent-directory.js';

export interface FileRenameParts {
  readonly store: ObjectStore;
  readonly tree: Tree;
  readonly staged: StagedFiles;
  readonly clock: Clock;
}

/** An object and its copy under the new name. */
interface Copied {
  readonly source: ObjectInfo;
  readonly copy: ObjectInfo;
}

export class FileRename {
  readonly #parts: FileRenameParts;

  constructor(parts: FileRenameParts) {
    this.#parts = parts;
  }

  /**
   * @param replaced a file that is being written under the new name
   * @throws FsError ENOENT; StoreError
   */
  async ofStored(from: Path, to: Path, replaced: StagedFile | undefined): Promise<void> {
    await this.#parts.store.requireDelete(keyOf(from));
    await this.#replaceByCopy(from, to, replaced, await this.#copyCurrent(from, to));
  }

  /**
   * Where the content of `file` builds on the object, that moves with it; else what S3 has under the
   * old name goes when the new content is stored.
   * @param replaced as for `ofStored`
   * @throws FsError EBUSY; StoreError
   */
  async ofStaged(file: StagedFile, to: Path, replaced: StagedFile | undefined): Promise<void> {
    const { staged, store, tree } = this.#parts;
    const from = file.path;
    file.refuseIfBound();
    const old = await tree.lookup(from);
    if (old?.kind === 'file') await store.requireDelete(keyOf(from));
    if (file.base !== undefined && file.needsBase) {
      const copied = await this.#copy(file.base, to);
      await this.#replaceByCopy(from, to, replaced, copied);
      await file.rename(to, copied.copy);
      staged.move(from, to, file);
      return;
    }
    await file.rename(to);
    if (replaced !== undefined) await staged.discard(to, replaced);
    if (old?.kind === 'file') staged.hide(from, file, old.info.etag);
    staged.move(from, to, file);
  }

  /** The copy exists: what it replaces and what it came from go. */
  async #replaceByCopy(
    from: Path,
    to: Path,
    replaced: StagedFile | undefined,
    { source, copy }: Copied,
  ): Promise<void> {
    const { staged, store, tree } = this.#parts;
    const keepParent = keepingParent(this.#parts, from, to);
    staged.reveal(to);
    tree.recordFile(to, copy);
    try {
      await store.delete(keyOf(from), { ifMatch: source.etag });
    } catch (error) {
      // Replaced since the copy, or not ours to remove: both names exist now, and the caller hears of
      // it. What is being written at the new name has lost nothing yet, and is stored at its close.
      tree.forget(from);
      if (replaced?.isDirty === false) await staged.discard(to, replaced);
      throw error;
    }
    if (replaced !== undefined) await staged.discard(to, replaced);
    tree.recordAbsent(from);
    await keepParent();
  }

  /**
   * Copies the object at `from`. What is known of it may be as old as the TTL: where the server says
   * that it changed since, the version of now is meant, as rename(2) means the file of now.
   */
  async #copyCurrent(from: Path, to: Path): Promise<Copied> {
    try {
      return await this.#copy(await this.#storedAt(from), to);
    } catch (error) {
      if (!isStoreError(error, 'changed', 'notFound')) throw error;
    }
    this.#parts.tree.distrust(from);
    return await this.#copy(await this.#storedAt(from), to);
  }

  async #storedAt(path: Path): Promise<ObjectInfo> {
    const known = await this.#parts.tree.lookup(path);
    if (known?.kind === 'file') return known.info;
    throw new FsError('ENOENT', `${path} does not exist`);
  }

  async #copy(source: ObjectInfo, to: Path): Promise<Copied> {
    const key = keyOf(to);
    const { store, clock } = this.#parts;
    const { etag } = await store.copy(source, key, { storageClass: source.storageClass });
    return { source, copy: { ...source, key, etag, mtimeMs: clock.dateMs() } };
  }
}
