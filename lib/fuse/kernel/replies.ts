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

/**
 * The 32-bit words of a message, at whose places the structs of many members are written: for a listing of
 * 100,000 entries each call of a Buffer's method counts.
 */
function wordsOf(bytes: Buffer): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
}

/** A 64-bit number, of which each word takes its bits; negative ones too. */
function putU64(words: Uint32Array, value: number, at: number): void {
  words[at] = value;
  words[at + 1] = value >= 0 && value <= 0xffff_ffff ? 0 : Math.floor(value / 0x1_0000_0000);
}

function putTimeout(
  words: Uint32Array,
  ms: number,
  secondsAt: number,
  nanosecondsAt: number,
): void {
  const whole = Math.max(0, Math.floor(ms));
  const rest = whole % 1000;
  putU64(words, (whole - rest) / 1000, secondsAt);
  words[nanosecondsAt] = rest * 1e6;
}

/**
 * fuse_attr, from word `at` on. Seconds are signed for the kernel, whatever the struct calls them. Blocks
 * are the 512 bytes of stat(2); the block size is what cp(1) and friends read and write by, and a whole
 * request is best.
 */
function putAttr(words: Uint32Array, view: NodeView, at: number): void {
  const { attributes } = view;
  const directory = attributes.kind === 'directory';
  const { seconds, nanoseconds } = splitTime(attributes.mtime);
  putU64(words, view.inode, at);
  putU64(words, attributes.size, at + 2);
  putU64(words, Math.ceil(attributes.size / 512), at + 4);
  putU64(words, seconds, at + 6);
  putU64(words, seconds, at + 8);
  putU64(words, seconds, at + 10);
  words[at + 12] = nanoseconds;
  words[at + 13] = nanoseconds;
  words[at + 14] = nanoseconds;
  words[at + 15] = (directory ? 0o040000 : 0o100000) | (attributes.mode & 0o7777);
  words[at + 16] = view.unlinked ? 0 : directory ? 2 : 1;
  words[at + 17] = attributes.uid;
  words[at + 18] = attributes.gid;
  words[at + 20] = maxTransferBytes;
}

/** fuse_entry_out, from word `at` on; node ids are never used twice, so the generation stays 0. */
function putEntry(words: Uint32Array, view: EntryView, at: number): void {
  putU64(words, view.nodeId, at);
  putTimeout(words, view.entryForMs, at + 4, at + 8);
  putTimeout(words, view.attributesForMs, at + 6, at + 9);
  putAttr(words, view, at + 10);
}

const bodyAt = replyHeaderBytes / 4;

function writeOpen(bytes: Buffer, view: OpenView, at: number): void {
  writeU64(bytes, view.handle, at);
  bytes.writeUInt32LE(view.flags, at + 8);
}

/** LOOKUP, MKDIR */
export function entryReply(view: EntryView): Buffer {
  const bytes = reply(entryOutBytes);
  putEntry(wordsOf(bytes), view, bodyAt);
  return bytes;
}

/** LOOKUP of what is not there: with node 0 the kernel keeps that (fuse_lookup_name in fs/fuse/dir.c). */
export function absentReply(forMs: number): Buffer {
  const bytes = reply(entryOutBytes);
  putTimeout(wordsOf(bytes), forMs, bodyAt + 4, bodyAt + 8);
  return bytes;
}

/** fuse_attr_out: GETATTR, SETATTR */
export function attrReply(view: NodeView): Buffer {
  const bytes = reply(16 + attrBytes);
  const words = wordsOf(bytes);
  putTimeout(words, view.attributesForMs, bodyAt, bodyAt + 2);
  putAttr(words, view, bodyAt + 4);
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
  putEntry(wordsOf(bytes), entry, bodyAt);
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
  #words = wordsOf(this.#bytes);
  readonly #limit: number;
  readonly #plus: boolean;
  /** a multiple of 8, as the kernel wants each entry to begin */
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
    const { name } = entry;
    // Of UTF-8, which takes no more than that.
    this.#makeRoom(this.#used + this.#sizeOf(3 * name.length));
    const words = this.#words;
    let at = this.#used;
    if (this.#plus) {
      if (view !== undefined) putEntry(words, view, at / 4);
      at += entryOutBytes;
    }
    const length = this.#bytes.write(name, at + direntBytes);
    const word = at / 4;
    putU64(words, entry.inode ?? unknownInode, word);
    putU64(words, entry.next, word + 2);
    words[word + 4] = length;
    words[word + 5] = entry.kind === 'directory' ? 4 : 8;
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
    this.#words = wordsOf(larger);
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
