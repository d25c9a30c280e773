/**
 * Names: what a path means to this mount, and every operation that makes a name come or go.
 *
 * Staged files stand in front of what S3 has. Names are changed under the locks of name-locks.ts; S3 is
 * told first, then the tree, then the caller.
 */
import type { Clock } from '../clock.js';
import { FsError, isStoreError } from '../errors.js';
import type { DirectoryEntry } from '../tree/listing.js';
import type { Log } from '../log.js';
import type { NameLocks } from './name-locks.js';
import type { RenameFlags } from '../operations.js';
import { copyMarker, findMarker, lookInto, moveInto, writeMarker } from './markers.js';
import { isWithin, keyOf, markerOf, movedPath, nameOf, parentOf, rootPath } from '../path.js';
import type { Key, Path } from '../path.js';
import { DirectoryMove } from './rename-directory.js';
import type { StagedFile } from '../write/staged-file.js';
import type { FormerName, StagedFiles } from '../write/staged-files.js';
import type { ObjectInfo, ObjectStore } from '../store.js';
import type { Tree } from '../tree/tree.js';

export interface NamespaceSettings {
  /** the root is a chroot: names that sshd looks up there are never answered from S3 */
  readonly chroot: boolean;
  readonly renameDir: 'refuse' | 'recursive';
  /** this mount, among all that use the bucket, also after a restart */
  readonly mountId: string;
}

export interface NamespaceParts {
  readonly store: ObjectStore;
  readonly tree: Tree;
  readonly staged: StagedFiles;
  readonly locks: NameLocks;
  readonly settings: NamespaceSettings;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a path means. `file` is there where it is being written, `info` where S3 has it. */
export type Found =
  | { readonly kind: 'file'; readonly file?: StagedFile; readonly info?: ObjectInfo }
  | ({ readonly kind: 'directory' } & DirectoryEntry);

/**
 * Looked up by internal-sftp and libc inside the chroot, at every session and for every listed entry.
 * A user who could create them would be believed: owner names are read from etc/passwd there.
 */
const guardedNames = new Set([
  ...['bin', 'dev', 'etc', 'lib', 'lib32', 'lib64', 'libx32', 'proc', 'run', 'sbin', 'sys', 'usr'],
]);

export class Namespace {
  readonly #parts: NamespaceParts;

  constructor(parts: NamespaceParts) {
    this.#parts = parts;
  }

