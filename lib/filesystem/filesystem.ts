/**
 * The core: every operation of a mount, over an object store, for whichever driver.
 *
 * One method per operation of the port, each handed to the file of its idea: opening.ts, reading.ts,
 * commits.ts, stat.ts, set-time.ts, namespace.ts. Failures leave as FsError with the errno chosen; each
 * is logged once, here, with operation and path.
 */
import { FsError, StoreError, isFsError, toFsError } from '../errors.js';
import type { Errno } from '../errors.js';
import type {
  Attributes,
  Change,
  DirectoryEntry,
  FileSystemStats,
  FileTime,
  HandleId,
  OpenFlags,
  Operations,
  RenameFlags,
  RequestContext,
} from '../operations.js';
import { parentOf } from '../path.js';
import type { Path } from '../path.js';
import { Commits } from './commits.js';
import { forgetHeld } from './held-uploads.js';
import { drain } from './drain.js';
import { pathOf, useOf } from './handles.js';
import type { OpenFile } from './handles.js';
import { Opening } from './opening.js';
import { assemble } from './parts.js';
import type { FilesystemParts, FilesystemSources } from './parts.js';
import { Reading } from './reading.js';
import { setTime } from './set-time.js';
import { refuseReadOnly } from './settings.js';
import type { FilesystemStatus } from './settings.js';
import { Stat } from './stat.js';
import type { StagedFile } from '../write/staged-file.js';

/** Answers that are part of daily life and not worth a line above debug. */
const everyday: readonly Errno[] = ['ENOENT', 'EEXIST', 'ENOTEMPTY', 'ENOSYS', 'EINTR', 'EISDIR'];

export class Filesystem implements Operations {
  readonly #parts: FilesystemParts;
  readonly #commits: Commits;
  readonly #opening: Opening;
  readonly #reading: Reading;
  readonly #stat: Stat;
  #listener: (change: Change) => void = () => undefined;

  constructor(sources: FilesystemSources) {
    this.#parts = assemble(sources, (change) => this.#listener(change));
    this.#commits = new Commits(this.#parts);
    this.#opening = new Opening(this.#parts, this.#commits);
    this.#reading = new Reading(this.#parts);
    this.#stat = new Stat(this.#parts);
  }

  onChange(listener: (change: Change) => void): void {
    this.#listener = listener;
  }

  getattr(path: Path, context: RequestContext, handle?: HandleId): Promise<Attributes> {
    return this.#answer('getattr', path, () => this.#stat.getattr(path, context, handle));
  }

  getattrNow(path: Path, handle?: HandleId): Attributes | 'absent' | undefined {
    return this.#stat.getattrNow(path, handle);
  }

  opendir(path: Path, context: RequestContext): Promise<HandleId> {
    return this.#answer('opendir', path, () => this.#stat.opendir(path, context));
  }

  opendirNow(path: Path): HandleId | undefined {
    return this.#stat.opendirNow(path);
  }

  async readdir(
    handle: HandleId,
    offset: number,
    count: number,
  ): Promise<readonly DirectoryEntry[]> {
    const open = this.#parts.handles.directory(handle);
    return await this.#answer('readdir', open.path, () => open.read(offset, count));
  }

  readdirNow(
    handle: HandleId,
    offset: number,
    count: number,
  ): readonly DirectoryEntry[] | undefined {
    const open = this.#parts.handles.get(handle);
    return open?.kind === 'directory' ? open.readNow(offset, count) : undefined;
  }

  releasedir(handle: HandleId): void {
    const { handles } = this.#parts;
    const open = handles.get(handle);
    if (open?.kind === 'directory') open.close();
    handles.delete(handle);
  }

  open(path: Path, flags: OpenFlags, context: RequestContext): Promise<HandleId> {
    const open = () => this.#opening.open(path, { flags, context });
    return this.#answer('open', path, () => this.#parts.audit.opening(path, context.caller, open));
  }

  openNow(path: Path, flags: OpenFlags, context: RequestContext): HandleId | undefined {
    this.#parts.audit.seen(context.caller);
    return this.#opening.openNow(path, { flags, context });
  }

