/**
 * One blob being written, once, from front to back.
 *
 * Pieces gather until a write is worth it, and the next ones gather while that write is under way.
 * The file is made by the first write, so that empty objects and refused requests make none.
 */
import type { FileHandle } from 'node:fs/promises';
import type { Segment } from './segment.js';

/** Bytes gathered before a write goes to the disk; request bodies arrive in 64 KiB pieces. */
const writeBatch = 1024 * 1024;

export interface BlobFile {
  readonly name: string;
  readonly fsync: boolean;
  /** makes the file and counts the writer as its user */
  readonly open: () => Promise<FileHandle>;
  /** lets go of the blob */
  readonly release: () => void;
}

/** `finish` or `discard` ends it. */
export class BlobWriter {
  readonly #blob: BlobFile;
  #file: FileHandle | undefined;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #written = 0;
  #writing: Promise<void> = Promise.resolve();
  #over = false;

  constructor(blob: BlobFile) {
    this.#blob = blob;
  }

  /** Takes bytes; resolves when more may come. */
  async write(data: Uint8Array): Promise<void> {
    this.#pending.push(data);
    this.#pendingBytes += data.length;
    if (this.#pendingBytes < writeBatch) return;
    await this.#writing;
    this.#writing = this.#flush();
    // Awaited by the next write or by finish; until then a failure is nobody's unhandled rejection.
    this.#writing.catch(() => undefined);
  }

  /**
   * Brings all bytes to the disk. The caller is a user of the segments from here on; where this
   * rejects, the blob is given up.
   */
  async finish(): Promise<Segment[]> {
    try {
      await this.#writing;
      await this.#flush();
      if (this.#blob.fsync) await this.#file?.datasync();
      this.#over = true;
      await this.#file?.close();
    } catch (error) {
      await this.discard();
      throw error;
    }
    if (this.#file === undefined) return [];
    return [{ blob: this.#blob.name, offset: 0, length: this.#written }];
  }

  /** Gives the blob up instead of `finish`, or after it failed. */
  async discard(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    // Whatever became of the last write, nobody will read it.
    await this.#writing.catch(() => undefined);
    if (this.#file === undefined) return;
    await this.#file.close();
    this.#blob.release();
  }

  async #flush(): Promise<void> {
    let rest = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    if (rest.length > 0) this.#file ??= await this.#blob.open();
    while (rest.length > 0 && this.#file !== undefined) {
      const { bytesWritten } = await this.#file.writev(rest, this.#written);
      this.#written += bytesWritten;
      rest = dropBytes(rest, bytesWritten);
    }
  }
}

/** What is left of buffers after their first bytes. */
function dropBytes(buffers: readonly Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = count;
  for (const buffer of buffers) {
    if (skip >= buffer.length) skip -= buffer.length;
    else {
      rest.push(buffer.subarray(skip));
      skip = 0;
    }
  }
  return rest;
}
