/**
 * From open(2) to the last close(2): which handle a path gets, and what is left to do when it goes.
 *
 * A handle on a file that is not being written reads one version of the object through a Reader; any
 * other handle shares the path's StagedFile. Opens are answered one at a time per path: two that find
 * no staged file must not make two.
 */
import { FsError } from '../errors.js';
import type { HandleId, OpenFlags, RequestContext } from '../operations.js';
import { parentOf } from '../path.js';
import type { Path } from '../path.js';
import { Reader } from '../read/reader.js';
import type { ObjectInfo } from '../store.js';
import { StagedFile } from '../write/staged-file.js';
import type { StagedOrigin } from '../write/staged-file.js';
import type { Commits } from './commits.js';
import { useOf } from './handles.js';
import type { Use } from './handles.js';
import type { Found } from './namespace.js';
import type { FilesystemParts } from './parts.js';
import { refuseReadOnly } from './settings.js';

/** An open(2) or creat(2). */
interface OpenRequest {
  readonly flags: OpenFlags;
  readonly context: RequestContext;
}

export class Opening {
  readonly #parts: FilesystemParts;
  readonly #commits: Commits;
  #isDraining = false;

  constructor(parts: FilesystemParts, commits: Commits) {
    this.#parts = parts;
    this.#commits = commits;
  }

  /** From now on every open is refused. */
  stop(): void {
    this.#isDraining = true;
  }

  async open(path: Path, request: OpenRequest): Promise<HandleId> {
    const { locks, names } = this.#parts;
    const { signal } = request.context;
    const open = async (): Promise<HandleId> => {
      this.#refuseWhileDraining();
      return await this.#openFound(path, await names.findExisting(path, signal), request);
    };
    return await locks.hold(path, open, signal);
  }

  /** As open, for reading what is known. */
  openNow(path: Path, { flags, context }: OpenRequest): HandleId | undefined {
    const { locks, names } = this.#parts;
    if (flags.access !== 'read' || flags.truncate === true) return undefined;
    if (this.#isDraining || !locks.isFree(path)) return undefined;
    const found = names.known(path)?.found;
    if (found?.kind !== 'file') return undefined;
    const { file, info } = found;
    if (file?.isDirty === true) return this.#shareStaged(file, { flags, context });
    if (info === undefined || info.denied === true || info.archived === true) return undefined;
    return this.#addReader(info, context);
  }

  /** As create, where it is known that nothing is there. */
  createNow(path: Path, request: OpenRequest): HandleId | undefined {
    const { locks, names, settings } = this.#parts;
    if (settings.readOnly || names.isGuarded(path)) return undefined;
    if (this.#isDraining || !locks.isFree(path)) return undefined;
    const known = names.known(path);
    return known === undefined || known.found !== undefined
      ? undefined
      : this.#createAbsent(path, request);
  }

  async create(path: Path, request: OpenRequest): Promise<HandleId> {
    const { locks } = this.#parts;
    const create = async (): Promise<HandleId> => {
      this.#refuseWhileDraining();
      return await this.#create(path, request);
    };
    return await locks.hold(path, create, request.context.signal);
  }

  async #create(path: Path, request: OpenRequest): Promise<HandleId> {
    const { names, settings } = this.#parts;
    const { flags, context } = request;
    refuseReadOnly(settings);
    names.refuseGuarded(path);
    const found = await names.find(path, context.signal);
    if (found === undefined) return this.#createAbsent(path, request);
    if (flags.exclusive === true) throw new FsError('EEXIST', `${path} exists`);
    return await this.#openFound(path, found, request);
  }

  #createAbsent(path: Path, request: OpenRequest): HandleId {
    const { directoryTimes, staged } = this.#parts;
    const absent = { absent: absentAsked(request.flags), began: { absent: true } } as const;
    const origin = staged.isHidden(path) ? {} : absent;
    const handle = this.#openStaged(path, request, origin);
    directoryTimes.move(parentOf(path));
    return handle;
  }

