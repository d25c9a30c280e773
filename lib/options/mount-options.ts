/** What `mount` can be told, checked and with defaults filled in, and the values that S3 fixes. */
import type { UserAccount } from '../host/accounts.js';
import type { LogLevel } from '../log.js';
import type { Address } from './values.js';

/** Everything `mount` can be told, checked and with defaults filled in. Sizes are in bytes. */
export interface MountOptions {
  readonly endpointUrl: string | undefined;
  readonly region: string | undefined;
  readonly forcePathStyle: boolean | undefined;
  readonly profile: string | undefined;
  readonly roleArn: string | undefined;
  readonly roleExternalId: string | undefined;
  readonly roleSessionName: string | undefined;
  readonly imdsV1: boolean;
  readonly noSignRequest: boolean;
  readonly sourceFile: string | undefined;
  readonly storageClass: string | undefined;
  readonly sse: ServerSideEncryption | undefined;
  readonly sseKmsKeyId: string | undefined;
  /** absolute paths; the first key of the first is for what is written */
  readonly sseCKeyFile: readonly string[];
  readonly acl: CannedAcl | undefined;
  readonly requesterPays: boolean;
  readonly expectedBucketOwner: string | undefined;
  readonly caBundle: string | undefined;
  readonly noCheckBucket: boolean;
  readonly noReadChecksums: boolean;

  readonly uid: number;
  readonly gid: number;
  /** permission bits of files */
  readonly fileMode: number;
  /** permission bits of directories below the root */
  readonly dirMode: number;
  /** the mount root is root's, so that sshd takes it as ChrootDirectory */
  readonly chroot: boolean;
  /** mounted by root for the owner alone */
  readonly private: boolean;
  /** who the mount's process becomes; stays who it is if absent */
  readonly runAs: UserAccount | undefined;
  /** who besides root may use the mount */
  readonly access: 'owner' | 'any';
  readonly allowOther: boolean;
  readonly readOnly: boolean;
  /** the first level is the users of the host */
  readonly homes: boolean;
  /** id of the group whose members have a home; undefined for whoever has `homesMinUid` */
  readonly homesGroup: number | undefined;
  readonly homesMinUid: number;
  /** whose rights the requests of a home have */
  readonly homeCredentials: (typeof homeCredentials)[number];

  readonly utimens: 'refuse' | 'ignore' | 'store';
  readonly interrupted: 'discard' | 'keep' | 'resume';
  readonly resumeForMs: number;
  readonly renameDir: 'refuse' | 'recursive';
  readonly metadataTtlMs: number;
  /** give objects the content type of their file name extension */
  readonly contentType: boolean;

  readonly partSize: number;
  readonly equalParts: boolean;
  readonly uploadConcurrency: number;
  readonly downloadConcurrency: number;
  /** bytes a second */
  readonly maxUploadRate: number | undefined;
  readonly maxDownloadRate: number | undefined;
  readonly memoryLimit: number;
  readonly tempDir: string;
  readonly tempLimit: number;
  /** without progress: of a request, of a connection, of an upload that waits for S3 */
  readonly timeoutMs: number;

  readonly driver: 'auto' | 'kernel' | 'fuse-native';
  readonly logLevel: LogLevel;
  readonly logFormat: 'text' | 'json';
  readonly logFile: string | undefined;
  readonly auditLog: string | undefined;
  readonly onStore: string | undefined;
  readonly metrics: Address | undefined;
  readonly drainTimeoutMs: number;
}

/** x-amz-server-side-encryption (S3 API, PutObject). */
export const homeCredentials = ['shared', 'scoped'] as const;
export const serverSideEncryptions = ['AES256', 'aws:kms', 'aws:kms:dsse'] as const;
export type ServerSideEncryption = (typeof serverSideEncryptions)[number];

/** x-amz-acl (S3 user guide, "Canned ACL"). */
export const cannedAcls = [
  'private',
  'public-read',
  'public-read-write',
  'authenticated-read',
  'aws-exec-read',
  'bucket-owner-read',
  'bucket-owner-full-control',
] as const;
export type CannedAcl = (typeof cannedAcls)[number];

/** x-amz-storage-class of AWS itself (S3 API, PutObject); other services have names of their own. */
export const awsStorageClasses = [
  'STANDARD',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER_IR',
  'GLACIER',
  'DEEP_ARCHIVE',
  'REDUCED_REDUNDANCY',
  'EXPRESS_ONEZONE',
  'OUTPOSTS',
  'SNOW',
] as const;

/** What defaults depend on besides other options. */
export interface Ambient {
  /** the effective user and group of this process */
  readonly uid: number;
  readonly gid: number;
  /** TMPDIR, if set */
  readonly tmpdir: string | undefined;
  /** whether AWS's own variables name an endpoint */
  readonly hasEndpointVariable: boolean;
}

export type OptionKey = keyof MountOptions;

/** Where each option that was given came from, as messages name it: `--region`, `S3JAIL_REGION`. */
export type Origins = ReadonlyMap<OptionKey, string>;
