/**
 * The two error types of the program and the one table between them.
 *
 * `StoreError` says what S3 (or the way to it) answered, in a short closed list of kinds; `FsError`
 * is what a system call returns. The errno is chosen once, here, so that SFTP clients read truth:
 * OpenSSH's sftp-server folds every errno into five answers (sftp-server.c, errno_to_portable), and
 * EINVAL or ENAMETOOLONG reach the user as "Bad message", ENOSYS as "Operation unsupported".
 */
import { constants } from 'node:os';

/** Errno names that a file system operation of s3jail may answer with. */
export type Errno =
  | 'EACCES'
  | 'EBADF'
  | 'EBUSY'
  | 'EDQUOT'
  | 'EEXIST'
  | 'EFBIG'
  | 'EILSEQ'
  | 'EINTR'
  | 'EINVAL'
  | 'EIO'
  | 'EISDIR'
  | 'ENAMETOOLONG'
  | 'ENOENT'
  | 'ENOSPC'
  | 'ENOSYS'
  | 'ENOTDIR'
  | 'ENOTEMPTY'
  | 'EOPNOTSUPP'
  | 'EPERM'
  | 'EROFS'
  | 'ESTALE'
  | 'EXDEV';

/**
 * What became of a request to the store.
 *
 * - `notFound`: no such key (404 NoSuchKey, or a HEAD's bare 404)
 * - `noBucket`: the bucket itself is gone (404 NoSuchBucket)
 * - `noUpload`: the multipart upload is unknown: completed, aborted or never made (404 NoSuchUpload)
 * - `denied`: 401/403: credentials, policy, expired token, clock skew
 * - `changed`: a condition failed (412), or another writer won the race (409 ConditionalRequestConflict)
 * - `isDirectory`: the server has a directory of that name (409 ExistingObjectIsDirectory)
 * - `underFile`: a part of the way there is a file on the server (409 ObjectParentIsFile)
 * - `nameTooLong`, `badName`: the server cannot hold the name (KeyTooLongError)
 * - `tooLarge`: over S3's size limits (EntityTooLarge)
 * - `full`: the service has no room or the quota is used up (507, QuotaExceeded)
 * - `archived`: the object is in an archive class and has to be restored first (InvalidObjectState)
 * - `corrupt`: a checksum, length, range or ETag was not what it must be (also BadDigest from S3)
 * - `throttled`: asked to slow down, still after all retries (503 SlowDown, 429)
 * - `unavailable`: no answer, a connection or a 5xx error, still after all retries
 * - `unsupported`: the endpoint does not know this request or header (501 NotImplemented)
 * - `aborted`: we gave up ourselves, through an AbortSignal
 * - `invalid`: S3 calls the request wrong; a bug or an endpoint's peculiarity
 */
export type StoreErrorKind =
  | 'notFound'
  | 'noBucket'
  | 'noUpload'
  | 'denied'
  | 'changed'
  | 'isDirectory'
  | 'underFile'
  | 'nameTooLong'
  | 'badName'
  | 'tooLarge'
  | 'full'
  | 'archived'
  | 'corrupt'
  | 'throttled'
  | 'unavailable'
  | 'unsupported'
  | 'aborted'
  | 'invalid';

/** Facts about a failed request that help whoever reads the log; none of them is secret. */
export interface StoreErrorDetail {
  /** S3 action, as in the S3 API reference: `PutObject`, `ListObjectsV2`, … */
  readonly action: string;
  /** Key relative to the mount's prefix. */
  readonly key?: string;
  readonly status?: number;
  /** S3's error code, `NoSuchKey` and so on. */
  readonly code?: string;
  readonly requestId?: string;
  readonly cause?: unknown;
}

/** A request to the object store failed. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly kind: StoreErrorKind;
  readonly action: string;
  readonly key: string | undefined;
  readonly status: number | undefined;
  readonly code: string | undefined;
  readonly requestId: string | undefined;

  constructor(kind: StoreErrorKind, message: string, detail: StoreErrorDetail) {
    super(message, { cause: detail.cause });
    this.kind = kind;
    this.action = detail.action;
    this.key = detail.key;
    this.status = detail.status;
    this.code = detail.code;
    this.requestId = detail.requestId;
  }
}

/** A file system operation failed; `code` is what the system call returns. */
export class FsError extends Error {
  override readonly name = 'FsError';
  readonly code: Errno;

  /**
   * @param code errno name
   * @param message what failed and why, for the log; no errno text needed
   */
  constructor(code: Errno, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  /** The positive errno number of this platform. */
  get errno(): number {
    return errnoNumber(this.code);
  }
}

/** The positive number of an errno name on this platform. */
export function errnoNumber(code: Errno): number {
  return constants.errno[code];
}

const errnoByKind: Readonly<Record<StoreErrorKind, Errno>> = {
  notFound: 'ENOENT',
  noBucket: 'EIO',
  noUpload: 'EIO',
  denied: 'EACCES',
  changed: 'ESTALE',
  isDirectory: 'EISDIR',
  underFile: 'ENOTDIR',
  nameTooLong: 'ENAMETOOLONG',
  badName: 'EILSEQ',
  tooLarge: 'EFBIG',
  full: 'EDQUOT',
  archived: 'EIO',
  corrupt: 'EIO',
  throttled: 'EIO',
  unavailable: 'EIO',
  unsupported: 'EIO',
  aborted: 'EINTR',
  invalid: 'EIO',
};

/** Whether a later request may well be answered: S3 was out of reach, or had too much to do. */
export function mayBeOver(kind: StoreErrorKind): boolean {
  return kind === 'unavailable' || kind === 'throttled';
}

/** The errno that a store failure becomes when no operation has a truer one. */
export function errnoOfKind(kind: StoreErrorKind): Errno {
  return errnoByKind[kind];
}

/** Whether `error` is a StoreError of one of the given kinds. */
export function isStoreError(error: unknown, ...kinds: StoreErrorKind[]): error is StoreError {
  return error instanceof StoreError && (kinds.length === 0 || kinds.includes(error.kind));
}

/** Whether `error` is an FsError with one of the given errno names. */
export function isFsError(error: unknown, ...codes: Errno[]): error is FsError {
  return error instanceof FsError && (codes.length === 0 || codes.includes(error.code));
}

/** The `code` of a Node system error (`ENOSPC`, `ECONNRESET`, …), or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Any thrown value as the FsError to answer with. Local disk errors keep the errno that tells the
 * truth (a full temp disk is ENOSPC); what nobody foresaw is EIO.
 */
export function toFsError(error: unknown): FsError {
  if (error instanceof FsError) return error;
  if (error instanceof StoreError) {
    return new FsError(errnoOfKind(error.kind), error.message, { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  const code = systemErrorCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new FsError('ENOSPC', `no room for temporary files: ${message}`, { cause: error });
  }
  return new FsError('EIO', message, { cause: error });
}
