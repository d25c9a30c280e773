/**
 * Which S3 action a request is: from method, whether bucket and key are named, query and the
 * copy-source header.
 */
import type { Query } from '../call.js';

export const s3Actions = [
  'ListBuckets',
  'CreateBucket',
  'HeadBucket',
  'DeleteBucket',
  'GetBucketLocation',
  'GetBucketVersioning',
  'ListObjects',
  'ListObjectsV2',
  'ListMultipartUploads',
  'DeleteObjects',
  'GetObject',
  'HeadObject',
  'GetObjectAttributes',
  'GetObjectTagging',
  'PutObject',
  'PutObjectTagging',
  'CopyObject',
  'DeleteObject',
  'DeleteObjectTagging',
  'RestoreObject',
  'CreateMultipartUpload',
  'UploadPart',
  'UploadPartCopy',
  'CompleteMultipartUpload',
  'AbortMultipartUpload',
  'ListParts',
] as const;
export type S3Action = (typeof s3Actions)[number];

/** What of a request decides its action. */
export interface ActionFacts {
  readonly method: string;
  /** empty if none is named */
  readonly bucket: string;
  readonly key: string;
  readonly query: Query;
  readonly copies: boolean;
}

/** Subresources that lead to actions other than the plain ones. */
const subresources = [
  'accelerate',
  'acl',
  'analytics',
  'attributes',
  'cors',
  'delete',
  'encryption',
  'intelligent-tiering',
  'inventory',
  'legal-hold',
  'lifecycle',
  'location',
  'logging',
  'metrics',
  'notification',
  'object-lock',
  'ownershipControls',
  'policy',
  'policyStatus',
  'publicAccessBlock',
  'replication',
  'requestPayment',
  'restore',
  'retention',
  'select',
  'session',
  'tagging',
  'torrent',
  'uploads',
  'versionId',
  'versioning',
  'versions',
  'website',
];

/** The action of a request, or undefined for one that is not known here. */
export function classifyAction(facts: ActionFacts): S3Action | undefined {
  const subresource = subresources.find((name) => facts.query.has(name)) ?? '';
  if (facts.bucket === '') return facts.method === 'GET' ? 'ListBuckets' : undefined;
  if (facts.key === '') return bucketAction(facts, subresource);
  if (facts.query.has('uploadId')) return uploadAction(facts);
  if (facts.method === 'PUT' && subresource === '') {
    return facts.copies ? 'CopyObject' : 'PutObject';
  }
  return objectActions[`${facts.method} ${subresource}`.trim()];
}

function bucketAction({ method, query }: ActionFacts, subresource: string): S3Action | undefined {
  if (method === 'GET' && subresource === '') {
    return query.get('list-type') === '2' ? 'ListObjectsV2' : 'ListObjects';
  }
  return bucketActions[`${method} ${subresource}`.trim()];
}

function uploadAction({ method, copies }: ActionFacts): S3Action | undefined {
  if (method === 'PUT') return copies ? 'UploadPartCopy' : 'UploadPart';
  return uploadActions[method];
}

const bucketActions: Readonly<Record<string, S3Action>> = {
  HEAD: 'HeadBucket',
  PUT: 'CreateBucket',
  DELETE: 'DeleteBucket',
  'GET location': 'GetBucketLocation',
  'GET versioning': 'GetBucketVersioning',
  'GET uploads': 'ListMultipartUploads',
  'POST delete': 'DeleteObjects',
};

const objectActions: Readonly<Record<string, S3Action>> = {
  GET: 'GetObject',
  HEAD: 'HeadObject',
  DELETE: 'DeleteObject',
  'GET attributes': 'GetObjectAttributes',
  'GET tagging': 'GetObjectTagging',
  'PUT tagging': 'PutObjectTagging',
  'DELETE tagging': 'DeleteObjectTagging',
  'POST restore': 'RestoreObject',
  'POST uploads': 'CreateMultipartUpload',
};

const uploadActions: Readonly<Record<string, S3Action>> = {
  GET: 'ListParts',
  POST: 'CompleteMultipartUpload',
  DELETE: 'AbortMultipartUpload',
};
