/**
 * CopyObject and UploadPartCopy: the source named in a header, its conditions, and the copy.
 */
import { mayDo, requireKey, requirePermission } from '../access/access.js';
import { parseCopyRange } from '../wire/byte-range.js';
import { decodePercent, type Call, type Reply } from '../call.js';
import { checksumElement, parseAlgorithm, type Checksum } from '../wire/checksum.js';
import { checkCopySource, readConditions, writeCheck } from './conditions.js';
import { requireSourceKey, requireUploadKey } from '../customer-key.js';
import { publishedEtag, shareBytes } from '../incoming.js';
import type { Bucket } from '../storage/object-folder.js';
import { requireImplied, requireReadable } from './object-handlers.js';
import type { ObjectSettings, PartRecord, StoredObject } from '../storage/records.js';
import { S3Error } from '../wire/s3-error.js';
import type { Service } from '../service.js';
import { encryptionHeaders, readSettings } from '../settings.js';
import { readPartNumber, requireUpload } from './upload-calls.js';
import { documentTime } from '../wire/times.js';
import { children, document } from '../wire/xml.js';

interface CopySource {
  readonly bucket: Bucket;
  readonly object: StoredObject;
}

/** The object that x-amz-copy-source names, if the caller may read it and its conditions hold. */
function findSource(service: Service, call: Call): CopySource {
  const header = call.header('x-amz-copy-source') ?? '';
  const [named = '', version] = header.split('?versionId=');
  if (version !== undefined && version !== 'null') throw new S3Error('NotImplemented');
  const path = decodePercent(named).replace(/^\//, '');
  const slash = path.indexOf('/');
  if (slash < 1 || slash === path.length - 1) {
    throw new S3Error('InvalidArgument', {
      message: 'Copy Source must mention the source bucket and key: sourcebucket/sourcekey',
      elements: { ArgumentName: 'x-amz-copy-source', ArgumentValue: header },
    });
  }
  const bucket = service.folder.bucket(path.slice(0, slash));
  const key = path.slice(slash + 1);
  const owner = call.header('x-amz-source-expected-bucket-owner');
  if (owner !== undefined && owner !== service.accountId) throw new S3Error('AccessDenied');
  requirePermission(call, bucket, 'GetObject', key);
  const object = bucket.objects.get(key);
  if (object === undefined) {
    if (!mayDo(call, bucket, 'ListBucket', '')) throw new S3Error('AccessDenied');
    throw new S3Error('NoSuchKey', { elements: { Key: key } });
  }
  requireSourceKey(call, object.encryption);
  checkCopySource(readConditions(call, 'x-amz-copy-source-'), object);
  requireReadable(service, object);
  requireKey(call, object.encryption, 'Decrypt');
  return { bucket, object };
}

export async function copyObject(service: Service, call: Call, bucket: Bucket): Promise<Reply> {
  requirePermission(call, bucket, 'PutObject', call.key);
  requireImplied(call, bucket);
  const check = writeCheck(call);
  const { object: source } = findSource(service, call);
  const settings = copySettings(call, source);
  requireKey(call, settings.encryption, 'GenerateDataKey');
  requireChange(call, bucket, source);
  if (source.size > service.limits.maxCopy) {
    throw new S3Error('InvalidRequest', {
      message: `The specified copy source is larger than the maximum allowable size for a copy source: ${service.limits.maxCopy}`,
    });
  }
  const asked = call.header('x-amz-checksum-algorithm');
  const algorithm = asked === undefined ? source.checksum?.algorithm : parseAlgorithm(asked);
  const copied = await shareBytes(service, source, { start: 0, end: source.size }, algorithm);
  try {
    const object: StoredObject = {
      ...settings,
      key: call.key,
      size: copied.size,
      etag: publishedEtag(copied.etag, settings.encryption),
      modifiedMs: service.now(),
      segments: copied.segments,
      checksum: copied.checksum === undefined ? null : { ...copied.checksum, type: 'FULL_OBJECT' },
      parts: null,
      restoredUntilMs: null,
    };
    await service.folder.putObject(bucket.record.name, object, check);
    return {
      status: 200,
      headers: encryptionHeaders(object),
      body: copyResult('CopyObjectResult', object),
    };
  } finally {
    service.folder.blobs.release(copied.segments);
  }
}

/**
 * Metadata and tags come from the source unless replaced; class and encryption never do (S3 API
 * reference, CopyObject).
 */
function copySettings(call: Call, source: StoredObject): ObjectSettings {
  const given = readSettings(call);
  const directive = call.header('x-amz-metadata-directive') ?? 'COPY';
  const tagging = call.header('x-amz-tagging-directive') ?? 'COPY';
  for (const value of [directive, tagging]) {
    if (value !== 'COPY' && value !== 'REPLACE') {
      throw new S3Error('InvalidArgument', { message: 'Unknown metadata directive.' });
    }
  }
  return {
    headers: directive === 'COPY' ? source.headers : given.headers,
    metadata: directive === 'COPY' ? source.metadata : given.metadata,
    tags: tagging === 'COPY' ? source.tags : given.tags,
    storageClass: given.storageClass,
    encryption: given.encryption,
  };
}

/** Copying an object to itself has to change something. */
function requireChange(call: Call, bucket: Bucket, source: StoredObject): void {
  if (bucket.objects.get(call.key) !== source) return;
  const changes =
    call.header('x-amz-metadata-directive') === 'REPLACE' ||
    call.header('x-amz-tagging-directive') === 'REPLACE' ||
    call.header('x-amz-storage-class') !== undefined ||
    call.header('x-amz-server-side-encryption') !== undefined ||
    call.header('x-amz-server-side-encryption-customer-algorithm') !== undefined ||
    call.header('x-amz-website-redirect-location') !== undefined ||
    call.header('x-amz-checksum-algorithm') !== undefined;
  if (changes) return;
  throw new S3Error('InvalidRequest', {
    message:
      'This copy request is illegal because it is trying to copy an object to itself without ' +
      "changing the object's metadata, storage class, website redirect location or encryption " +
      'attributes.',
  });
}

export async function uploadPartCopy(service: Service, call: Call, bucket: Bucket): Promise<Reply> {
  requirePermission(call, bucket, 'PutObject', call.key);
  const number = readPartNumber(call);
  const { record: upload } = requireUpload(service, call, bucket);
  requireUploadKey(call, upload.settings);
  const { object: source } = findSource(service, call);
  const range = parseCopyRange(call.header('x-amz-copy-source-range'), source.size);
  if (range.end - range.start > service.limits.maxPut) {
    throw new S3Error('InvalidRequest', {
      message: `The specified copy source is larger than the maximum allowable size for a copy source: ${service.limits.maxPut}`,
    });
  }
  const copied = await shareBytes(service, source, range, upload.checksum?.algorithm);
  try {
    const part: PartRecord = {
      number,
      size: copied.size,
      etag: publishedEtag(copied.etag, upload.settings.encryption),
      modifiedMs: service.now(),
      segments: copied.segments,
      checksum: copied.checksum === undefined ? null : { ...copied.checksum, type: 'FULL_OBJECT' },
    };
    await service.folder.putPart(upload, part);
    return {
      status: 200,
      headers: encryptionHeaders(upload.settings),
      body: copyResult('CopyPartResult', part),
    };
  } finally {
    service.folder.blobs.release(copied.segments);
  }
}

interface CopyFacts {
  readonly etag: string;
  readonly modifiedMs: number;
  readonly checksum: Checksum | null;
}

function copyResult(name: string, { etag, modifiedMs, checksum }: CopyFacts): string {
  return document(
    name,
    children({
      LastModified: documentTime(modifiedMs),
      ETag: `"${etag}"`,
      ...(checksum !== null && { [checksumElement(checksum.algorithm)]: checksum.value }),
    }),
  );
}
