/** Where the objects are, and how S3 is asked for them. */
import { cannedAcls, serverSideEncryptions } from '../mount-options.js';
import { flag, optional, type OptionTable } from '../option-spec.js';
import {
  matching,
  oneOf,
  parseEndpointUrl,
  parseFilePath,
  parseFilePaths,
  parseFlag,
} from '../values.js';

const plainText = matching(/^[^\p{Cc}]+$/u, 'plain text');

export const s3Options = {
  endpointUrl: optional(
    {
      name: 'endpoint-url',
      group: 'S3',
      value: 'URL',
      help: 'the S3 service to use instead of AWS, https://HOST or http://HOST:PORT',
    },
    parseEndpointUrl,
  ),
  region: optional(
    {
      name: 'region',
      group: 'S3',
      value: 'NAME',
      help: 'region of the bucket; else found from the bucket',
    },
    matching(/^[A-Za-z0-9_-]{1,64}$/, 'a region, such as eu-central-1'),
  ),
  forcePathStyle: {
    name: 'force-path-style',
    group: 'S3',
    help: 'put the bucket into the path of URLs, not into the host name; on with --endpoint-url',
    parse: parseFlag,
    byDefault: () => undefined,
  },
  profile: optional(
    {
      name: 'profile',
      group: 'S3',
      value: 'NAME',
      help: 'profile of ~/.aws/config and ~/.aws/credentials',
    },
    plainText,
  ),
  roleArn: optional(
    { name: 'role-arn', group: 'S3', value: 'ARN', help: 'role to assume' },
    matching(
      /^arn:[\w-]+:(iam|sts)::[^:]*:.+$/,
      'the ARN of a role, arn:aws:iam::ACCOUNT:role/NAME',
    ),
  ),
  roleExternalId: optional(
    {
      name: 'role-external-id',
      group: 'S3',
      value: 'ID',
      help: 'external id that the role asks for',
    },
    plainText,
  ),
  roleSessionName: optional(
    {
      name: 'role-session-name',
      group: 'S3',
      value: 'NAME',
      help: "name of the session in the logs of the role's account",
    },
    matching(/^[\w+=,.@-]{2,64}$/, '2 to 64 letters, digits or any of +=,.@-_'),
  ),
  imdsV1: flag({
    name: 'imds-v1',
    group: 'S3',
    help: 'ask EC2 for the instance role without a session token too (IMDSv1)',
  }),
  noSignRequest: flag({
    name: 'no-sign-request',
    group: 'S3',
    help: 'use no credentials: for public buckets',
  }),
  sourceFile: optional(
    {
      name: 'source-file',
      group: 'S3',
      value: 'FILE',
      help: 'file of mode 0600 that holds SOURCE, with keys in it or not; the argument is then left out, or none',
    },
    parseFilePath,
  ),
  storageClass: optional(
    { name: 'storage-class', group: 'S3', value: 'CLASS', help: 'storage class of new objects' },
    matching(/^[A-Za-z0-9_-]{1,64}$/, 'a storage class, such as STANDARD_IA'),
  ),
  sse: optional(
    {
      name: 'sse',
      group: 'S3',
      value: 'KIND',
      help: `encryption of new objects by S3: ${serverSideEncryptions.join(', ')}`,
    },
    oneOf(serverSideEncryptions),
  ),
  sseKmsKeyId: optional(
    {
      name: 'sse-kms-key-id',
      group: 'S3',
      value: 'ID',
      help: 'KMS key to encrypt with; needs --sse aws:kms',
    },
    plainText,
  ),
  sseCKeyFile: {
    name: 'sse-c-key-file',
    group: 'S3',
    value: 'FILE',
    repeats: true,
    help: 'file of mode 0600 with the key that S3 encrypts with and does not keep (SSE-C); again, or more lines, for older keys, which only read',
    parse: parseFilePaths,
    byDefault: () => [],
  },
  acl: optional(
    {
      name: 'acl',
      group: 'S3',
      value: 'ACL',
      help: 'canned ACL of new objects, such as bucket-owner-full-control',
    },
    oneOf(cannedAcls),
  ),
  requesterPays: flag({
    name: 'requester-pays',
    group: 'S3',
    help: 'accept to be charged by a requester-pays bucket',
  }),
  expectedBucketOwner: optional(
    {
      name: 'expected-bucket-owner',
      group: 'S3',
      value: 'ACCOUNT',
      help: 'refuse a bucket that belongs to another account',
    },
    matching(/^\d{12}$/, 'an AWS account of twelve digits'),
  ),
  caBundle: optional(
    {
      name: 'ca-bundle',
      group: 'S3',
      value: 'FILE',
      help: 'PEM file of the certificate authorities to trust for the endpoint',
    },
    parseFilePath,
  ),
  noCheckBucket: flag({
    name: 'no-check-bucket',
    group: 'S3',
    help: 'mount without asking first whether bucket and credentials work',
  }),
  noReadChecksums: flag({
    name: 'no-read-checksums',
    group: 'S3',
    help: 'do not compare what is read with the checksums that the endpoint tells, for one that tells wrong ones',
  }),
} satisfies Partial<OptionTable>;
