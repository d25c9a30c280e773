/**
 * How things look to stat(2) and statfs(2): owners and modes are the mount's, sizes and times S3's.
 *
 * As a chroot the root itself belongs to root and is closed to others' writing, because sshd accepts
 * nothing else as ChrootDirectory (session.c, safely_chroot); who may write in it is decided by the
 * file system alone, so the user still can.
 */
import type { DirectoryTimes } from '../tree/directory-times.js';
import { timeOfMs } from '../file-time.js';
import type { Attributes, FileSystemStats } from '../operations.js';
import { isTop, rootPath } from '../path.js';
import type { Path } from '../path.js';
import type { StagedFile } from '../write/staged-file.js';
import type { ObjectInfo } from '../store.js';

export interface AttributeSettings {
  readonly uid: number;
  readonly gid: number;
  /** permission bits */
  readonly fileMode: number;
  readonly dirMode: number;
  readonly chroot: boolean;
  /** each directory in the root is a root too, which is there whatever S3 holds */
  readonly homes?: boolean;
  readonly utimens: 'refuse' | 'ignore' | 'store';
}

/** Whether a directory needs nothing in S3 to be there. */
export function isRoot(path: Path, { homes }: Pick<AttributeSettings, 'homes'>): boolean {
  return homes === true ? isTop(path) : path === rootPath;
}

/** What a path can be shown from. */
type Shown =
  | { readonly kind: 'file'; readonly file?: StagedFile; readonly info?: ObjectInfo }
  | { readonly kind: 'directory'; readonly mtimeMs: number };

/** One PiB: clients that check for room before an upload must find it. */
const capacity = 2 ** 50;
const blockSize = 4096;

export class AttributeView {
  readonly #settings: AttributeSettings;
  readonly #startedAt: number;
  readonly #directoryTimes: DirectoryTimes;

  /** @param startedAt the date shown for what has none of its own, ms */
  constructor(settings: AttributeSettings, startedAt: number, directoryTimes: DirectoryTimes) {
    this.#settings = settings;
    this.#startedAt = startedAt;
    this.#directoryTimes = directoryTimes;
  }

  /**
   * @param validForMs how long what S3 said may still be repeated; what is being written changes at
   *   any time
   */
  of(path: Path, shown: Shown, validForMs = 0): Attributes {
    if (shown.kind === 'directory') return this.#ofDirectory(path, shown.mtimeMs, validForMs);
    if (shown.file?.isDirty === true || shown.info === undefined) {
      return shown.file === undefined
        ? this.#file({ size: 0, mtime: timeOfMs(this.#startedAt), version: 'none' })
        : this.ofStaged(shown.file);
    }
    return this.ofObject(shown.info, shown.file === undefined ? validForMs : 0);
  }

  ofObject(info: ObjectInfo, validForMs = 0): Attributes {
    const { size, etag } = info;
    // A time that is still to be asked for is not to be kept.
    const forMs = this.needsGivenTime(info) ? 0 : validForMs;
    return this.#file({ size, mtime: this.#timeOf(info), version: etag, validForMs: forMs });
  }

  /** Whether S3 has to be asked by name for what is to be shown. */
  needsGivenTime({ givenTime }: ObjectInfo): boolean {
    return this.#settings.utimens === 'store' && givenTime === undefined;
  }

  /** A file being written shows what was written so far. */
  ofStaged(file: StagedFile): Attributes {
    const { size, base, time: mtime } = file;
    if (!file.isDirty && base !== undefined) return this.ofObject(base);
    return this.#file({ size, mtime, version: base?.etag ?? 'new' });
  }

  statfs(): FileSystemStats {
    const blocks = capacity / blockSize;
    // Some clients divide by the number of files, so it must not be zero.
    const files = 2 ** 32;
    return { blockSize, blocks, blocksFree: blocks, files, filesFree: files, nameMax: 1024 };
  }

  #ofDirectory(path: Path, mtimeMs: number, validForMs: number): Attributes {
    const isChroot = this.#settings.chroot && isRoot(path, this.#settings);
    const { uid, gid, dirMode } = this.#settings;
    const owner = isChroot ? { uid: 0, gid: 0, mode: 0o755 } : { uid, gid, mode: dirMode };
    const mtime = timeOfMs(this.#directoryTimes.show(path, mtimeMs));
    return { kind: 'directory', size: 0, mtime, version: 'directory', validForMs, ...owner };
  }

  #file(facts: { size: number; mtime: bigint; version: string; validForMs?: number }): Attributes {
    const { uid, gid, fileMode } = this.#settings;
    return { kind: 'file', uid, gid, mode: fileMode, ...facts };
  }

  #timeOf({ mtimeMs, givenTime }: ObjectInfo): bigint {
    const isShown = this.#settings.utimens === 'store' && typeof givenTime === 'bigint';
    return isShown ? givenTime : timeOfMs(mtimeMs);
  }
}
