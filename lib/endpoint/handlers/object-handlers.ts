/**
 * PutObject, GetObject, HeadObject, GetObjectAttributes, DeleteObject, DeleteObjects, RestoreObject.
 */
import { mayDo, requireKey, requirePermission } from '../access/access.js';
import { parseRange, type Bytes } from '../wire/byte-range.js';
import { receiveDocument } from '../wire/body.js';
import type { Call, Reply } from '../call.js';
import { checksumElement, checksumHeader, type Checksum } from '../wire/checksum.js';
import { requireCustomerKey } from '../customer-key.js';
import { deleteCheck, evaluateRead, readConditions, writeCheck } from './conditions.js';
import { publishedEtag, receiveBytes } from '../incoming.js';
import type { Bucket } from '../storage/object-folder.js';
import type { StoredObject } from '../storage/records.js';
import { S3Error } from '../wire/s3-error.js';
import type { Service } from '../service.js';
import { encryptionHeaders, readSettings, settingHeaders } from '../settings.js';
import { httpDate } from '../wire/times.js';
import {
  childText,
  children,
  childrenNamed,
  document,
  element,
  join,
  parseXml,
  record,
} from '../wire/xml.js';

/** S3's limit for one DeleteObjects. */
const maxDeletes = 1000;
const dayMs = 24 * 60 * 60 * 1000;

export async function putObject(service: Service, call: Call, bucket: Bucket): Promise<Reply> {
  requirePermission(call, bucket, 'PutObject', call.key);
  requireImplied(call, bucket);
  const settings = readSettings(call);
  requireKey(call, settings.encryption, 'GenerateDataKey');
  const check = writeCheck(call);
  // Refused before the body travels where the answer is known already; asked again at the end.
  check(bucket.objects.get(call.key));
  const incoming = await receiveBytes(service, call);
  try {
    const object: StoredObject = {
      ...settings,
      key: call.key,
      size: incoming.size,
      etag: publishedEtag(incoming.etag, settings.encryption),
      modifiedMs: service.now(),
      segments: incoming.segments,
      checksum:
        incoming.checksum === undefined ? null : { ...incoming.checksum, type: 'FULL_OBJECT' },
      parts: null,
      restoredUntilMs: null,
    };
    await service.folder.putObject(bucket.record.name, object, check);
    return {
      status: 200,
      headers: {
        etag: `"${object.etag}"`,
        ...checksumHeaders(object.checksum),
        ...encryptionHeaders(object),
      },
    };
  } finally {
    service.folder.blobs.release(incoming.segments);
  }
}

/** Permissions that headers of a write need besides s3:PutObject. */
export function requireImplied(call: Call, bucket: Bucket): void {
  if (call.header('x-amz-acl') !== undefined) {
    requirePermission(call, bucket, 'PutObjectAcl', call.key);
  }
  if (call.header('x-amz-tagging') !== undefined) {
    requirePermission(call, bucket, 'PutObjectTagging', call.key);
  }
  if (call.header('if-match') !== undefined) requirePermission(call, bucket, 'GetObject', call.key);
}

/** The object of a call. @throws S3Error NoSuchKey, AccessDenied where the caller may not know */
export function findObject(call: Call, bucket: Bucket, permission: string): StoredObject {
  requirePermission(call, bucket, permission, call.key);
  const object = bucket.objects.get(call.key);
  if (object !== undefined) return object;
  if (!mayDo(call, bucket, 'ListBucket', '')) throw new S3Error('AccessDenied');
  throw new S3Error('NoSuchKey', { elements: { Key: call.key } });
}

