/**
 * The operations as a driver calls them: counted, timed, and answered in bounded time.
 *
 * What asks S3 a question or makes a small change is answered EIO at its deadline, whatever S3 does:
 * its signal is aborted, so that it stops waiting for others and for S3; what it still brings is
 * given back. What moves file content (flush, fsync, write, truncate, rename, a whole listing) takes
 * as long as the content does and ends by the time limits of its requests alone.
 */
import { FsError, toFsError } from '../errors.js';
import type { Log } from '../log.js';
import type { Metrics } from './metrics.js';
import type {
  Attributes,
  Change,
  DirectoryEntry,
  FileSystemStats,
  FileTime,
  HandleId,
  Lend,
  OpenFlags,
  Operations,
  RenameFlags,
  RequestContext,
} from '../operations.js';
import type { Path } from '../path.js';

export interface ObservationSettings {
  readonly metrics: Pick<Metrics, 'operation'>;
  readonly deadlineMs: number;
  readonly log: Log;
}

export class ObservedOperations implements Operations {
  readonly #inner: Operations;
  readonly #settings: ObservationSettings;

  constructor(inner: Operations, settings: ObservationSettings) {
    this.#inner = inner;
    this.#settings = settings;
  }

  getattr(path: Path, context: RequestContext, handle?: HandleId): Promise<Attributes> {
    return this.#limited('getattr', path, context, (limited) =>
      this.#inner.getattr(path, limited, handle),
    );
  }

  opendir(path: Path, context: RequestContext): Promise<HandleId> {
    return this.#timed('opendir', () => this.#inner.opendir(path, context));
  }

  readdir(handle: HandleId, offset: number, count: number): Promise<readonly DirectoryEntry[]> {
    return this.#inner.readdir(handle, offset, count);
  }

  releasedir(handle: HandleId): void {
    this.#inner.releasedir(handle);
  }

  open(path: Path, flags: OpenFlags, context: RequestContext): Promise<HandleId> {
    return this.#opening('open', path, context, (limited) =>
      this.#inner.open(path, flags, limited),
    );
  }

  create(path: Path, flags: OpenFlags, context: RequestContext): Promise<HandleId> {
    return this.#opening('create', path, context, (limited) =>
      this.#inner.create(path, flags, limited),
    );
  }

  read(
    handle: HandleId,
    offset: number,
    length: number,
    context: RequestContext,
  ): Promise<readonly Uint8Array[]> {
    return this.#limited('read', undefined, context, (limited) =>
      this.#inner.read(handle, offset, length, limited),
    );
  }

  write(
    handle: HandleId,
    data: Uint8Array,
    offset: number,
    context: RequestContext,
  ): Promise<void> {
    return this.#timed('write', () => this.#inner.write(handle, data, offset, context));
  }

  flush(handle: HandleId, context: RequestContext): Promise<void> {
    return this.#timed('flush', () => this.#inner.flush(handle, context));
  }

  fsync(handle: HandleId, context: RequestContext): Promise<void> {
    return this.#timed('fsync', () => this.#inner.fsync(handle, context));
  }

  release(handle: HandleId): Promise<void> {
    return this.#timed('release', () => this.#inner.release(handle));
  }

  truncate(path: Path, size: number, context: RequestContext, handle?: HandleId): Promise<void> {
    return this.#timed('truncate', () => this.#inner.truncate(path, size, context, handle));
  }

  unlink(path: Path, context: RequestContext): Promise<void> {
    return this.#limited('unlink', path, context, (limited) => this.#inner.unlink(path, limited));
  }

  rename(from: Path, to: Path, context: RequestContext, flags: RenameFlags): Promise<void> {
    return this.#timed('rename', () => this.#inner.rename(from, to, context, flags));
  }

  mkdir(path: Path, context: RequestContext): Promise<void> {
    return this.#limited('mkdir', path, context, (limited) => this.#inner.mkdir(path, limited));
  }

  rmdir(path: Path, context: RequestContext): Promise<void> {
    return this.#limited('rmdir', path, context, (limited) => this.#inner.rmdir(path, limited));
  }

  symlink(target: string, path: Path, context: RequestContext): Promise<never> {
    return this.#timed('symlink', () => this.#inner.symlink(target, path, context));
  }

  link(from: Path, to: Path, context: RequestContext): Promise<never> {
    return this.#timed('link', () => this.#inner.link(from, to, context));
  }

  mknod(path: Path, context: RequestContext): Promise<never> {
    return this.#timed('mknod', () => this.#inner.mknod(path, context));
  }

  chmod(path: Path, mode: number, context: RequestContext): Promise<void> {
    return this.#limited('chmod', path, context, (limited) =>
      this.#inner.chmod(path, mode, limited),
    );
  }

  chown(path: Path, uid: number, gid: number, context: RequestContext): Promise<void> {
    return this.#limited('chown', path, context, (limited) =>
      this.#inner.chown(path, uid, gid, limited),
    );
  }

  utimens(path: Path, atime: FileTime, mtime: FileTime, context: RequestContext): Promise<void> {
    return this.#timed('utimens', () => this.#inner.utimens(path, atime, mtime, context));
  }

  statfs(): FileSystemStats {
    return this.#inner.statfs();
  }

  onChange(listener: (change: Change) => void): void {
    this.#inner.onChange(listener);
  }

  async #timed<T>(operation: string, work: () => Promise<T>): Promise<T> {
    const { metrics } = this.#settings;
    const startMs = performance.now();
    try {
      const answer = await work();
      metrics.operation(operation, 'ok', (performance.now() - startMs) / 1000);
      return answer;
    } catch (error) {
      const seconds = (performance.now() - startMs) / 1000;
      metrics.operation(operation, toFsError(error).code, seconds);
      throw error;
    }
  }

  #limited<T>(
    operation: string,
    path: Path | undefined,
    context: RequestContext,
    work: (context: RequestContext) => Promise<T>,
    undo?: (answer: T) => void,
  ): Promise<T> {
    const { deadlineMs, log } = this.#settings;
    return this.#timed(operation, async () => {
      const limited = new LimitedContext(context);
      try {
        return await limited.within(deadlineMs, work(limited), undo);
      } catch (error) {
        if (limited.isOver) log.warn({ operation, path, deadlineMs }, `${operation} took too long`);
        throw error;
      }
    });
  }

  #opening(
    operation: string,
    path: Path,
    context: RequestContext,
    work: (context: RequestContext) => Promise<HandleId>,
  ): Promise<HandleId> {
    return this.#limited(operation, path, context, work, (handle) => {
      void this.#inner.release(handle);
    });
  }
}

