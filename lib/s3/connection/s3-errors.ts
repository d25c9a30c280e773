/**
 * What the AWS SDK throws, as the StoreError the core understands.
 *
 * The decision is taken from the S3 error code, the HTTP status or the system errno, in that order,
 * and never from message text. A HEAD has no body and so no code: there the status decides. Codes
 * that no S3 documentation lists but that servers send (Ceph, MinIO) are in the table too.
 */
import { StoreError, systemErrorCode } from '../../errors.js';
import type { StoreErrorKind } from '../../errors.js';

/** The request that failed, for the message. */
export interface FailedRequest {
  /** S3 action, `PutObject` */
  readonly action: string;
  /** key relative to the mount's prefix */
  readonly key?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** S3 API reference, "Error responses"; the vendors' own codes start with their name. */
const kindByCode: Readonly<Record<string, StoreErrorKind>> = {
  NoSuchKey: 'notFound',
  NoSuchVersion: 'notFound',
  NotFound: 'notFound',
  NoSuchBucket: 'noBucket',
  NoSuchUpload: 'noUpload',
  AccessDenied: 'denied',
  AccountProblem: 'denied',
  AllAccessDisabled: 'denied',
  AuthorizationHeaderMalformed: 'denied',
  AuthorizationQueryParametersError: 'denied',
  CredentialsProviderError: 'denied',
  ExpiredToken: 'denied',
  ExpiredTokenException: 'denied',
  Forbidden: 'denied',
  InvalidAccessKeyId: 'denied',
  InvalidClientTokenId: 'denied',
  InvalidObjectState: 'archived',
  InvalidPayer: 'denied',
  InvalidSecurity: 'denied',
  InvalidToken: 'denied',
  InvalidTokenId: 'denied',
  NotSignedUp: 'denied',
  ObjectNotInActiveTierError: 'archived',
  RequestExpired: 'denied',
  RequestTimeTooSkewed: 'denied',
  SignatureDoesNotMatch: 'denied',
  TokenProviderError: 'denied',
  TokenRefreshRequired: 'denied',
  UnauthorizedAccess: 'denied',
  UnrecognizedClientException: 'denied',
  XAdminUserNotFound: 'denied',
  'KMS.DisabledException': 'denied',
  'KMS.InvalidStateException': 'denied',
  'KMS.NotFoundException': 'denied',
  ConditionalRequestConflict: 'changed',
  OperationAborted: 'changed',
  PreconditionFailed: 'changed',
  ExistingObjectIsDirectory: 'isDirectory',
  XMinioObjectExistsAsDirectory: 'isDirectory',
  ExistingObjectIsFile: 'underFile',
  ObjectParentIsFile: 'underFile',
  XMinioParentIsObject: 'underFile',
  KeyTooLongError: 'nameTooLong',
  InvalidObjectName: 'badName',
  XMinioInvalidObjectName: 'badName',
  EntityTooLarge: 'tooLarge',
  InsufficientCapacity: 'full',
  QuotaExceeded: 'full',
  QuotaExceededException: 'full',
  ServiceQuotaExceededException: 'full',
  XMinioAdminBucketQuotaExceeded: 'full',
  XMinioStorageFull: 'full',
  BadDigest: 'corrupt',
  IncompleteBody: 'corrupt',
  InvalidDigest: 'corrupt',
  InvalidPart: 'corrupt',
  XAmzContentChecksumMismatch: 'corrupt',
  XAmzContentSHA256Mismatch: 'corrupt',
  AnswerOverrun: 'corrupt',
  BandwidthLimitExceeded: 'throttled',
  RequestLimitExceeded: 'throttled',
  SlowDown: 'throttled',
  SlowDownRead: 'throttled',
  SlowDownWrite: 'throttled',
  Throttling: 'throttled',
  ThrottlingException: 'throttled',
  TooManyRequests: 'throttled',
  TooManyRequestsException: 'throttled',
  CredentialsOutage: 'unavailable',
  InternalError: 'unavailable',
  RequestTimeout: 'unavailable',
  ServiceUnavailable: 'unavailable',
  TimeoutError: 'unavailable',
  MethodNotAllowed: 'unsupported',
  NotImplemented: 'unsupported',
  UnsupportedOperation: 'unsupported',
  AbortError: 'aborted',
};

const kindByStatus: Readonly<Record<number, StoreErrorKind>> = {
  // Where a redirect cannot be followed (bucket-region.ts), whoever sent it stands before S3.
  301: 'unavailable',
  302: 'unavailable',
  303: 'unavailable',
  307: 'unavailable',
  308: 'unavailable',
  401: 'denied',
  403: 'denied',
  404: 'notFound',
  405: 'unsupported',
  407: 'unavailable',
  408: 'unavailable',
  409: 'changed',
  412: 'changed',
  413: 'tooLarge',
  429: 'throttled',
  501: 'unsupported',
  507: 'full',
};

/** Actions about no key: that of an upload's parts is. */
const bucketListings: ReadonlySet<string> = new Set([
  'ListObjects',
  'ListObjectsV2',
  'ListMultipartUploads',
]);

/** That something about a key stands for, if there is no code. */
const namingStatuses: ReadonlySet<number> = new Set([404, 409]);

/**
 * What S3 and STS say about credentials that may have been good once (S3 API, "Error responses"), and
 * what others say (InvalidTokenId MinIO, XAdminUserNotFound versitygw). A secret that was changed in
 * place makes the signature a wrong one.
 */
const staleCredentialCodes: ReadonlySet<string> = new Set([
  'ExpiredToken',
  'ExpiredTokenException',
  'InvalidAccessKeyId',
  'InvalidClientTokenId',
  'InvalidSecurity',
  'InvalidToken',
  'InvalidTokenId',
  'SignatureDoesNotMatch',
  'TokenRefreshRequired',
  'UnrecognizedClientException',
  'XAdminUserNotFound',
]);

/** Refusals that some endpoints give unknown keys too (Ceph, Garage). */
const vagueDenials: ReadonlySet<string> = new Set([
  'AccessDenied',
  'Forbidden',
  'UnauthorizedAccess',
]);

/** The facts of an SDK exception that decide, read from a value of unknown make. */
export interface ErrorFacts {
  /** S3's code, or the SDK's name for what happened before there was an answer */
  readonly code: string | undefined;
  readonly status: number | undefined;
  readonly requestId: string | undefined;
  /** errno of the socket, resolver or TLS layer */
  readonly system: string | undefined;
  /** requests that were sent for this call, retries included */
  readonly attempts: number;
  /** `x-amz-bucket-region`, or the region S3 names in the error */
  readonly region: string | undefined;
}

/** Names that carry no code of S3's: JavaScript's own, and the SDK's for an answer without a body. */
const namelessNames = new Set(['Error', 'TypeError', 'SyntaxError', 'Unknown', 'UnknownError', '']);

/** Reads an exception of the SDK, of Node or anything else that was thrown. */
export function errorFacts(error: unknown): ErrorFacts {
  const thrown = record(error);
  const metadata = record(thrown['$metadata']);
  const headers = record(record(thrown['$response'])['headers']);
  const name = text(thrown['Code']) ?? text(thrown['name']);
  return {
    code: name === undefined || namelessNames.has(name) || /^\d+$/.test(name) ? undefined : name,
    status: integer(metadata['httpStatusCode']),
    requestId: text(metadata['requestId']),
    system: systemErrorCode(error) ?? systemErrorCode(thrown['cause']),
    attempts: integer(metadata['attempts']) ?? 1,
    region: regionName(headers['x-amz-bucket-region']) ?? regionName(thrown['Region']),
  };
}

/** Whether the bucket is said to be in another region; verify-bucket.ts and bucket-region.ts ask there. */
export function isElsewhere({ code, status }: Pick<ErrorFacts, 'code' | 'status'>): boolean {
  return (
    status === 301 ||
    status === 307 ||
    code === 'PermanentRedirect' ||
    code === 'AuthorizationHeaderMalformed' ||
    code === 'IllegalLocationConstraintException'
  );
}

type Refusal = Pick<ErrorFacts, 'code' | 'status' | 'system'>;

/** Whether a refusal may be about who signed, and when. The one of a HEAD has no code. */
export function isRefusedSignature(refusal: Refusal): boolean {
  const isBare = refusal.code === undefined && refusal.status === 400;
  return isBare || kindOf(refusal) === 'denied';
}

/** How likely a refusal is one of keys that are not the right ones any more. */
export function keyDoubt(refusal: Refusal): 'certain' | 'possible' | undefined {
  const { code, status } = refusal;
  if (status === 401 || (code !== undefined && staleCredentialCodes.has(code))) return 'certain';
  if (!isRefusedSignature(refusal)) return undefined;
  return code === undefined || vagueDenials.has(code) ? 'possible' : undefined;
}

/** Whether nothing came of a request until its timeout, or the kernel's. */
export function isSilence(error: unknown): boolean {
  const { code, system } = errorFacts(error);
  return (code === 'TimeoutError' && system === undefined) || system === 'ETIMEDOUT';
}

/** The server's clock in an HTTP answer of the SDK's, in whole seconds. */
export function answerDateMs(answer: unknown): number | undefined {
  const date = Date.parse(text(record(record(answer)['headers'])['date']) ?? '');
  return Number.isNaN(date) ? undefined : date;
}

/**
 * @param error what the SDK threw
 * @returns the same as a StoreError; a StoreError is passed on as it is
 */
export function toStoreError(error: unknown, request: FailedRequest): StoreError {
  if (error instanceof StoreError) return error;
  const facts = errorFacts(error);
  const kind = request.signal?.aborted === true ? 'aborted' : kindOfRequest(facts, request);
  const what = facts.code ?? facts.system ?? (facts.status === undefined ? 'no answer' : 'refused');
  const status = facts.status === undefined ? '' : ` (HTTP ${facts.status})`;
  const subject = request.key === undefined ? '' : ` ${JSON.stringify(request.key)}`;
  const said = plainText(error);
  return new StoreError(
    kind,
    `${request.action}${subject}: ${what}${status}${said === '' ? '' : `: ${said}`}`,
    {
      action: request.action,
      ...(request.key === undefined ? {} : { key: request.key }),
      ...(facts.status === undefined ? {} : { status: facts.status }),
      ...(facts.code === undefined ? {} : { code: facts.code }),
      ...(facts.requestId === undefined ? {} : { requestId: facts.requestId }),
      cause: error,
    },
  );
}

/**
 * What depends on the request too. That a key is absent is told by a code, or by a bare status to those
 * who asked for just that; a portal or a gateway says 404 to anything.
 */
function kindOfRequest(facts: ErrorFacts, { action, key = '' }: FailedRequest): StoreErrorKind {
  const { code, status } = facts;
  const kind = kindOf(facts);
  const isBare = code === undefined || code === 'NotFound';
  const isRead = action === 'HeadObject' || action === 'GetObject';
  const isOfMany = bucketListings.has(action);
  if (kind === 'notFound' && ((isBare && !isRead) || isOfMany)) return 'invalid';
  const isAboutName = kind === 'badName' || kind === 'isDirectory' || (isBare && status === 400);
  const longest = longestName(key);
  // SeaweedFS has no code for it.
  if (code === 'InternalError' && status === 500 && longest > fileNameBytes) return 'nameTooLong';
  if (isAboutName && longest > safeNameBytes) return 'nameTooLong';
  return isWithoutKey(facts, action) ? 'denied' : kind;
}

/**
 * Whether a HEAD or GET was refused because the object is encrypted with a key of its own, which S3
 * wants to see (S3 user guide, "Using server-side encryption with customer-provided keys").
 */
function isWithoutKey({ code, status }: ErrorFacts, action: string): boolean {
  if (status !== 400) return false;
  return action === 'HeadObject'
    ? code === undefined
    : action === 'GetObject' && code === 'InvalidRequest';
}

/** Where file systems end. */
const fileNameBytes = 255;
/** Servers that keep objects as files want some of that (MinIO 10 for directories, versitygw 27). */
const safeNameBytes = 220;

function longestName(key: string): number {
  return Math.max(...key.split('/').map((name) => Buffer.byteLength(name)));
}

/** The kind that an exception's facts stand for. */
export function kindOf(facts: Pick<ErrorFacts, 'code' | 'status' | 'system'>): StoreErrorKind {
  const { code, status, system } = facts;
  const coded = code === undefined ? undefined : kindByCode[code];
  if (coded !== undefined) return coded;
  if (status === undefined) return system === undefined ? 'invalid' : 'unavailable';
  if (status >= 500) return kindByStatus[status] ?? 'unavailable';
  // An answer was on its way and broke (2xx with a system error), or could not be read at all.
  if (status < 300) return system === undefined ? 'corrupt' : 'unavailable';
  // A code that nobody knows is no word about the key: versitygw's for unknown access keys has 404.
  if (code !== undefined && namingStatuses.has(status)) return 'invalid';
  return kindByStatus[status] ?? 'invalid';
}

/** What the server or the runtime said, short and printable: it comes from outside. */
export function plainText(error: unknown): string {
  if (!(error instanceof Error)) return '';
  const said = error.message.replace(/\p{C}+/gu, ' ').trim();
  // The SDK's text where there was no body to take one from.
  if (said === 'UnknownError' || said === error.name) return '';
  return said.length > 200 ? `${said.slice(0, 200)}…` : said;
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function integer(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) ? value : undefined;
}

function regionName(value: unknown): string | undefined {
  return typeof value === 'string' && /^[a-z0-9-]{2,40}$/.test(value) ? value : undefined;
}