  async #openFound(path: Path, found: Found, request: OpenRequest): Promise<HandleId> {
    const { names, settings, staged } = this.#parts;
    const { flags, context } = request;
    if (found.kind === 'directory') throw new FsError('EISDIR', `${path} is a directory`);
    const file = staged.at(path);
    if (found.file !== file) {
      // It was closed or given up since it was found.
      return await this.#openFound(path, await names.findExisting(path, context.signal), request);
    }
    if (found.info?.denied === true && file === undefined && flags.truncate !== true) {
      throw new FsError('EACCES', `${path} is listed, but S3 refuses to read it`);
    }
    if (flags.access === 'read' && flags.truncate !== true) {
      return file?.isDirty === true
        ? this.#shareStaged(file, request)
        : await this.#openReader(path, found.info, context);
    }
    refuseReadOnly(settings);
    if (file !== undefined) return await this.#openWritten(file, request);
    if (flags.truncate === true) {
      const { info } = found;
      return this.#openStaged(path, request, info && { began: { etag: info.etag } });
    }
    const base = await this.#told(found.info, context.signal);
    if (base !== undefined) await this.#refuseArchived(path, base);
    return this.#openStaged(path, request, { base });
  }

  async #openReader(
    path: Path,
    info: ObjectInfo | undefined,
    context: RequestContext,
  ): Promise<HandleId> {
    if (info === undefined) throw new FsError('ENOENT', `${path} does not exist`);
    await this.#refuseArchived(path, info);
    return this.#addReader(info, context);
  }

  #addReader(info: ObjectInfo, context: RequestContext): HandleId {
    const { handles, reading, store } = this.#parts;
    const reader = new Reader(store, info, reading);
    return handles.add({ kind: 'reader', reader, use: this.#useOf(context) });
  }

  /** A file that is being written already. */
  async #openWritten(file: StagedFile, request: OpenRequest): Promise<HandleId> {
    const handle = this.#shareStaged(file, request, true);
    if (request.flags.truncate !== true) return handle;
    try {
      await file.truncate(0, request.context.signal);
      return handle;
    } catch (error) {
      await this.release(handle);
      throw error;
    }
  }

  #openStaged(path: Path, request: OpenRequest, origin: StagedOrigin = {}): HandleId {
    const { staged, writing } = this.#parts;
    const file = new StagedFile(writing, path, origin);
    staged.attach(path, file);
    return this.#shareStaged(file, request, true);
  }

  /** @param stores whether its close stores the file: it can write, or it made or cut the file */
  #shareStaged(file: StagedFile, { flags, context }: OpenRequest, stores = false): HandleId {
    const { handles, staged } = this.#parts;
    staged.acquire(file);
    return handles.add({ kind: 'staged', file, flags, stores, use: this.#useOf(context) });
  }

  /** As open, ftruncate and close: what nobody else is about to store is stored when it returns. */
  async truncate(path: Path, size: number, context: RequestContext): Promise<void> {
    const { handles, locks, names, staged } = this.#parts;
    const { signal } = context;
    const open = async (): Promise<{ handle: HandleId; isAnew: boolean }> => {
      const found = await names.findExisting(path, signal);
      const isClosed = staged.at(path) === undefined;
      if (isClosed) this.#refuseWhileDraining();
      // Nothing of what is there is needed then.
      const isAnew = isClosed && size === 0;
      const flags = { access: 'write', truncate: isAnew } as const;
      return { handle: await this.#openFound(path, found, { flags, context }), isAnew };
    };
    const { handle, isAnew } = await locks.hold(path, open, signal);
    const opened = handles.file(handle);
    try {
      if (opened.kind !== 'staged') throw new Error('a handle for writing is a staged one');
      const { file, use } = opened;
      if ((await file.truncate(size, signal)) || isAnew) {
        await this.#commits.commit(file, use, context);
      }
    } finally {
      await this.release(handle);
    }
  }

  /** As release, of what has nothing to store. */
  releaseNow(handle: HandleId): boolean {
    const { audit, handles, staged } = this.#parts;
    const open = handles.file(handle);
    if (open.kind === 'staged' && staged.handlesOf(open.file) <= 1) return false;
    handles.delete(handle);
    audit.closed(open);
    if (open.kind === 'reader') open.reader.close();
    else staged.release(open.file);
    return true;
  }

  /** The last close(2). */
  async release(handle: HandleId): Promise<void> {
    if (this.releaseNow(handle)) return;
    const { audit, handles, staged } = this.#parts;
    const open = handles.file(handle);
    if (open.kind === 'reader') throw new Error('a reader has nothing to store');
    handles.delete(handle);
    audit.closed(open);
    const { file, use } = open;
    try {
      // Nearly always there is nothing left to do: close(2) has stored it. What is still being done
      // to the file comes first.
      await file.hold(() => Promise.resolve());
      if (file.isDirty) await this.#commits.end(file, use);
    } finally {
      // A new handle may have been opened on it meanwhile, or it waits for one.
      if (staged.release(file) && file.heldRecord === undefined) await file.close();
    }
  }

  /**
   * What the object itself says, of which a listing may have said too little: what is built on it
   * would cut it.
   */
  async #told(info: ObjectInfo | undefined, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    const isListed = info !== undefined && info.metadata === undefined;
    return isListed ? await this.#parts.store.head(info.key, signal) : info;
  }

  /** Listings show the class but not whether a copy was restored; HEAD does. */
  async #refuseArchived(path: Path, info: ObjectInfo): Promise<void> {
    if (info.archived !== true) return;
    const now = await this.#parts.store.head(info.key);
    if (now.archived !== true) return;
    throw new FsError(
      'EIO',
      `${path} is archived (${now.storageClass ?? 'unknown class'}): restore it first`,
    );
  }

  #refuseWhileDraining(): void {
    if (this.#isDraining) throw new FsError('EBUSY', 'the mount is being taken down');
  }

  #useOf(context: RequestContext): Use {
    return useOf(context, this.#parts.clock.nowMs());
  }
}

/** What a file that is created asks of its name: with O_TRUNC nothing, it replaces whatever is there. */
function absentAsked({ exclusive, truncate }: OpenFlags): StagedOrigin['absent'] {
  // A driver that cannot see O_EXCL gets the safe reading: nobody's object is overwritten.
  if (exclusive ?? true) return 'exclusive';
  return truncate === true ? undefined : 'believed';
}
