/**
 * What a runtime record says, and reading it: the file may be anything that its user has put there.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { systemErrorCode } from '../errors.js';
import type { ProcessIdentity } from './process-identity.js';
import type { UserIds } from './run-as.js';

const phases = ['mounting', 'mounted', 'draining', 'ended'] as const;

export interface RuntimeState extends ProcessIdentity {
  readonly mountPoint: string;
  /** `s3://bucket/prefix/` */
  readonly source: string;
  readonly phase: (typeof phases)[number];
  /** the latest word about draining, for people */
  readonly progress?: string;
  /** 0 to 1: how much of it is done */
  readonly share?: number;
  /** paths that could not be stored, once ended */
  readonly notStored?: readonly string[];
  /** in a record of root's: whose process it is, which tells the rest in a record of its own */
  readonly handedTo?: UserIds;
}

/** A record with more is none. */
const bytesMax = 1024 * 1024;

/** As many of the paths as a record holds; the log has all. */
export function fittingList(paths: readonly string[]): readonly string[] {
  let left = bytesMax / 2;
  const fitting = paths.filter((path) => (left -= Buffer.byteLength(JSON.stringify(path))) > 0);
  const more = paths.length - fitting.length;
  return more === 0 ? fitting : [...fitting, `and ${more} more, which the log names`];
}

/**
 * A record as it stands on disk; undefined where there is none or it is not one. No link is followed and
 * no pipe waited for.
 * @param uid whose file it has to be
 */
export function readState(path: string, uid?: number): RuntimeState | undefined {
  try {
    const found: unknown = JSON.parse(readBounded(path, uid) ?? 'null');
    return isState(found) ? found : undefined;
  } catch (error) {
    // ENOENT: no record. EACCES: another user's. The rest: something else of that name.
    const isExpected = ['ENOENT', 'EACCES', 'ELOOP', 'EISDIR', 'ENXIO', 'ENOTDIR'].includes(
      systemErrorCode(error) ?? '',
    );
    // SyntaxError: the disk was full when it was made.
    if (isExpected || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function readBounded(path: string, uid: number | undefined): string | undefined {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stats = fstatSync(file);
    if (!stats.isFile() || stats.size > bytesMax) return undefined;
    if (uid !== undefined && stats.uid !== uid) return undefined;
    const bytes = Buffer.alloc(stats.size);
    return bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, 0));
  } finally {
    closeSync(file);
  }
}

function isState(value: unknown): value is RuntimeState {
  if (typeof value !== 'object' || value === null) return false;
  const state = value as Partial<Record<keyof RuntimeState, unknown>>;
  const { pid, startTime, notStored, progress, share, handedTo } = state;
  return (
    Number.isSafeInteger(pid) &&
    Number(pid) > 1 &&
    typeof startTime === 'string' &&
    /^\d{0,20}$/.test(startTime) &&
    typeof state.mountPoint === 'string' &&
    typeof state.source === 'string' &&
    phases.some((phase) => phase === state.phase) &&
    (progress === undefined || typeof progress === 'string') &&
    (share === undefined || (typeof share === 'number' && share >= 0 && share <= 1)) &&
    (notStored === undefined ||
      (Array.isArray(notStored) && notStored.every((path) => typeof path === 'string'))) &&
    (handedTo === undefined || areIds(handedTo))
  );
}

function areIds(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { uid, gid } = value as Partial<Record<keyof UserIds, unknown>>;
  return [uid, gid].every((id) => Number.isSafeInteger(id) && Number(id) >= 0);
}
