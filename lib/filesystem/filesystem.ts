/**
 * The core: every operation of a mount, over an object store, for whichever driver.
 *
 * It owns the handles. A handle on a file that is not being written reads one version of the object
 * through a Reader; any other handle shares the path's StagedFile. Failures leave as FsError with
 * the errno chosen; each is logged once, here, with operation and path.
 */
import { noAudit } from './audit.js';
import type { AuditTrail } from './audit.js';
import { Budget } from '../read/budget.js';
import { systemClock, type Clock } from '../clock.js';
import { contentTypeOf } from './content-type.js';
import { DirectoryTimes } from '../tree/directory-times.js';
import { drain } from './drain.js';
import { FsError, StoreError, isFsError, toFsError } from '../errors.js';
import type { Errno } from '../errors.js';
import { givenTimeName, textOfTime, timeOfMs } from '../file-time.js';
import { FileAudit } from './audit-trail.js';
import { FilesAhead } from './file-prefetch.js';
import { GivenTimes } from './given-times.js';
import type { Entry } from '../tree/listing.js';
import type { Log } from '../log.js';
import { NameLocks } from './name-locks.js';
import { Namespace } from './namespace.js';
import type { Found } from './namespace.js';
import { OpenHandles, pathOf, useOf } from './handles.js';
import type { OpenFile, Use } from './handles.js';
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
import { OpenDirectory } from './directory-handle.js';
import { childPath, keyOf, nameOf, parentOf, pathOfKey } from '../path.js';
import type { Path } from '../path.js';
import { Presentation } from './attributes.js';
import type { PresentationSettings } from './attributes.js';
import { ReadMemory } from '../read/memory.js';
import { Reader } from '../read/reader.js';
import type { ReaderSettings } from '../read/reader.js';
import { SharedObjects } from '../read/shared-objects.js';
import { StagedFile } from '../write/staged-file.js';
import type { StagedOrigin } from '../write/staged-file.js';
import { StagedFiles } from '../write/staged-files.js';
import type { StagingArea } from '../write/write-context.js';
import { multipartLimits } from '../store.js';
import type { ObjectInfo, ObjectStore } from '../store.js';
import { TempSpace, type TempPlace } from '../temp-space.js';
import { Tree } from '../tree/tree.js';

export interface FilesystemSettings extends PresentationSettings {
  readonly readOnly: boolean;
  readonly utimens: 'refuse' | 'ignore' | 'store';
  /** what becomes of an upload whose process died before close(2) */
  readonly interrupted: 'discard' | 'keep';
  readonly renameDir: 'refuse' | 'recursive';
  /** this mount, among all that use the bucket, also after a restart */
  readonly mountId: string;
  readonly metadataTtlMs: number;
  /** bytes of one listing in memory; longer ones go to the temp directory */
  readonly longestListing?: number;
  /** store a content type by file name extension */
  readonly contentType: boolean;
  /** bytes */
  readonly partSize: number;
  /** for endpoints that want all parts of an upload but the last of one size */
  readonly equalParts?: boolean;
  /** smallest part but the last; S3's 5 MiB if absent */
  readonly minPart?: number;
  readonly uploadConcurrency: number;
  readonly downloadConcurrency: number;
  /** bytes of file content in memory, half for writing and half for reading */
  readonly memoryLimit: number;
  readonly tempDir: string | TempPlace;
  /** bytes */
  readonly tempLimit: number;
  /** how long one operation may wait, as for room in the temp directory */
  readonly timeoutMs: number;
}

/** Answers that are part of daily life and not worth a line above debug. */
const everyday: readonly Errno[] = ['ENOENT', 'EEXIST', 'ENOTEMPTY', 'ENOSYS', 'EINTR', 'EISDIR'];

/** A file that is not stored yet. */
export interface OpenUpload {
  readonly path: string;
  /** bytes */
  readonly size: number;
  /** bytes that S3 has in parts already */
  readonly sent: number;
}

