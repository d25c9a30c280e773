/**
 * What calls about an open multipart upload have in common: which upload, which part.
 */
import type { Call } from '../call.js';
import type { Bucket, Upload } from '../storage/object-folder.js';
import { S3Error } from '../wire/s3-error.js';
import type { Service } from '../service.js';

/** Part numbers are 1 to 10,000 (S3 user guide, "Multipart upload limits"). */
export const maxPartNumber = 10_000;

export function readUploadId(call: Call): string {
  return call.query.get('uploadId') ?? '';
}

/** @throws S3Error NoSuchUpload */
export function requireUpload(service: Service, call: Call, bucket: Bucket): Upload {
  return service.folder.upload(bucket.record.name, call.key, readUploadId(call));
}

/** @throws S3Error InvalidArgument */
export function readPartNumber(call: Call): number {
  const text = call.query.get('partNumber') ?? '';
  const number = /^\d+$/.test(text) ? Number(text) : 0;
  if (number < 1 || number > maxPartNumber) {
    throw new S3Error('InvalidArgument', {
      message: `Part number must be an integer between 1 and ${maxPartNumber}, inclusive`,
      elements: { ArgumentName: 'partNumber', ArgumentValue: text },
    });
  }
  return number;
}
