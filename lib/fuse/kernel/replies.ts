/**
 * Encodes what the kernel is told: replies, directory pages and notices.
 *
 * Every message begins with fuse_out_header. Functions that make a reply leave its room at the front
 * of their buffer and the session fills it in, so that a small reply is one buffer and one write(2).
 */
import { splitTime } from '../../file-time.js';
import type { Attributes, FileSystemStats } from '../../operations.js';
import { maxTransferBytes, notifyCode, replyHeaderBytes, unknownInode } from './protocol.js';

/** Sizes of structs that other structs embed. */
export const attrBytes = 88;
export const entryOutBytes = 128;
const openOutBytes = 16;
const direntBytes = 24;

/** How an inode is to be shown and for how long the kernel may believe it. */
export interface NodeView {
  readonly nodeId: number;
  /** shown by stat(2) */
  readonly inode: number;
  readonly attributes: Attributes;
  /** no name leads to it any more */
  readonly unlinked: boolean;
  readonly attributesForMs: number;
}

export interface EntryView extends NodeView {
  readonly entryForMs: number;
}

/** What OPEN, OPENDIR and CREATE answer with. */
export interface OpenView {
  readonly handle: number;
  /** FOPEN_* */
  readonly flags: number;
}

function writeU64(bytes: Buffer, value: number, at: number): void {
  // A division takes longer than all else here, and nearly all values are small.
  const high = value <= 0xffff_ffff ? 0 : Math.floor(value / 0x1_0000_0000);
  bytes.writeUInt32LE(value - high * 0x1_0000_0000, at);
  bytes.writeUInt32LE(high, at + 4);
}

/** A reply with `size` bytes of body, zeroed, and room for the header. */
function reply(size: number): Buffer {
  return Buffer.alloc(replyHeaderBytes + size);
}

/** fuse_out_header of a message of `length` bytes in all; `error` is a positive errno, or 0. */
export function writeReplyHeader(
  bytes: Buffer,
  header: { length: number; unique: number; error: number },
): void {
  bytes.writeUInt32LE(header.length, 0);
  bytes.writeInt32LE(-header.error, 4);
  writeU64(bytes, header.unique, 8);
}

/** A reply without a body: success, or the room for an error. */
export function emptyReply(): Buffer {
  return reply(0);
}

function writeTimeout(bytes: Buffer, ms: number, secondsAt: number, nanosecondsAt: number): void {
  const whole = Math.max(0, Math.floor(ms));
  writeU64(bytes, Math.floor(whole / 1000), secondsAt);
  bytes.writeUInt32LE((whole % 1000) * 1e6, nanosecondsAt);
}

/**
 * fuse_attr. Seconds are signed for the kernel, whatever the struct calls them. Blocks are the 512 bytes of stat(2); the block size is what cp(1) and friends read
 * and write by, and a whole request is best.
 */
function writeAttr(bytes: Buffer, view: NodeView, at: number): void {
  const { attributes } = view;
  const directory = attributes.kind === 'directory';
  const { seconds, nanoseconds } = splitTime(attributes.mtime);
  writeU64(bytes, view.inode, at);
  writeU64(bytes, attributes.size, at + 8);
  writeU64(bytes, Math.ceil(attributes.size / 512), at + 16);
  for (const place of [24, 32, 40]) bytes.writeBigInt64LE(seconds, at + place);
  bytes.writeUInt32LE(nanoseconds, at + 48);
  bytes.writeUInt32LE(nanoseconds, at + 52);
  bytes.writeUInt32LE(nanoseconds, at + 56);
  bytes.writeUInt32LE((directory ? 0o040000 : 0o100000) | (attributes.mode & 0o7777), at + 60);
  bytes.writeUInt32LE(view.unlinked ? 0 : directory ? 2 : 1, at + 64);
  bytes.writeUInt32LE(attributes.uid >>> 0, at + 68);
  bytes.writeUInt32LE(attributes.gid >>> 0, at + 72);
  bytes.writeUInt32LE(maxTransferBytes, at + 80);
}

/** fuse_entry_out; node ids are never used twice, so the generation stays 0. */
function writeEntry(bytes: Buffer, view: EntryView, at: number): void {
  writeU64(bytes, view.nodeId, at);
  writeTimeout(bytes, view.entryForMs, at + 16, at + 32);
  writeTimeout(bytes, view.attributesForMs, at + 24, at + 36);
  writeAttr(bytes, view, at + 40);
}

