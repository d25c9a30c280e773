/**
 * The operations of a mount as fuse-native calls them: callbacks in, Operations out.
 *
 * Every failure is answered with the errno the core chose. ENOSYS is let through only where the
 * kernel passes it on: from flush, open, fsync and others it would mean "never ask again", and every
 * later upload would be lost while close(2) says it succeeded. What is left out on purpose: access
 * (the file system alone decides), the extended attributes (once there, the kernel asks for
 * security.capability before every write) and fsyncdir.
 *
 * Buffers of read and write are libfuse's own memory and are gone with the reply.
 */
import { constants } from 'node:fs';
import { systemClock } from '../../clock.js';
import { FsError, StoreError, errnoNumber, systemErrorCode, toFsError } from '../../errors.js';
import { timeOfMs } from '../../file-time.js';
import type { Log } from '../../log.js';
import type { DirectoryEntry, FileTime, OpenFlags, Operations } from '../../operations.js';
import type { Path } from '../../path.js';
import { isPresent } from './times.js';
import type { NativeOperations, NativeCallback } from './binding.js';
import {
  listedDirectory,
  listedFile,
  nativeStat,
  nativeStatfs,
  openFlags,
  type NativeStat,
} from './structs.js';
import { NativeNames, isHiddenEntry, parseName, visibleName } from './names.js';
import { OpenDirectories } from './open-directories.js';
import { OpenFiles } from './open-files.js';

/** Operations whose ENOSYS reaches the caller each time and is remembered by nobody. */
const mayBeUnsupported: ReadonlySet<string> = new Set(['symlink', 'link', 'mknod', 'rename']);
/** The binding copies a listed name into 1,024 bytes, the last one a NUL. */
const maxListedNameBytes = 1023;
/** The binding knows nothing about the caller. */
const unknown = {};

export function nativeOperations(operations: Operations, log: Log): NativeOperations {
  return new NativeHandlers(operations, log).operations;
}

class NativeHandlers {
  readonly #core: Operations;
  readonly #log: Log;
  readonly #files = new OpenFiles();
  readonly #directories: OpenDirectories;
  readonly #names: NativeNames;

