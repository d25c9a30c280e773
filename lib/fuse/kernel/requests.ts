/**
 * Decodes what the kernel asks: the request header and the body of each opcode.
 *
 * Pure functions over one request's bytes, which they trust in nothing: a body too short for its
 * struct or a name without its end is a `MalformedRequest`, never a read past the end. A name that is
 * no UTF-8 cannot be an S3 key and is refused here (EILSEQ), where the bytes are still known.
 */
import { isUtf8 } from 'node:buffer';
import { constants } from 'node:fs';
import { FsError } from '../../errors.js';
import { joinTime } from '../../file-time.js';
import type { FileTime, OpenFlags } from '../../operations.js';
import { fattr, getattrFh, maxTransferBytes, requestHeaderBytes } from './protocol.js';

/** The bytes are no request that a kernel would send. */
export class MalformedRequest extends Error {
  override readonly name = 'MalformedRequest';
}

/** fuse_in_header */
export interface RequestHeader {
  readonly length: number;
  readonly opcode: number;
  readonly unique: number;
  readonly nodeId: number;
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
}

/** A 64-bit number; those the kernel sends here (ids, offsets, sizes) stay far below 2^53. */
export function readU64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 0x1_0000_0000;
}

function need(bytes: Buffer, length: number): void {
  if (bytes.length < length) {
    throw new MalformedRequest(`${bytes.length} bytes where ${length} are needed`);
  }
}

/** @throws MalformedRequest if the bytes are shorter than a header or than the header says */
export function decodeHeader(bytes: Buffer): RequestHeader {
  need(bytes, requestHeaderBytes);
  const length = bytes.readUInt32LE(0);
  if (length !== bytes.length) {
    throw new MalformedRequest(`a request of ${length} bytes came as ${bytes.length}`);
  }
  return {
    length,
    opcode: bytes.readUInt32LE(4),
    unique: readU64(bytes, 8),
    nodeId: readU64(bytes, 16),
    uid: bytes.readUInt32LE(24),
    gid: bytes.readUInt32LE(28),
    pid: bytes.readUInt32LE(32),
  };
}

function textBetween(bytes: Buffer, start: number): { text: string; next: number } {
  const end = bytes.indexOf(0, start);
  if (end < 0) throw new MalformedRequest('a name does not end');
  const raw = bytes.subarray(start, end);
  if (!isUtf8(raw)) {
    throw new FsError('EILSEQ', `a name is not UTF-8: ${JSON.stringify(raw.toString('latin1'))}`);
  }
  return { text: raw.toString('utf8'), next: end + 1 };
}

/** The one name at `start` of LOOKUP, UNLINK, RMDIR (0), MKDIR, LINK (8), MKNOD, CREATE (16). */
export function decodeName(body: Buffer, start = 0): string {
  need(body, start + 1);
  return textBetween(body, start).text;
}

/** SYMLINK: the new name, then what it points to. */
export function decodeSymlink(body: Buffer): { name: string; target: string } {
  const name = textBetween(body, 0);
  return { name: name.text, target: textBetween(body, name.next).text };
}

/** fuse_init_in; `flags2` came with 7.36. */
export function decodeInit(body: Buffer): {
  major: number;
  minor: number;
  maxReadahead: number;
  flags: number;
} {
  need(body, 16);
  return {
    major: body.readUInt32LE(0),
    minor: body.readUInt32LE(4),
    maxReadahead: body.readUInt32LE(8),
    flags: body.readUInt32LE(12),
  };
}

/** fuse_getattr_in: the handle, where the kernel asks through one */
export function decodeGetattr(body: Buffer): { handle: number | undefined } {
  need(body, 16);
  const through = (body.readUInt32LE(0) & getattrFh) !== 0;
  return { handle: through ? readU64(body, 8) : undefined };
}

/** What a SETATTR asks to change; members that are absent stay as they are. */
export interface SetattrRequest {
  readonly handle: number | undefined;
  readonly size: number | undefined;
  readonly mode: number | undefined;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  readonly atime: FileTime;
  readonly mtime: FileTime;
}

/** fuse_setattr_in */
export function decodeSetattr(body: Buffer): SetattrRequest {
  need(body, 88);
  const valid = body.readUInt32LE(0);
  const has = (bit: number): boolean => (valid & bit) !== 0;
  const time = (bit: number, nowBit: number, at: number, nsecAt: number): FileTime => {
    if (!has(bit)) return 'omit';
    if (has(nowBit)) return 'now';
    return joinTime(body.readBigInt64LE(at), body.readUInt32LE(nsecAt));
  };
  return {
    handle: has(fattr.fh) ? readU64(body, 8) : undefined,
    size: has(fattr.size) ? readU64(body, 16) : undefined,
    mode: has(fattr.mode) ? body.readUInt32LE(68) & 0o7777 : undefined,
    uid: has(fattr.uid) ? body.readUInt32LE(76) : undefined,
    gid: has(fattr.gid) ? body.readUInt32LE(80) : undefined,
    atime: time(fattr.atime, fattr.atimeNow, 32, 56),
    mtime: time(fattr.mtime, fattr.mtimeNow, 40, 60),
  };
}

