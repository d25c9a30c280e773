/**
 * A core that answers at once and keeps nothing but sizes, so that a benchmark shows the driver: every
 * name below `/stat/` is there, `/many-N` has N entries, and files of `/data/` have content of zeros.
 */
import { FsError } from '../../lib/errors.js';
import type {
  Attributes,
  DirectoryEntry,
  HandleId,
  OpenFlags,
  RequestContext,
} from '../../lib/operations.js';
import { nameOf, parentOf, type Path } from '../../lib/path.js';
import { MemoryOperations } from './memory-operations.js';

const zeros = Buffer.alloc(1 << 20);

export class InstantOperations extends MemoryOperations {
  readonly #sizes = new Map<Path, number>();
  readonly #opened = new Map<HandleId, Path>();
  #nextHandle = 1;

  override get handles(): number {
    return this.#opened.size;
  }

  override async getattr(
    path: Path,
    _context: RequestContext,
    handle?: HandleId,
  ): Promise<Attributes> {
    const asked = handle === undefined ? path : (this.#opened.get(handle) ?? path);
    if (handle === undefined && this.delayMs > 0) {
      await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    }
    if (asked === '/' || parentOf(asked) === '/') return this.#attributes('directory', 0);
    if (parentOf(asked) !== '/data') return this.#attributes('file', 0);
    const size = this.#sizes.get(asked);
    if (size === undefined) throw new FsError('ENOENT', asked);
    return this.#attributes('file', size);
  }

  override opendir(path: Path): Promise<HandleId> {
    return Promise.resolve(this.#open(path));
  }

  override readdir(
    handle: HandleId,
    offset: number,
    count: number,
  ): Promise<readonly DirectoryEntry[]> {
    const total = Number(nameOf(this.#opened.get(handle) ?? ('/' as Path)).slice('many-'.length));
    const length = Math.max(0, Math.min(count, (Number.isFinite(total) ? total : 0) - offset));
    const attributes = this.#attributes('file', 0);
    const entry = (_: unknown, index: number): DirectoryEntry => {
      const at = offset + index;
      return { name: `entry-${at}`, attributes, next: at + 1 };
    };
    return Promise.resolve(Array.from({ length }, entry));
  }

  override releasedir(handle: HandleId): void {
    this.#opened.delete(handle);
  }

  override open(path: Path, flags: OpenFlags): Promise<HandleId> {
    if (flags.truncate === true) this.#sizes.set(path, 0);
    return Promise.resolve(this.#open(path));
  }

  override create(path: Path): Promise<HandleId> {
    this.#sizes.set(path, 0);
    return Promise.resolve(this.#open(path));
  }

  override read(handle: HandleId, offset: number, length: number): Promise<readonly Uint8Array[]> {
    const size = this.#sizes.get(this.#opened.get(handle) ?? ('/' as Path)) ?? 0;
    return Promise.resolve([zeros.subarray(0, Math.max(0, Math.min(length, size - offset)))]);
  }

  override write(handle: HandleId, data: Uint8Array, offset: number): Promise<void> {
    const path = this.#opened.get(handle) ?? ('/' as Path);
    this.#sizes.set(path, Math.max(this.#sizes.get(path) ?? 0, offset + data.length));
    return Promise.resolve();
  }

  override flush(): Promise<void> {
    return Promise.resolve();
  }

  override release(handle: HandleId): Promise<void> {
    this.#opened.delete(handle);
    return Promise.resolve();
  }

  #open(path: Path): HandleId {
    const handle = this.#nextHandle++;
    this.#opened.set(handle, path);
    return handle;
  }

  #attributes(kind: Attributes['kind'], size: number): Attributes {
    const mode = kind === 'directory' ? 0o755 : 0o644;
    const { validForMs } = this;
    return { kind, size, mode, uid: 0, gid: 0, mtime: 10n ** 18n, version: '1', validForMs };
  }
}