/** A context whose signal aborts at the deadline too. The signal is made only if somebody asks. */
class LimitedContext implements RequestContext {
  readonly #context: RequestContext;
  #controller: AbortController | undefined;
  #isOver = false;

  constructor(context: RequestContext) {
    this.#context = context;
  }

  get caller(): NonNullable<RequestContext['caller']> {
    return this.#context.caller ?? {};
  }

  get lend(): Lend | undefined {
    return this.#context.lend;
  }

  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal;
    const controller = new AbortController();
    this.#controller = controller;
    const outer = this.#context.signal;
    if (this.#isOver || outer?.aborted === true) controller.abort();
    else outer?.addEventListener('abort', () => controller.abort(), { once: true });
    return controller.signal;
  }

  /** Whether the deadline has passed. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * The answer of `work`, or EIO at the deadline.
   * @param undo takes back an answer that came later
   */
  async within<T>(
    deadlineMs: number,
    work: Promise<T>,
    undo: (answer: T) => void = () => undefined,
  ): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#isOver = true;
        this.#controller?.abort();
        const seconds = deadlineMs / 1000;
        reject(new FsError('EIO', `no answer from S3 in ${seconds} seconds (twice --timeout)`));
      }, deadlineMs);
    });
    try {
      return await Promise.race([work, over]);
    } catch (error) {
      // A late failure was logged by the core where it arose; nobody waits for it here.
      if (this.#isOver) void work.then(undo, () => undefined);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}
