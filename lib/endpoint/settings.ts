/**
 * How a request says an object is to be stored: headers, user metadata, class, encryption, tags.
 */
import type { Call } from './call.js';
import { readCustomerKey } from './customer-key.js';
import type { ObjectSettings } from './storage/records.js';
import { S3Error } from './wire/s3-error.js';

/** Headers that are kept and sent back as they came. */
const keptHeaders = [
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-type',
  'expires',
  'x-amz-website-redirect-location',
] as const;

const defaultContentType = 'binary/octet-stream';
const metadataPrefix = 'x-amz-meta-';
/** S3's limit for names and values together, in UTF-8 bytes (user guide, "Object metadata"). */
const maxMetadataBytes = 2048;
const maxTags = 10;

const storageClasses = [
  'STANDARD',
  'REDUCED_REDUNDANCY',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER',
  'DEEP_ARCHIVE',
  'GLACIER_IR',
];

const cannedAcls = [
  'private',
  'public-read',
  'public-read-write',
  'authenticated-read',
  'aws-exec-read',
  'bucket-owner-read',
  'bucket-owner-full-control',
];

/**
 * All settings of a PUT, CreateMultipartUpload, or CopyObject that replaces them.
 * @throws S3Error MetadataTooLarge, InvalidStorageClass, InvalidArgument, InvalidTag
 */
export function readSettings(call: Call): ObjectSettings {
  checkAcl(call);
  return {
    headers: readHeaders(call),
    metadata: readMetadata(call),
    storageClass: readStorageClass(call),
    encryption: readEncryption(call),
    tags: readTags(call.header('x-amz-tagging')),
  };
}

function readHeaders(call: Call): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of keptHeaders) {
    const value =
      name === 'content-encoding' ? contentEncoding(call.header(name)) : call.header(name);
    if (value !== undefined && value !== '') headers[name] = value;
  }
  headers['content-type'] ??= defaultContentType;
  return headers;
}

/** aws-chunked is how the body travels, not how the object is encoded. */
function contentEncoding(value: string | undefined): string | undefined {
  const codings = (value ?? '')
    .split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== '' && coding !== 'aws-chunked');
  return codings.length === 0 ? undefined : codings.join(', ');
}

function readMetadata({ request }: Call): Record<string, string> {
  const metadata: Record<string, string> = {};
  let bytes = 0;
  for (const [header, value] of Object.entries(request.headers)) {
    if (!header.startsWith(metadataPrefix) || typeof value !== 'string') continue;
    const name = header.slice(metadataPrefix.length);
    metadata[name] = value;
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  }
  if (bytes > maxMetadataBytes) {
    throw new S3Error('MetadataTooLarge', {
      elements: { Size: String(bytes), MaxSizeAllowed: String(maxMetadataBytes) },
    });
  }
  return metadata;
}

/** @throws S3Error InvalidStorageClass */
export function readStorageClass(call: Call): string {
  const storageClass = call.header('x-amz-storage-class') ?? 'STANDARD';
  if (!storageClasses.includes(storageClass)) {
    throw new S3Error('InvalidStorageClass', { elements: { StorageClassRequested: storageClass } });
  }
  return storageClass;
}

/** @throws S3Error InvalidArgument */
export function readEncryption(call: Call): ObjectSettings['encryption'] {
  const algorithm = call.header('x-amz-server-side-encryption');
  const keyId = call.header('x-amz-server-side-encryption-aws-kms-key-id');
  const customerKeyMd5 = readCustomerKey(call);
  if (customerKeyMd5 !== undefined) {
    if (algorithm === undefined) return { algorithm: 'AES256', customerKeyMd5 };
    throw new S3Error('InvalidArgument', {
      message:
        'Server Side Encryption with Customer provided key is incompatible with the encryption method specified',
    });
  }
  if (algorithm === undefined) return null;
  if (!['AES256', 'aws:kms', 'aws:kms:dsse'].includes(algorithm)) {
    throw new S3Error('InvalidArgument', {
      message: 'The encryption method specified is not supported',
    });
  }
  if (keyId !== undefined && algorithm === 'AES256') {
    throw new S3Error('InvalidArgument', {
      message:
        'Server Side Encryption with AWS KMS managed key requires HTTP header ' +
        'x-amz-server-side-encryption : aws:kms',
    });
  }
  return keyId === undefined ? { algorithm } : { algorithm, keyId };
}

function checkAcl(call: Call): void {
  const acl = call.header('x-amz-acl');
  if (acl !== undefined && !cannedAcls.includes(acl)) {
    throw new S3Error('InvalidArgument', {
      elements: { ArgumentName: 'x-amz-acl', ArgumentValue: acl },
    });
  }
}

/** Tags in query form. @throws S3Error InvalidArgument, InvalidTag */
export function readTags(header: string | undefined): Record<string, string> {
  const pairs = [...new URLSearchParams(header ?? '')];
  const tags = Object.fromEntries(pairs);
  checkTags(tags);
  if (Object.keys(tags).length !== pairs.length) throw new S3Error('InvalidTag');
  return tags;
}

/** @throws S3Error InvalidTag */
export function checkTags(tags: Readonly<Record<string, string>>): void {
  const fits = Object.entries(tags).every(
    ([name, value]) => name.length > 0 && name.length <= 128 && value.length <= 256,
  );
  if (!fits || Object.keys(tags).length > maxTags) throw new S3Error('InvalidTag');
}

/** The response headers that show an object's settings. */
export function settingHeaders(settings: ObjectSettings): Record<string, string> {
  const headers: Record<string, string> = { ...settings.headers, ...encryptionHeaders(settings) };
  for (const [name, value] of Object.entries(settings.metadata)) {
    headers[`${metadataPrefix}${name}`] = value;
  }
  // S3 leaves the header out for its default class.
  if (settings.storageClass !== 'STANDARD') headers['x-amz-storage-class'] = settings.storageClass;
  const tagCount = Object.keys(settings.tags).length;
  if (tagCount > 0) headers['x-amz-tagging-count'] = String(tagCount);
  return headers;
}

export function encryptionHeaders({
  encryption,
}: Pick<ObjectSettings, 'encryption'>): Record<string, string> {
  if (encryption === null) return {};
  if (encryption.customerKeyMd5 !== undefined) {
    return {
      'x-amz-server-side-encryption-customer-algorithm': encryption.algorithm,
      'x-amz-server-side-encryption-customer-key-md5': encryption.customerKeyMd5,
    };
  }
  const headers: Record<string, string> = { 'x-amz-server-side-encryption': encryption.algorithm };
  if (encryption.keyId !== undefined) {
    headers['x-amz-server-side-encryption-aws-kms-key-id'] = encryption.keyId;
  }
  return headers;
}
