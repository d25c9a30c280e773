/**
 * What a mount is told when it starts, and what it tells of itself while it runs.
 */
import { FsError } from '../errors.js';
import type { AttributeSettings } from './attributes.js';
import type { TempPlace } from '../limits/temp-space.js';

export interface FilesystemSettings extends AttributeSettings {
  readonly readOnly: boolean;
  readonly utimens: 'refuse' | 'ignore' | 'store';
  /** what becomes of an upload whose process died before close(2) */
  readonly interrupted: 'discard' | 'keep' | 'resume';
  /** how they are held, with `resume` */
  readonly held?: HoldSettings | undefined;
  readonly renameDir: 'refuse' | 'recursive';
  /** this mount, among all that use the bucket, also after a restart */
  readonly mountId: string;
  readonly metadataTtlMs: number;
  /** bytes of one listing in memory; longer ones go to the temp directory */
  readonly longestListing?: number;
  /** store a content type by file name extension */
  readonly contentType: boolean;
  /** bytes */
  readonly partSize: number;
  /** for endpoints that want all parts of an upload but the last of one size */
  readonly equalParts?: boolean;
  /** smallest part but the last; S3's 5 MiB if absent */
  readonly minPart?: number;
  readonly uploadConcurrency: number;
  readonly downloadConcurrency: number;
  /** bytes of file content in memory, half for writing and half for reading */
  readonly memoryLimit: number;
  readonly tempDir: string | TempPlace;
  /** bytes */
  readonly tempLimit: number;
  /** how long one operation may wait, as for room in the temp directory */
  readonly timeoutMs: number;
}

export interface HoldSettings {
  /** a directory that outlives the process; others may hold theirs in it */
  readonly place: TempPlace;
  /** which endpoint the keys are of */
  readonly scope: string;
  /** how long, without anybody who goes on */
  readonly forMs: number;
}

/** @throws FsError EROFS */
export function refuseReadOnly({ readOnly }: FilesystemSettings): void {
  if (readOnly) throw new FsError('EROFS', 'the mount is read-only');
}

/** A file that is not stored yet. */
export interface OpenUpload {
  readonly path: string;
  /** bytes */
  readonly size: number;
  /** bytes that S3 has in parts already */
  readonly sent: number;
}

/** An upload that was interrupted and is held. */
export interface HeldUpload {
  readonly path: string;
  /** bytes that S3 has in parts, and those on the local disk */
  readonly inParts: number;
  readonly local: number;
  /** when it was interrupted, ISO 8601 */
  readonly since: string;
  /** when it is given up, unless somebody goes on with it */
  readonly until: string;
}

export interface FilesystemStatus {
  readonly handles: number;
  readonly uploads: readonly OpenUpload[];
  readonly held: readonly HeldUpload[];
  readonly tempBytes: number;
  readonly tempPeak: number;
  /** bytes of file content in memory on their way to S3 */
  readonly uploadMemory: number;
  /** bytes of file content in memory on their way from S3, and the most there ever were */
  readonly downloadMemory: number;
  readonly downloadMemoryPeak: number;
  readonly cachedEntries: number;
  /** lookups and listings answered without asking S3 */
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly oddKeys: number;
}
