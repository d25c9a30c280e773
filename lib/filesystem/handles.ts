/**
 * The handles of a mount: what each stands for from open(2) to the last close(2).
 */
import { FsError } from '../errors.js';
import type { DirectoryHandle } from './directory-handle.js';
import type { Caller, HandleId, OpenFlags, RequestContext } from '../operations.js';
import { pathOfKey } from '../path.js';
import type { Path } from '../path.js';
import type { Reader } from '../read/reader.js';
import type { StagedFile } from '../write/staged-file.js';

/** A handle that reads one version of an object, or shares a path's staged file. */
export type OpenFile =
  | { readonly kind: 'reader'; readonly reader: Reader; readonly use: Use }
  | {
      readonly kind: 'staged';
      readonly file: StagedFile;
      readonly flags: OpenFlags;
      /** whether its close(2) stores the file */
      readonly stores: boolean;
      readonly use: Use;
    };

export type Handle = OpenFile | DirectoryHandle;

/** What the audit trail wants to know of an open file. */
export interface Use {
  readonly caller: Caller | undefined;
  /** when it was opened, or last stored, as Clock.nowMs */
  sinceMs: number;
  bytesRead: number;
  readFailure: FsError | undefined;
  /** the kernel has answered reads from what it keeps, or may have */
  mayBeCached?: boolean;
  /** its process has died over it */
  isAbandoned?: boolean;
}

export function useOf({ caller }: RequestContext, sinceMs: number): Use {
  return { caller, sinceMs, bytesRead: 0, readFailure: undefined };
}

export function pathOf(open: OpenFile): Path {
  return open.kind === 'reader' ? pathOfKey(open.reader.info.key) : open.file.path;
}

/** Handles are int32 in one of the drivers. */
const maxHandle = 0x7fffffff;

export class OpenHandles {
  readonly #open = new Map<HandleId, Handle>();
  #last = 0;

  get size(): number {
    return this.#open.size;
  }

  add(handle: Handle): HandleId {
    do {
      this.#last = this.#last === maxHandle ? 1 : this.#last + 1;
    } while (this.#open.has(this.#last));
    this.#open.set(this.#last, handle);
    return this.#last;
  }

  get(id: HandleId): Handle | undefined {
    return this.#open.get(id);
  }

  /** @throws FsError EBADF */
  file(id: HandleId): OpenFile {
    const open = this.#open.get(id);
    if (open === undefined || open.kind === 'directory') {
      throw new FsError('EBADF', `no file handle ${id}`);
    }
    return open;
  }

  /** @throws FsError EBADF */
  directory(id: HandleId): DirectoryHandle {
    const open = this.#open.get(id);
    if (open?.kind !== 'directory') throw new FsError('EBADF', 'no such directory handle');
    return open;
  }

  /** Those whose close(2) stores `file`. */
  writersOf(file: StagedFile): Use[] {
    return [...this.#open.values()].flatMap((open) =>
      open.kind === 'staged' && open.file === file && open.stores ? [open.use] : [],
    );
  }

  /** Those that read the version that `reader` reads. */
  readersLike({ info }: Reader): Use[] {
    return [...this.#open.values()].flatMap((open) =>
      open.kind === 'reader' &&
      open.reader.info.key === info.key &&
      open.reader.info.etag === info.etag
        ? [open.use]
        : [],
    );
  }

  delete(id: HandleId): void {
    this.#open.delete(id);
  }
}
