/**
 * The records of interrupted uploads on the local disk, with their bytes: private files (0600) in a
 * directory (0700) that outlives the process.
 *
 * A record appears whole or not at all: its data file is written and synced first, under a name of its
 * own, then the record beside it, which is renamed into place; the directory is synced last. So after
 * kill -9 or a power cut there is the record of before or of after, each with the bytes it names; a
 * data file that no record names is removed by the next start.
 *
 * While an upload is being published its record has another name: what became of it the next start has
 * to ask S3.
 *
 * Several file systems may share the directory: names begin with the scope, which says whose they are.
 */
import { createHash, randomUUID } from 'node:crypto';
import { renameSync, rmSync } from 'node:fs';
import { promises as fs } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { FsError, systemErrorCode } from '../errors.js';
import type { Key } from '../path.js';
import type { ByteRange } from '../store.js';
import type { TempPlace } from '../limits/temp-space.js';
import { bytesLocal, parseHeldRecord } from './held-record.js';
import type { HeldPiece, HeldRecord } from './held-record.js';

/** Bytes in memory while they are copied. */
const pieceSize = 1024 * 1024;

const recordEnding = '.json';
const publishingEnding = '.publishing';
const dataEnding = '.data';

/** What a start finds. */
export interface FoundRecord {
  readonly record: HeldRecord;
  /** it was being published when its process ended */
  readonly wasPublishing: boolean;
}

export class HeldFiles {
  readonly scope: string;
  readonly #place: TempPlace;

  /** @param place directory, made by `renew` */
  constructor(place: TempPlace, scope: string) {
    this.#place = place;
    this.scope = scope;
  }

  /**
   * Writes bytes and record down, in place of what was written down of the key before.
   * @param ranges the local bytes, ascending
   * @param read fills a buffer from an offset of the file
   * @throws Error (system error), or what `read` throws; what was there before still is
   */
  async save(
    facts: Omit<HeldRecord, 'version' | 'scope' | 'data' | 'pieces'>,
    ranges: readonly ByteRange[],
    read: (into: Uint8Array, offset: number) => Promise<number>,
    before: HeldRecord | undefined,
  ): Promise<HeldRecord> {
    this.#place.renew();
    const stem = this.#stemOf(facts.key);
    const data = `${stem}.${randomUUID()}${dataEnding}`;
    try {
      const pieces = await withFile(this.#at(data), 'wx', (file) =>
        writePieces(file, ranges, read),
      );
      const record: HeldRecord = { ...facts, version: 1, scope: this.scope, data, pieces };
      const draft = this.#at(`${data}.draft`);
      await withFile(draft, 'w', (file) => file.writeFile(JSON.stringify(record)));
      await fs.rename(draft, this.#at(stem + recordEnding));
      rmSync(this.#at(stem + publishingEnding), { force: true });
      await withFile(this.#place.path, 'r', () => Promise.resolve());
      if (before !== undefined) rmSync(this.#at(before.data), { force: true });
      return record;
    } catch (error) {
      for (const name of [data, `${data}.draft`]) rmSync(this.#at(name), { force: true });
      throw error;
    }
  }

  /**
   * Hands the local bytes out again, piece by piece.
   * @throws FsError EIO where they are not what was written down; Error (system error)
   */
  async load(
    record: HeldRecord,
    write: (offset: number, bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    if (record.pieces.length === 0) return;
    const file = await fs.open(this.#at(record.data), 'r');
    try {
      let at = 0;
      for (const { start, end, crc32: sum } of record.pieces) {
        const bytes = new Uint8Array(end - start);
        const { bytesRead } = await file.read(bytes, 0, bytes.length, at);
        if (bytesRead !== bytes.length || crc32(bytes) !== sum) {
          throw new FsError('EIO', `${this.#at(record.data)} is not as it was written`);
        }
        await write(start, bytes);
        at += bytes.length;
      }
    } finally {
      await file.close();
    }
  }

  /** Whether the data file is there, as long as it has to be. */
  async hasData(record: HeldRecord): Promise<boolean> {
    try {
      const { size } = await fs.stat(this.#at(record.data));
      return size === bytesLocal(record);
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return false;
      throw error;
    }
  }

  /** From now on nobody can say without S3 whether it is published. @throws Error (system error) */
  markPublishing({ key }: HeldRecord): void {
    const stem = this.#stemOf(key);
    this.#rename(stem + recordEnding, stem + publishingEnding);
  }

  /** It was not published. */
  unmarkPublishing({ key }: HeldRecord): void {
    const stem = this.#stemOf(key);
    this.#rename(stem + publishingEnding, stem + recordEnding);
  }

  /** Record and bytes go. */
  remove({ key, data }: HeldRecord): void {
    const stem = this.#stemOf(key);
    for (const name of [stem + recordEnding, stem + publishingEnding, data]) {
      rmSync(this.#at(name), { force: true });
    }
  }

  /** All that earlier processes wrote down in this scope; what is no record is removed. */
  async readAll(): Promise<FoundRecord[]> {
    const names = (await namesIn(this.#place.path)).filter((name) => name.startsWith(this.#prefix));
    const found: FoundRecord[] = [];
    for (const name of names) {
      const wasPublishing = name.endsWith(publishingEnding);
      if (!wasPublishing && !name.endsWith(recordEnding)) continue;
      const record = parseHeldRecord(await fs.readFile(this.#at(name), 'utf8'));
      const isOwn = record?.scope === this.scope && name.startsWith(this.#stemOf(record.key));
      if (isOwn) found.push({ record, wasPublishing });
      else rmSync(this.#at(name), { force: true });
    }
    const used = new Set(found.map(({ record }) => record.data));
    for (const name of names) {
      const isLeft = name.endsWith('.draft') || (name.endsWith(dataEnding) && !used.has(name));
      if (isLeft) rmSync(this.#at(name), { force: true });
    }
    return found;
  }

  /** Somebody may have cleaned the directory up: then the next start has nothing to ask about. */
  #rename(from: string, to: string): void {
    try {
      renameSync(this.#at(from), this.#at(to));
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error;
    }
  }

  get #prefix(): string {
    return `${hashOf(this.scope).slice(0, 16)}.`;
  }

  #stemOf(key: Key): string {
    return `${this.#prefix}${hashOf(key).slice(0, 32)}`;
  }

  #at(name: string): string {
    return join(this.#place.path, name);
  }
}

async function writePieces(
  file: FileHandle,
  ranges: readonly ByteRange[],
  read: (into: Uint8Array, offset: number) => Promise<number>,
): Promise<HeldPiece[]> {
  const pieces: HeldPiece[] = [];
  for (const range of ranges) {
    for (let start = range.start; start < range.end; start += pieceSize) {
      const end = Math.min(range.end, start + pieceSize);
      const bytes = new Uint8Array(end - start);
      pieces.push({ start, end, crc32: await read(bytes, start) });
      await file.writeFile(bytes);
    }
  }
  return pieces;
}

/** Opens, works, syncs and closes. */
async function withFile<T>(
  path: string,
  flags: string,
  work: (file: FileHandle) => Promise<T>,
): Promise<T> {
  const file = await fs.open(path, flags, 0o600);
  try {
    const result = await work(file);
    await file.sync();
    return result;
  } finally {
    await file.close();
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await fs.readdir(directory);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
