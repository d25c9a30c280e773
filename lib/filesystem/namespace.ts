/**
 * Names: what a path means to this mount, and every operation that makes a name come or go.
 *
 * Staged files stand in front of what S3 has. Names are changed under the locks of name-locks.ts; S3 is
 * told first, then the tree, then the caller.
 */
import type { Clock } from '../clock.js';
import { FsError, isStoreError } from '../errors.js';
import type { HeldUploads } from './held-uploads.js';
import type { KnownDirectory } from '../tree/listing.js';
import type { Log } from '../log.js';
import type { NameLocks } from './name-locks.js';
import type { RenameFlags } from '../operations.js';
import { lookInto, writeMarker } from './markers.js';
import { keepingParent } from './parent-directory.js';
import { keyOf, markerOf, rootPath } from '../path.js';
import type { Key, Path } from '../path.js';
import { DirectoryRename } from './rename-directory.js';
import type { DirectoryRenameSettings } from './rename-directory.js';
import { FileRename } from './rename-file.js';
import type { StagedFile } from '../write/staged-file.js';
import type { FormerName, StagedFiles } from '../write/staged-files.js';
import type { ObjectInfo, ObjectStore } from '../store.js';
import type { Tree } from '../tree/tree.js';

export interface NamespaceSettings extends DirectoryRenameSettings {
  /** the root is a chroot: names that sshd looks up there are never answered from S3 */
  readonly chroot: boolean;
  /** so is each directory in it */
  readonly homes?: boolean;
}

export interface NamespaceParts {
  readonly store: ObjectStore;
  readonly tree: Tree;
  readonly staged: StagedFiles;
  readonly held?: HeldUploads | undefined;
  readonly locks: NameLocks;
  readonly settings: NamespaceSettings;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a path means. `file` is there where it is being written, `info` where S3 has it. */
export type Found =
  | { readonly kind: 'file'; readonly file?: StagedFile; readonly info?: ObjectInfo }
  | ({ readonly kind: 'directory' } & KnownDirectory);

/**
 * Looked up by internal-sftp and libc inside the chroot, at every session and for every listed entry.
 * A user who could create them would be believed: owner names are read from etc/passwd there.
 */
const guardedNames = new Set([
  ...['bin', 'dev', 'etc', 'lib', 'lib32', 'lib64', 'libx32', 'proc', 'run', 'sbin', 'sys', 'usr'],
]);

export class Namespace {
  readonly #parts: NamespaceParts;
  readonly #files: FileRename;
  readonly #directories: DirectoryRename;

  constructor(parts: NamespaceParts) {
    this.#parts = parts;
    this.#files = new FileRename(parts);
    this.#directories = new DirectoryRename({ ...parts, files: this.#files });
  }

  /** Whether a path is answered as absent without asking S3, and never created. */
  isGuarded(path: Path): boolean {
    const { chroot, homes } = this.#parts.settings;
    if (!chroot) return false;
    const start = homes === true ? path.indexOf('/', 1) + 1 : 1;
    if (start === 0) return false;
    const end = path.indexOf('/', start);
    return guardedNames.has(end < 0 ? path.slice(start) : path.slice(start, end));
  }

  /** What `path` means now, or undefined. @throws StoreError, FsError ENAMETOOLONG */
  async find(path: Path, signal?: AbortSignal): Promise<Found | undefined> {
    const { held, staged, tree } = this.#parts;
    const shown = staged.at(path);
    if (shown?.heldRecord !== undefined) await held?.settle(shown);
    const meant = this.#meant(path);
    if (meant !== undefined) return meant.found;
    this.refuseLongKey(keyOf(path));
    return await tree.lookup(path, signal);
  }

