/**
 * read(2): from the version that the handle fixed, or from the file being written; and what a read
 * tells the prefetch of the files that follow.
 */
import { FsError, toFsError } from '../errors.js';
import type { RequestContext } from '../operations.js';
import { pathOfKey } from '../path.js';
import type { Path } from '../path.js';
import type { Reader } from '../read/reader.js';
import type { ObjectInfo } from '../store.js';
import { FilePrefetch } from './file-prefetch.js';
import type { OpenFile } from './handles.js';
import type { FilesystemParts } from './parts.js';

interface Range {
  readonly offset: number;
  readonly length: number;
}

export class Reading {
  readonly #parts: FilesystemParts;
  readonly #prefetch: FilePrefetch;

  constructor(parts: FilesystemParts) {
    this.#parts = parts;
    const { reading, store, tree } = parts;
    this.#prefetch = new FilePrefetch({
      ...reading,
      store,
      listed: (path) => tree.listed(path),
      stored: (path) => this.#storedAt(path),
    });
  }

  async read(
    open: OpenFile,
    range: Range,
    context: RequestContext,
  ): Promise<readonly Uint8Array[]> {
    try {
      const pieces = await this.#bytesOf(open, range, context);
      for (const piece of pieces) open.use.bytesRead += piece.length;
      return pieces;
    } catch (error) {
      open.use.readFailure = toFsError(error);
      throw error;
    }
  }

  /** As read, of what is in memory. */
  readNow(
    open: OpenFile,
    { offset, length }: Range,
    { lend }: RequestContext,
  ): readonly Uint8Array[] | undefined {
    // The first read of a file tells the prefetch too.
    if (open.kind !== 'reader' || offset === 0) return undefined;
    const pieces = open.reader.readNow(offset, length, lend);
    for (const piece of pieces ?? []) open.use.bytesRead += piece.length;
    return pieces;
  }

  async #bytesOf(
    open: OpenFile,
    range: Range,
    context: RequestContext,
  ): Promise<readonly Uint8Array[]> {
    if (open.kind === 'reader') return await this.#readStored(open.reader, range, context);
    if (open.flags.access === 'write') throw new FsError('EBADF', 'not open for reading');
    return await open.file.read(range.offset, range.length, context.signal);
  }

  async #readStored(
    reader: Reader,
    { offset, length }: Range,
    context: RequestContext,
  ): Promise<readonly Uint8Array[]> {
    const path = pathOfKey(reader.info.key);
    try {
      const reading = reader.read(offset, length, context);
      if (offset === 0) this.#prefetch.note(path, reader.info);
      return await reading;
    } catch (error) {
      // The kernel has cached what came before the last read found out.
      if (reader.isWrong) this.#parts.onChange({ path, what: 'entry' });
      throw error;
    }
  }

  /** What would be read at `path`, as far as that is known and lies in S3, ready to be read. */
  #storedAt(path: Path): ObjectInfo | undefined {
    const { staged, tree } = this.#parts;
    if (staged.at(path) !== undefined || staged.isHidden(path)) return undefined;
    const entry = tree.peek(path)?.entry;
    return entry?.kind === 'file' && entry.info.archived !== true ? entry.info : undefined;
  }
}
