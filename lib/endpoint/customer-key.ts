/**
 * SSE-C as S3 has it (S3 user guide, "Using server-side encryption with customer-provided keys"): each
 * request about an object brings the key that it was stored with. Of the key its MD5 is kept, as S3 keeps
 * a salted HMAC; the bytes are stored as they are. Keys are taken over plain http too, which AWS refuses.
 */
import { createHash } from 'node:crypto';
import type { Call } from './call.js';
import type { ObjectSettings } from './storage/records.js';
import { S3Error } from './wire/s3-error.js';

const own = 'x-amz-server-side-encryption-customer-';
const ofSource = 'x-amz-copy-source-server-side-encryption-customer-';

/** The MD5 of the key in a request, in base64. @throws S3Error InvalidArgument */
export function readCustomerKey(call: Call, prefix = own): string | undefined {
  const [algorithm, text, md5] = ['algorithm', 'key', 'key-md5'].map((name) =>
    call.header(prefix + name),
  );
  if (algorithm === undefined && text === undefined && md5 === undefined) return undefined;
  const key = Buffer.from(text ?? '', 'base64');
  const computed = createHash('md5').update(key).digest('base64');
  if (algorithm === 'AES256' && key.length === 32 && md5 === computed) return computed;
  throw new S3Error('InvalidArgument', {
    message:
      'Requests specifying Server Side Encryption with Customer provided keys must provide an ' +
      'appropriate secret key.',
  });
}

/** For a request that reads an object. @throws S3Error InvalidRequest, AccessDenied */
export function requireCustomerKey(call: Call, encryption: ObjectSettings['encryption']): void {
  compare(encryption, readCustomerKey(call));
}

/** The same for the source of a copy. */
export function requireSourceKey(call: Call, encryption: ObjectSettings['encryption']): void {
  compare(encryption, readCustomerKey(call, ofSource));
}

/** For a request about an upload. @throws S3Error InvalidRequest */
export function requireUploadKey(call: Call, { encryption }: ObjectSettings): void {
  const given = readCustomerKey(call);
  if (given === encryption?.customerKeyMd5) return;
  throw new S3Error('InvalidRequest', {
    message:
      given === undefined
        ? 'The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.'
        : 'The provided encryption parameters did not match the ones used originally.',
  });
}

function compare(encryption: ObjectSettings['encryption'], given: string | undefined): void {
  const wanted = encryption?.customerKeyMd5;
  if (given === wanted) return;
  if (given !== undefined && wanted !== undefined) throw new S3Error('AccessDenied');
  throw new S3Error('InvalidRequest', {
    message:
      given === undefined
        ? 'The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.'
        : 'The encryption parameters are not applicable to this object.',
  });
}
