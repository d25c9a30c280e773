/**
 * The local bytes of one staged file, at the offsets they have in it, in unlinked temp files.
 *
 * A spool is cut into segments of one temp file each, because Node cannot punch holes: bytes are
 * given back to the disk by closing a segment. Every block carries the CRC32 of what was written to
 * it, computed from the writer's buffer; reading checks it, so a bit that flips on the way through
 * the disk is found before S3 is told that it is right. The caller serialises writes; reads may run
 * beside them.
 */
import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { combineCrc32 } from '../crc32.js';
import { FsError } from '../errors.js';
import type { Holder } from '../limits/shares.js';
import type { SpaceOwner, TempSpace } from '../limits/temp-space.js';

/** Bytes per checksum: small enough to check cheaply, large enough to keep tables short. */
const blockSize = 64 * 1024;
const blocksPerSegment = 256;
const segmentSize = blockSize * blocksPerSegment;

interface SpoolSegment {
  readonly file: FileHandle;
  /** per block: bytes from the block's start that the checksum covers */
  readonly lengths: Uint32Array;
  readonly sums: Uint32Array;
  /** per block: starts and ends of writes, so that a reader knows it may have met one */
  readonly epochs: Uint32Array;
}

interface Block {
  readonly segment: SpoolSegment;
  readonly index: number;
}

export class Spool implements SpaceOwner {
  readonly holder: Holder;
  readonly #space: TempSpace;
  readonly #segments = new Map<number, SpoolSegment>();

  /** @param holder whose temp space it is */
  constructor(space: TempSpace, holder?: Holder) {
    this.#space = space;
    this.holder = holder;
  }

  /**
   * Writes `data` at `offset`. Afterwards the bytes can be read back.
   * @throws FsError ENOSPC, or the disk's own error
   */
  async write(offset: number, data: Uint8Array): Promise<void> {
    let done = 0;
    while (done < data.length) {
      const at = offset + done;
      const length = Math.min(data.length - done, segmentSize - (at % segmentSize));
      await this.#writeInSegment(at, data.subarray(done, done + length));
      done += length;
    }
  }

