/** What a case of the POSIX suite is, and what several of them need. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { open, type FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';

/** One behaviour, shown in an empty directory; rejects where it is missing. */
export type PosixCase = (directory: string) => Promise<void>;

/** Cases by what they show. */
export type PosixCases = Readonly<Record<string, PosixCase>>;

export async function withFile<T>(
  path: string,
  flags: string | number,
  work: (file: FileHandle) => Promise<T>,
): Promise<void> {
  const file = await open(path, flags);
  try {
    await work(file);
  } finally {
    await file.close();
  }
}

export async function fails(act: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(act, { code });
}

/** @throws Error with what the command said, where it fails */
export async function shell(command: string, cwd: string): Promise<string> {
  const env = { ...process.env, LC_ALL: 'C' };
  const { stdout } = await promisify(execFile)('sh', ['-ec', command], { cwd, env });
  return stdout;
}

/** Not by deepEqual: its message would be the bytes. */
export function assertSame(actual: Buffer, expected: Buffer): void {
  assert.equal(actual.length, expected.length, 'length');
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  assert.equal(at, -1, `bytes differ from offset ${at} on`);
}

/** What a file should hold. */
export class Model {
  #bytes = Buffer.alloc(0);

  get bytes(): Buffer {
    return this.#bytes;
  }

  get size(): number {
    return this.#bytes.length;
  }

  write(bytes: Buffer, offset: number): void {
    const size = Math.max(this.size, offset + bytes.length);
    this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(size - this.size)]);
    bytes.copy(this.#bytes, offset);
  }
}