  create(path: Path, flags: OpenFlags, context: RequestContext): Promise<HandleId> {
    const create = () => this.#opening.create(path, { flags, context });
    return this.#answer('create', path, () =>
      this.#parts.audit.opening(path, context.caller, create),
    );
  }

  createNow(path: Path, flags: OpenFlags, context: RequestContext): HandleId | undefined {
    this.#parts.audit.seen(context.caller);
    return this.#opening.createNow(path, { flags, context });
  }

  async read(
    handle: HandleId,
    offset: number,
    length: number,
    context: RequestContext,
  ): Promise<readonly Uint8Array[]> {
    const open = this.#parts.handles.file(handle);
    const read = (): Promise<readonly Uint8Array[]> =>
      this.#reading.read(open, { offset, length }, context);
    return await this.#answer('read', pathOf(open), read);
  }

  readNow(
    handle: HandleId,
    offset: number,
    length: number,
    context: RequestContext,
  ): readonly Uint8Array[] | undefined {
    const open = this.#fileOf(handle);
    return open && this.#reading.readNow(open, { offset, length }, context);
  }

  kept(handle: HandleId): void {
    const { handles } = this.#parts;
    const open = handles.get(handle);
    if (open?.kind !== 'reader') return;
    for (const use of handles.readersLike(open.reader)) use.mayBeCached = true;
  }

  async write(handle: HandleId, data: Uint8Array, offset: number): Promise<void> {
    const open = this.#parts.handles.file(handle);
    await this.#answer('write', pathOf(open), async () => {
      if (open.kind === 'reader' || open.flags.access === 'read') {
        throw new FsError('EBADF', 'not open for writing');
      }
      // O_APPEND means the end of now; the kernel's idea of it may be older.
      await open.file.write(data, open.flags.append === true ? 'end' : offset);
    });
  }

  writeNow(handle: HandleId, data: Uint8Array, offset: number): boolean {
    const open = this.#parts.handles.get(handle);
    if (open?.kind !== 'staged' || open.flags.access === 'read') return false;
    return open.file.writeNow(data, open.flags.append === true ? 'end' : offset);
  }

  async flush(handle: HandleId, context: RequestContext): Promise<void> {
    const open = this.#parts.handles.file(handle);
    await this.#answer('flush', pathOf(open), () => this.#commits.flush(open, context));
  }

  flushNow(handle: HandleId): boolean {
    const open = this.#fileOf(handle);
    return open !== undefined && this.#commits.isStored(open);
  }

  async fsync(handle: HandleId): Promise<void> {
    const open = this.#parts.handles.file(handle);
    await this.#answer('fsync', pathOf(open), async () => {
      if (open.kind === 'staged') await this.#commits.commit(open.file, open.use);
    });
  }

  async release(handle: HandleId): Promise<void> {
    const open = this.#fileOf(handle);
    if (open === undefined) return;
    await this.#answer('release', pathOf(open), () => this.#opening.release(handle));
  }

  releaseNow(handle: HandleId): boolean {
    return this.#fileOf(handle) !== undefined && this.#opening.releaseNow(handle);
  }

  truncate(path: Path, size: number, context: RequestContext, handle?: HandleId): Promise<void> {
    return this.#change('truncate', path, async () => {
      const open = handle === undefined ? undefined : this.#parts.handles.get(handle);
      if (open?.kind === 'staged') await open.file.truncate(size, context.signal);
      else await this.#opening.truncate(path, size, context);
    });
  }

  unlink(path: Path, context: RequestContext): Promise<void> {
    const { audit, names } = this.#parts;
    return audit.around({ action: 'delete', path, caller: context.caller }, () =>
      this.#changeEntry('unlink', [path], () => names.unlink(path, context.signal)),
    );
  }

  rename(from: Path, to: Path, context: RequestContext, flags: RenameFlags): Promise<void> {
    const { audit, names } = this.#parts;
    return audit.around({ action: 'rename', path: from, to, caller: context.caller }, () =>
      this.#changeEntry('rename', [from, to], () => names.rename(from, to, flags, context.signal)),
    );
  }

  mkdir(path: Path, context: RequestContext): Promise<void> {
    const { audit, names } = this.#parts;
    return audit.around({ action: 'mkdir', path, caller: context.caller }, () =>
      this.#changeEntry('mkdir', [path], () => names.mkdir(path, context.signal)),
    );
  }

  rmdir(path: Path, context: RequestContext): Promise<void> {
    const { audit, names } = this.#parts;
    return audit.around({ action: 'rmdir', path, caller: context.caller }, () =>
      this.#changeEntry('rmdir', [path], () => names.rmdir(path, context.signal)),
    );
  }

  symlink(_target: string, path: Path): Promise<never> {
    return this.#refuse('symlink', path);
  }

  link(from: Path): Promise<never> {
    return this.#refuse('link', from);
  }

  mknod(path: Path): Promise<never> {
    return this.#refuse('mknod', path);
  }

  /** Succeeds and changes nothing: modes are the mount's. */
  chmod(path: Path, _mode: number, context: RequestContext): Promise<void> {
    return this.#change('chmod', path, () => this.#mustExist(path, context));
  }

  /** Succeeds and changes nothing: the owner is the mount's. */
  chown(path: Path, _uid: number, _gid: number, context: RequestContext): Promise<void> {
    return this.#change('chown', path, () => this.#mustExist(path, context));
  }

  utimens(path: Path, atime: FileTime, mtime: FileTime, context: RequestContext): Promise<void> {
    return this.#change('utimens', path, () => setTime(this.#parts, path, [atime, mtime], context));
  }

  statfs(): FileSystemStats {
    return this.#parts.view.statfs();
  }

  neverExists(path: Path): boolean {
    return this.#parts.names.isGuarded(path);
  }

  /** @throws Error where an invariant of the tree or of the reading is broken; for tests */
  check(): void {
    this.#parts.tree.check();
    this.#parts.reading.objects.check();
  }

  get status(): FilesystemStatus {
    const { handles, held, reading, space, staged, tree, writing } = this.#parts;
    return {
      handles: handles.size,
      uploads: staged.all
        .filter((file) => file.isDirty)
        .map((file) => ({ path: file.path, size: file.size, sent: file.sentBytes })),
      held: held?.status ?? [],
      tempBytes: space.used,
      tempPeak: space.peak,
      uploadMemory: writing.memory.used + writing.tails.used,
      downloadMemory: reading.objects.memory.used,
      downloadMemoryPeak: reading.objects.memory.peak,
      cachedEntries: tree.cachedEntries,
      cacheHits: tree.asked.hits,
      cacheMisses: tree.asked.misses,
      oddKeys: tree.oddKeys,
    };
  }

  /**
   * Takes over the interrupted uploads that earlier processes left. For once, before any operation.
   * @returns ids of the multipart uploads that are to stay open
   */
  async restoreHeld(): Promise<ReadonlySet<string>> {
    const { held, log, settings, store } = this.#parts;
    await held?.restore();
    if (held === undefined) await forgetHeld(settings, store, log);
    return held?.uploadIds ?? new Set();
  }

  /** Gives up what is held of an interrupted upload. @returns whether anything was @throws FsError */
  async discardHeld(path: Path): Promise<boolean> {
    return (await this.#parts.held?.discard(path)) ?? false;
  }

  /** Ends what goes on by itself. What is held stays on disk. */
  close(): void {
    this.#parts.held?.close();
  }

  /**
   * Before the mount goes away: no new opens, and everything written is stored. Files that are still
   * being written are waited for; one that is idle is stored as it is, or held where uploads that are
   * interrupted are.
   * @param signal gives up waiting
   * @param onProgress called about once a second with what is left
   * @returns paths that were not stored
   */
  async drain(
    signal: AbortSignal,
    onProgress: (left: FilesystemStatus) => void,
  ): Promise<string[]> {
    const { clock, held, staged } = this.#parts;
    this.#opening.stop();
    const dirty = (): StagedFile[] =>
      staged.all.filter((file) => file.isDirty && file.isAttached && !file.isSetAside);
    const hold = async (file: StagedFile): Promise<void> => {
      const isHeld = await this.#commits.hold(file, useOf({}, clock.nowMs()), signal);
      if (!isHeld) throw new FsError('EIO', `${file.path} cannot be held`);
    };
    const store = (file: StagedFile): Promise<void> =>
      this.#commits.commit(file, useOf({}, clock.nowMs()));
    return await drain({
      ...{ dirty, signal },
      store: held === undefined ? store : hold,
      atLast: held && hold,
      onProgress: () => {
        onProgress(this.status);
      },
    });
  }

  #fileOf(handle: HandleId): OpenFile | undefined {
    const open = this.#parts.handles.get(handle);
    return open?.kind === 'directory' ? undefined : open;
  }

  async #mustExist(path: Path, { signal }: RequestContext): Promise<void> {
    await this.#parts.names.findExisting(path, signal);
  }

  #refuse(operation: string, path: Path): Promise<never> {
    return this.#change(operation, path, () => {
      throw new FsError('ENOSYS', `S3 has nothing like ${operation}`);
    });
  }

  #change<T>(operation: string, path: Path, work: () => Promise<T>): Promise<T> {
    return this.#answer(operation, path, async () => {
      refuseReadOnly(this.#parts.settings);
      return await work();
    });
  }

  /** An operation by which the entries `paths` come, go or are replaced. */
  #changeEntry(
    operation: string,
    paths: readonly [Path, ...Path[]],
    work: () => Promise<void>,
  ): Promise<void> {
    return this.#change(operation, paths[0], async () => {
      await work();
      for (const path of paths) this.#parts.directoryTimes.move(parentOf(path));
    });
  }

  /** Runs one operation; what it throws becomes an FsError, logged once with all that is known. */
  async #answer<T>(operation: string, path: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const failure = toFsError(error);
      const level = isFsError(failure, ...everyday) ? 'debug' : 'warn';
      this.#parts.log[level](
        { operation, path, errno: failure.code, ...storeFacts(failure), cause: failure.message },
        `${operation} failed`,
      );
      throw failure;
    }
  }
}

/** What S3 said, for the log. */
function storeFacts(failure: FsError): Record<string, unknown> {
  const { cause } = failure;
  if (!(cause instanceof StoreError)) return {};
  const { action, status, code, requestId, kind } = cause;
  return { action, status, code, requestId, kind };
}
