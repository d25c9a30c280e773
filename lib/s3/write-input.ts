/**
 * How a new object is to be stored: the mount's settings and those of the single write, as input
 * fields common to PutObject, CreateMultipartUpload and CopyObject.
 */
import type {
  ObjectCannedACL,
  PutObjectCommandInput,
  ServerSideEncryption,
  StorageClass,
} from '@aws-sdk/client-s3';

import type { WriteOptions } from '../store.js';
import type { StoreOptions } from './connection/client.js';

export type NewObjectInput = Pick<
  PutObjectCommandInput,
  'ACL' | 'ContentType' | 'Metadata' | 'SSEKMSKeyId' | 'ServerSideEncryption' | 'StorageClass'
>;

/** The server has the last word on classes, ACLs and encryption names, so they pass unchecked. */
export function newObjectInput(options: StoreOptions, write: WriteOptions): NewObjectInput {
  const storageClass = write.storageClass ?? options.storageClass;
  return {
    ...(write.contentType === undefined ? {} : { ContentType: write.contentType }),
    ...(write.metadata === undefined ? {} : { Metadata: definedOf(write.metadata) }),
    // STANDARD is what the header's absence means, also where the class has no such name.
    ...(storageClass === undefined || storageClass === 'STANDARD'
      ? {}
      : { StorageClass: storageClass as StorageClass }),
    ...(options.acl === undefined ? {} : { ACL: options.acl as ObjectCannedACL }),
    ...(options.sse === undefined
      ? {}
      : { ServerSideEncryption: options.sse as ServerSideEncryption }),
    ...(options.sseKmsKeyId === undefined ? {} : { SSEKMSKeyId: options.sseKmsKeyId }),
  };
}

/** The fields that have a value. */
export function definedOf(
  fields: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined),
  );
}
