/**
 * One mount whose first level is the users of the host: `/NAME` is the home of NAME, and what the prefix
 * holds below `NAME/` is in it.
 *
 * The core serves all homes as one tree, in which each directory of the root is a root of its own
 * (`FilesystemSettings.homes`): memory, temp space, requests and caches are shared by them, and a home
 * that nobody uses has no part in any. This file decides what stands in the first level, shows whose each
 * thing is, and keeps what one operation names within one home. A name is its home's, whoever has it now:
 * nothing here remembers objects by uid. Who may call is the driver's to check, caller by caller, from the
 * same answers of the user database.
 */
import { FsError } from '../errors.js';
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
import { isTop, rootPath, topOf, type Path } from '../path.js';
import { HomesInUse, type HomeUse, type Opened } from './homes-in-use.js';
import { rememberedMs, type HomeOwner, type UserDatabase } from './user-database.js';

/** Entries taken from the core at a time. */
const pageOfNames = 1000;

export class Homes implements Operations {
  readonly #core: Operations;
  readonly #users: Pick<UserDatabase, 'amongst' | 'find' | 'onChanged' | 'peek'>;
  readonly #inUse = new HomesInUse();
  /** what an opendir(3) of the root found */
  readonly #rootListings = new Map<HandleId, readonly DirectoryEntry[]>();
  #watch: NodeJS.Timeout | undefined;

  constructor(
    core: Operations,
    users: Pick<UserDatabase, 'amongst' | 'find' | 'onChanged' | 'peek'>,
  ) {
    this.#core = core;
    this.#users = users;
  }

  /** A request to S3 was about this home. */
  noteRequest(home: string): void {
    this.#inUse.noteRequest(home);
  }

