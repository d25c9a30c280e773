/**
 * A file of records that only grows, one line each, and that survives kill -9 at any instant.
 *
 * A line is the CRC32 of a JSON text, a space, the text. `append` resolves once the record is in
 * the file (and, with `fsync`, on the disk); records asked for meanwhile share the next write. A
 * last line torn by a crash was never acknowledged and is cut off at the next start; a broken
 * line before a whole one means damage, and loading refuses. Loading also hands out a
 * way to write the file anew: temporary file, fsync, rename.
 */
import { open, readFile, rename, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { systemErrorCode } from '../../errors.js';

interface Waiting {
  readonly line: string;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

export class Journal {
  readonly #file: FileHandle;
  readonly #fsync: boolean;
  /** Bytes of the file that are whole, acknowledged lines. */
  #length: number;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #broken: unknown;

  private constructor(file: FileHandle, length: number, fsync: boolean) {
    this.#file = file;
    this.#length = length;
    this.#fsync = fsync;
  }

  /**
   * Opens the journal for appending, replacing its content by `records`.
   * @throws Error (system error)
   */
  static async rewrite(path: string, records: Iterable<unknown>, fsync: boolean): Promise<Journal> {
    const temporary = `${path}.new`;
    const file = await open(temporary, 'w', 0o600);
    try {
      const length = await writeAll(file, records);
      if (fsync) await file.sync();
      await rename(temporary, path);
      if (fsync) await syncDirectory(dirname(path));
      return new Journal(file, length, fsync);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Adds a record; once this resolves, the next start will see it. */
  append(value: unknown): Promise<void> {
    if (this.#broken !== undefined) return Promise.reject(this.#failure());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ line: encodeLine(value), resolve, reject });
      this.#writing ??= this.#drain();
    });
  }

  /** Waits for what was appended, then closes the file. */
  async close(): Promise<void> {
    await this.#writing;
    await this.#file.close();
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#write(batch.map((entry) => entry.line).join(''));
        for (const entry of batch) entry.resolve();
      } catch (error) {
        for (const entry of batch) entry.reject(error);
      }
    }
    this.#writing = undefined;
  }

  async #write(text: string): Promise<void> {
    if (this.#broken !== undefined) throw this.#failure();
    const bytes = Buffer.from(text);
    try {
      await writeFully(this.#file, bytes, this.#length);
      if (this.#fsync) await this.#file.datasync();
      this.#length += bytes.length;
    } catch (error) {
      // What was half written must not stand before the next record.
      await this.#file.truncate(this.#length).catch((reason: unknown) => {
        this.#broken = reason;
      });
      throw error;
    }
  }

  #failure(): Error {
    return new Error('the journal cannot be written any more', { cause: this.#broken });
  }
}

async function writeFully(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

async function writeAll(file: FileHandle, records: Iterable<unknown>): Promise<number> {
  let position = 0;
  let lines: string[] = [];
  const flush = async (): Promise<void> => {
    const bytes = Buffer.from(lines.join(''));
    lines = [];
    await writeFully(file, bytes, position);
    position += bytes.length;
  };
  for (const value of records) {
    lines.push(encodeLine(value));
    if (lines.length >= 1000) await flush();
  }
  await flush();
  return position;
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function encodeLine(value: unknown): string {
  const text = JSON.stringify(value);
  return `${crc32(text).toString(16).padStart(8, '0')} ${text}\n`;
}

/**
 * The records of a journal, in order; none if there is no file.
 * @throws Error if a line is damaged that is not the torn end of the file
 */
export async function readJournal(path: string): Promise<unknown[]> {
  const bytes = await readFile(path).catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return Buffer.alloc(0);
    throw error;
  });
  const records: unknown[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(10, start);
    const text = end === -1 ? undefined : checkedLine(bytes, start, end);
    if (text === undefined) {
      if (hasWholeLineAfter(bytes, end)) {
        throw new Error(`${path} is damaged at byte ${start}`);
      }
      break;
    }
    records.push(JSON.parse(text));
    start = end + 1;
  }
  return records;
}

function checkedLine(bytes: Buffer, start: number, end: number): string | undefined {
  const sum = Number.parseInt(bytes.toString('latin1', start, start + 8), 16);
  const body = bytes.subarray(start + 9, end);
  return crc32(body) === sum ? body.toString() : undefined;
}

function hasWholeLineAfter(bytes: Buffer, end: number): boolean {
  for (let start = end + 1; end !== -1 && start < bytes.length; start = end + 1) {
    end = bytes.indexOf(10, start);
    if (end !== -1 && checkedLine(bytes, start, end) !== undefined) return true;
  }
  return false;
}
