/**
 * Files of bytes that never change once written, counted by who uses them.
 *
 * Objects and parts are lists of segments of such files, so a copy, a part copy or a completed
 * multipart upload moves no bytes. A blob has a random name, is fsynced before anybody may refer to it, and
 * is unlinked when its last user lets go; a reader is a user too, so an overwrite never
 * pulls the bytes from under a download. Files that nothing refers to at start are leftovers of a
 * crash and go.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { BlobWriter } from './blob-writer.js';
import { sliceSegments, type Segment } from './segment.js';

/** Bytes read at once: fewer cost more system calls, more no longer save any. */
const readBatch = 1024 * 1024;
/** Buffers of that size that are kept for the next reads. */
const maxSpareBuffers = 16;

export class BlobFolder {
  readonly #directory: string;
  readonly #fsync: boolean;
  readonly #users = new Map<string, number>();
  readonly #unlinks = new Set<Promise<void>>();
  readonly #spareBuffers: Buffer[] = [];
  readonly #onError: (error: unknown) => void;
  /** False while the journal is read: a blob without users may get one again further down. */
  #unlinking = false;

  /** @param onError hears of blobs that could not be unlinked; the next start tries again */
  constructor(directory: string, options: { fsync: boolean; onError: (error: unknown) => void }) {
    this.#directory = directory;
    this.#fsync = options.fsync;
    this.#onError = options.onError;
  }

  /** Makes the folder. */
  async prepare(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
  }

  /** Unlinks every file that nobody uses; from here on they go as their last user does. */
  async removeUnused(): Promise<void> {
    this.#unlinking = true;
    for (const name of await readdir(this.#directory)) {
      if (!this.#users.has(name)) await unlink(join(this.#directory, name));
    }
  }

  /** Counts one user more for each segment. */
  retain(segments: readonly Segment[]): void {
    for (const { blob } of segments) this.#users.set(blob, (this.#users.get(blob) ?? 0) + 1);
  }

  /** Counts one user less for each segment; unused blobs go. */
  release(segments: readonly Segment[]): void {
    for (const { blob } of segments) {
      const users = (this.#users.get(blob) ?? 0) - 1;
      if (users > 0) this.#users.set(blob, users);
      else this.#remove(blob);
    }
  }

  /** Starts a blob; the caller is its first user. No bytes, no file. */
  create(): BlobWriter {
    const name = randomBytes(16).toString('hex');
    return new BlobWriter({
      name,
      fsync: this.#fsync,
      open: async () => {
        const file = await open(join(this.#directory, name), 'wx', 0o600);
        this.#users.set(name, 1);
        return file;
      },
      release: () => this.release([{ blob: name, offset: 0, length: 0 }]),
    });
  }

  /**
   * The bytes of segments from `start` up to `end`, counted over all of them.
   * The caller has to be a user of them until the last byte came. A piece is lent: the next one may
   * lie in the same memory.
   */
  async *read(segments: readonly Segment[], start: number, end: number): AsyncGenerator<Buffer> {
    const buffer = this.#takeBuffer(end - start);
    try {
      for (const part of sliceSegments(segments, start, end)) {
        const file = await open(join(this.#directory, part.blob), 'r');
        try {
          yield* readRange(file, buffer, part.offset, part.offset + part.length);
        } finally {
          await file.close();
        }
      }
    } finally {
      this.#giveBack(buffer);
    }
  }

  /** Waits for unlinks under way. */
  async settle(): Promise<void> {
    await Promise.all(this.#unlinks);
  }

  /** Memory that was never touched costs a page fault for each 4 KiB, more than the copy into it. */
  #takeBuffer(bytes: number): Buffer {
    if (bytes < readBatch) return Buffer.allocUnsafe(bytes);
    return this.#spareBuffers.pop() ?? Buffer.allocUnsafeSlow(readBatch);
  }

  #giveBack(buffer: Buffer): void {
    if (buffer.length < readBatch || this.#spareBuffers.length >= maxSpareBuffers) return;
    this.#spareBuffers.push(buffer);
  }

  #remove(blob: string): void {
    this.#users.delete(blob);
    if (!this.#unlinking) return;
    const done = unlink(join(this.#directory, blob)).catch(this.#onError);
    this.#unlinks.add(done);
    void done.then(() => this.#unlinks.delete(done));
  }
}

async function* readRange(
  file: FileHandle,
  buffer: Buffer,
  start: number,
  end: number,
): AsyncGenerator<Buffer> {
  for (let position = start; position < end;) {
    const wanted = Math.min(buffer.length, end - position);
    const { bytesRead } = await file.read(buffer, 0, wanted, position);
    if (bytesRead === 0) throw new Error('a blob is shorter than its segments');
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
