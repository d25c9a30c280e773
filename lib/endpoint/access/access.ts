/**
 * May this caller do this? Signature, session, then policy, bucket owner, region, requester pays.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Call, Payload, Target } from '../call.js';
import type { Principal } from './identity.js';
import type { Bucket } from '../storage/object-folder.js';
import { isAllowed, type AccessQuestion } from './policy.js';
import type { StoredObject } from '../storage/records.js';
import { S3Error } from '../wire/s3-error.js';
import type { Service } from '../service.js';
import { parseAuthorization, verifySignature } from './sigv4.js';

/** A caller and how the body was signed. */
export interface Caller {
  /** undefined: anonymous */
  readonly principal: Principal | undefined;
  readonly payload: Payload;
}

/**
 * Checks the signature of an S3 request.
 * @throws S3Error those of sigv4.ts and identity.ts
 */
export function authenticate(service: Service, request: IncomingMessage, target: Target): Caller {
  const header = request.headers.authorization;
  if (header === undefined) return { principal: undefined, payload: { kind: 'unsigned' } };
  const payloadHash = request.headers['x-amz-content-sha256'];
  if (typeof payloadHash !== 'string') {
    throw new S3Error('InvalidRequest', {
      message: 'Missing required header for this request: x-amz-content-sha256',
    });
  }
  const { principal, signer } = checkSigned(service, {
    request,
    target,
    header,
    payloadHash,
    serviceName: 's3',
  });
  return { principal, payload: readPayload(payloadHash, signer) };
}

/**
 * Checks the signature of an STS request, whose body hash is not sent.
 * @throws S3Error as authenticate
 */
export function authenticateForm(
  service: Service,
  request: IncomingMessage,
  target: Target,
  body: Buffer,
): Principal {
  const header = request.headers.authorization;
  if (header === undefined) throw new S3Error('AccessDenied');
  const payloadHash = createHash('sha256').update(body).digest('hex');
  return checkSigned(service, { request, target, header, payloadHash, serviceName: 'sts' })
    .principal;
}

interface Signed {
  readonly request: IncomingMessage;
  readonly target: Target;
  readonly header: string;
  readonly payloadHash: string;
  readonly serviceName: string;
}

function checkSigned(
  service: Service,
  { request, target, header, payloadHash, serviceName }: Signed,
): { principal: Principal; signer: ReturnType<typeof verifySignature> } {
  const authorization = parseAuthorization(header);
  const token = request.headers['x-amz-security-token'];
  const nowMs = service.now();
  const principal = service.identities.resolve(
    authorization.accessKeyId,
    typeof token === 'string' ? token : undefined,
    nowMs,
  );
  if (authorization.service !== serviceName) {
    throw new S3Error('AuthorizationHeaderMalformed', {
      message: `The authorization header is malformed; incorrect service "${authorization.service}". This endpoint belongs to "${serviceName}".`,
    });
  }
  const signer = verifySignature({
    request,
    authorization,
    path: target.path,
    query: target.query,
    payloadHash,
    secretAccessKey: principal.secretAccessKey,
    nowMs,
  });
  if (serviceName === 's3') checkRegion(service, target, authorization.region);
  return { principal, signer };
}

/** As a regional endpoint does: the signature names its region, or the bucket's is told. */
function checkRegion(service: Service, { bucket }: Target, signed: string): void {
  const expected = service.folder.buckets.get(bucket)?.record.region ?? service.region;
  if (signed === expected) return;
  if (signed === service.region) {
    throw new S3Error('PermanentRedirect', {
      elements: { Endpoint: `${bucket}.s3.${expected}.amazonaws.com`, Bucket: bucket },
      headers: { 'x-amz-bucket-region': expected },
    });
  }
  throw new S3Error('AuthorizationHeaderMalformed', {
    message: `The authorization header is malformed; the region '${signed}' is wrong; expecting '${expected}'`,
    elements: { Region: expected },
    headers: { 'x-amz-bucket-region': expected },
  });
}

function readPayload(header: string, signer: ReturnType<typeof verifySignature>): Payload {
  switch (header) {
    case 'UNSIGNED-PAYLOAD':
      return { kind: 'unsigned' };
    case 'STREAMING-UNSIGNED-PAYLOAD-TRAILER':
      return { kind: 'chunked', trailers: true, signer: null };
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD':
      return { kind: 'chunked', trailers: false, signer };
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER':
      return { kind: 'chunked', trailers: true, signer };
    default:
      if (/^[0-9a-f]{64}$/.test(header)) return { kind: 'hash', sha256: header };
      throw new S3Error('InvalidArgument', {
        message:
          'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, ' +
          'STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a ' +
          'valid sha256 value.',
        elements: { ArgumentName: 'x-amz-content-sha256', ArgumentValue: header },
      });
  }
}

/**
 * Checks what a request says about the bucket: its owner, and who pays.
 * @throws S3Error AccessDenied
 */
export function checkBucketHeaders(service: Service, call: Call, bucket: Bucket): void {
  const owner = call.header('x-amz-expected-bucket-owner');
  if (owner !== undefined && owner !== service.accountId) throw new S3Error('AccessDenied');
  if (bucket.record.requesterPays && call.header('x-amz-request-payer') !== 'requester') {
    throw new S3Error('AccessDenied');
  }
}

/**
 * Refuses what the caller may not do.
 * @param permission IAM action without `s3:`
 * @param key empty: the bucket itself
 * @throws S3Error AccessDenied
 */
export function requirePermission(
  call: Call,
  bucket: Bucket,
  permission: string,
  key: string,
): void {
  if (!mayDo(call, bucket, permission, key)) throw new S3Error('AccessDenied');
}

/** Whether the caller may do something; see requirePermission. */
export function mayDo(call: Call, bucket: Bucket, permission: string, key: string): boolean {
  const { principal } = call;
  if (principal === undefined) return anonymousMay(bucket, permission);
  const name = bucket.record.name;
  const context: Record<string, string> = {};
  for (const parameter of ['prefix', 'delimiter', 'max-keys']) {
    const value = call.query.get(parameter);
    if (value !== undefined) context[`s3:${parameter}`] = value;
  }
  return areAllowed(principal, {
    action: `s3:${permission}`,
    resource: key === '' ? `arn:aws:s3:::${name}` : `arn:aws:s3:::${name}/${key}`,
    context,
  });
}

/**
 * Refuses what the caller may not do with the KMS key of an object: GenerateDataKey is for writing,
 * Decrypt for reading and for parts (S3 user guide, "Protecting data with server-side encryption").
 * @throws S3Error AccessDenied
 */
export function requireKey(
  { principal }: Call,
  encryption: StoredObject['encryption'],
  ...permissions: readonly ('Decrypt' | 'GenerateDataKey')[]
): void {
  const resource = encryption?.keyId;
  if (principal === undefined || resource === undefined) return;
  for (const permission of permissions) {
    const question = { action: `kms:${permission}`, resource, context: {} };
    if (!areAllowed(principal, question)) throw new S3Error('AccessDenied');
  }
}

function areAllowed({ policies }: Principal, question: AccessQuestion): boolean {
  return policies.every((policy) => isAllowed(policy, question));
}

const readPermissions = ['GetObject', 'GetObjectAttributes', 'GetObjectTagging', 'ListBucket'];

function anonymousMay({ record }: Bucket, permission: string): boolean {
  if (record.anonymous === 'nothing') return false;
  if (readPermissions.includes(permission)) return true;
  return record.anonymous === 'read-write' && !permission.endsWith('Bucket');
}
