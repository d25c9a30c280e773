/**
 * The least IAM policy for a mount: what s3jail asks of S3 for one prefix, and nothing else.
 *
 * Besides the listing of the prefix itself everything is about objects below it; the bucket's root
 * is never asked for. What can be done without, at the price of something small (tags of objects
 * that are renamed, empty uploads of requests whose answer was lost), is left out.
 */
interface Statement {
  readonly Sid: string;
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: string;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** What a policy is about. */
export interface PolicyPlace {
  /** or the ARN of an access point */
  readonly bucket: string;
  /** empty, or ending in `/` */
  readonly prefix: string;
}

export interface PolicyOptions {
  readonly region?: string | undefined;
  readonly readOnly?: boolean | undefined;
  readonly acl?: string | undefined;
  readonly sseKmsKeyId?: string | undefined;
  /** what becomes of interrupted uploads */
  readonly interrupted?: string | undefined;
}

/** IAM user guide, "IAM JSON policy elements reference". */
export interface LeastPolicy {
  readonly Version: '2012-10-17';
  readonly Statement: readonly Statement[];
}

/** The policy for mounting a place with `options`. */
export function leastPolicy(place: PolicyPlace, options: PolicyOptions): LeastPolicy {
  const { sseKmsKeyId } = options;
  const keys = sseKmsKeyId === undefined ? [] : [keyStatement(sseKmsKeyId, options)];
  return { Version: '2012-10-17', Statement: [...placeStatements(place, options), ...keys] };
}

function placeStatements(
  { bucket, prefix }: PolicyPlace,
  options: PolicyOptions,
): [list: Statement, objects: Statement] {
  const isPoint = bucket.startsWith('arn:');
  const arn = isPoint ? bucket : `arn:${partitionOf(options.region)}:s3:::${bucket}`;
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
    Resource: `${arn}/${isPoint ? 'object/' : ''}${below}*`,
  };
  return [list, objects];
}

const longestSessionPolicy = 2048;

/** What a mount asks for as well, and does without where it is refused. */
const alsoAsked = {
  list: ['s3:ListBucketMultipartUploads'],
  read: ['s3:GetObjectTagging'],
  write: ['s3:PutObjectTagging', 's3:ListMultipartUploadParts'],
};

/**
 * The policy for a session of a role that is to reach one place only, as STS takes it (STS API
 * reference, AssumeRole: 2,048 characters at most, up to U+00FF). It takes away and gives nothing, so
 * what the role may do with tags of the place, and with which keys, is left to the role.
 * @param options.isAws others (Ceph 16) refuse a policy that names actions of KMS
 * @throws RangeError where the prefix is too long for that
 */
export function sessionPolicy(
  place: PolicyPlace,
  options: PolicyOptions & { readonly isAws: boolean },
): string {
  const { readOnly } = options;
  const usesKeys = options.isAws || options.sseKmsKeyId !== undefined;
  const more = [...alsoAsked.read, ...(readOnly === true ? [] : alsoAsked.write)];
  const [list, objects] = placeStatements(place, options);
  const statements = [
    { ...list, Action: [...list.Action, ...alsoAsked.list] },
    { ...objects, Action: [...new Set([...objects.Action, ...more])] },
    ...(usesKeys ? [{ Effect: 'Allow', Action: keyActions(options), Resource: '*' }] : []),
  ].map((statement) => ({ ...statement, Sid: undefined }));
  const text = asAscii(JSON.stringify({ Version: '2012-10-17', Statement: statements }));
  if (text.length > longestSessionPolicy) {
    throw new RangeError(
      `the session policy for s3://${place.bucket}/${place.prefix} has ${text.length} characters, more than STS takes (${longestSessionPolicy}); use a shorter prefix`,
    );
  }
  return text;
}

/** JSON without characters that STS refuses in it. */
function asAscii(json: string): string {
  return json.replace(/[^\x20-\x7e]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

function objectActions({ readOnly, acl, interrupted }: PolicyOptions): string[] {
  if (readOnly === true) return ['s3:GetObject'];
  const writing = ['s3:GetObject', 's3:PutObject', 's3:DeleteObject', 's3:AbortMultipartUpload'];
  // What is held is compared with what S3 has.
  if (interrupted === 'resume') writing.push('s3:ListMultipartUploadParts');
  return acl === undefined ? writing : [...writing, 's3:PutObjectAcl'];
}

/**
 * Multipart uploads decrypt their own parts, so writing needs kms:Decrypt too (S3 user guide,
 * "Protecting data with server-side encryption").
 */
function keyActions({ readOnly }: PolicyOptions): string[] {
  return readOnly === true ? ['kms:Decrypt'] : ['kms:Decrypt', 'kms:GenerateDataKey'];
}

function keyStatement(key: string, options: PolicyOptions): Statement {
  const partition = partitionOf(options.region);
  const isArn = key.startsWith('arn:');
  const alias = /(?:^|:)(alias\/.+)$/.exec(key)?.[1];
  const any = `arn:${partition}:kms:*:*:key/`;
  return {
    Sid: 'UseTheKey',
    Effect: 'Allow',
    Action: keyActions(options),
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
