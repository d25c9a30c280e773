/**
 * What the core offers to a driver: the file system in path and handle terms.
 *
 * Laws for both sides:
 * - Every method answers by promise; a failure rejects, and the driver answers with
 *   `toFsError(error).errno`. Drivers never invent an errno for a rejected call.
 * - A method with `Now` in its name answers what the one of its name would, in the same turn of the event
 *   loop, where nothing has to be asked or waited for. Where something has to, and for what fails, it
 *   answers undefined or false and has done nothing; then the other is to be asked.
 * - Paths come checked (`parsePath`, `childPath`); the driver is the edge where that happens.
 * - Bytes given to `write` are only read before its promise settles; bytes returned by `read` are
 *   not changed afterwards and may be kept, unless the driver offered to give them back (`lend`).
 * - Handles are positive integers below 2^31 (fuse-native stores them in an int32 and cannot tell 0
 *   from "none").
 * - Facts a driver may not know (caller, flags, how a flush came about) are optional, and the core
 *   takes the safe reading where they are missing.
 */
import type { Path } from './path.js';

/** Identifies one open(2), create or opendir(3) until its release. */
export type HandleId = number;

/** Who asks; each field only where the driver knows it. */
export interface Caller {
  readonly uid?: number;
  readonly gid?: number;
  readonly pid?: number;
}

/**
 * How a FLUSH came about: `close` a close(2) by the program, `exit` by the kernel in a process that
 * calls exit(2) with the file still open, `killed` the same for a process ended by a signal.
 */
export type Closing = 'close' | 'exit' | 'killed';

export type Lend = (giveBack: () => void) => void;

/** Facts about one request. */
export interface RequestContext {
  readonly caller?: Caller;
  /** aborts when the caller was interrupted (FUSE_INTERRUPT) */
  readonly signal?: AbortSignal;
  readonly closing?: Closing;
  /** name of the calling program (comm), where `closing` is known */
  readonly program?: string;
  /**
   * Takes a function to be called once the bytes that `read` returned are not looked at any more, so
   * that their memory can be used again.
   */
  readonly lend?: Lend | undefined;
}

/** What stat(2) shows. */
export interface Attributes {
  readonly kind: 'file' | 'directory';
  /** bytes */
  readonly size: number;
  /** permission bits */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** nanoseconds since 1970 */
  readonly mtime: bigint;
  /**
   * Changes when the path comes to hold another object. A driver that lets the kernel cache pages
   * gives another version another inode while the old one is open, so that no reader gets a mix.
   */
  readonly version: string;
  /**
   * For how many more milliseconds the core would answer the same without asking the store. A driver
   * lets the kernel keep the answer no longer than this; where it is missing, not at all.
   */
  readonly validForMs?: number;
}

/** Open flags as open(2) has them, decoded; `undefined` members are not known to the driver. */
export interface OpenFlags {
  readonly access: 'read' | 'write' | 'readwrite';
  readonly append?: boolean;
  readonly truncate?: boolean;
  readonly exclusive?: boolean | undefined;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly attributes: Attributes;
  /** offset from which the listing goes on behind it; greater than those before */
  readonly next: number;
}

/**
 * File times of utimens(2): `now`, `omit`, nanoseconds since 1970, or `unknown`: an explicit
 * time, but the driver cannot say which, so it can be ignored or refused and never stored.
 */
export type FileTime = 'now' | 'omit' | 'unknown' | bigint;

export interface FileSystemStats {
  readonly blockSize: number;
  /** in units of blockSize */
  readonly blocks: number;
  readonly blocksFree: number;
  readonly files: number;
  readonly filesFree: number;
  /** bytes */
  readonly nameMax: number;
}

/** Something the kernel may have cached is no longer so. */
export interface Change {
  readonly path: Path;
  /**
   * `entry`: the name came, went or is another object now; `attributes`: size or time changed; `owner`:
   * all in this directory is somebody else's now, or nobody's
   */
  readonly what: 'entry' | 'attributes' | 'owner';
}