  /** How many homes are in use, and those most in use. */
  status(most: number): { readonly count: number; readonly used: readonly HomeUse[] } {
    return { count: this.#inUse.size, used: this.#inUse.report(most) };
  }

  async getattr(path: Path, context: RequestContext, handle?: HandleId): Promise<Attributes> {
    const opened = handle === undefined ? undefined : this.#inUse.get(handle);
    if (opened !== undefined) {
      return shown(await this.#core.getattr(path, context, handle), this.#ownerOf(opened));
    }
    if (path === rootPath) return await this.#core.getattr(path, context, handle);
    const { owner } = await this.#enter(path);
    const attributes = await this.#core.getattr(path, context, handle);
    return isTop(path) ? attributes : shown(attributes, owner);
  }

  getattrNow(path: Path, handle?: HandleId): Attributes | 'absent' | undefined {
    const opened = handle === undefined ? undefined : this.#inUse.get(handle);
    if (opened !== undefined) {
      return shownNow(this.#core.getattrNow(path, handle), this.#ownerOf(opened));
    }
    if (path === rootPath) return this.#core.getattrNow(path, handle);
    const home = this.#enterNow(path);
    if (home === undefined || home === 'absent') return home;
    const known = this.#core.getattrNow(path, handle);
    return isTop(path) ? known : shownNow(known, home.owner);
  }

  async opendir(path: Path, context: RequestContext): Promise<HandleId> {
    if (path === rootPath) return await this.#openRoot(context);
    return await this.#open(path, () => this.#core.opendir(path, context));
  }

  opendirNow(path: Path, context: RequestContext): HandleId | undefined {
    if (path === rootPath) return undefined;
    return this.#openNow(path, () => this.#core.opendirNow(path, context));
  }

  async readdir(
    handle: HandleId,
    offset: number,
    count: number,
  ): Promise<readonly DirectoryEntry[]> {
    const homes = this.#rootListings.get(handle);
    if (homes !== undefined) return homes.slice(offset, offset + count);
    const entries = await this.#core.readdir(handle, offset, count);
    const opened = this.#inUse.get(handle);
    if (opened === undefined) throw new FsError('EBADF', `no directory handle ${handle}`);
    return shownEntries(entries, opened.owner);
  }

  readdirNow(
    handle: HandleId,
    offset: number,
    count: number,
  ): readonly DirectoryEntry[] | undefined {
    const homes = this.#rootListings.get(handle);
    if (homes !== undefined) return homes.slice(offset, offset + count);
    const opened = this.#inUse.get(handle);
    const entries = opened && this.#core.readdirNow(handle, offset, count);
    return entries && shownEntries(entries, opened.owner);
  }

  releasedir(handle: HandleId): void {
    this.#rootListings.delete(handle);
    this.#inUse.remove(handle);
    this.#core.releasedir(handle);
  }

  async open(path: Path, flags: OpenFlags, context: RequestContext): Promise<HandleId> {
    return await this.#open(path, () => this.#core.open(path, flags, context));
  }

  openNow(path: Path, flags: OpenFlags, context: RequestContext): HandleId | undefined {
    return this.#openNow(path, () => this.#core.openNow(path, flags, context));
  }

  async create(path: Path, flags: OpenFlags, context: RequestContext): Promise<HandleId> {
    refuseTop(path);
    return await this.#open(path, () => this.#core.create(path, flags, context));
  }

  createNow(path: Path, flags: OpenFlags, context: RequestContext): HandleId | undefined {
    if (isTop(path)) return undefined;
    return this.#openNow(path, () => this.#core.createNow(path, flags, context));
  }

  async read(
    handle: HandleId,
    offset: number,
    length: number,
    context: RequestContext,
  ): Promise<readonly Uint8Array[]> {
    return this.#noteRead(handle, await this.#core.read(handle, offset, length, context));
  }

  readNow(
    handle: HandleId,
    offset: number,
    length: number,
    context: RequestContext,
  ): readonly Uint8Array[] | undefined {
    const pieces = this.#core.readNow(handle, offset, length, context);
    return pieces && this.#noteRead(handle, pieces);
  }

  kept(handle: HandleId): void {
    this.#core.kept?.(handle);
  }

  async write(
    handle: HandleId,
    data: Uint8Array,
    offset: number,
    context: RequestContext,
  ): Promise<void> {
    const { length } = data;
    await this.#core.write(handle, data, offset, context);
    this.#noteWritten(handle, length);
  }

  writeNow(handle: HandleId, data: Uint8Array, offset: number): boolean {
    if (!this.#core.writeNow(handle, data, offset)) return false;
    this.#noteWritten(handle, data.length);
    return true;
  }

  flush(handle: HandleId, context: RequestContext): Promise<void> {
    return this.#core.flush(handle, context);
  }

  flushNow(handle: HandleId): boolean {
    return this.#core.flushNow(handle);
  }

  fsync(handle: HandleId, context: RequestContext): Promise<void> {
    return this.#core.fsync(handle, context);
  }

  async release(handle: HandleId): Promise<void> {
    try {
      await this.#core.release(handle);
    } finally {
      this.#inUse.remove(handle);
    }
  }

  releaseNow(handle: HandleId): boolean {
    if (!this.#core.releaseNow(handle)) return false;
    this.#inUse.remove(handle);
    return true;
  }

  async truncate(
    path: Path,
    size: number,
    context: RequestContext,
    handle?: HandleId,
  ): Promise<void> {
    if (handle === undefined) await this.#enter(path);
    await this.#core.truncate(path, size, context, handle);
  }

  async unlink(path: Path, context: RequestContext): Promise<void> {
    await this.#enterBelow(path);
    await this.#core.unlink(path, context);
  }

  async rename(from: Path, to: Path, context: RequestContext, flags: RenameFlags): Promise<void> {
    await this.#enterBoth(from, to);
    await this.#core.rename(from, to, context, flags);
  }

  async mkdir(path: Path, context: RequestContext): Promise<void> {
    await this.#enterBelow(path);
    await this.#core.mkdir(path, context);
  }

  async rmdir(path: Path, context: RequestContext): Promise<void> {
    await this.#enterBelow(path);
    await this.#core.rmdir(path, context);
  }

  async symlink(target: string, path: Path, context: RequestContext): Promise<never> {
    await this.#enterBelow(path);
    return await this.#core.symlink(target, path, context);
  }

  async link(from: Path, to: Path, context: RequestContext): Promise<never> {
    await this.#enterBoth(from, to);
    return await this.#core.link(from, to, context);
  }

  async mknod(path: Path, context: RequestContext): Promise<never> {
    await this.#enterBelow(path);
    return await this.#core.mknod(path, context);
  }

  async chmod(path: Path, mode: number, context: RequestContext): Promise<void> {
    if (path !== rootPath) await this.#enter(path);
    await this.#core.chmod(path, mode, context);
  }

  async chown(path: Path, uid: number, gid: number, context: RequestContext): Promise<void> {
    if (path !== rootPath) await this.#enter(path);
    await this.#core.chown(path, uid, gid, context);
  }

  async utimens(
    path: Path,
    atime: FileTime,
    mtime: FileTime,
    context: RequestContext,
  ): Promise<void> {
    if (path !== rootPath) await this.#enter(path);
    await this.#core.utimens(path, atime, mtime, context);
  }

  statfs(): FileSystemStats {
    return this.#core.statfs();
  }

  neverExists(path: Path): boolean {
    return this.#core.neverExists(path);
  }

  onChange(listener: (change: Change) => void): void {
    this.#core.onChange(listener);
    this.#users.onChanged((name) => listener({ path: `/${name}` as Path, what: 'owner' }));
  }

  #ownerOf({ use, owner }: Opened): HomeOwner {
    return this.#users.peek(use.name)?.owner ?? owner;
  }

  /** @throws FsError ENOENT where the home is nobody's, EIO where the user database does not say */
  async #enter(path: Path): Promise<Opened> {
    const name = topOf(path) ?? '';
    const owner = await this.#users.find(name);
    if (owner === undefined) throw new FsError('ENOENT', `nobody has a home ${name}`);
    return { use: this.#inUse.touch(name), owner };
  }

  /** As #enter, where the user database need not be asked. */
  #enterNow(path: Path): Opened | 'absent' | undefined {
    const name = topOf(path) ?? '';
    const known = this.#users.peek(name);
    if (known === undefined) return undefined;
    const { owner } = known;
    return owner === undefined ? 'absent' : { use: this.#inUse.touch(name), owner };
  }

  async #enterBelow(path: Path): Promise<void> {
    refuseTop(path);
    await this.#enter(path);
  }

  async #enterBoth(from: Path, to: Path): Promise<void> {
    refuseTop(from);
    refuseTop(to);
    if (topOf(from) !== topOf(to)) throw new FsError('EXDEV', `${from} and ${to} are in two homes`);
    await this.#enter(from);
  }

  async #open(path: Path, open: () => Promise<HandleId>): Promise<HandleId> {
    const home = await this.#enter(path);
    return this.#opened(home, await open());
  }

  #openNow(path: Path, open: () => HandleId | undefined): HandleId | undefined {
    const home = this.#enterNow(path);
    if (home === undefined || home === 'absent') return undefined;
    const handle = open();
    return handle === undefined ? undefined : this.#opened(home, handle);
  }