  /**
   * Fills `into` from `offset`; all of it must have been written.
   * @param compare false: whoever gets the bytes compares them with the checksum returned
   * @returns CRC32 of the bytes written there
   * @throws FsError EIO if the disk returned other bytes than were written
   */
  async read(into: Uint8Array, offset: number, compare = true): Promise<number> {
    let sum = 0;
    let done = 0;
    while (done < into.length) {
      const at = offset + done;
      const length = Math.min(into.length - done, segmentSize - (at % segmentSize));
      const piece = into.subarray(done, done + length);
      sum = combineCrc32(sum, await this.#readInSegment(at, piece, compare), length);
      done += length;
    }
    return sum;
  }

  /**
   * Gives segments back that lie wholly in [start, end).
   * @returns the ranges no longer here
   */
  release(start: number, end: number): { start: number; end: number }[] {
    const gone: { start: number; end: number }[] = [];
    for (let id = Math.ceil(start / segmentSize); (id + 1) * segmentSize <= end; id++) {
      if (this.#drop(id)) gone.push({ start: id * segmentSize, end: (id + 1) * segmentSize });
    }
    return gone;
  }

  /** Forgets everything from `size` on. */
  async truncate(size: number): Promise<void> {
    for (const id of [...this.#segments.keys()]) {
      if (id * segmentSize >= size) this.#drop(id);
    }
    const segment = this.#segments.get(Math.floor(size / segmentSize));
    if (segment === undefined) return;
    const inSegment = size % segmentSize;
    const first = Math.floor(inSegment / blockSize);
    const keep = inSegment % blockSize;
    const last = blocksPerSegment - 1;
    touch(segment, first, last);
    const cut: Block = { segment, index: first };
    if (keep < lengthOf(cut)) {
      const head = await this.#verifiedBlock(cut);
      this.#space.release(lengthOf(cut) - keep, this);
      segment.lengths[first] = keep;
      segment.sums[first] = crc32(head.subarray(0, keep));
    }
    for (let index = first + 1; index < blocksPerSegment; index++) {
      this.#space.release(segment.lengths[index] ?? 0, this);
      segment.lengths[index] = 0;
      segment.sums[index] = 0;
    }
    // What was cut must read as zeros if the file grows again over a gap inside a block.
    await segment.file.truncate(inSegment);
    touch(segment, first, last);
  }

  /** Frees all. */
  dispose(): void {
    for (const id of [...this.#segments.keys()]) this.#drop(id);
  }

  async #writeInSegment(offset: number, data: Uint8Array): Promise<void> {
    const id = Math.floor(offset / segmentSize);
    const inSegment = offset % segmentSize;
    const known = this.#segments.get(id);
    const last = Math.floor((inSegment + data.length - 1) / blockSize);
    const first = Math.floor(inSegment / blockSize);
    let growth = 0;
    for (let index = first; index <= last; index++) {
      const end = Math.min(blockSize, inSegment + data.length - index * blockSize);
      growth += Math.max(0, end - (known?.lengths[index] ?? 0));
    }
    await this.#space.reserve(growth, this);
    let segment: SpoolSegment;
    try {
      segment = known ?? (await this.#newSegment(id));
    } catch (error) {
      this.#space.release(growth, this);
      throw error;
    }
    touch(segment, first, last);
    try {
      const sums = await this.#newSums(segment, inSegment, data);
      await writeAll(segment.file, data, inSegment);
      for (const { index, sum, length } of sums) {
        segment.sums[index] = sum;
        segment.lengths[index] = length;
      }
    } catch (error) {
      this.#space.release(growth, this);
      throw error;
    } finally {
      touch(segment, first, last);
    }
  }

  /** What the checksums will be once `data` is in place. */
  async #newSums(
    segment: SpoolSegment,
    inSegment: number,
    data: Uint8Array,
  ): Promise<{ index: number; sum: number; length: number }[]> {
    const result: { index: number; sum: number; length: number }[] = [];
    let done = 0;
    while (done < data.length) {
      const index = Math.floor((inSegment + done) / blockSize);
      const from = (inSegment + done) % blockSize;
      const piece = data.subarray(done, done + Math.min(data.length - done, blockSize - from));
      const block: Block = { segment, index };
      const length = lengthOf(block);
      const end = from + piece.length;
      if (from === 0 && end >= length) {
        result.push({ index, sum: crc32(piece), length: end });
      } else if (from >= length) {
        // A gap reads as zeros from the sparse file.
        const sum = crc32(new Uint8Array(from - length), segment.sums[index] ?? 0);
        result.push({ index, sum: crc32(piece, sum), length: end });
      } else {
        const merged = await this.#verifiedBlock(block, Math.max(length, end));
        merged.set(piece, from);
        result.push({ index, sum: crc32(merged), length: merged.length });
      }
      done += piece.length;
    }
    return result;
  }

  async #readInSegment(offset: number, into: Uint8Array, compare: boolean): Promise<number> {
    const segment = this.#segments.get(Math.floor(offset / segmentSize));
    if (segment === undefined) {
      throw new FsError('EIO', `no local bytes at offset ${offset}`);
    }
    const inSegment = offset % segmentSize;
    // A write to one of these blocks may be under way; then the bytes are looked at once more.
    for (let attempt = 0; ; attempt++) {
      const before = stateOf(segment, inSegment, into.length);
      // Where it was disturbed once, only the checksum tells whether it was again.
      const isCompared = compare || attempt > 0;
      const sum = await this.#tryRead({ segment, compare: isCompared }, inSegment, into);
      const isUndisturbed =
        before !== undefined && stateOf(segment, inSegment, into.length) === before;
      if (sum !== undefined && (isCompared || isUndisturbed)) return sum;
      if (isUndisturbed) {
        throw new FsError(
          'EIO',
          `temp file bytes near offset ${offset} differ from what was written`,
        );
      }
      if (attempt >= 100)
        throw new FsError('EIO', `offset ${offset} is being rewritten all the time`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** One attempt; undefined if a checksum does not match. */
  async #tryRead(
    { segment, compare }: { segment: SpoolSegment; compare: boolean },
    inSegment: number,
    into: Uint8Array,
  ): Promise<number | undefined> {
    await readAll(segment.file, into, inSegment);
    let total = 0;
    let done = 0;
    while (done < into.length) {
      const index = Math.floor((inSegment + done) / blockSize);
      const from = (inSegment + done) % blockSize;
      const piece = into.subarray(done, done + Math.min(into.length - done, blockSize - from));
      const block: Block = { segment, index };
      const isWhole = from === 0 && piece.length === lengthOf(block);
      const written = segment.sums[index] ?? 0;
      const sum = isWhole && !compare ? written : crc32(piece);
      if (isWhole) {
        if (sum !== written) return undefined;
      } else if (!(await this.#partOfBlockIsRight(block, piece, from))) {
        return undefined;
      }
      total = combineCrc32(total, sum, piece.length);
      done += piece.length;
    }
    return total;
  }

  async #partOfBlockIsRight(block: Block, piece: Uint8Array, from: number): Promise<boolean> {
    const whole = new Uint8Array(lengthOf(block));
    await readAll(block.segment.file, whole, block.index * blockSize);
    if (crc32(whole) !== block.segment.sums[block.index]) return false;
    return Buffer.compare(piece, whole.subarray(from, from + piece.length)) === 0;
  }

  /** The block's bytes, checked, in a buffer of `size` (its own length if absent). */
  async #verifiedBlock(block: Block, size = lengthOf(block)): Promise<Uint8Array> {
    const bytes = new Uint8Array(size);
    const held = bytes.subarray(0, lengthOf(block));
    await readAll(block.segment.file, held, block.index * blockSize);
    if (crc32(held) !== block.segment.sums[block.index]) {
      throw new FsError('EIO', 'temp file bytes differ from what was written');
    }
    return bytes;
  }

  async #newSegment(id: number): Promise<SpoolSegment> {
    const segment: SpoolSegment = {
      file: await this.#space.open(),
      lengths: new Uint32Array(blocksPerSegment),
      sums: new Uint32Array(blocksPerSegment),
      epochs: new Uint32Array(blocksPerSegment),
    };
    this.#segments.set(id, segment);
    return segment;
  }

  #drop(id: number): boolean {
    const segment = this.#segments.get(id);
    if (segment === undefined) return false;
    this.#segments.delete(id);
    // The file is unlinked: closing frees the space. A failing close loses nothing we need.
    void segment.file.close().catch(() => undefined);
    this.#space.release(
      segment.lengths.reduce((sum, length) => sum + length, 0),
      this,
    );
    return true;
  }
}

function lengthOf({ segment, index }: Block): number {
  return segment.lengths[index] ?? 0;
}

/** Notes that a write to blocks begins, or that it ends. */
function touch({ epochs }: SpoolSegment, first: number, last: number): void {
  for (let index = first; index <= last; index++) epochs[index] = (epochs[index] ?? 0) + 1;
}

/** A number that changes with every write to these bytes' blocks; undefined while there is one. */
function stateOf({ epochs }: SpoolSegment, start: number, length: number): number | undefined {
  const last = Math.floor((start + length - 1) / blockSize);
  let state = 0;
  for (let index = Math.floor(start / blockSize); index <= last; index++) {
    const epoch = epochs[index] ?? 0;
    if (epoch % 2 !== 0) return undefined;
    state += epoch;
  }
  return state;
}

async function writeAll(file: FileHandle, data: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < data.length) {
    const { bytesWritten } = await file.write(data, done, data.length - done, position + done);
    done += bytesWritten;
  }
}

async function readAll(file: FileHandle, into: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await file.read(into, done, into.length - done, position + done);
    if (bytesRead === 0) throw new FsError('EIO', 'a temp file is shorter than what was written');
    done += bytesRead;
  }
}