function writeOpen(bytes: Buffer, view: OpenView, at: number): void {
  writeU64(bytes, view.handle, at);
  bytes.writeUInt32LE(view.flags, at + 8);
}

/** LOOKUP, MKDIR */
export function entryReply(view: EntryView): Buffer {
  const bytes = reply(entryOutBytes);
  writeEntry(bytes, view, replyHeaderBytes);
  return bytes;
}

/** LOOKUP of what is not there: with node 0 the kernel keeps that (fuse_lookup_name in fs/fuse/dir.c). */
export function absentReply(forMs: number): Buffer {
  const bytes = reply(entryOutBytes);
  writeTimeout(bytes, forMs, replyHeaderBytes + 16, replyHeaderBytes + 32);
  return bytes;
}

/** fuse_attr_out: GETATTR, SETATTR */
export function attrReply(view: NodeView): Buffer {
  const bytes = reply(16 + attrBytes);
  writeTimeout(bytes, view.attributesForMs, replyHeaderBytes, replyHeaderBytes + 8);
  writeAttr(bytes, view, replyHeaderBytes + 16);
  return bytes;
}

/** fuse_open_out: OPEN, OPENDIR */
export function openReply(view: OpenView): Buffer {
  const bytes = reply(openOutBytes);
  writeOpen(bytes, view, replyHeaderBytes);
  return bytes;
}

/** CREATE: an entry and an open file in one */
export function createReply(entry: EntryView, open: OpenView): Buffer {
  const bytes = reply(entryOutBytes + openOutBytes);
  writeEntry(bytes, entry, replyHeaderBytes);
  writeOpen(bytes, open, replyHeaderBytes + entryOutBytes);
  return bytes;
}

/** fuse_write_out */
export function writeReply(size: number): Buffer {
  const bytes = reply(8);
  bytes.writeUInt32LE(size, replyHeaderBytes);
  return bytes;
}

/** fuse_statfs_out */
export function statfsReply(stats: FileSystemStats): Buffer {
  const bytes = reply(80);
  const at = replyHeaderBytes;
  writeU64(bytes, stats.blocks, at);
  writeU64(bytes, stats.blocksFree, at + 8);
  writeU64(bytes, stats.blocksFree, at + 16);
  writeU64(bytes, stats.files, at + 24);
  writeU64(bytes, stats.filesFree, at + 32);
  bytes.writeUInt32LE(stats.blockSize, at + 40);
  bytes.writeUInt32LE(stats.nameMax, at + 44);
  bytes.writeUInt32LE(stats.blockSize, at + 48);
  return bytes;
}

/** What INIT settles, beyond the versions. */
export interface InitView {
  readonly minor: number;
  readonly maxReadahead: number;
  readonly flags: number;
  readonly maxBackground: number;
  readonly maxWrite: number;
  readonly maxPages: number;
}

/** fuse_init_out as from 7.23 on; its later members stay zero where they are not asked for. */
export function initReply(view: InitView): Buffer {
  const bytes = reply(64);
  const at = replyHeaderBytes;
  bytes.writeUInt32LE(7, at);
  bytes.writeUInt32LE(view.minor, at + 4);
  bytes.writeUInt32LE(view.maxReadahead, at + 8);
  bytes.writeUInt32LE(view.flags >>> 0, at + 12);
  bytes.writeUInt16LE(view.maxBackground, at + 16);
  bytes.writeUInt16LE(Math.floor((view.maxBackground * 3) / 4), at + 18);
  bytes.writeUInt32LE(view.maxWrite, at + 20);
  bytes.writeUInt32LE(1, at + 24);
  bytes.writeUInt16LE(view.maxPages, at + 28);
  return bytes;
}

/** Room for some 20 entries with their attributes. */
const firstPageBytes = 4000;

/** One page of a READDIR or READDIRPLUS, filled entry by entry up to the size the kernel asked. */
export class DirectoryPage {
  /** grows: the kernel offers up to 1 MiB, and most directories fill little of it */
  #bytes = reply(firstPageBytes);
  readonly #limit: number;
  readonly #plus: boolean;
  #used = replyHeaderBytes;

