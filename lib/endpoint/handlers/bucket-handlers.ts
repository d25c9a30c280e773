/**
 * ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation, GetBucketVersioning.
 */
import { mayDo, requirePermission } from '../access/access.js';
import { receiveDocument } from '../wire/body.js';
import type { Call, Reply } from '../call.js';
import { documentTime } from '../wire/times.js';
import type { Bucket } from '../storage/object-folder.js';
import type { BucketRecord } from '../storage/records.js';
import { S3Error } from '../wire/s3-error.js';
import type { Service } from '../service.js';
import {
  childText,
  children,
  document,
  element,
  join,
  Markup,
  parseXml,
  record,
} from '../wire/xml.js';

/** A bucket the service is started with. */
export interface BucketOptions {
  readonly name: string;
  /** the endpoint's region if absent */
  readonly region?: string;
  /** what requests without a signature may do; nothing if absent */
  readonly anonymous?: BucketRecord['anonymous'];
  /** refuse requests without `x-amz-request-payer: requester` */
  readonly requesterPays?: boolean;
}

/** S3 user guide, "General purpose bucket naming rules". */
export function isBucketName(name: string): boolean {
  return (
    /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) &&
    !name.includes('..') &&
    !/^\d+\.\d+\.\d+\.\d+$/.test(name)
  );
}

/** Makes the record of a bucket. */
export function newBucketRecord(service: Service, options: BucketOptions): BucketRecord {
  return {
    name: options.name,
    createdMs: service.now(),
    region: options.region ?? service.region,
    anonymous: options.anonymous ?? 'nothing',
    requesterPays: options.requesterPays ?? false,
  };
}

export function listBuckets(service: Service, call: Call): Reply {
  if (call.principal === undefined) throw new S3Error('AccessDenied');
  const buckets = [...service.folder.buckets.values()]
    .filter((bucket) => mayDo(call, bucket, 'ListAllMyBuckets', ''))
    .map(({ record: { name, createdMs } }) =>
      record('Bucket', { Name: name, CreationDate: documentTime(createdMs) }),
    );
  const owner = children({ ID: service.accountId, DisplayName: service.accountId });
  const body = join(element('Owner', owner), element('Buckets', join(...buckets)));
  return { status: 200, body: document('ListAllMyBucketsResult', body) };
}

export async function createBucket(service: Service, call: Call): Promise<Reply> {
  const { principal } = call;
  if (principal === undefined) throw new S3Error('AccessDenied');
  if (!isBucketName(call.bucket)) {
    throw new S3Error('InvalidBucketName', { elements: { BucketName: call.bucket } });
  }
  const text = await receiveDocument(call);
  const region = text === '' ? undefined : childText(parseXml(text), 'LocationConstraint');
  const fresh = newBucketRecord(service, {
    name: call.bucket,
    ...(region !== undefined && region !== '' && { region }),
  });
  const bucket = service.folder.buckets.get(call.bucket);
  if (bucket !== undefined) {
    // us-east-1 alone answers 200 to the owner (S3 API reference, CreateBucket).
    if (service.region !== 'us-east-1') {
      throw new S3Error('BucketAlreadyOwnedByYou', { elements: { BucketName: call.bucket } });
    }
  } else await service.folder.setBucket(fresh);
  return { status: 200, headers: { location: `/${call.bucket}` } };
}

export function headBucket(call: Call, bucket: Bucket): Reply {
  requirePermission(call, bucket, 'ListBucket', '');
  return { status: 200, headers: { 'x-amz-bucket-region': bucket.record.region } };
}

export async function deleteBucket(service: Service, call: Call, bucket: Bucket): Promise<Reply> {
  requirePermission(call, bucket, 'DeleteBucket', '');
  await service.folder.deleteBucket(bucket.record.name);
  return { status: 204 };
}

export function bucketLocation(call: Call, bucket: Bucket): Reply {
  requirePermission(call, bucket, 'GetBucketLocation', '');
  const { region } = bucket.record;
  // us-east-1 is told as nothing (S3 API reference, GetBucketLocation).
  const content = region === 'us-east-1' ? '' : region;
  return { status: 200, body: document('LocationConstraint', new Markup(content)) };
}

/** Versions are not kept here, which is what an empty answer says. */
export function bucketVersioning(call: Call, bucket: Bucket): Reply {
  requirePermission(call, bucket, 'GetBucketVersioning', '');
  return { status: 200, body: document('VersioningConfiguration', new Markup('')) };
}
