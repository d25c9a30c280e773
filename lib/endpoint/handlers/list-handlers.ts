/**
 * ListObjectsV2, ListObjects (version 1), ListMultipartUploads, ListParts.
 */
import { requirePermission } from '../access/access.js';
import type { Call, Reply } from '../call.js';
import { checksumElement } from '../wire/checksum.js';
import { documentTime } from '../wire/times.js';
import { decodeToken, encodeToken, listKeys, type Listing, type Position } from './listing.js';
import { requireUploadKey } from '../customer-key.js';
import type { Bucket, Upload } from '../storage/object-folder.js';
import { S3Error } from '../wire/s3-error.js';
import { encodeStrictly } from '../access/sigv4.js';
import type { Service } from '../service.js';
import { compareUtf8 } from '../storage/sorted-keys.js';
import { requireUpload } from './upload-calls.js';
import { children, document, join, record, type Markup } from '../wire/xml.js';

/** S3's page size, and the most anybody gets. */
const pageSize = 1000;

/** How keys are written: as they are, or percent-encoded with encoding-type=url. */
type Encode = (key: string) => string;

function readEncoding({ query }: Call): Encode {
  const type = query.get('encoding-type');
  if (type === undefined || type === '') return (key) => key;
  if (type !== 'url')
    throw invalidArgument('encoding-type', 'Invalid Encoding Method specified in Request');
  return (key) => key.split('/').map(encodeStrictly).join('/').replaceAll('%20', '+');
}

function readCount({ query }: Call, name: string): number {
  const text = query.get(name) ?? '';
  if (text === '') return pageSize;
  const count = Number(text);
  if (!/^-?\d+$/.test(text)) {
    throw invalidArgument(name, `Provided ${name} not an integer or within integer range`);
  }
  if (count < 0 || count > 2 ** 31 - 1) {
    throw invalidArgument(name, `Argument ${name} must be an integer between 0 and 2147483647`);
  }
  return Math.min(count, pageSize);
}

function invalidArgument(name: string, message: string): S3Error {
  return new S3Error('InvalidArgument', { message, elements: { ArgumentName: name } });
}

export function listObjectsV2(service: Service, call: Call, bucket: Bucket): Reply {
  requirePermission(call, bucket, 'ListBucket', '');
  const { query } = call;
  const encode = readEncoding(call);
  const maxKeys = readCount(call, 'max-keys');
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const token = query.get('continuation-token');
  const startAfter = query.get('start-after');
  const listing = listKeys(bucket.keys, {
    prefix,
    delimiter,
    maxKeys,
    from: startV2(token, startAfter),
  });
  const withOwner = query.get('fetch-owner') === 'true';
  const body = join(
    children({
      Name: bucket.record.name,
      Prefix: encode(prefix),
      ContinuationToken: token,
      NextContinuationToken: listing.next === undefined ? undefined : encodeToken(listing.next),
      StartAfter: startAfter === undefined ? undefined : encode(startAfter),
      KeyCount: listing.keys.length + listing.commonPrefixes.length,
      MaxKeys: maxKeys,
      Delimiter: delimiter === '' ? undefined : encode(delimiter),
      EncodingType: query.get('encoding-type'),
      IsTruncated: listing.next !== undefined,
    }),
    ...contents(bucket, listing, encode, withOwner ? service.accountId : undefined),
  );
  return { status: 200, body: document('ListBucketResult', body) };
}

function startV2(token: string | undefined, startAfter: string | undefined): Position | undefined {
  if (token !== undefined) {
    const position = decodeToken(token);
    if (position !== undefined) return position;
    throw invalidArgument('continuation-token', 'The continuation token provided is incorrect');
  }
  return startAfter === undefined || startAfter === ''
    ? undefined
    : { after: startAfter, below: false };
}

export function listObjectsV1(service: Service, call: Call, bucket: Bucket): Reply {
  requirePermission(call, bucket, 'ListBucket', '');
  const { query } = call;
  const encode = readEncoding(call);
  const maxKeys = readCount(call, 'max-keys');
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const marker = query.get('marker') ?? '';
  const listing = listKeys(bucket.keys, {
    prefix,
    delimiter,
    maxKeys,
    from: startV1(marker, prefix, delimiter),
  });
  // Without a delimiter the last key is the marker, so S3 does not say it again.
  const nextMarker = delimiter === '' ? undefined : listing.next?.after;
  const body = join(
    children({
      Name: bucket.record.name,
      Prefix: encode(prefix),
      Marker: encode(marker),
      NextMarker: nextMarker === undefined ? undefined : encode(nextMarker),
      MaxKeys: maxKeys,
      Delimiter: delimiter === '' ? undefined : encode(delimiter),
      EncodingType: query.get('encoding-type'),
      IsTruncated: listing.next !== undefined,
    }),
    ...contents(bucket, listing, encode, service.accountId),
  );
  return { status: 200, body: document('ListBucketResult', body) };
}

