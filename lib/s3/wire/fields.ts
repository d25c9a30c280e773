/**
 * Fields of inputs and outputs and the headers that carry them, as the S3 API reference has them.
 */
import type { HeadObjectCommandOutput } from '@aws-sdk/client-s3';
import { _parseRfc7231DateTime as parseHttpDate } from '@smithy/core/serde';
import type { HttpResponse } from '@smithy/types';

const metadataPrefix = 'x-amz-meta-';

const headerOfInput: Readonly<Record<string, string>> = {
  ACL: 'x-amz-acl',
  CacheControl: 'cache-control',
  ChecksumAlgorithm: 'x-amz-sdk-checksum-algorithm',
  ChecksumCRC32: 'x-amz-checksum-crc32',
  ContentDisposition: 'content-disposition',
  ContentEncoding: 'content-encoding',
  ContentLanguage: 'content-language',
  ContentMD5: 'content-md5',
  ContentType: 'content-type',
  ExpectedBucketOwner: 'x-amz-expected-bucket-owner',
  Expires: 'expires',
  IfMatch: 'if-match',
  IfNoneMatch: 'if-none-match',
  OptionalObjectAttributes: 'x-amz-optional-object-attributes',
  Range: 'range',
  RequestPayer: 'x-amz-request-payer',
  SSECustomerAlgorithm: 'x-amz-server-side-encryption-customer-algorithm',
  SSECustomerKey: 'x-amz-server-side-encryption-customer-key',
  SSECustomerKeyMD5: 'x-amz-server-side-encryption-customer-key-md5',
  SSEKMSKeyId: 'x-amz-server-side-encryption-aws-kms-key-id',
  ServerSideEncryption: 'x-amz-server-side-encryption',
  StorageClass: 'x-amz-storage-class',
  Tagging: 'x-amz-tagging',
  WebsiteRedirectLocation: 'x-amz-website-redirect-location',
};

/**
 * The headers for an input.
 * @param others fields that go elsewhere
 * @returns undefined where a field has no header here
 */
export function headersOf(
  input: object,
  others: ReadonlySet<string>,
): Record<string, string> | undefined {
  const headers: Record<string, string> = {};
  for (const [field, value] of Object.entries(input) as [string, unknown][]) {
    if (value === undefined || others.has(field)) continue;
    if (field === 'Metadata') {
      for (const [name, text] of Object.entries(value as Record<string, string>)) {
        headers[metadataPrefix + name.toLowerCase()] = text;
      }
      continue;
    }
    const header = headerOfInput[field];
    const text = textOf(value);
    if (header === undefined || text === undefined) return undefined;
    headers[header] = text;
  }
  return headers;
}

function textOf(value: unknown): string | undefined {
  if (value instanceof Date) return value.toUTCString();
  if (Array.isArray(value)) return value.join(', ');
  return typeof value === 'string' ? value : undefined;
}

/** Fields whose value is the header's text. */
const textFields = {
  ArchiveStatus: 'x-amz-archive-status',
  CacheControl: 'cache-control',
  ChecksumCRC32: 'x-amz-checksum-crc32',
  ChecksumSHA1: 'x-amz-checksum-sha1',
  ChecksumSHA256: 'x-amz-checksum-sha256',
  ChecksumType: 'x-amz-checksum-type',
  ContentDisposition: 'content-disposition',
  ContentEncoding: 'content-encoding',
  ContentLanguage: 'content-language',
  ContentRange: 'content-range',
  ContentType: 'content-type',
  ETag: 'etag',
  ExpiresString: 'expires',
  Restore: 'x-amz-restore',
  SSECustomerAlgorithm: 'x-amz-server-side-encryption-customer-algorithm',
  SSECustomerKeyMD5: 'x-amz-server-side-encryption-customer-key-md5',
  SSEKMSKeyId: 'x-amz-server-side-encryption-aws-kms-key-id',
  ServerSideEncryption: 'x-amz-server-side-encryption',
  StorageClass: 'x-amz-storage-class',
  VersionId: 'x-amz-version-id',
  WebsiteRedirectLocation: 'x-amz-website-redirect-location',
} as const;
const numberFields = {
  ContentLength: 'content-length',
  MissingMeta: 'x-amz-missing-meta',
  TagCount: 'x-amz-tagging-count',
} as const;

const texts = Object.entries(textFields);
const numbers = Object.entries(numberFields);

/** What the headers of an answer say as they stand. */
export function writtenFields({ headers }: HttpResponse): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [field, header] of texts) {
    const value = headers[header];
    if (value !== undefined) fields[field] = value;
  }
  return fields;
}

/** What they say of an object. @throws TypeError where a value is none of its kind */
export function objectFields(answer: HttpResponse): Omit<HeadObjectCommandOutput, '$metadata'> {
  const { headers } = answer;
  const fields = writtenFields(answer);
  for (const [field, header] of numbers) {
    const value = headers[header];
    if (value !== undefined) fields[field] = numberOf(header, value);
  }
  const modified = headers['last-modified'];
  if (modified !== undefined) fields['LastModified'] = parseHttpDate(modified);
  const metadata: Record<string, string> = {};
  for (const [header, value] of Object.entries(headers)) {
    if (header.startsWith(metadataPrefix)) metadata[header.slice(metadataPrefix.length)] = value;
  }
  fields['Metadata'] = metadata;
  return fields;
}

function numberOf(header: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new TypeError(`${header} is no number`);
  return Number(text);
}