  /** Whether a path is answered as absent without asking S3, and never created. */
  isGuarded(path: Path): boolean {
    if (!this.#parts.settings.chroot || path === rootPath) return false;
    const end = path.indexOf('/', 1);
    return guardedNames.has(end < 0 ? path.slice(1) : path.slice(1, end));
  }

  /** What `path` means now, or undefined. @throws StoreError, FsError ENAMETOOLONG */
  async find(path: Path, signal?: AbortSignal): Promise<Found | undefined> {
    if (this.isGuarded(path)) return undefined;
    const { staged, tree } = this.#parts;
    this.refuseLongKey(keyOf(path));
    const file = staged.at(path);
    if (file !== undefined) {
      return { kind: 'file', file, ...(file.base === undefined ? {} : { info: file.base }) };
    }
    if (staged.isHidden(path)) return undefined;
    return await tree.lookup(path, signal);
  }

  /** As find. @throws FsError ENOENT too */
  async findExisting(path: Path, signal?: AbortSignal): Promise<Found> {
    const found = await this.find(path, signal);
    if (found === undefined) throw new FsError('ENOENT', `${path} does not exist`);
    return found;
  }

  /** @throws FsError ENAMETOOLONG for a key that S3 cannot hold */
  refuseLongKey(key: Key): void {
    if (Buffer.byteLength(key) <= this.#parts.store.maxKeyBytes) return;
    throw new FsError('ENAMETOOLONG', `the key of /${key} would be over 1,024 bytes`);
  }

  /** @throws FsError EACCES for names that must not exist in a chroot's root */
  refuseGuarded(path: Path): void {
    if (!this.isGuarded(path)) return;
    throw new FsError('EACCES', `${path} is reserved in a chroot: programs inside would trust it`);
  }

  /** @throws FsError ENOENT, EISDIR; StoreError */
  async unlink(path: Path, signal?: AbortSignal): Promise<void> {
    const { staged, store, tree, locks } = this.#parts;
    const unlinked = await locks.alone(
      [path],
      async () => {
        const found = await this.findExisting(path, signal);
        if (found.kind === 'directory') throw new FsError('EISDIR', `${path} is a directory`);
        const { file } = found;
        if (file === undefined || (await tree.lookup(path, signal))?.kind === 'file') {
          const stays = this.#staysWithout(path);
          await store.delete(keyOf(path));
          staged.reveal(path);
          tree.recordAbsent(path);
          if (!stays) await this.#writeMarker(parentOf(path));
        }
        if (file !== undefined) await this.#drop(path, file);
        return file;
      },
      signal,
    );
    if (unlinked !== undefined) await this.removeObsolete(unlinked);
  }

  /** @throws FsError EEXIST, EACCES, ENAMETOOLONG; StoreError */
  async mkdir(path: Path, signal?: AbortSignal): Promise<void> {
    const { locks } = this.#parts;
    this.refuseGuarded(path);
    this.refuseLongKey(markerOf(path));
    await locks.hold(path, () => this.#makeDirectory(path, signal), signal);
  }

  async #makeDirectory(path: Path, signal?: AbortSignal): Promise<void> {
    const { staged, store, tree } = this.#parts;
    if ((await this.find(path, signal)) !== undefined)
      throw new FsError('EEXIST', `${path} exists`);
    if (staged.isHidden(path)) await store.delete(keyOf(path));
    staged.reveal(path);
    if (!(await writeMarker(store, markerOf(path)))) {
      tree.distrust(path);
      throw new FsError('EEXIST', `${path} was made by somebody else`);
    }
    tree.recordNewDirectory(path);
  }

  /** @throws FsError ENOENT, ENOTDIR, ENOTEMPTY, EBUSY; StoreError */
  async rmdir(path: Path, signal?: AbortSignal): Promise<void> {
    const { locks } = this.#parts;
    if (path === rootPath) throw new FsError('EBUSY', 'the root of a mount cannot be removed');
    await locks.holdTrees([path], () => this.#removeDirectory(path, signal), signal);
  }

  async #removeDirectory(path: Path, signal?: AbortSignal): Promise<void> {
    const { staged, store, tree } = this.#parts;
    const found = await this.findExisting(path, signal);
    if (found.kind !== 'directory') throw new FsError('ENOTDIR', `${path} is not a directory`);
    if (staged.hasBelow(path) || !(await lookInto(store, markerOf(path))).isEmpty) {
      throw new FsError('ENOTEMPTY', `${path} is not empty`);
    }
    const stays = this.#staysWithout(path);
    await store.delete(markerOf(path));
    tree.recordNoDirectory(path);
    if (!stays) await this.#writeMarker(parentOf(path));
  }

  /** @throws FsError ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, ENOSYS, ESTALE; StoreError */
  async rename(from: Path, to: Path, flags: RenameFlags, signal?: AbortSignal): Promise<void> {
    if (from === to) return;
    this.refuseGuarded(to);
    this.refuseLongKey(keyOf(to));
    const { locks } = this.#parts;
    const change = (): Promise<Found | undefined> => this.#renameFound(from, to, flags, signal);
    const target = await locks.alone([from, to], change, signal);
    if (target?.kind === 'file' && target.file !== undefined) {
      await this.removeObsolete(target.file);
    }
  }

  /** @returns what was replaced */
  async #renameFound(
    from: Path,
    to: Path,
    flags: RenameFlags,
    signal?: AbortSignal,
  ): Promise<Found | undefined> {
    const source = await this.findExisting(from, signal);
    if (source.kind === 'directory') {
      await this.#renameDirectory(from, to, flags);
      return undefined;
    }
    const target = await this.find(to, signal);
    if (target !== undefined && flags.noReplace === true) {
      throw new FsError('EEXIST', `${to} exists`);
    }
    if (target?.kind === 'directory') throw new FsError('EISDIR', `${to} is a directory`);
    await (source.file === undefined
      ? this.#renameStored(from, to, target)
      : this.#renameStaged(source.file, to, target));
    return target;
  }

  /** Once `file` is stored or has ended: removes what its former names still hold in S3. */
  async removeObsolete(file: StagedFile): Promise<void> {
    const { staged } = this.#parts;
    let failure: { readonly error: unknown } | undefined;
    for (const former of staged.takeFormerNames(file)) {
      try {
        while (staged.isObsolete(former)) await this.#removeFormer(former);
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
  }

  async #removeFormer(former: FormerName): Promise<void> {
    const { staged, store, tree, locks } = this.#parts;
    const { path, etag } = former;
    await locks.alone([path], async () => {
      // Others may have stored something there while this waited, or have renamed its directory.
      if (!staged.isObsolete(former) || former.path !== path) return;
      try {
        const stays = this.#staysWithout(path);
        await store.delete(keyOf(path), { ifMatch: etag });
        tree.recordAbsent(path);
        if (!stays) await this.#writeMarker(parentOf(path));
      } catch (error) {
        if (!isStoreError(error, 'changed')) throw error;
        // Somebody else has replaced it, and theirs stays.
        tree.forget(path);
      } finally {
        staged.reveal(path);
      }
    });
  }

  async #renameStored(from: Path, to: Path, target: Found | undefined): Promise<void> {
    await this.#parts.store.requireDelete(keyOf(from));
    const moved = await this.#copyCurrent(from, to);
    await this.#replaceByCopy(from, to, target, moved);
  }

  /** The copy exists: what it replaces and what it came from go. */
  async #replaceByCopy(
    from: Path,
    to: Path,
    target: Found | undefined,
    { source, copy }: { source: ObjectInfo; copy: ObjectInfo },
  ): Promise<void> {
    const { staged, store, tree } = this.#parts;
    const stays = this.#staysWithout(from, to);
    const replaced = target?.kind === 'file' ? target.file : undefined;
    staged.reveal(to);
    tree.recordFile(to, copy);
    try {
      await store.delete(keyOf(from), { ifMatch: source.etag });
    } catch (error) {
      // Replaced since the copy, or not ours to remove: both names exist now, and the caller hears of
      // it. What is being written at the new name has lost nothing yet, and is stored at its close.
      tree.forget(from);
      if (replaced?.isDirty === false) await this.#drop(to, replaced);
      throw error;
    }
    if (replaced !== undefined) await this.#drop(to, replaced);
    tree.recordAbsent(from);
    if (!stays) await this.#writeMarker(parentOf(from));
  }

  /**
   * Copies the object at `from`. What is known of it may be as old as the TTL: where the server says
   * that it changed since, the version of now is meant, as rename(2) means the file of now.
   */
  async #copyCurrent(from: Path, to: Path): Promise<{ source: ObjectInfo; copy: ObjectInfo }> {
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

  async #copy(source: ObjectInfo, to: Path): Promise<{ source: ObjectInfo; copy: ObjectInfo }> {
    const key = keyOf(to);
    const { store, clock } = this.#parts;
    const { etag } = await store.copy(source, key, {
      storageClass: source.storageClass,
    });
    return { source, copy: { ...source, key, etag, mtimeMs: clock.dateMs() } };
  }