export interface Operations {
  /**
   * `handle`: the open file it is asked through, if any; it alone counts then, and `path` may be a
   * name that the file has lost meanwhile.
   */
  getattr(path: Path, context: RequestContext, handle?: HandleId): Promise<Attributes>;
  /** @returns `absent` for ENOENT */
  getattrNow(path: Path, handle?: HandleId): Attributes | 'absent' | undefined;

  /**
   * Answers when the whole listing has come, or rejects: programs take a readdir that fails for the
   * end of the directory.
   */
  opendir(path: Path, context: RequestContext): Promise<HandleId>;
  opendirNow(path: Path, context: RequestContext): HandleId | undefined;
  /**
   * Entries of an open directory from `offset` on, 0 or the `next` of an entry; at most `count`, fewer
   * only at the end; without `.` and `..`. The snapshot of opendir: stable offsets, each name once.
   */
  readdir(handle: HandleId, offset: number, count: number): Promise<readonly DirectoryEntry[]>;
  readdirNow(
    handle: HandleId,
    offset: number,
    count: number,
  ): readonly DirectoryEntry[] | undefined;
  releasedir(handle: HandleId): void;

  open(path: Path, flags: OpenFlags, context: RequestContext): Promise<HandleId>;
  openNow(path: Path, flags: OpenFlags, context: RequestContext): HandleId | undefined;
  create(path: Path, flags: OpenFlags, context: RequestContext): Promise<HandleId>;
  createNow(path: Path, flags: OpenFlags, context: RequestContext): HandleId | undefined;
  /** At most `length` bytes as consecutive pieces; fewer only at the end of the file. */
  read(
    handle: HandleId,
    offset: number,
    length: number,
    context: RequestContext,
  ): Promise<readonly Uint8Array[]>;
  readNow(
    handle: HandleId,
    offset: number,
    length: number,
    context: RequestContext,
  ): readonly Uint8Array[] | undefined;
  /** The kernel keeps content of this version, so that reads of the handle may not come here. */
  kept?(handle: HandleId): void;
  /** Takes all of `data`, or rejects. */
  write(handle: HandleId, data: Uint8Array, offset: number, context: RequestContext): Promise<void>;
  writeNow(handle: HandleId, data: Uint8Array, offset: number): boolean;
  /** close(2) of one descriptor; may come several times per handle (dup), so it is idempotent. */
  flush(handle: HandleId, context: RequestContext): Promise<void>;
  flushNow(handle: HandleId): boolean;
  fsync(handle: HandleId, context: RequestContext): Promise<void>;
  /** The last reference is gone. Nobody hears of a failure. */
  release(handle: HandleId): Promise<void>;
  releaseNow(handle: HandleId): boolean;

  truncate(path: Path, size: number, context: RequestContext, handle?: HandleId): Promise<void>;
  unlink(path: Path, context: RequestContext): Promise<void>;
  rename(from: Path, to: Path, context: RequestContext, flags: RenameFlags): Promise<void>;
  mkdir(path: Path, context: RequestContext): Promise<void>;
  rmdir(path: Path, context: RequestContext): Promise<void>;

  symlink(target: string, path: Path, context: RequestContext): Promise<never>;
  link(from: Path, to: Path, context: RequestContext): Promise<never>;
  mknod(path: Path, context: RequestContext): Promise<never>;
  chmod(path: Path, mode: number, context: RequestContext): Promise<void>;
  chown(path: Path, uid: number, gid: number, context: RequestContext): Promise<void>;
  utimens(path: Path, atime: FileTime, mtime: FileTime, context: RequestContext): Promise<void>;
  statfs(): FileSystemStats;

  /** Whether nothing can ever be at `path`, whatever anybody does; a driver may keep that for good. */
  neverExists(path: Path): boolean;

  /** Tells of changes so that a driver can invalidate what the kernel caches. */
  onChange(listener: (change: Change) => void): void;
}

export interface RenameFlags {
  /** RENAME_NOREPLACE of renameat2(2): EEXIST if the target exists */
  readonly noReplace?: boolean;
}
