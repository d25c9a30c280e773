/**
 * The least IAM policy for a mount: what s3jail asks of S3 for one prefix, and nothing else.
 *
 * Besides the listing of the prefix itself everything is about objects below it; the bucket's root
 * is never asked for. What can be done without, at the price of something small (tags of objects
 * that are renamed, empty uploads of requests whose answer was lost), is left out.
 */
import type { MountOptions } from '../options/table.js';
import type { Source } from '../options/source.js';

interface Statement {
  readonly Sid: string;
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: string;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** IAM user guide, "IAM JSON policy elements reference". */
export interface LeastPolicy {
  readonly Version: '2012-10-17';
  readonly Statement: readonly Statement[];
}

type PolicyOptions = Partial<Pick<MountOptions, 'region' | 'readOnly' | 'acl' | 'sseKmsKeyId'>>;

/** The policy for mounting `source` with `options`. */
export function leastPolicy(
  { bucket, prefix }: Pick<Source, 'bucket' | 'prefix'>,
  options: PolicyOptions,
): LeastPolicy {
  const partition = partitionOf(options.region);
  const arn = `arn:${partition}:s3:::${bucket}`;
  const below = literal(prefix);
  const list: Statement = {
    Sid: 'ListThePrefix',
    Effect: 'Allow',
    Action: ['s3:ListBucket'],
    Resource: arn,
    ...(prefix === '' ? {} : { Condition: { StringLike: { 's3:prefix': `${below}*` } } }),
  };
  const objects: Statement = {
    Sid: options.readOnly === true ? 'ReadObjects' : 'ReadAndWriteObjects',
    Effect: 'Allow',
    Action: objectActions(options),
    Resource: `${arn}/${below}*`,
  };
  const { sseKmsKeyId } = options;
  const keys = sseKmsKeyId === undefined ? [] : [keyStatement(sseKmsKeyId, partition, options)];
  return { Version: '2012-10-17', Statement: [list, objects, ...keys] };
}

function objectActions({ readOnly, acl }: PolicyOptions): string[] {
  if (readOnly === true) return ['s3:GetObject'];
  const writing = ['s3:GetObject', 's3:PutObject', 's3:DeleteObject', 's3:AbortMultipartUpload'];
  return acl === undefined ? writing : [...writing, 's3:PutObjectAcl'];
}

/**
 * Multipart uploads decrypt their own parts, so writing needs kms:Decrypt too (S3 user guide,
 * "Protecting data with server-side encryption").
 */
function keyStatement(key: string, partition: string, { readOnly }: PolicyOptions): Statement {
  const isArn = key.startsWith('arn:');
  const alias = /(?:^|:)(alias\/.+)$/.exec(key)?.[1];
  const any = `arn:${partition}:kms:*:*:key/`;
  return {
    Sid: 'UseTheKey',
    Effect: 'Allow',
    Action: readOnly === true ? ['kms:Decrypt'] : ['kms:Decrypt', 'kms:GenerateDataKey'],
    // A policy names keys, never aliases; a condition can say which one an alias stands for.
    ...(alias === undefined
      ? { Resource: isArn ? key : any + key }
      : {
          Resource: `${any}*`,
          Condition: { 'ForAnyValue:StringEquals': { 'kms:ResourceAliases': alias } },
        }),
  };
}

/** The part of AWS a region is in (AWS general reference, "Amazon Resource Names"). */
function partitionOf(region: string | undefined): string {
  if (region?.startsWith('cn-') === true) return 'aws-cn';
  return region?.startsWith('us-gov-') === true ? 'aws-us-gov' : 'aws';
}

/** Text as a policy means it letter by letter (IAM user guide, "Policy variables"). */
function literal(text: string): string {
  return text.replace(/[*?$]/g, '${$&}');
}
