/**
 * The audit trail as the core writes it: one event for each file that was stored, read, renamed,
 * deleted, or dropped because its client vanished, for each directory that was made or removed, and for
 * each open that was refused.
 */
import type { FsError } from '../errors.js';
import type { Caller } from '../operations.js';
import type { Path } from '../path.js';

export interface AuditEvent {
  readonly action: 'store' | 'read' | 'rename' | 'delete' | 'discard' | 'mkdir' | 'rmdir' | 'open';
  readonly path: Path;
  /** new name of what was renamed */
  readonly to?: Path;
  /** of the file stored, or handed out to its reader */
  readonly bytes?: number;
  /** more of it may have been read than `bytes`, from what the kernel kept of that version */
  readonly cached?: true | undefined;
  /** since the file was opened; of the operation itself where nothing was */
  readonly durationMs: number;
  /** who opened the file or asked; absent where nobody did, or the driver does not know */
  readonly caller?: Caller | undefined;
  /** why it did not happen */
  readonly failure?: FsError | undefined;
}

export interface AuditTrail {
  /** Somebody asks for something that may become an event, perhaps once they are gone. */
  seen(caller: Caller | undefined): void;
  record(event: AuditEvent): void;
}

export const noAudit: AuditTrail = { seen: () => undefined, record: () => undefined };