/** GetObject, and HeadObject: the same answer, whose body the server keeps to itself. */
export function readObject(service: Service, call: Call, bucket: Bucket): Reply {
  const object = findObject(call, bucket, 'GetObject');
  requireCustomerKey(call, object.encryption);
  const base = { etag: `"${object.etag}"`, 'last-modified': httpDate(object.modifiedMs) };
  if (evaluateRead(readConditions(call), object) === 'not modified') {
    return { status: 304, headers: base };
  }
  const isGet = call.request.method === 'GET';
  if (isGet) requireReadable(service, object);
  if (isGet || asksForChecksum(call)) requireKey(call, object.encryption, 'Decrypt');
  const chosen = chooseBytes(call, object);
  const bytes = chosen ?? { start: 0, end: object.size };
  const overridden = overrides(call);
  service.folder.blobs.retain(object.segments);
  return {
    status: chosen === undefined ? 200 : 206,
    headers: {
      ...base,
      'accept-ranges': 'bytes',
      ...settingHeaders(object),
      ...archiveHeaders(service, object),
      ...checksumAnswer(call, object, chosen),
      ...overridden,
      ...(chosen !== undefined && {
        'content-range': `bytes ${bytes.start}-${bytes.end - 1}/${object.size}`,
      }),
      ...(call.query.has('partNumber') &&
        object.parts !== null && { 'x-amz-mp-parts-count': String(object.parts.length) }),
    },
    content: { segments: object.segments, ...bytes },
  };
}

function chooseBytes(call: Call, object: StoredObject): Bytes | undefined {
  const range = call.header('range');
  const partNumber = call.query.get('partNumber');
  if (partNumber === undefined) return parseRange(range, object.size);
  if (range !== undefined) {
    throw new S3Error('InvalidRequest', {
      message: 'Cannot specify both Range header and partNumber query parameter',
    });
  }
  const number = Number(partNumber);
  if (!Number.isInteger(number) || number < 1 || number > 10_000) {
    throw new S3Error('InvalidArgument', {
      message: 'Part number must be an integer between 1 and 10000, inclusive',
    });
  }
  const sizes = object.parts?.map((part) => part.size) ?? [object.size];
  const size = sizes[number - 1];
  if (size === undefined) throw new S3Error('InvalidPartNumber');
  const start = sizes.slice(0, number - 1).reduce((sum, other) => sum + other, 0);
  // A part without bytes has no range to name.
  return size === 0 ? undefined : { start, end: start + size };
}

function asksForChecksum(call: Call): boolean {
  return call.header('x-amz-checksum-mode')?.toUpperCase() === 'ENABLED';
}

/** The stored checksum, on request and only where it is that of the bytes sent. */
function checksumAnswer(
  call: Call,
  object: StoredObject,
  chosen: Bytes | undefined,
): Record<string, string> {
  if (!asksForChecksum(call)) return {};
  if (call.header('range') !== undefined && chosen !== undefined) return {};
  const number = call.query.get('partNumber');
  const part = number === undefined ? undefined : object.parts?.[Number(number) - 1];
  return checksumHeaders(part === undefined ? object.checksum : part.checksum);
}

export function checksumHeaders(checksum: Checksum | null): Record<string, string> {
  if (checksum === null) return {};
  return {
    [checksumHeader(checksum.algorithm)]: checksum.value,
    'x-amz-checksum-type': checksum.type,
  };
}

/** response-content-type=… and the like; only for signed requests. */
function overrides(call: Call): Record<string, string> {
  const names = [
    'cache-control',
    'content-disposition',
    'content-encoding',
    'content-language',
    'content-type',
    'expires',
  ];
  const headers: Record<string, string> = {};
  for (const name of names) {
    const value = call.query.get(`response-${name}`);
    if (value === undefined) continue;
    if (call.principal === undefined) {
      throw new S3Error('InvalidRequest', {
        message: 'Request specific response headers cannot be used for anonymous GET requests.',
      });
    }
    headers[name] = value;
  }
  return headers;
}

function isArchived(object: StoredObject): boolean {
  return object.storageClass === 'GLACIER' || object.storageClass === 'DEEP_ARCHIVE';
}

/** @throws S3Error InvalidObjectState for an archived object that was not restored */
export function requireReadable(service: Service, object: StoredObject): void {
  if (!isArchived(object) || (object.restoredUntilMs ?? 0) > service.now()) return;
  throw new S3Error('InvalidObjectState', { elements: { StorageClass: object.storageClass } });
}

