/**
 * A toy core that keeps a tree in memory, to judge drivers by.
 *
 * As with objects, who opens a file for reading while nobody writes it keeps what it holds then.
 *
 * It answers at once, or after `delayMs`, or not before a gate is opened, and it writes down what it is
 * asked, so that a test can say what a driver must have done. An open file follows its renames;
 * every write makes a new version. It answers nothing at once, so that each call is recorded and may be
 * told to fail. `replace` and `vanish` play somebody else who
 * changes the bucket.
 */
import { FsError } from '../../lib/errors.js';
import { timeOfMs } from '../../lib/file-time.js';
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
} from '../../lib/operations.js';
import { isWithin, movedPath, nameOf, parentOf, rootPath, type Path } from '../../lib/path.js';

interface Item {
  /** somebody reads these very bytes: a change needs a copy of its own */
  pinned?: boolean;
  readonly kind: 'file' | 'directory';
  bytes: Buffer;
  length: number;
  mtime: bigint;
  version: number;
}

interface OpenItem {
  readonly item: Item;
  readonly flags: OpenFlags;
}

export class MemoryOperations implements Operations {
  /** how long every answer takes */
  delayMs = 0;
  /** how long the driver may let the kernel keep attributes */
  validForMs = 5000;
  /** names of operations that never answer, whatever signal they get */
  readonly deaf = new Set<string>();
  /** names of operations that answer only when their caller gives up */
  readonly hung = new Set<string>();
  /** errors to answer instead, by operation name */
  readonly failures = new Map<string, Error>();
  /** what the driver asked, as text: `open /a read`, `flush 3 close sh` */
  readonly records: string[] = [];
  /** operations under way, and the most there ever were, by name */
  readonly inside = new Map<string, number>();
  readonly mostInside = new Map<string, number>();
  recording = true;

  readonly #items = new Map<Path, Item>([[rootPath, directory()]]);
  readonly #names = new Map<Path, Set<string>>([[rootPath, new Set()]]);
  readonly #open = new Map<HandleId, OpenItem>();
  readonly #listings = new Map<HandleId, DirectoryEntry[]>();
  readonly #listeners: ((change: Change) => void)[] = [];
  readonly #gates = new Map<string, { wanted: number; open: () => void; opened: Promise<void> }>();
  #nextHandle = 1;
  #nextVersion = 1;

  /** Handles not released yet, of files and directories. */
  get handles(): number {
    return this.#open.size + this.#listings.size;
  }

  /** Calls of `operation` wait until this many are waiting. */
  gate(operation: string, wanted: number): void {
    let open = (): void => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    this.#gates.set(operation, { wanted, open, opened });
  }

  /** Somebody else stores an object: other bytes, another version. */
  replace(path: Path, text: string, options: { tell: boolean } = { tell: true }): void {
    this.#remove(path);
    this.#add(path, file(Buffer.from(text), this.#version()));
    if (options.tell) this.tell({ path, what: 'entry' });
  }

  /** Somebody else deletes an object. */
  vanish(path: Path, options: { tell: boolean } = { tell: true }): void {
    this.#remove(path);
    if (options.tell) this.tell({ path, what: 'entry' });
  }

  /** Fills a directory with empty files, for long listings. */
  fill(path: Path, names: readonly string[]): void {
    for (const name of names) {
      this.#add(
        (path === '/' ? `/${name}` : `${path}/${name}`) as Path,
        file(Buffer.alloc(0), this.#version()),
      );
    }
  }

  async getattr(path: Path, context: RequestContext, handle?: HandleId): Promise<Attributes> {
    if (handle !== undefined) return this.#attributes(this.#opened(handle).item);
    await this.#enter('getattr', path, context);
    return this.#attributes(this.#item(path));
  }

  getattrNow(): undefined {
    return undefined;
  }

  async opendir(path: Path, context: RequestContext): Promise<HandleId> {
    await this.#enter('opendir', path, context);
    if (this.#item(path).kind !== 'directory') throw new FsError('ENOTDIR', path);
    const entries = [...(this.#names.get(path) ?? [])].sort().map((name, index) => ({
      name,
      attributes: this.#attributes(this.#item(child(path, name))),
      next: index + 1,
    }));
    const handle = this.#nextHandle++;
    this.#listings.set(handle, entries);
    return handle;
  }

  opendirNow(): undefined {
    return undefined;
  }

