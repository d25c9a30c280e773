/**
 * From a checked call to the handler of its action.
 */
import { maxKeyBytes } from '../path.js';
import { checkBucketHeaders } from './access/access.js';
import { classifyAction, type S3Action } from './access/actions.js';
import {
  bucketLocation,
  bucketVersioning,
  createBucket,
  deleteBucket,
  headBucket,
  listBuckets,
} from './handlers/bucket-handlers.js';
import type { Call, Reply } from './call.js';
import { copyObject, uploadPartCopy } from './handlers/copy-handlers.js';
import { listObjectsV1, listObjectsV2, listParts, listUploads } from './handlers/list-handlers.js';
import type { Bucket } from './storage/object-folder.js';
import {
  deleteObject,
  deleteObjects,
  objectAttributes,
  putObject,
  readObject,
  restoreObject,
} from './handlers/object-handlers.js';
import { S3Error } from './wire/s3-error.js';
import type { Service } from './service.js';
import { deleteTags, getTags, putTags } from './handlers/tag-handlers.js';
import {
  abortUpload,
  completeUpload,
  createUpload,
  uploadPart,
} from './handlers/upload-handlers.js';

type BucketAction = Exclude<S3Action, 'ListBuckets' | 'CreateBucket'>;
type Handler = (service: Service, call: Call, bucket: Bucket) => Reply | Promise<Reply>;

const handlers: Readonly<Record<BucketAction, Handler>> = {
  HeadBucket: (_, call, bucket) => headBucket(call, bucket),
  DeleteBucket: deleteBucket,
  GetBucketLocation: (_, call, bucket) => bucketLocation(call, bucket),
  GetBucketVersioning: (_, call, bucket) => bucketVersioning(call, bucket),
  ListObjects: listObjectsV1,
  ListObjectsV2: listObjectsV2,
  ListMultipartUploads: listUploads,
  DeleteObjects: deleteObjects,
  GetObject: readObject,
  HeadObject: readObject,
  GetObjectAttributes: (_, call, bucket) => objectAttributes(call, bucket),
  GetObjectTagging: (_, call, bucket) => getTags(call, bucket),
  PutObject: putObject,
  PutObjectTagging: putTags,
  CopyObject: copyObject,
  DeleteObject: deleteObject,
  DeleteObjectTagging: deleteTags,
  RestoreObject: restoreObject,
  CreateMultipartUpload: createUpload,
  UploadPart: uploadPart,
  UploadPartCopy: uploadPartCopy,
  CompleteMultipartUpload: completeUpload,
  AbortMultipartUpload: abortUpload,
  ListParts: listParts,
};

/** @throws S3Error KeyTooLongError */
function checkKey(key: string): void {
  const size = Buffer.byteLength(key);
  if (size <= maxKeyBytes) return;
  throw new S3Error('KeyTooLongError', {
    elements: { Size: String(size), MaxSizeAllowed: String(maxKeyBytes) },
  });
}

/**
 * Answers an S3 call.
 * @throws S3Error KeyTooLongError, NotImplemented for actions not known here; those of the handlers
 */
export async function answerCall(service: Service, call: Call): Promise<Reply> {
  const action = classifyAction({
    method: call.request.method ?? '',
    bucket: call.bucket,
    key: call.key,
    query: call.query,
    copies: call.header('x-amz-copy-source') !== undefined,
  });
  checkKey(call.key);
  if (action === undefined) throw new S3Error('NotImplemented');
  if (action === 'ListBuckets') return listBuckets(service, call);
  if (action === 'CreateBucket') return createBucket(service, call);
  const bucket = service.folder.bucket(call.bucket);
  checkBucketHeaders(service, call, bucket);
  const reply = await handlers[action](service, call, bucket);
  if (call.header('x-amz-request-payer') === undefined) return reply;
  return { ...reply, headers: { ...reply.headers, 'x-amz-request-charged': 'requester' } };
}