  /**
   * A file being written changes its name. Where its content builds on the object, that moves with it;
   * else what S3 has under the old name goes when the new content is stored.
   */
  async #renameStaged(file: StagedFile, to: Path, target: Found | undefined): Promise<void> {
    const { staged, store, tree } = this.#parts;
    const from = file.path;
    file.refuseIfBound();
    const old = await tree.lookup(from);
    if (old?.kind === 'file') await store.requireDelete(keyOf(from));
    if (file.base !== undefined && file.needsBase) {
      const moved = await this.#copy(file.base, to);
      await this.#replaceByCopy(from, to, target, moved);
      await file.rename(to, moved.copy);
      staged.move(from, to, file);
      return;
    }
    await file.rename(to);
    if (target?.kind === 'file' && target.file !== undefined) await this.#drop(to, target.file);
    if (old?.kind === 'file') staged.hide(from, file, old.info.etag);
    staged.move(from, to, file);
  }

  /** A file being written is unlinked or replaced: it is written in vain from now on. */
  async #drop(path: Path, file: StagedFile): Promise<void> {
    await file.discard();
    this.#parts.staged.detach(path, file);
  }

  async #renameDirectory(from: Path, to: Path, flags: RenameFlags): Promise<void> {
    const { staged, store, tree } = this.#parts;
    if (isWithin(to, from)) throw new FsError('EBUSY', `${to} lies inside ${from}`);
    const source = await lookInto(store, markerOf(from));
    const isEmpty = source.isEmpty && !staged.hasBelow(from);
    if (!isEmpty) await this.#refuseFull(from, to);
    await store.requireDelete(markerOf(from));
    if (staged.at(to) !== undefined) throw new FsError('ENOTDIR', `${to} is not a directory`);
    if (staged.isHidden(to)) await store.delete(keyOf(to));
    staged.reveal(to);
    const target = await tree.lookupAnew(to);
    if (target?.kind === 'file') throw new FsError('ENOTDIR', `${to} is not a directory`);
    if (target !== undefined && flags.noReplace === true) {
      throw new FsError('EEXIST', `${to} exists`);
    }
    if (staged.hasBelow(to)) throw new FsError('ENOTEMPTY', `${to} is not empty`);
    const stays = this.#staysWithout(from, to);
    const place = { to, isThere: target !== undefined };
    if (isEmpty) await this.#moveEmpty(source.marker, from, place);
    else await this.#moveFull(from, place);
    tree.recordNoDirectory(from);
    tree.forget(to);
    if (isEmpty) tree.recordNewDirectory(to);
    else tree.recordDirectory(to, source.marker !== undefined);
    if (!stays) await this.#writeMarker(parentOf(from));
  }

  /** @throws FsError where a directory that is not empty is not renamed at all */
  async #refuseFull(from: Path, to: Path): Promise<void> {
    const { staged, store, settings } = this.#parts;
    if (settings.renameDir === 'recursive') return;
    const target = await this.find(to);
    if (target?.kind === 'file') throw new FsError('ENOTDIR', `${to} is not a directory`);
    const isEmpty =
      target === undefined ||
      (!staged.hasBelow(to) && (await lookInto(store, markerOf(to))).isEmpty);
    if (!isEmpty) throw new FsError('ENOTEMPTY', `${to} is not empty`);
    throw new FsError('ENOSYS', `${from} is not empty; --rename-dir recursive would copy it`);
  }

  /** @param target whether something is `isThere` already */
  async #moveEmpty(
    marker: ObjectInfo | undefined,
    from: Path,
    { to, isThere }: { to: Path; isThere: boolean },
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

  async #moveFull(from: Path, { to, isThere }: { to: Path; isThere: boolean }): Promise<void> {
    const { staged, store, settings, log } = this.#parts;
    const { mountId } = settings;
    const keys = { from: markerOf(from), to: markerOf(to) };
    const move = new DirectoryMove({ store, ...keys, mountId, log });
    const files = staged.atOrBelow([from]);
    for (const file of files) file.refuseIfBound();
    await move.claim(isThere);
    // Files being written move on their own, each with the object it builds on.
    for (const file of files) {
      await this.#renameStaged(file, movedPath(file.path, from, to), undefined);
    }
    staged.moveHidden(from, to);
    await move.run();
  }

  /**
   * Whether the directory of `path` is known to go on existing once `path` is gone. Where nothing is
   * known a marker is written to be sure: it costs no more than asking.
   * @param target where `path` goes to, if it is renamed
   */
  #staysWithout(path: Path, target?: Path): boolean {
    const directory = parentOf(path);
    if (target !== undefined && parentOf(target) === directory) return true;
    return this.#parts.tree.staysWithout(directory, nameOf(path)) ?? false;
  }

  /** Keeps a directory in being: one that others have described stays as it is. */
  async #writeMarker(path: Path): Promise<void> {
    const { store, tree } = this.#parts;
    await writeMarker(store, markerOf(path));
    tree.recordDirectory(path, true);
  }
}