function archiveHeaders(service: Service, object: StoredObject): Record<string, string> {
  const until = object.restoredUntilMs ?? 0;
  if (!isArchived(object) || until <= service.now()) return {};
  return { 'x-amz-restore': `ongoing-request="false", expiry-date="${httpDate(until)}"` };
}

/** RestoreObject; here a restore is done as soon as it is asked for. */
export async function restoreObject(service: Service, call: Call, bucket: Bucket): Promise<Reply> {
  const object = findObject(call, bucket, 'RestoreObject');
  const request = parseXml(await receiveDocument(call));
  const days = Number(childText(request, 'Days') ?? 1);
  if (!isArchived(object)) {
    throw new S3Error('InvalidObjectState', {
      message: "Restore is not allowed for the object's current storage class",
      elements: { StorageClass: object.storageClass },
    });
  }
  const restored = { ...object, restoredUntilMs: service.now() + days * dayMs };
  await service.folder.putObject(bucket.record.name, restored, deleteCheck(object.etag));
  return { status: object.restoredUntilMs === null ? 202 : 200 };
}

export function objectAttributes(call: Call, bucket: Bucket): Reply {
  const object = findObject(call, bucket, 'GetObjectAttributes');
  requireCustomerKey(call, object.encryption);
  const wanted = (call.header('x-amz-object-attributes') ?? '')
    .split(',')
    .map((name) => name.trim());
  const { checksum, parts } = object;
  const fields = {
    ETag: object.etag,
    Checksum:
      checksum === null
        ? undefined
        : children({
            [checksumElement(checksum.algorithm)]: checksum.value.replace(/-\d+$/, ''),
            ChecksumType: checksum.type,
          }),
    ObjectParts: parts === null ? undefined : element('TotalPartsCount', parts.length),
    StorageClass: object.storageClass,
    ObjectSize: object.size,
  };
  const chosen = Object.entries(fields).filter(([name]) => wanted.includes(name));
  return {
    status: 200,
    headers: { 'last-modified': httpDate(object.modifiedMs) },
    body: document('GetObjectAttributesResponse', children(Object.fromEntries(chosen))),
  };
}

export async function deleteObject(service: Service, call: Call, bucket: Bucket): Promise<Reply> {
  requirePermission(call, bucket, 'DeleteObject', call.key);
  const ifMatch = call.header('if-match');
  if (ifMatch !== undefined) requirePermission(call, bucket, 'GetObject', call.key);
  await service.folder.deleteObject(bucket.record.name, call.key, deleteCheck(ifMatch));
  return { status: 204 };
}

export async function deleteObjects(service: Service, call: Call, bucket: Bucket): Promise<Reply> {
  requireBodyCheck(call);
  const request = parseXml(await receiveDocument(call));
  const objects = childrenNamed(request, 'Object');
  if (request.name !== 'Delete' || objects.length === 0 || objects.length > maxDeletes) {
    throw new S3Error('MalformedXML');
  }
  const quiet = childText(request, 'Quiet') === 'true';
  const results = [];
  for (const item of objects) {
    const key = childText(item, 'Key');
    if (key === undefined || key === '') throw new S3Error('MalformedXML');
    try {
      requirePermission(call, bucket, 'DeleteObject', key);
      const check = deleteCheck(childText(item, 'ETag'));
      await service.folder.deleteObject(bucket.record.name, key, check);
      if (!quiet) results.push(record('Deleted', { Key: key }));
    } catch (error) {
      if (!(error instanceof S3Error)) throw error;
      results.push(record('Error', { Key: key, Code: error.code, Message: error.message }));
    }
  }
  return { status: 200, body: document('DeleteResult', join(...results)) };
}

/** DeleteObjects wants its body checked by more than TCP. */
function requireBodyCheck(call: Call): void {
  const names = Object.keys(call.request.headers);
  const checked = names.some(
    (name) =>
      name === 'content-md5' || name === 'x-amz-trailer' || name.startsWith('x-amz-checksum-'),
  );
  if (checked) return;
  throw new S3Error('InvalidRequest', {
    message: 'Missing required header for this request: Content-MD5 OR x-amz-checksum-*',
  });
}