/** A marker that is a common prefix of the page before stands for everything below it. */
function startV1(marker: string, prefix: string, delimiter: string): Position | undefined {
  if (marker === '') return undefined;
  const below =
    delimiter !== '' &&
    marker.startsWith(prefix) &&
    marker.indexOf(delimiter, prefix.length) === marker.length - delimiter.length;
  return { after: marker, below };
}

function contents(
  bucket: Bucket,
  listing: Listing,
  encode: Encode,
  owner: string | undefined,
): Markup[] {
  const objects = listing.keys.flatMap((key) => bucket.objects.get(key) ?? []);
  return [
    ...objects.map((object) =>
      record('Contents', {
        Key: encode(object.key),
        LastModified: documentTime(object.modifiedMs),
        ETag: `"${object.etag}"`,
        ChecksumAlgorithm: object.checksum?.algorithm,
        ChecksumType: object.checksum?.type,
        Size: object.size,
        Owner: owner === undefined ? undefined : children({ ID: owner }),
        StorageClass: object.storageClass,
      }),
    ),
    ...listing.commonPrefixes.map((prefix) => record('CommonPrefixes', { Prefix: encode(prefix) })),
  ];
}

export function listUploads(service: Service, call: Call, bucket: Bucket): Reply {
  requirePermission(call, bucket, 'ListBucketMultipartUploads', '');
  const { query } = call;
  const encode = readEncoding(call);
  const maxUploads = readCount(call, 'max-uploads');
  const prefix = query.get('prefix') ?? '';
  const keyMarker = query.get('key-marker') ?? '';
  const idMarker = query.get('upload-id-marker') ?? '';
  const open = openUploads(service, bucket, prefix).filter(({ record: { key, uploadId } }) => {
    if (keyMarker === '') return true;
    const order = compareUtf8(key, keyMarker);
    return order > 0 || (order === 0 && idMarker !== '' && uploadId > idMarker);
  });
  const page = open.slice(0, maxUploads);
  const last = open.length > page.length ? page.at(-1)?.record : undefined;
  const body = join(
    children({
      Bucket: bucket.record.name,
      KeyMarker: encode(keyMarker),
      UploadIdMarker: idMarker,
      NextKeyMarker: last === undefined ? undefined : encode(last.key),
      NextUploadIdMarker: last?.uploadId,
      Prefix: encode(prefix),
      EncodingType: query.get('encoding-type'),
      MaxUploads: maxUploads,
      IsTruncated: last !== undefined,
    }),
    ...page.map(({ record: upload }) =>
      record('Upload', {
        Key: encode(upload.key),
        UploadId: upload.uploadId,
        StorageClass: upload.settings.storageClass,
        Initiated: documentTime(upload.createdMs),
        ChecksumAlgorithm: upload.checksum?.algorithm,
        ChecksumType: upload.checksum?.type,
      }),
    ),
  );
  return { status: 200, body: document('ListMultipartUploadsResult', body) };
}

function openUploads(service: Service, bucket: Bucket, prefix: string): Upload[] {
  return [...service.folder.uploads.values()]
    .filter(({ record: { bucket: name, key } }) => {
      return name === bucket.record.name && key.startsWith(prefix);
    })
    .sort(({ record: a }, { record: b }) => {
      return compareUtf8(a.key, b.key) || (a.uploadId < b.uploadId ? -1 : 1);
    });
}

export function listParts(service: Service, call: Call, bucket: Bucket): Reply {
  requirePermission(call, bucket, 'ListMultipartUploadParts', call.key);
  const { record: upload, parts } = requireUpload(service, call, bucket);
  if (upload.checksum !== null) requireUploadKey(call, upload.settings);
  const maxParts = readCount(call, 'max-parts');
  const marker = Number(call.query.get('part-number-marker') ?? 0);
  const after = [...parts.values()]
    .filter((part) => part.number > marker)
    .sort((a, b) => a.number - b.number);
  const page = after.slice(0, maxParts);
  const body = join(
    children({
      Bucket: upload.bucket,
      Key: upload.key,
      UploadId: upload.uploadId,
      StorageClass: upload.settings.storageClass,
      PartNumberMarker: marker,
      NextPartNumberMarker: page.at(-1)?.number ?? 0,
      MaxParts: maxParts,
      IsTruncated: after.length > page.length,
      ChecksumAlgorithm: upload.checksum?.algorithm,
      ChecksumType: upload.checksum?.type,
    }),
    ...page.map((part) =>
      record('Part', {
        PartNumber: part.number,
        LastModified: documentTime(part.modifiedMs),
        ETag: `"${part.etag}"`,
        Size: part.size,
        ...(part.checksum !== null && {
          [checksumElement(part.checksum.algorithm)]: part.checksum.value,
        }),
      }),
    ),
  );
  return { status: 200, body: document('ListPartsResult', body) };
}