  #opened(home: Opened, handle: HandleId): HandleId {
    this.#inUse.add(handle, home);
    this.#watch ??= setInterval(() => this.#lookAtOpen(), rememberedMs / 2).unref();
    return handle;
  }

  /** What is open may be read from the kernel's memory, where nobody asks whose it is by now. */
  #lookAtOpen(): void {
    // A failure is told by the user database, and what it said before holds.
    for (const name of this.#inUse.open) this.#users.find(name).catch(() => undefined);
    if (this.#inUse.isOpen) return;
    clearInterval(this.#watch);
    this.#watch = undefined;
  }

  /** The names in S3 that are somebody's, and the homes that are in use: the user database is never listed. */
  async #openRoot(context: RequestContext): Promise<HandleId> {
    const attributes = await this.#core.getattr(rootPath, context);
    const handle = await this.#core.opendir(rootPath, context);
    try {
      const stored = await this.#directoriesOf(handle);
      const names = await this.#users.amongst([...new Set([...stored, ...this.#inUse.names])]);
      const entries = names.sort().map((name, index) => ({ name, attributes, next: index + 1 }));
      this.#rootListings.set(handle, entries);
      return handle;
    } catch (error) {
      this.#core.releasedir(handle);
      throw error;
    }
  }

  async #directoriesOf(handle: HandleId): Promise<string[]> {
    const names: string[] = [];
    for (let offset = 0; ;) {
      const page = await this.#core.readdir(handle, offset, pageOfNames);
      for (const { name, attributes } of page)
        if (attributes.kind === 'directory') names.push(name);
      const last = page.at(-1);
      if (last === undefined || page.length < pageOfNames) return names;
      offset = last.next;
    }
  }

  #noteRead(handle: HandleId, pieces: readonly Uint8Array[]): readonly Uint8Array[] {
    const opened = this.#inUse.get(handle);
    if (opened !== undefined) for (const piece of pieces) opened.use.bytesRead += piece.length;
    return pieces;
  }

  #noteWritten(handle: HandleId, bytes: number): void {
    const opened = this.#inUse.get(handle);
    if (opened !== undefined) opened.use.bytesWritten += bytes;
  }
}

function refuseTop(path: Path): void {
  if (isTop(path)) {
    throw new FsError('EPERM', `${path} is the host's to make and remove, by its users`);
  }
}

function shownNow(
  known: Attributes | 'absent' | undefined,
  owner: HomeOwner,
): Attributes | 'absent' | undefined {
  return known === undefined || known === 'absent' ? known : shown(known, owner);
}

function shownEntries(entries: readonly DirectoryEntry[], owner: HomeOwner): DirectoryEntry[] {
  return entries.map((entry) => ({ ...entry, attributes: shown(entry.attributes, owner) }));
}

function shown(attributes: Attributes, { uid, gid }: HomeOwner): Attributes {
  return { ...attributes, uid, gid };
}
