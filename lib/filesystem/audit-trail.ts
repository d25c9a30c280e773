/**
 * What the audit trail hears of files: one event for each that was stored, read, dropped, or changed
 * by name, with who did it, how long it took and why it failed.
 */
import type { AuditEvent, AuditTrail } from './audit.js';
import type { Clock } from '../clock.js';
import { isFsError, toFsError, type Errno } from '../errors.js';
import { pathOf } from './handles.js';
import type { OpenFile, Use } from './handles.js';
import type { Caller } from '../operations.js';
import type { Path } from '../path.js';
import type { StagedFile } from '../write/staged-file.js';

/** Opens that found nothing to open, or that nobody waited for. */
const notRefused: readonly Errno[] = ['ENOENT', 'EISDIR', 'EINTR'];

export class FileAudit {
  readonly #trail: AuditTrail;
  readonly #clock: Clock;
  /** files whose failure the trail has: they answer the same to every later call, and are one event */
  readonly #failed = new WeakSet<StagedFile>();

  constructor(trail: AuditTrail, clock: Clock) {
    this.#trail = trail;
    this.#clock = clock;
  }

  /** Runs what `event` tells of. */
  async around(
    event: Omit<AuditEvent, 'durationMs' | 'failure'>,
    work: () => Promise<void>,
  ): Promise<void> {
    const startMs = this.#clock.nowMs();
    this.#trail.seen(event.caller);
    try {
      await work();
      this.#trail.record({ ...event, durationMs: this.#clock.nowMs() - startMs });
    } catch (error) {
      const failure = toFsError(error);
      this.#trail.record({ ...event, durationMs: this.#clock.nowMs() - startMs, failure });
      throw error;
    }
  }

  /** @see AuditTrail.seen */
  seen(caller: Caller | undefined): void {
    this.#trail.seen(caller);
  }

  /** Runs an open(2) of `path`, which is an event of its own where it is refused. */
  async opening<T>(path: Path, caller: Caller | undefined, work: () => Promise<T>): Promise<T> {
    const startMs = this.#clock.nowMs();
    this.#trail.seen(caller);
    try {
      return await work();
    } catch (error) {
      const failure = toFsError(error);
      if (!isFsError(failure, ...notRefused)) {
        const durationMs = this.#clock.nowMs() - startMs;
        this.#trail.record({ action: 'open', path, durationMs, caller, failure });
      }
      throw error;
    }
  }

  /** Stores `file`. @returns whether there was anything to store @throws as StagedFile.commit */
  async commit(file: StagedFile, use: Use, signal?: AbortSignal): Promise<boolean> {
    const { path, size } = file;
    const event = { action: 'store', path, caller: use.caller } as const;
    try {
      const info = await file.commit(signal);
      if (info === undefined) return false;
      this.#trail.record({
        ...event,
        bytes: info.size,
        durationMs: this.#clock.nowMs() - use.sinceMs,
      });
      use.sinceMs = this.#clock.nowMs();
      return true;
    } catch (error) {
      if (!this.#failed.has(file)) {
        this.#failed.add(file);
        const durationMs = this.#clock.nowMs() - use.sinceMs;
        this.#trail.record({ ...event, bytes: size, durationMs, failure: toFsError(error) });
      }
      throw error;
    }
  }

  /** Drops `file`, whose client vanished. */
  async discard(file: StagedFile, { caller, sinceMs }: Use): Promise<void> {
    const { path, size: bytes } = file;
    await file.hold(() => file.discard());
    const durationMs = this.#clock.nowMs() - sinceMs;
    this.#trail.record({ action: 'discard', path, bytes, durationMs, caller });
  }

  /** The last close(2) of a handle, which may have read. */
  closed(open: OpenFile): void {
    const { caller, sinceMs, bytesRead: bytes, readFailure: failure, mayBeCached } = open.use;
    if (open.kind === 'staged' && bytes === 0 && failure === undefined) return;
    const durationMs = this.#clock.nowMs() - sinceMs;
    const isCounted = open.kind === 'staged' || bytes >= open.reader.info.size;
    const cached = mayBeCached === true && !isCounted ? true : undefined;
    const path = pathOf(open);
    this.#trail.record({ action: 'read', path, bytes, cached, durationMs, caller, failure });
  }
}