  constructor(core: Operations, log: Log) {
    this.#core = core;
    this.#log = log;
    this.#directories = new OpenDirectories(core);
    const [files, directories] = [this.#files, this.#directories];
    this.#names = new NativeNames({ core, log, files, directories });
  }

  get operations(): NativeOperations {
    return { ...this.#attributes(), ...this.#listings(), ...this.#contents(), ...this.#naming() };
  }

  #attributes() {
    return {
      getattr: (path, reply) =>
        this.#serve('getattr', reply, async () => [0, await this.#getattr(parseName(path))]),
      fgetattr: (path, handle, reply) =>
        this.#serve('fgetattr', reply, async () => {
          const name = this.#files.coreName(handle) ?? visibleName(path);
          return [0, nativeStat(await this.#core.getattr(name, unknown, handle))];
        }),
      chmod: (path, mode, reply) =>
        this.#change('chmod', path, reply, (name) => this.#core.chmod(name, mode, unknown)),
      chown: (path, uid, gid, reply) =>
        this.#change('chown', path, reply, (name) => this.#core.chown(name, uid, gid, unknown)),
      utimens: (path, atimeMs, _sameAtime, reply) =>
        this.#change('utimens', path, reply, (name) => {
          const isNow = isPresent(atimeMs, systemClock.dateMs());
          const mtime: FileTime = isNow ? 'now' : 'unknown';
          return this.#core.utimens(name, isNow ? 'now' : timeOfMs(atimeMs), mtime, unknown);
        }),
      truncate: (path, size, reply) =>
        this.#serve('truncate', reply, async () => {
          await this.#core.truncate(await this.#names.settled(path), size, unknown);
          return [0];
        }),
      ftruncate: (path, handle, size, reply) =>
        this.#serve('ftruncate', reply, async () => {
          const name = this.#files.coreName(handle) ?? visibleName(path);
          await this.#core.truncate(name, size, unknown, handle);
          return [0];
        }),
      statfs: (_path, reply) =>
        this.#serve('statfs', reply, () => Promise.resolve([0, nativeStatfs(this.#core.statfs())])),
    } satisfies Partial<NativeOperations>;
  }

  #listings() {
    return {
      opendir: (path, _flags, reply) =>
        this.#serve('opendir', reply, async () => [
          0,
          await this.#directories.open(await this.#names.settled(path)),
        ]),
      readdir: (path, reply) =>
        this.#serve('readdir', reply, async () => {
          const entries = await this.#directories.read(await this.#names.settled(path));
          return [0, ...this.#listing(entries)];
        }),
      releasedir: (_path, handle, reply) =>
        this.#serve('releasedir', reply, () => {
          this.#directories.release(handle);
          return Promise.resolve([0]);
        }),
      mkdir: (path, _mode, reply) =>
        this.#serve('mkdir', reply, async () => {
          await this.#core.mkdir(await this.#names.settled(path, 'EPERM'), unknown);
          return [0];
        }),
      rmdir: (path, reply) =>
        this.#serve('rmdir', reply, async () => {
          const name = await this.#names.settled(path);
          this.#names.refuseOpenBelow(name);
          await this.#core.rmdir(name, unknown);
          return [0];
        }),
    } satisfies Partial<NativeOperations>;
  }

  #contents() {
    return {
      open: (path, flags, reply) =>
        this.#serve('open', reply, async () => {
          const name = await this.#names.settled(path);
          const handle = await this.#core.open(name, openFlags(flags), unknown);
          this.#files.add(handle, name, (flags & constants.O_DSYNC) !== 0);
          return [0, handle];
        }),
      create: (path, _mode, reply) =>
        this.#serve('create', reply, async () => {
          const name = await this.#names.settled(path, 'EPERM');
          // The flags of open(2) are not handed over here.
          const flags: OpenFlags = { access: 'readwrite', exclusive: undefined };
          const handle = await this.#core.create(name, flags, unknown);
          this.#files.add(handle, name);
          return [0, handle];
        }),
      read: (_path, handle, buffer, length, offset, reply) =>
        this.#serve('read', reply, async () => {
          const pieces = await this.#core.read(handle, offset, length, unknown);
          let filled = 0;
          for (const piece of pieces) {
            buffer.set(piece, filled);
            filled += piece.length;
          }
          return [filled];
        }),
      write: (_path, handle, buffer, length, offset, reply) =>
        this.#serve('write', reply, async () => {
          await this.#core.write(handle, buffer, offset, unknown);
          if (this.#files.isSynchronous(handle)) await this.#core.fsync(handle, unknown);
          return [length];
        }),
      flush: (_path, handle, reply) =>
        this.#serve('flush', reply, async () => {
          await this.#names.removalOf(handle);
          await this.#core.flush(handle, unknown);
          return [0];
        }),
      fsync: (_path, _isDataOnly, handle, reply) =>
        this.#serve('fsync', reply, async () => {
          await this.#names.removalOf(handle);
          await this.#core.fsync(handle, unknown);
          return [0];
        }),
      release: (_path, handle, reply) =>
        this.#serve('release', reply, async () => {
          await this.#names.removalOf(handle);
          this.#files.delete(handle);
          await this.#core.release(handle);
          return [0];
        }),
    } satisfies Partial<NativeOperations>;
  }

  #naming() {
    return {
      unlink: (path, reply) =>
        this.#serve('unlink', reply, async () => {
          await this.#names.unlink(parseName(path));
          return [0];
        }),
      rename: (from, to, reply) =>
        this.#serve('rename', reply, async () => {
          await this.#names.rename(parseName(from), parseName(to));
          return [0];
        }),
      symlink: (target, path, reply) =>
        this.#serve('symlink', reply, () => this.#core.symlink(target, visibleName(path), unknown)),
      link: (from, to, reply) =>
        this.#serve('link', reply, () =>
          this.#core.link(visibleName(from), visibleName(to), unknown),
        ),
      mknod: (path, _mode, _device, reply) =>
        this.#serve('mknod', reply, () => this.#core.mknod(visibleName(path), unknown)),
    } satisfies Partial<NativeOperations>;
  }

  async #getattr(path: Path): Promise<NativeStat> {
    const removed = this.#files.removedName(path);
    const handle = removed === undefined ? undefined : this.#files.handleAt(path);
    if (removed !== undefined && handle !== undefined) {
      return nativeStat(await this.#core.getattr(removed, unknown, handle));
    }
    return nativeStat(await this.#core.getattr(await this.#names.settled(path), unknown));
  }

  /** Names and types; `.` and `..` are the file system's to list with libfuse 2. */
  #listing(entries: readonly DirectoryEntry[]): [names: string[], stats: NativeStat[]] {
    const names = ['.', '..'];
    const stats = [listedDirectory, listedDirectory];
    for (const { name, attributes } of entries) {
      if (Buffer.byteLength(name) > maxListedNameBytes) {
        this.#log.warn({ name }, 'a name is too long for this driver and is not listed');
        continue;
      }
      if (isHiddenEntry(name)) continue;
      names.push(name);
      stats.push(attributes.kind === 'directory' ? listedDirectory : listedFile);
    }
    return [names, stats];
  }

  /** A change of attributes; that of a removed file succeeds and changes nothing. */
  #change(
    operation: string,
    path: string,
    reply: NativeCallback,
    work: (name: Path) => Promise<void>,
  ): void {
    this.#serve(operation, reply, async () => {
      if (this.#files.removedName(parseName(path)) === undefined) {
        await work(await this.#names.settled(path));
      }
      return [0];
    });
  }

  /** Runs one request and answers it, whatever happens. */
  #serve<Result extends unknown[]>(
    operation: string,
    reply: NativeCallback<Result>,
    work: () => Promise<[code: number, ...result: Result]>,
  ): void {
    const answer = async (): Promise<void> => {
      let code: number;
      let result: Result | [];
      try {
        [code, ...result] = await work();
      } catch (error) {
        [code, result] = [-this.#errnoOf(operation, error), []];
      }
      reply(code, ...result);
    };
    void answer();
  }

  #errnoOf(operation: string, error: unknown): number {
    const failure = toFsError(error);
    const isForeseen = error instanceof FsError || error instanceof StoreError;
    if (!isForeseen && systemErrorCode(error) === undefined) {
      const stack = error instanceof Error ? error.stack : undefined;
      this.#log.error({ operation, stack, cause: failure.message }, `${operation} failed by a bug`);
    }
    if (failure.code === 'ENOSYS' && !mayBeUnsupported.has(operation)) {
      this.#log.error({ operation, cause: failure.message }, 'ENOSYS is answered as EIO');
      return errnoNumber('EIO');
    }
    return failure.errno;
  }
}