  /** As find, where nothing has to be asked. */
  known(path: Path): { readonly found: Found | undefined } | undefined {
    // Whether it is held still is looked at first.
    if (this.#parts.staged.at(path)?.heldRecord !== undefined) return undefined;
    return this.#meant(path);
  }

  #meant(path: Path): { readonly found: Found | undefined } | undefined {
    if (this.isGuarded(path)) return { found: undefined };
    const { staged, tree } = this.#parts;
    const file = staged.at(path);
    if (file !== undefined) {
      const { base } = file;
      return { found: { kind: 'file', file, ...(base === undefined ? {} : { info: base }) } };
    }
    if (this.#isTooLong(keyOf(path))) return undefined;
    if (staged.isHidden(path)) return { found: undefined };
    const known = tree.known(path);
    return known === undefined ? undefined : { found: known.entry };
  }

  /** As find. @throws FsError ENOENT too */
  async findExisting(path: Path, signal?: AbortSignal): Promise<Found> {
    const found = await this.find(path, signal);
    if (found === undefined) throw new FsError('ENOENT', `${path} does not exist`);
    return found;
  }

  /** @throws FsError ENAMETOOLONG for a key that S3 cannot hold */
  refuseLongKey(key: Key): void {
    if (!this.#isTooLong(key)) return;
    throw new FsError('ENAMETOOLONG', `the key of /${key} would be over 1,024 bytes`);
  }

  #isTooLong(key: Key): boolean {
    return Buffer.byteLength(key) > this.#parts.store.maxKeyBytes;
  }

  /** @throws FsError EACCES for names that must not exist in a chroot's root */
  refuseGuarded(path: Path): void {
    if (!this.isGuarded(path)) return;
    throw new FsError('EACCES', `${path} is reserved in a chroot: programs inside would trust it`);
  }

  /** @throws FsError ENOENT, EISDIR; StoreError */
  async unlink(path: Path, signal?: AbortSignal): Promise<void> {
    const { staged, store, tree, locks } = this.#parts;
    const unlinked = await locks.removing(
      path,
      async () => {
        const found = await this.findExisting(path, signal);
        if (found.kind === 'directory') throw new FsError('EISDIR', `${path} is a directory`);
        const { file } = found;
        if (file === undefined || (await tree.lookup(path, signal))?.kind === 'file') {
          const keepParent = keepingParent(this.#parts, path);
          await store.delete(keyOf(path));
          staged.reveal(path);
          tree.recordAbsent(path);
          await keepParent();
        }
        if (file !== undefined) await staged.discard(path, file);
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
    const keepParent = keepingParent(this.#parts, path);
    await store.delete(markerOf(path));
    tree.recordNoDirectory(path);
    await keepParent();
  }

  /** @throws FsError ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, ENOSYS, ESTALE; StoreError */
  async rename(from: Path, to: Path, flags: RenameFlags, signal?: AbortSignal): Promise<void> {
    if (from === to) return;
    this.refuseGuarded(to);
    this.refuseLongKey(keyOf(to));
    const { locks } = this.#parts;
    const change = (): Promise<StagedFile | undefined> =>
      this.#renameFound(from, to, flags, signal);
    const replaced = await locks.alone([from, to], change, signal);
    if (replaced !== undefined) await this.removeObsolete(replaced);
  }

  /** @returns the file that was being written under the new name */
  async #renameFound(
    from: Path,
    to: Path,
    flags: RenameFlags,
    signal?: AbortSignal,
  ): Promise<StagedFile | undefined> {
    const source = await this.findExisting(from, signal);
    if (source.kind === 'directory') {
      await this.#directories.run(from, to, flags);
      return undefined;
    }
    const target = await this.find(to, signal);
    if (target !== undefined && flags.noReplace === true) {
      throw new FsError('EEXIST', `${to} exists`);
    }
    if (target?.kind === 'directory') throw new FsError('EISDIR', `${to} is a directory`);
    await (source.file === undefined
      ? this.#files.ofStored(from, to, target?.file)
      : this.#files.ofStaged(source.file, to, target?.file));
    return target?.file;
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
        const keepParent = keepingParent(this.#parts, path);
        await store.delete(keyOf(path), { ifMatch: etag });
        tree.recordAbsent(path);
        await keepParent();
      } catch (error) {
        if (!isStoreError(error, 'changed')) throw error;
        // Somebody else has replaced it, and theirs stays.
        tree.forget(path);
      } finally {
        staged.reveal(path);
      }
    });
  }
}