  constructor(size: number, options: { plus: boolean }) {
    this.#limit = replyHeaderBytes + size;
    this.#plus = options.plus;
  }

  /** How many entries can still come, at most; for asking the core for no more than that. */
  get roomFor(): number {
    const least = direntBytes + 8 + (this.#plus ? entryOutBytes : 0);
    return Math.floor((this.#limit - this.#used) / least);
  }

  /** Whether an entry of this name still fits. */
  fits(name: string): boolean {
    return this.#used + this.#sizeOf(Buffer.byteLength(name)) <= this.#limit;
  }

  /**
   * Adds an entry that fits.
   * @param entry.next offset from which the listing goes on behind this entry
   * @param entry.inode for d_ino, where it is known
   * @param view READDIRPLUS: what a LOOKUP would answer; without it the kernel takes the name alone
   */
  add(
    entry: { name: string; kind: 'file' | 'directory'; next: number; inode?: number | undefined },
    view?: EntryView,
  ): void {
    const length = Buffer.byteLength(entry.name);
    this.#makeRoom(this.#used + this.#sizeOf(length));
    let at = this.#used;
    if (this.#plus) {
      if (view !== undefined) writeEntry(this.#bytes, view, at);
      at += entryOutBytes;
    }
    writeU64(this.#bytes, entry.inode ?? unknownInode, at);
    writeU64(this.#bytes, entry.next, at + 8);
    this.#bytes.writeUInt32LE(length, at + 16);
    this.#bytes.writeUInt32LE(entry.kind === 'directory' ? 4 : 8, at + 20);
    this.#bytes.write(entry.name, at + direntBytes);
    this.#used += this.#sizeOf(length);
  }

  /** The page as a reply. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#used);
  }

  #makeRoom(bytes: number): void {
    if (bytes <= this.#bytes.length) return;
    const larger = Buffer.alloc(Math.min(this.#limit, Math.max(bytes, 2 * this.#bytes.length)));
    this.#bytes.copy(larger, 0, 0, this.#used);
    this.#bytes = larger;
  }

  #sizeOf(nameBytes: number): number {
    const bare = direntBytes + nameBytes + (this.#plus ? entryOutBytes : 0);
    return Math.ceil(bare / 8) * 8;
  }
}

/**
 * FUSE_NOTIFY_INVAL_INODE for the attributes alone: with a negative offset the kernel touches no
 * page, so that this notice waits for nothing (fuse_reverse_inval_inode).
 */
export function attributesNotice(nodeId: number): Buffer {
  return inodeNotice(nodeId, -1n);
}

/** FUSE_NOTIFY_INVAL_INODE of all content: the kernel waits for pages that are being read. */
export function contentNotice(nodeId: number): Buffer {
  return inodeNotice(nodeId, 0n);
}

/** @param offset from which on content is dropped, to the end; none if negative */
function inodeNotice(nodeId: number, offset: bigint): Buffer {
  const bytes = reply(24);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeInt32LE(notifyCode.invalInode, 4);
  writeU64(bytes, nodeId, replyHeaderBytes);
  bytes.writeBigInt64LE(offset, replyHeaderBytes + 8);
  return bytes;
}

/** FUSE_NOTIFY_INVAL_ENTRY: the kernel takes the directory's lock for it, so that it may wait. */
export function entryNotice(parentId: number, name: string): Buffer {
  const length = Buffer.byteLength(name);
  const bytes = reply(16 + length + 1);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeInt32LE(notifyCode.invalEntry, 4);
  writeU64(bytes, parentId, replyHeaderBytes);
  bytes.writeUInt32LE(length, replyHeaderBytes + 8);
  bytes.write(name, replyHeaderBytes + 16);
  return bytes;
}

/**
 * FUSE_NOTIFY_PRUNE (7.45): the kernel drops the entries of these nodes where nobody uses them. It
 * takes no directory's lock for it.
 */
export function pruneNotice(nodeIds: readonly number[]): Buffer {
  const bytes = reply(16 + nodeIds.length * 8);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeInt32LE(notifyCode.prune, 4);
  bytes.writeUInt32LE(nodeIds.length, replyHeaderBytes);
  for (const [index, nodeId] of nodeIds.entries()) {
    writeU64(bytes, nodeId, replyHeaderBytes + 16 + index * 8);
  }
  return bytes;
}