/**
 * Flags of open(2) in the core's terms. Access mode 3 (Linux: no read, no write, ioctl only) is taken
 * for read and write, and so is O_RDONLY|O_TRUNC, because it changes the file.
 */
export function decodeOpenFlags(flags: number): OpenFlags {
  const mode = flags & (constants.O_WRONLY | constants.O_RDWR);
  const truncate = (flags & constants.O_TRUNC) !== 0;
  let access: OpenFlags['access'] = 'readwrite';
  if (mode === constants.O_RDONLY && !truncate) access = 'read';
  if (mode === constants.O_WRONLY) access = 'write';
  return {
    access,
    append: (flags & constants.O_APPEND) !== 0,
    truncate,
    exclusive: (flags & constants.O_EXCL) !== 0,
  };
}

/** fuse_open_in */
export function decodeOpen(body: Buffer): OpenFlags {
  need(body, 8);
  return decodeOpenFlags(body.readUInt32LE(0));
}

/** fuse_create_in and the name behind it */
export function decodeCreate(body: Buffer): { flags: OpenFlags; name: string } {
  need(body, 17);
  return { flags: decodeOpenFlags(body.readUInt32LE(0)), name: textBetween(body, 16).text };
}

/** fuse_rename_in, or fuse_rename2_in where `withFlags` */
export function decodeRename(
  body: Buffer,
  withFlags: boolean,
): { newParentId: number; flags: number; from: string; to: string } {
  const start = withFlags ? 16 : 8;
  need(body, start + 2);
  const from = textBetween(body, start);
  const to = textBetween(body, from.next);
  const flags = withFlags ? body.readUInt32LE(8) : 0;
  return { newParentId: readU64(body, 0), flags, from: from.text, to: to.text };
}

/** fuse_link_in and the new name */
export function decodeLink(body: Buffer): { nodeId: number; name: string } {
  need(body, 9);
  return { nodeId: readU64(body, 0), name: textBetween(body, 8).text };
}

/** fuse_read_in, for READ, READDIR and READDIRPLUS; no kernel asks for more than was negotiated */
export function decodeRead(body: Buffer): { handle: number; offset: number; size: number } {
  need(body, 24);
  const size = Math.min(body.readUInt32LE(16), maxTransferBytes);
  return { handle: readU64(body, 0), offset: readU64(body, 8), size };
}

/**
 * fuse_write_in; `data` is a view of the request's own bytes. O_DSYNC, a bit of O_SYNC too, is among the
 * flags of an open(2) with either, and of a pwritev2(2) with RWF_DSYNC or RWF_SYNC (fuse_write_flags).
 */
export interface WriteRequest {
  readonly handle: number;
  readonly offset: number;
  readonly data: Buffer;
  readonly isSynchronous: boolean;
}

export function decodeWrite(body: Buffer): WriteRequest {
  need(body, 40);
  const size = body.readUInt32LE(16);
  if (body.length !== 40 + size) {
    throw new MalformedRequest(`a WRITE of ${size} bytes carries ${body.length - 40}`);
  }
  return {
    handle: readU64(body, 0),
    offset: readU64(body, 8),
    data: body.subarray(40),
    isSynchronous: (body.readUInt32LE(32) & constants.O_DSYNC) !== 0,
  };
}

/** The handle that leads fuse_flush_in, fuse_fsync_in and fuse_release_in. */
export function decodeHandle(body: Buffer): number {
  need(body, 16);
  return readU64(body, 0);
}

/** fuse_forget_in: how many lookups the kernel gives back */
export function decodeForget(body: Buffer): number {
  need(body, 8);
  return readU64(body, 0);
}

/** fuse_batch_forget_in: each node with the lookups given back */
export function decodeBatchForget(body: Buffer): { nodeId: number; lookups: number }[] {
  need(body, 8);
  const count = body.readUInt32LE(0);
  need(body, 8 + count * 16);
  return Array.from({ length: count }, (_, index) => ({
    nodeId: readU64(body, 8 + index * 16),
    lookups: readU64(body, 16 + index * 16),
  }));
}

/** fuse_interrupt_in: the request whose caller has a signal waiting */
export function decodeInterrupt(body: Buffer): number {
  need(body, 8);
  return readU64(body, 0);
}
