/**
 * Numbers of the FUSE protocol, as include/uapi/linux/fuse.h has them.
 *
 * Only what this driver reads, writes or names in a log is listed. All structs are in the byte order
 * of the machine; the driver runs on little-endian ones only (`mayMount` says so).
 */

/** The protocol this driver speaks: 7.38, and every kernel down to 7.31 (Linux 5.4). */
export const protocolMajor = 7;
export const protocolMinor = 38;
export const protocolMinorLeast = 31;

/** FUSE_ROOT_ID */
export const rootNodeId = 1;

/** Sizes of fuse_in_header and fuse_out_header. */
export const requestHeaderBytes = 40;
export const replyHeaderBytes = 16;

/**
 * The largest READ and WRITE: 256 pages, the kernel's default limit (fs.fuse.max_pages_limit) and the
 * most that kernels before 6.13 know at all.
 */
export const maxPages = 256;
export const maxTransferBytes = maxPages * 4096;

/**
 * Room for any request: the kernel wants header, write struct and max_write (fuse_dev_do_read),
 * names come on top of no data.
 */
export const requestBufferBytes = maxTransferBytes + 4096;

export const opcode = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  readlink: 5,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  setxattr: 21,
  getxattr: 22,
  listxattr: 23,
  removexattr: 24,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  getlk: 31,
  setlk: 32,
  setlkw: 33,
  access: 34,
  create: 35,
  interrupt: 36,
  bmap: 37,
  destroy: 38,
  ioctl: 39,
  poll: 40,
  notifyReply: 41,
  batchForget: 42,
  fallocate: 43,
  readdirplus: 44,
  rename2: 45,
  lseek: 46,
  copyFileRange: 47,
  setupmapping: 48,
  removemapping: 49,
  syncfs: 50,
  tmpfile: 51,
  statx: 52,
} as const;

export type OperationName = keyof typeof opcode;

const nameByOpcode = new Map<number, OperationName>(
  Object.entries(opcode).map(([name, code]) => [code, name as OperationName]),
);

/** The name of an opcode for logs and dispatch, or undefined for one this driver has never heard of. */
export function operationName(code: number): OperationName | undefined {
  return nameByOpcode.get(code);
}

/** INIT flags, the low word. */
export const initFlag = {
  asyncRead: 1 << 0,
  atomicOTrunc: 1 << 3,
  bigWrites: 1 << 5,
  autoInvalData: 1 << 12,
  doReaddirplus: 1 << 13,
  readdirplusAuto: 1 << 14,
  asyncDio: 1 << 15,
  writebackCache: 1 << 16,
  parallelDirops: 1 << 18,
  handleKillpriv: 1 << 19,
  maxPages: 1 << 22,
  handleKillprivV2: 1 << 28,
} as const;

/** FOPEN_* flags of an OPEN or CREATE reply. */
export const fopen = {
  directIo: 1 << 0,
  keepCache: 1 << 1,
  noFlush: 1 << 5,
} as const;

/** FATTR_* bits of fuse_setattr_in.valid. */
export const fattr = {
  mode: 1 << 0,
  uid: 1 << 1,
  gid: 1 << 2,
  size: 1 << 3,
  atime: 1 << 4,
  mtime: 1 << 5,
  fh: 1 << 6,
  atimeNow: 1 << 7,
  mtimeNow: 1 << 8,
} as const;

/** FUSE_GETATTR_FH */
export const getattrFh = 1;

/** RENAME_NOREPLACE of renameat2(2), the only flag of RENAME2 that this driver honours. */
export const renameNoReplace = 1;

/** FUSE_NOTIFY_* codes; they stand where a reply has its error. */
export const notifyCode = { invalInode: 2, invalEntry: 3, prune: 9 } as const;

/** Minor version of the kernels that know FUSE_NOTIFY_PRUNE (Linux 6.18). */
export const pruneMinor = 45;

/** FUSE_UNKNOWN_INO: a directory entry whose inode number is not known yet. */
export const unknownInode = 0xffffffff;