export interface FilesystemStatus {
  readonly handles: number;
  readonly uploads: readonly OpenUpload[];
  readonly tempBytes: number;
  readonly tempPeak: number;
  /** bytes of file content in memory on their way to S3 */
  readonly uploadMemory: number;
  /** bytes of file content in memory on their way from S3, and the most there ever were */
  readonly downloadMemory: number;
  readonly downloadMemoryPeak: number;
  readonly cachedEntries: number;
  /** lookups and listings answered without asking S3 */
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly oddKeys: number;
}

export class Filesystem implements Operations {
  readonly #store: ObjectStore;
  readonly #settings: FilesystemSettings;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #audit: FileAudit;
  readonly #tree: Tree;
  readonly #staged = new StagedFiles();
  readonly #locks = new NameLocks(this.#staged);
  readonly #names: Namespace;
  readonly #looks: Presentation;
  readonly #directoryTimes: DirectoryTimes;
  readonly #givenTimes: GivenTimes;
  readonly #area: StagingArea;
  readonly #space: TempSpace;
  readonly #reading: ReaderSettings;
  readonly #ahead: FilesAhead;
  readonly #handles = new OpenHandles();
  #listener: (change: Change) => void = () => undefined;
  #isDraining = false;

  constructor(parts: {
    store: ObjectStore;
    settings: FilesystemSettings;
    log: Log;
    audit?: AuditTrail;
    clock?: Clock;
  }) {
    const { store, settings, log, audit = noAudit, clock = systemClock } = parts;
    this.#clock = clock;
    this.#audit = new FileAudit(audit, clock);
    this.#store = store;
    this.#settings = settings;
    this.#log = log;
    this.#directoryTimes = new DirectoryTimes(clock);
    this.#looks = new Presentation(settings, clock.dateMs(), this.#directoryTimes);
    const { tempDir, tempLimit, timeoutMs } = settings;
    this.#space = new TempSpace(tempDir, tempLimit, timeoutMs, clock);
    this.#tree = new Tree(store, {
      space: this.#space,
      longestListing: settings.longestListing,
      ttlMs: settings.metadataTtlMs,
      partSize: settings.partSize,
      // Times in the metadata are in no listing.
      needsHead: settings.utimens === 'store',
      clock,
      directoryTimes: this.#directoryTimes,
      log,
      onForeignChange: (path, what) => this.#listener({ path, what }),
    });
    this.#givenTimes = new GivenTimes({
      store,
      listed: (path) => this.#tree.listed(path),
      known: (path) => this.#tree.peek(path)?.entry,
      onTold: (path, info) => this.#tree.noteTold(path, info),
    });
    const half = Math.floor(settings.memoryLimit / 2);
    this.#reading = {
      partSize: settings.partSize,
      concurrency: settings.downloadConcurrency,
      objects: new SharedObjects(new ReadMemory(half, clock)),
    };
    this.#ahead = new FilesAhead({
      ...this.#reading,
      store,
      listed: (path) => this.#tree.listed(path),
      stored: (path) => this.#storedAt(path),
    });
    this.#area = {
      store,
      log,
      clock,
      space: this.#space,
      memory: new Budget(half),
      reading: this.#reading,
      partSize: settings.partSize,
      get equalParts() {
        return settings.equalParts === true || store.partRules.equalSizes.holds;
      },
      get equalStreams() {
        return settings.equalParts === true || store.partRules.equalSizes.isSuspected;
      },
      minPart: settings.minPart ?? multipartLimits.minPart,
      uploadConcurrency: settings.uploadConcurrency,
      contentTypeOf: (path) => (settings.contentType ? contentTypeOf(path) : undefined),
      onLost: (path) => {
        this.#tree.distrust(path);
        this.#listener({ path, what: 'entry' });
      },
      onStored: (path, info) => {
        this.#tree.recordFile(path, info);
        this.#staged.reveal(path);
        this.#listener({ path, what: 'attributes' });
      },
    };
    this.#names = new Namespace({
      store,
      log,
      clock,
      settings,
      tree: this.#tree,
      staged: this.#staged,
      locks: this.#locks,
    });
  }

  onChange(listener: (change: Change) => void): void {
    this.#listener = listener;
  }

  getattr(path: Path, context: RequestContext, handle?: HandleId): Promise<Attributes> {
    return this.#answer('getattr', path, async () => {
      const open = handle === undefined ? undefined : this.#handles.get(handle);
      if (open?.kind === 'staged') return await this.#showStaged(open.file, context);
      if (open?.kind === 'reader') {
        const { info } = open.reader;
        return this.#looks.ofObject(await this.#withGivenTime(pathOfKey(info.key), info, context));
      }
      const found = await this.#findExisting(path, context.signal);
      if (found.kind === 'directory' || found.info === undefined || found.file?.isDirty === true) {
        return this.#looks.of(path, found, this.#tree.freshForMs(path));
      }
      const info = await this.#withGivenTime(path, found.info, context);
      return this.#looks.of(path, { ...found, info }, this.#tree.freshForMs(path));
    });
  }

  async #showStaged(file: StagedFile, context: RequestContext): Promise<Attributes> {
    const { base, isDirty } = file;
    if (isDirty || base === undefined) return this.#looks.ofStaged(file);
    return this.#looks.ofObject(await this.#withGivenTime(file.path, base, context));
  }

  async #withGivenTime(path: Path, info: ObjectInfo, context: RequestContext): Promise<ObjectInfo> {
    if (!this.#looks.needsGivenTime(info)) return info;
    return await this.#givenTimes.complete(path, info, context.signal);
  }

  opendir(path: Path, context: RequestContext): Promise<HandleId> {
    return this.#answer('opendir', path, async () => {
      const listing = await this.#tree.list(path, context.signal);
      const validForMs = this.#tree.listingFreshForMs(path);
      const show = (name: string, entry: Entry): Attributes | undefined => {
        const child = childPath(path, name);
        // It may be written to since the handle was opened.
        const file = this.#staged.at(child);
        if (file === undefined && this.#staged.isHidden(child)) return undefined;
        if (this.#names.isGuarded(child)) return undefined;
        return file === undefined
          ? this.#looks.of(child, entry, validForMs)
          : this.#looks.ofStaged(file);
      };
      const written = new Map(
        this.#staged.within(path).map((file) => [nameOf(file.path), this.#looks.ofStaged(file)]),
      );
      return this.#handles.add(new OpenDirectory({ path, listing, show, written }));
    });
  }

  async readdir(
    handle: HandleId,
    offset: number,
    count: number,
  ): Promise<readonly DirectoryEntry[]> {
    const open = this.#handles.directory(handle);
    return await this.#answer('readdir', open.path, () => open.read(offset, count));
  }

  releasedir(handle: HandleId): void {
    const open = this.#handles.get(handle);
    if (open?.kind === 'directory') open.close();
    this.#handles.delete(handle);
  }

  open(path: Path, flags: OpenFlags, context: RequestContext): Promise<HandleId> {
    return this.#opened('open', path, context, async () => {
      const found = await this.#findExisting(path, context.signal);
      return await this.#openFound(path, found, { flags, context });
    });
  }

  create(path: Path, flags: OpenFlags, context: RequestContext): Promise<HandleId> {
    return this.#opened('create', path, context, async () => {
      this.#refuseReadOnly();
      this.#names.refuseGuarded(path);
      const found = await this.#names.find(path, context.signal);
      if (found === undefined) {
        const origin = this.#staged.isHidden(path) ? {} : { absent: absentAsked(flags) };
        const handle = this.#openStaged(path, { flags, context }, origin);
        this.#directoryTimes.move(parentOf(path));
        return handle;
      }
      if (flags.exclusive === true) throw new FsError('EEXIST', `${path} exists`);
      return await this.#openFound(path, found, { flags, context });
    });
  }

  async read(
    handle: HandleId,
    offset: number,
    length: number,
    context: RequestContext,
  ): Promise<readonly Uint8Array[]> {
    const open = this.#handles.file(handle);
    return await this.#answer('read', pathOf(open), async () => {
      const pieces = await this.#bytesOf(open, { offset, length }, context);
      for (const piece of pieces) open.use.bytesRead += piece.length;
      return pieces;
    });
  }

  async write(handle: HandleId, data: Uint8Array, offset: number): Promise<void> {
    const open = this.#handles.file(handle);
    await this.#answer('write', pathOf(open), async () => {
      if (open.kind === 'reader' || open.flags.access === 'read') {
        throw new FsError('EBADF', 'not open for writing');
      }
      // O_APPEND means the end of now; the kernel's idea of it may be older.
      await open.file.write(data, open.flags.append === true ? 'end' : offset);
    });
  }

  async flush(handle: HandleId, context: RequestContext): Promise<void> {
    const open = this.#handles.file(handle);
    await this.#answer('flush', pathOf(open), async () => {
      if (open.kind === 'reader' || !open.stores) return;
      await (this.#isInterrupted(open.file, context)
        ? this.#discard(open.file, open.use)
        : this.#commit(open.file, open.use, context));
    });
  }

  async fsync(handle: HandleId): Promise<void> {
    const open = this.#handles.file(handle);
    await this.#answer('fsync', pathOf(open), async () => {
      if (open.kind === 'staged') await this.#commit(open.file, open.use);
    });
  }

  async release(handle: HandleId): Promise<void> {
    const open = this.#handles.get(handle);
    this.#handles.delete(handle);
    if (open === undefined || open.kind === 'directory') return;
    this.#audit.closed(open);
    if (open.kind === 'reader') {
      open.reader.close();
      return;
    }
    const { file, use } = open;
    if (this.#staged.handlesOf(file) > 1) {
      this.#staged.release(file);
      return;
    }
    await this.#answer('release', file.path, async () => {
      try {
        // Nearly always there is nothing left to do: close(2) has stored it. What is still being done
        // to the file comes first.
        await file.hold(() => Promise.resolve());
        if (file.isDirty) await this.#commit(file, use);
      } finally {
        // A new handle may have been opened on it meanwhile.
        if (this.#staged.release(file)) await file.close();
      }
    });
  }

  truncate(path: Path, size: number, context: RequestContext, handle?: HandleId): Promise<void> {
    return this.#answer('truncate', path, async () => {
      this.#refuseReadOnly();
      const open = handle === undefined ? undefined : this.#handles.get(handle);
      if (open?.kind === 'staged') await open.file.truncate(size, context.signal);
      else await this.#truncateByName(path, size, context);
    });
  }

  unlink(path: Path, context: RequestContext): Promise<void> {
    return this.#audit.around({ action: 'delete', path, caller: context.caller }, () =>
      this.#changeEntry('unlink', [path], () => this.#names.unlink(path, context.signal)),
    );
  }

  rename(from: Path, to: Path, context: RequestContext, flags: RenameFlags): Promise<void> {
    return this.#audit.around({ action: 'rename', path: from, to, caller: context.caller }, () =>
      this.#changeEntry('rename', [from, to], () =>
        this.#names.rename(from, to, flags, context.signal),
      ),
    );
  }

  mkdir(path: Path, context: RequestContext): Promise<void> {
    return this.#changeEntry('mkdir', [path], () => this.#names.mkdir(path, context.signal));
  }

  rmdir(path: Path, context: RequestContext): Promise<void> {
    return this.#changeEntry('rmdir', [path], () => this.#names.rmdir(path, context.signal));
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
    return this.#change('utimens', path, async () => {
      // touch(1) and creat(2) wrappers set "now" at once; what S3 shows is near enough to be true.
      const isExplicit = [atime, mtime].some((time) => time !== 'now' && time !== 'omit');
      if (isExplicit && this.#settings.utimens === 'refuse') {
        throw new FsError('EPERM', 'S3 keeps no modification times; --utimens ignore or store');
      }
      if (mtime === 'unknown' && this.#settings.utimens === 'store') {
        throw new FsError('EPERM', 'this driver is not told the time to store; --driver kernel is');
      }
      if (this.#settings.utimens !== 'store' || (typeof mtime !== 'bigint' && mtime !== 'now')) {
        await this.#mustExist(path, context);
        return;
      }
      const store = (): Promise<void> => this.#storeTime(path, mtime, context);
      await this.#locks.alone([path], store, context.signal);
    });
  }

  statfs(): FileSystemStats {
    return this.#looks.statfs();
  }

  neverExists(path: Path): boolean {
    return this.#names.isGuarded(path);
  }

  /** @throws Error where an invariant of the tree or of the reading is broken; for tests */
  check(): void {
    this.#tree.check();
    this.#reading.objects.check();
  }

  get status(): FilesystemStatus {
    return {
      handles: this.#handles.size,
      uploads: this.#staged.all
        .filter((file) => file.isDirty)
        .map((file) => ({ path: file.path, size: file.size, sent: file.sentBytes })),
      tempBytes: this.#space.used,
      tempPeak: this.#space.peak,
      uploadMemory: this.#area.memory.used,
      downloadMemory: this.#reading.objects.memory.used,
      downloadMemoryPeak: this.#reading.objects.memory.peak,
      cachedEntries: this.#tree.cachedEntries,
      cacheHits: this.#tree.asked.hits,
      cacheMisses: this.#tree.asked.misses,
      oddKeys: this.#tree.oddKeys,
    };
  }

  /**
   * Before the mount goes away: no new opens, and everything written is stored. Files that are still
   * being written are waited for; one that rests is stored as it is.
   * @param signal gives up waiting
   * @param onProgress called about once a second with what is left
   * @returns paths that were not stored
   */
  async drain(
    signal: AbortSignal,
    onProgress: (left: FilesystemStatus) => void,
  ): Promise<string[]> {
    this.#isDraining = true;
    return await drain({
      dirty: () => this.#staged.all.filter((file) => file.isDirty && file.isAttached),
      store: (file) => this.#commit(file, this.#useOf({})),
      onProgress: () => {
        onProgress(this.status);
      },
      signal,
    });
  }

  async #readStored(
    reader: Reader,
    { offset, length }: { readonly offset: number; readonly length: number },
    context: RequestContext,
  ): Promise<readonly Uint8Array[]> {
    try {
      const reading = reader.read(offset, length, context);
      if (offset === 0) this.#ahead.note(pathOfKey(reader.info.key), reader.info);
      return await reading;
    } catch (error) {
      // The kernel has cached what came before the last read found out.
      if (reader.isWrong) this.#listener({ path: pathOfKey(reader.info.key), what: 'entry' });
      throw error;
    }
  }

  /** What would be read at `path`, as far as that is known and lies in S3, ready to be read. */
  #storedAt(path: Path): ObjectInfo | undefined {
    if (this.#staged.at(path) !== undefined || this.#staged.isHidden(path)) return undefined;
    const entry = this.#tree.peek(path)?.entry;
    return entry?.kind === 'file' && entry.info.archived !== true ? entry.info : undefined;
  }

  // --- opening ---

  /** Opens are answered one at a time per path: two that find no staged file must not make two. */
  #opened(
    operation: string,
    path: Path,
    { signal }: RequestContext,
    open: () => Promise<HandleId>,
  ): Promise<HandleId> {
    return this.#answer(operation, path, async () => {
      const openNow = (): Promise<HandleId> => {
        this.#refuseWhileDraining();
        return open();
      };
      return await this.#locks.hold(path, openNow, signal);
    });
  }

  async #openFound(path: Path, found: Found, request: OpenRequest): Promise<HandleId> {
    const { flags, context } = request;
    if (found.kind === 'directory') throw new FsError('EISDIR', `${path} is a directory`);
    const file = this.#staged.at(path);
    if (found.file !== file) {
      // It was closed or given up since it was found.
      return await this.#openFound(path, await this.#findExisting(path, context.signal), request);
    }
    if (found.info?.denied === true && file === undefined && flags.truncate !== true) {
      throw new FsError('EACCES', `${path} is listed, but S3 refuses to read it`);
    }
    if (flags.access === 'read' && flags.truncate !== true) {
      if (file?.isDirty === true) return this.#shareStaged(file, request);
      if (found.info === undefined) throw new FsError('ENOENT', `${path} does not exist`);
      await this.#refuseArchived(path, found.info);
      const reader = new Reader(this.#store, found.info, this.#reading);
      return this.#handles.add({ kind: 'reader', reader, use: this.#useOf(context) });
    }
    this.#refuseReadOnly();
    if (file === undefined) {
      if (flags.truncate === true) return this.#openStaged(path, request, {});
      const base = await this.#told(found.info, context.signal);
      if (base !== undefined) await this.#refuseArchived(path, base);
      return this.#openStaged(path, request, { base });
    }
    const handle = this.#shareStaged(file, request, true);
    if (flags.truncate !== true) return handle;
    try {
      await file.truncate(0, context.signal);
      return handle;
    } catch (error) {
      await this.release(handle);
      throw error;
    }
  }

  /**
   * What the object itself says, of which a listing may have said too little: what is built on it
   * would cut it.
   */
  async #told(info: ObjectInfo | undefined, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    const isListed = info !== undefined && info.metadata === undefined;
    return isListed ? await this.#store.head(info.key, signal) : info;
  }

  #openStaged(path: Path, request: OpenRequest, origin: StagedOrigin): HandleId {
    const file = new StagedFile(this.#area, path, origin);
    this.#staged.attach(path, file);
    return this.#shareStaged(file, request, true);
  }

  /** @param stores whether its close stores the file: it can write, or it made or cut the file */
  #shareStaged(file: StagedFile, { flags, context }: OpenRequest, stores = false): HandleId {
    this.#staged.acquire(file);
    return this.#handles.add({ kind: 'staged', file, flags, stores, use: this.#useOf(context) });
  }

  async #findExisting(path: Path, signal?: AbortSignal): Promise<Found> {
    const found = await this.#names.find(path, signal);
    if (found === undefined) throw new FsError('ENOENT', `${path} does not exist`);
    return found;
  }

  async #mustExist(path: Path, { signal }: RequestContext): Promise<void> {
    await this.#findExisting(path, signal);
  }

  /** Listings show the class but not whether a copy was restored; HEAD does. */
  async #refuseArchived(path: Path, info: ObjectInfo): Promise<void> {
    if (info.archived !== true) return;
    const now = await this.#store.head(info.key);
    if (now.archived !== true) return;
    throw new FsError(
      'EIO',
      `${path} is archived (${now.storageClass ?? 'unknown class'}): restore it first`,
    );
  }

  // --- storing ---

  async #bytesOf(
    open: OpenFile,
    range: { readonly offset: number; readonly length: number },
    context: RequestContext,
  ): Promise<readonly Uint8Array[]> {
    try {
      if (open.kind === 'reader') return await this.#readStored(open.reader, range, context);
      if (open.flags.access === 'write') throw new FsError('EBADF', 'not open for reading');
      return await open.file.read(range.offset, range.length, context.signal);
    } catch (error) {
      open.use.readFailure = toFsError(error);
      throw error;
    }
  }

  #useOf(context: RequestContext): Use {
    return useOf(context, this.#clock.nowMs());
  }

  /** @param context of the caller, whose being told to stop ends it unless what arrived is kept */
  async #commit(file: StagedFile, use: Use, context: RequestContext = {}): Promise<void> {
    const signal = this.#settings.interrupted === 'keep' ? undefined : context.signal;
    if (await this.#audit.commit(file, use, signal)) await this.#names.removeObsolete(file);
  }

  /**
   * Whether this flush comes from a process that died before it closed the file. A death by signal
   * counts, and any end of sftp-server or internal-sftp with a file open: they exit 0 when their
   * connection drops, and close what the client closed.
   */
  #isInterrupted(file: StagedFile, context: RequestContext): boolean {
    if (this.#settings.interrupted === 'keep' || !file.isDirty) return false;
    const isServer =
      context.program === 'sftp-server' || context.program?.startsWith('sshd') === true;
    const isDeath = context.closing === 'killed' || (context.closing === 'exit' && isServer);
    // Somebody else still has it open: their close decides.
    return isDeath && this.#staged.handlesOf(file) === 1;
  }

  async #discard(file: StagedFile, use: Use): Promise<void> {
    this.#log.warn(
      { path: file.path, bytes: file.size },
      'an upload was interrupted and is not published',
    );
    await this.#audit.discard(file, use);
    this.#staged.detach(file.path, file);
    this.#directoryTimes.move(parentOf(file.path));
    this.#listener({ path: file.path, what: 'entry' });
  }

  /** As open, ftruncate and close: what nobody else is about to store is stored when it returns. */
  async #truncateByName(path: Path, size: number, context: RequestContext): Promise<void> {
    const { signal } = context;
    const open = async (): Promise<{ handle: HandleId; isAnew: boolean }> => {
      const found = await this.#findExisting(path, signal);
      const isClosed = this.#staged.at(path) === undefined;
      if (isClosed) this.#refuseWhileDraining();
      // Nothing of what is there is needed then.
      const isAnew = isClosed && size === 0;
      const flags = { access: 'write', truncate: isAnew } as const;
      return { handle: await this.#openFound(path, found, { flags, context }), isAnew };
    };
    const { handle, isAnew } = await this.#locks.hold(path, open, signal);
    const opened = this.#handles.file(handle);
    try {
      if (opened.kind !== 'staged') throw new Error('a handle for writing is a staged one');
      const { file, use } = opened;
      if ((await file.truncate(size, signal)) || isAnew) {
        await this.#commit(file, use, context);
      }
    } finally {
      await this.release(handle);
    }
  }

  async #storeTime(path: Path, time: bigint | 'now', context: RequestContext): Promise<void> {
    const found = await this.#findExisting(path, context.signal);
    if (found.kind === 'directory') {
      if (time !== 'now')
        throw new FsError('EPERM', `${path} is a directory, whose time is not kept`);
      this.#directoryTimes.move(path);
      return;
    }
    if (found.file?.isDirty === true) {
      found.file.setTime(time);
      return;
    }
    const givenTime = time === 'now' ? timeOfMs(this.#clock.dateMs()) : time;
    const info =
      found.info?.metadata === undefined ? await this.#store.head(keyOf(path)) : found.info;
    const metadata = { ...info.metadata, [givenTimeName]: textOfTime(givenTime) };
    const { storageClass, contentType } = info;
    const { etag } = await this.#store.copy(info, info.key, {
      metadata,
      storageClass,
      contentType,
    });
    const stored = { ...info, etag, metadata, givenTime };
    // What is written next goes by the version that is there now.
    await found.file?.rename(path, stored);
    this.#tree.recordFile(path, stored);
  }

  // --- refusing and answering ---

  #refuseReadOnly(): void {
    if (this.#settings.readOnly) throw new FsError('EROFS', 'the mount is read-only');
  }

  #refuseWhileDraining(): void {
    if (this.#isDraining) throw new FsError('EBUSY', 'the mount is being taken down');
  }

  #refuse(operation: string, path: Path): Promise<never> {
    return this.#answer(operation, path, () => {
      this.#refuseReadOnly();
      throw new FsError('ENOSYS', `S3 has nothing like ${operation}`);
    });
  }

  #change(operation: string, path: Path, work: () => Promise<void>): Promise<void> {
    return this.#answer(operation, path, async () => {
      this.#refuseReadOnly();
      await work();
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
      for (const path of paths) this.#directoryTimes.move(parentOf(path));
    });
  }

  /** Runs one operation; what it throws becomes an FsError, logged once with all that is known. */
  async #answer<T>(operation: string, path: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const failure = toFsError(error);
      const level = isFsError(failure, ...everyday) ? 'debug' : 'warn';
      this.#log[level](
        { operation, path, errno: failure.code, ...storeFacts(failure), cause: failure.message },
        `${operation} failed`,
      );
      throw failure;
    }
  }
}

/** An open(2) or creat(2). */
interface OpenRequest {
  readonly flags: OpenFlags;
  readonly context: RequestContext;
}

/** What a file that is created asks of its name: with O_TRUNC nothing, it replaces whatever is there. */
function absentAsked({ exclusive, truncate }: OpenFlags): StagedOrigin['absent'] {
  // A driver that cannot see O_EXCL gets the safe reading: nobody's object is overwritten.
  if (exclusive ?? true) return 'exclusive';
  return truncate === true ? undefined : 'believed';
}

/** What S3 said, for the log. */
function storeFacts(failure: FsError): Record<string, unknown> {
  const { cause } = failure;
  if (!(cause instanceof StoreError)) return {};
  const { action, status, code, requestId, kind } = cause;
  return { action, status, code, requestId, kind };
}
