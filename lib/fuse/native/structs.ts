/** What the core answers, in the shape that fuse-native makes C structures of. */
import { constants } from 'node:fs';
import { msOfTime } from '../../file-time.js';
import type { Attributes, FileSystemStats, OpenFlags } from '../../operations.js';

/** What fuse-native makes a `struct stat` of. */
export interface NativeStat {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly nlink: number;
  readonly blksize: number;
  /** in units of 512 bytes, as stat(2) has it */
  readonly blocks: number;
  /** milliseconds */
  readonly atime: number;
  readonly mtime: number;
  readonly ctime: number;
}

/** What fuse-native makes a `struct statvfs` of; each field is cut to 32 bits. */
export interface NativeStatfs {
  readonly bsize: number;
  readonly frsize: number;
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
  readonly favail: number;
  readonly namemax: number;
}

/** Programs size their buffers by it, and requests carry no more (libfuse 2: 32 pages). */
const preferredBlockSize = 128 * 1024;

/** Flags of open(2). */
export function openFlags(flags: number): OpenFlags {
  const access = flags & (constants.O_WRONLY | constants.O_RDWR);
  return {
    access:
      access === constants.O_RDONLY
        ? 'read'
        : access === constants.O_WRONLY
          ? 'write'
          : 'readwrite',
    append: (flags & constants.O_APPEND) !== 0,
    truncate: (flags & constants.O_TRUNC) !== 0,
  };
}

export function nativeStat(attributes: Attributes): NativeStat {
  const { kind, size, mode, uid, gid } = attributes;
  // The binding takes no less.
  const timeMs = Math.max(0, msOfTime(attributes.mtime));
  return {
    mode: (kind === 'directory' ? constants.S_IFDIR : constants.S_IFREG) | (mode & 0o7777),
    uid,
    gid,
    size,
    // 1 tells find(1) that a directory's link count says nothing about its subdirectories.
    nlink: 1,
    blksize: preferredBlockSize,
    blocks: Math.ceil(size / 512),
    atime: timeMs,
    mtime: timeMs,
    ctime: timeMs,
  };
}

const listed = { uid: 0, gid: 0, size: 0, nlink: 1, blksize: 0, blocks: 0 };
const listedTimes = { atime: 0, mtime: 0, ctime: 0 };
/** Of a listed entry the kernel takes the type alone. */
export const listedDirectory: NativeStat = { ...listed, ...listedTimes, mode: constants.S_IFDIR };
export const listedFile: NativeStat = { ...listed, ...listedTimes, mode: constants.S_IFREG };

const max32 = 0xffff_ffff;

/** Larger blocks, fewer of them, until all counts fit in 32 bits. */
export function nativeStatfs(stats: FileSystemStats): NativeStatfs {
  let scale = 1;
  while (stats.blocks / scale > max32) scale *= 2;
  const frsize = stats.blockSize * scale;
  const free = Math.floor(stats.blocksFree / scale);
  const filesFree = Math.min(stats.filesFree, max32);
  return {
    bsize: frsize,
    frsize,
    blocks: Math.floor(stats.blocks / scale),
    bfree: free,
    bavail: free,
    files: Math.min(stats.files, max32),
    ffree: filesFree,
    favail: filesFree,
    namemax: stats.nameMax,
  };
}