  readdir(handle: HandleId, offset: number, count: number): Promise<readonly DirectoryEntry[]> {
    return Promise.resolve((this.#listings.get(handle) ?? []).slice(offset, offset + count));
  }

  readdirNow(): undefined {
    return undefined;
  }

  releasedir(handle: HandleId): void {
    if (!this.#listings.delete(handle)) throw new Error(`directory ${handle} was not open`);
  }

  async open(path: Path, flags: OpenFlags, context: RequestContext): Promise<HandleId> {
    await this.#enter('open', `${path} ${flags.access}`, context);
    const item = this.#item(path);
    if (flags.truncate === true) this.#resize(item, 0);
    return this.#handleOn(item, flags);
  }

  openNow(): undefined {
    return undefined;
  }

  createNow(): undefined {
    return undefined;
  }

  async create(path: Path, flags: OpenFlags, context: RequestContext): Promise<HandleId> {
    await this.#enter('create', path, context);
    if (flags.exclusive === true && this.#items.has(path)) throw new FsError('EEXIST', path);
    if (!this.#items.has(path)) this.#add(path, file(Buffer.alloc(0), this.#version()));
    return this.#handleOn(this.#item(path), flags);
  }

  async read(
    handle: HandleId,
    offset: number,
    length: number,
    context: RequestContext,
  ): Promise<readonly Uint8Array[]> {
    await this.#enter('read', `${handle} ${offset}+${length}`, context);
    const { item } = this.#opened(handle);
    const end = Math.min(item.length, offset + length);
    if (offset >= end) return [];
    const middle = offset + Math.floor((end - offset) / 2);
    return [copyOf(item.bytes, offset, middle), copyOf(item.bytes, middle, end)];
  }

  readNow(): undefined {
    return undefined;
  }

  writeNow(): boolean {
    return false;
  }

  async write(
    handle: HandleId,
    data: Uint8Array,
    offset: number,
    context: RequestContext,
  ): Promise<void> {
    await this.#enter('write', `${handle} ${offset}+${data.length}`, context);
    const { item, flags } = this.#opened(handle);
    const at = flags.append === true ? item.length : offset;
    this.#reserve(item, at + data.length);
    item.bytes.set(data, at);
    item.length = Math.max(item.length, at + data.length);
    this.#touch(item);
  }

  async flush(handle: HandleId, context: RequestContext): Promise<void> {
    const { closing = '-', program = '-' } = context;
    await this.#enter('flush', `${handle} ${closing} ${program}`, context);
    this.#opened(handle);
  }

  flushNow(): boolean {
    return false;
  }

  async fsync(handle: HandleId, context: RequestContext): Promise<void> {
    await this.#enter('fsync', String(handle), context);
    this.#opened(handle);
  }

  releaseNow(): boolean {
    return false;
  }

  release(handle: HandleId): Promise<void> {
    this.#record(`release ${handle}`);
    if (!this.#open.delete(handle)) return Promise.reject(new Error(`${handle} was not open`));
    return Promise.resolve();
  }

  async truncate(
    path: Path,
    size: number,
    context: RequestContext,
    handle?: HandleId,
  ): Promise<void> {
    await this.#enter(
      'truncate',
      `${path} ${size}${handle === undefined ? '' : ' by handle'}`,
      context,
    );
    this.#resize(handle === undefined ? this.#item(path) : this.#opened(handle).item, size);
  }

  async unlink(path: Path, context: RequestContext): Promise<void> {
    await this.#enter('unlink', path, context);
    if (this.#item(path).kind === 'directory') throw new FsError('EISDIR', path);
    this.#remove(path);
  }

  async rename(from: Path, to: Path, context: RequestContext, flags: RenameFlags): Promise<void> {
    await this.#enter('rename', `${from} ${to}`, context);
    this.#item(from);
    if (flags.noReplace === true && this.#items.has(to)) throw new FsError('EEXIST', to);
    if (from === to) return;
    if ((this.#names.get(to)?.size ?? 0) > 0) throw new FsError('ENOTEMPTY', to);
    const moved = [...this.#items].filter(([path]) => isWithin(path, from));
    this.#remove(to);
    this.#remove(from);
    for (const [path, item] of moved) this.#add(movedPath(path, from, to), item);
  }

  async mkdir(path: Path, context: RequestContext): Promise<void> {
    await this.#enter('mkdir', path, context);
    if (this.#items.has(path)) throw new FsError('EEXIST', path);
    this.#add(path, directory());
  }

  async rmdir(path: Path, context: RequestContext): Promise<void> {
    await this.#enter('rmdir', path, context);
    if (this.#item(path).kind === 'file') throw new FsError('ENOTDIR', path);
    if ((this.#names.get(path)?.size ?? 0) > 0) throw new FsError('ENOTEMPTY', path);
    this.#remove(path);
  }

  async symlink(target: string, path: Path, context: RequestContext): Promise<never> {
    await this.#enter('symlink', `${target} ${path}`, context);
    throw new FsError('ENOSYS', 'no symbolic links');
  }

  async link(from: Path, to: Path, context: RequestContext): Promise<never> {
    await this.#enter('link', `${from} ${to}`, context);
    throw new FsError('ENOSYS', 'no hard links');
  }

  async mknod(path: Path, context: RequestContext): Promise<never> {
    await this.#enter('mknod', path, context);
    throw new FsError('ENOSYS', 'no device nodes');
  }

  async chmod(path: Path, mode: number, context: RequestContext): Promise<void> {
    await this.#enter('chmod', `${path} ${mode.toString(8)}`, context);
  }

  async chown(path: Path, uid: number, gid: number, context: RequestContext): Promise<void> {
    await this.#enter('chown', `${path} ${uid} ${gid}`, context);
  }

  async utimens(
    path: Path,
    atime: FileTime,
    mtime: FileTime,
    context: RequestContext,
  ): Promise<void> {
    await this.#enter('utimens', `${path} ${atime} ${mtime}`, context);
    if (typeof mtime === 'bigint') this.#item(path).mtime = mtime;
  }

  neverExists(path: Path): boolean {
    return path === '/etc' || path.startsWith('/etc/');
  }

  statfs(): FileSystemStats {
    return {
      blockSize: 4096,
      blocks: 1_000_000,
      blocksFree: 900_000,
      files: 1_000_000,
      filesFree: 999_000,
      nameMax: 1024,
    };
  }

  onChange(listener: (change: Change) => void): void {
    this.#listeners.push(listener);
  }

  async #enter(operation: string, detail: string, context: RequestContext): Promise<void> {
    this.#record(`${operation} ${detail}`);
    const inside = (this.inside.get(operation) ?? 0) + 1;
    this.inside.set(operation, inside);
    this.mostInside.set(operation, Math.max(inside, this.mostInside.get(operation) ?? 0));
    try {
      await this.#wait(operation, context);
      const failure = this.failures.get(operation);
      if (failure !== undefined) throw failure;
    } finally {
      this.inside.set(operation, (this.inside.get(operation) ?? 1) - 1);
    }
  }

  async #wait(operation: string, context: RequestContext): Promise<void> {
    const gate = this.#gates.get(operation);
    if (gate !== undefined) {
      if ((this.inside.get(operation) ?? 0) >= gate.wanted) gate.open();
      await gate.opened;
    }
    if (this.deaf.has(operation)) await new Promise(() => undefined);
    if (this.hung.has(operation)) await interrupted(context.signal);
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
  }

  #record(text: string): void {
    if (this.recording) this.records.push(text);
  }

  /** What the driver cannot know. */
  tell(change: Change): void {
    for (const listener of this.#listeners) listener(change);
  }

  #version(): number {
    return this.#nextVersion++;
  }

  #touch(item: Item): void {
    item.version = this.#version();
    item.mtime = timeOfMs(Date.now());
  }

  #item(path: Path): Item {
    const item = this.#items.get(path);
    if (item === undefined) throw new FsError('ENOENT', path);
    return item;
  }

  #opened(handle: HandleId): OpenItem {
    const open = this.#open.get(handle);
    if (open === undefined) throw new Error(`handle ${handle} is not open`);
    return open;
  }

  #handleOn(item: Item, flags: OpenFlags): HandleId {
    const handle = this.#nextHandle++;
    const isWritten = [...this.#open.values()].some(
      (open) => open.item === item && open.flags.access !== 'read',
    );
    const pinned = flags.access === 'read' && !isWritten;
    if (pinned) item.pinned = true;
    this.#open.set(handle, { item: pinned ? { ...item } : item, flags });
    return handle;
  }

  #add(path: Path, item: Item): void {
    this.#items.set(path, item);
    this.#names.get(parentOf(path))?.add(nameOf(path));
    if (item.kind === 'directory') this.#names.set(path, this.#names.get(path) ?? new Set());
  }

  #remove(path: Path): void {
    for (const name of this.#names.get(path) ?? []) this.#remove(child(path, name));
    this.#names.delete(path);
    this.#names.get(parentOf(path))?.delete(nameOf(path));
    this.#items.delete(path);
  }

  #reserve(item: Item, length: number): void {
    if (item.bytes.length >= length && item.pinned !== true) return;
    item.pinned = false;
    const bytes = Buffer.alloc(Math.max(length, Math.ceil(item.bytes.length * 1.5), 64));
    item.bytes.copy(bytes, 0, 0, item.length);
    item.bytes = bytes;
  }

  #resize(item: Item, size: number): void {
    this.#reserve(item, size);
    if (size < item.length) item.bytes.fill(0, size, item.length);
    item.length = size;
    this.#touch(item);
  }

  #attributes(item: Item): Attributes {
    return {
      kind: item.kind,
      size: item.length,
      mode: item.kind === 'directory' ? 0o755 : 0o644,
      uid: 0,
      gid: 0,
      mtime: item.mtime,
      version: String(item.version),
      validForMs: this.validForMs,
    };
  }
}

function file(bytes: Buffer, version: number): Item {
  return { kind: 'file', bytes, length: bytes.length, mtime: timeOfMs(Date.now()), version };
}

function directory(): Item {
  return {
    kind: 'directory',
    bytes: Buffer.alloc(0),
    length: 0,
    mtime: timeOfMs(Date.now()),
    version: 0,
  };
}

function copyOf(bytes: Buffer, start: number, end: number): Uint8Array {
  return Uint8Array.prototype.slice.call(bytes, start, end);
}

function child(path: Path, name: string): Path {
  return (path === '/' ? `/${name}` : `${path}/${name}`) as Path;
}

function interrupted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (): void => reject(new FsError('EINTR', 'interrupted'));
    if (signal?.aborted === true) stop();
    signal?.addEventListener('abort', stop);
  });
}
