/**
 * The one table of mount options. From it come the options of the command line, the names taken by
 * `-o` and by S3JAIL_… variables, the help text, and the defaults.
 *
 * An option stands here once the program honours it, not before.
 */
import { logLevels, type LogLevel } from '../log.js';
import {
  matching,
  oneOf,
  parseAccount,
  parseAddress,
  parseCount,
  parseEndpointUrl,
  parseFilePath,
  parseFlag,
  parseGroup,
  parseMode,
  parseSize,
  parseTime,
  parseUser,
  parsePrimaryGroup,
  showSize,
  showTime,
  within,
  type Address,
} from './values.js';
import type { UserAccount } from '../host/accounts.js';
import { multipartLimits } from '../store.js';

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

/** One row of the table. */
export interface OptionSpec<T> {
  /** as after `--`; in the environment upper case with underscores after S3JAIL_ */
  readonly name: string;
  readonly group: OptionGroup;
  /** what help calls the value; absent for switches */
  readonly value?: string;
  readonly help: string;
  /** the default as help shows it; absent where the option is off or empty */
  readonly defaultText?: string;
  readonly parse: (text: string) => T;
  /** `given` holds the options before this one in the table, and all that were given */
  readonly byDefault: (given: Partial<MountOptions>, ambient: Ambient) => T;
}

export const optionGroups = [
  'S3',
  'Ownership and access',
  'Homes',
  'Semantics',
  'Transfer',
  'Process and logging',
] as const;
export type OptionGroup = (typeof optionGroups)[number];

type Row = Pick<OptionSpec<unknown>, 'name' | 'group' | 'help'> & { value?: string };

/** A switch that is off unless given. */
function flag(row: Row): OptionSpec<boolean> {
  return { ...row, parse: parseFlag, byDefault: () => false };
}

/** An option that need not have a value at all. */
function optional<T>(row: Row, parse: (text: string) => T): OptionSpec<T | undefined> {
  return { ...row, parse, byDefault: () => undefined };
}

/** An option whose default is a value like any other. */
function valued<T>(row: Row, fallback: string, parse: (text: string) => T): OptionSpec<T> {
  return { ...row, defaultText: fallback, parse, byDefault: () => parse(fallback) };
}

const plainText = matching(/^[^\p{Cc}]+$/u, 'plain text');
const concurrency = within(parseCount, { least: 1, most: 256, show: String });

const partSize = within(parseSize, {
  least: multipartLimits.minPart,
  most: multipartLimits.maxPart,
  show: showSize,
});

/** Slower ones would not get a part through in the time that one request may take. */
const rate = within(parseSize, { least: 64 * 1024, show: showSize });

/** Timers of Node take at most 2^31 - 1 ms and fire at once above. */
const time = within(parseTime, { most: 2 ** 31 - 1, show: showTime });

export const optionTable: { readonly [Key in keyof MountOptions]: OptionSpec<MountOptions[Key]> } =
  {
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

    uid: {
      name: 'uid',
      group: 'Ownership and access',
      value: 'USER',
      help: 'owner of everything below the root, by name or number',
      defaultText: 'whoever mounts',
      parse: parseUser,
      byDefault: (_given, ambient) => ambient.uid,
    },
    gid: {
      name: 'gid',
      group: 'Ownership and access',
      value: 'GROUP',
      help: 'group of everything below the root, by name or number',
      defaultText: "the owner's",
      parse: parseGroup,
      byDefault: (given, ambient) =>
        given.uid === undefined || given.uid === ambient.uid
          ? ambient.gid
          : (parsePrimaryGroup(given.uid) ?? given.uid),
    },
    fileMode: valued(
      {
        name: 'file-mode',
        group: 'Ownership and access',
        value: 'MODE',
        help: 'permissions shown for files',
      },
      '0644',
      parseMode,
    ),
    dirMode: valued(
      {
        name: 'dir-mode',
        group: 'Ownership and access',
        value: 'MODE',
        help: 'permissions shown for directories',
      },
      '0755',
      parseMode,
    ),
    chroot: {
      name: 'chroot',
      group: 'Ownership and access',
      help: "the mount root itself is root's, so that sshd takes it as ChrootDirectory",
      defaultText: 'on for root',
      parse: parseFlag,
      byDefault: (given, ambient) => ambient.uid === 0 && given.private !== true,
    },
    private: flag({
      name: 'private',
      group: 'Ownership and access',
      help: 'the other layout: mounted by root one level below the chroot, for --uid alone, closed even to root',
    }),
    runAs: optional(
      {
        name: 'run-as',
        group: 'Ownership and access',
        value: 'USER',
        help: 'user that the process of the mount becomes, by name or number; it then has none of the rights of root',
      },
      parseAccount,
    ),
    access: valued(
      {
        name: 'access',
        group: 'Ownership and access',
        value: 'WHOM',
        help: 'who besides root may use the mount: owner (the user of --uid), or any',
      },
      'owner',
      oneOf(['owner', 'any']),
    ),
    allowOther: {
      name: 'allow-other',
      group: 'Ownership and access',
      help: 'let users other than the one who mounts in; for others than root, /etc/fuse.conf has to allow it',
      defaultText: 'on with --chroot',
      parse: parseFlag,
      byDefault: (given) => given.chroot === true,
    },
    readOnly: flag({
      name: 'read-only',
      group: 'Ownership and access',
      help: 'refuse every change; also -o ro',
    }),

    homes: flag({
      name: 'homes',
      group: 'Homes',
      help: 'one mount for all users of the host: MOUNTPOINT/NAME is what the prefix holds below NAME/, for the user NAME and root alone',
    }),
    homesGroup: optional(
      {
        name: 'homes-group',
        group: 'Homes',
        value: 'GROUP',
        help: 'who has a home: the members of this group, by name or number',
      },
      parseGroup,
    ),
    homesMinUid: valued(
      {
        name: 'homes-min-uid',
        group: 'Homes',
        value: 'UID',
        help: 'who has a home, without --homes-group: users with this uid or a higher one',
      },
      '1000',
      within(parseCount, { least: 1, most: 2 ** 32 - 2, show: String }),
    ),
    homeCredentials: valued(
      {
        name: 'home-credentials',
        group: 'Homes',
        value: 'WHOSE',
        help: "whose rights a home's requests have: the mount's (shared), or a session of --role-arn for that home alone, in its user's name (scoped)",
      },
      'shared',
      oneOf(homeCredentials),
    ),

    utimens: valued(
      {
        name: 'utimens',
        group: 'Semantics',
        value: 'HOW',
        help: 'setting file times: refuse, ignore, or store as metadata of the object',
      },
      'refuse',
      oneOf(['refuse', 'ignore', 'store']),
    ),
    interrupted: valued(
      {
        name: 'interrupted',
        group: 'Semantics',
        value: 'HOW',
        help: 'an upload whose client vanished before closing the file: discard or keep what came, or resume: hold it, unpublished, until the client goes on',
      },
      'discard',
      oneOf(['discard', 'keep', 'resume']),
    ),
    resumeForMs: valued(
      {
        name: 'resume-for',
        group: 'Semantics',
        value: 'TIME',
        help: 'how long --interrupted resume holds an upload that nobody goes on with',
      },
      '24h',
      within(time, { least: 1000, show: showTime }),
    ),
    renameDir: valued(
      {
        name: 'rename-dir',
        group: 'Semantics',
        value: 'HOW',
        help: 'renaming a directory that is not empty: refuse, or recursive (copies every object)',
      },
      'refuse',
      oneOf(['refuse', 'recursive']),
    ),
    metadataTtlMs: valued(
      {
        name: 'metadata-ttl',
        group: 'Semantics',
        value: 'TIME',
        help: 'how long changes made elsewhere may go unseen; 0 asks S3 every time',
      },
      '5s',
      time,
    ),
    contentType: {
      name: 'content-type',
      group: 'Semantics',
      help: 'set Content-Type by file name extension; --no-content-type leaves it to S3',
      defaultText: 'on',
      parse: parseFlag,
      byDefault: () => true,
    },

    partSize: valued(
      {
        name: 'part-size',
        group: 'Transfer',
        value: 'SIZE',
        help: 'part of uploads and downloads',
      },
      '8MiB',
      partSize,
    ),
    equalParts: flag({
      name: 'equal-parts',
      group: 'Transfer',
      help: 'all parts of an object of one size, for endpoints that demand it; files up to 10,000 parts',
    }),
    uploadConcurrency: valued(
      {
        name: 'upload-concurrency',
        group: 'Transfer',
        value: 'N',
        help: 'parts of a file uploaded at a time',
      },
      '8',
      concurrency,
    ),
    downloadConcurrency: valued(
      {
        name: 'download-concurrency',
        group: 'Transfer',
        value: 'N',
        help: 'parts of a file downloaded at a time',
      },
      '8',
      concurrency,
    ),
    maxUploadRate: optional(
      {
        name: 'max-upload-rate',
        group: 'Transfer',
        value: 'SIZE',
        help: 'most bytes a second that all uploads take together',
      },
      rate,
    ),
    maxDownloadRate: optional(
      {
        name: 'max-download-rate',
        group: 'Transfer',
        value: 'SIZE',
        help: 'most bytes a second that all downloads take together',
      },
      rate,
    ),
    memoryLimit: {
      name: 'memory-limit',
      group: 'Transfer',
      value: 'SIZE',
      help: 'memory for data on its way, all files together',
      defaultText: '256MiB; 128MiB with --homes',
      parse: within(parseSize, { least: 16 * 2 ** 20, show: showSize }),
      // With the rest that many users take, the process stays below 300 MB.
      byDefault: (given) => (given.homes === true ? 128 : 256) * 2 ** 20,
    },
    tempDir: {
      name: 'temp-dir',
      group: 'Transfer',
      value: 'DIR',
      help: 'where files wait for their upload, in a directory of their own (0700)',
      defaultText: '$TMPDIR or /var/tmp',
      parse: parseFilePath,
      // Not /tmp: it is memory on many machines, and whole files may wait here.
      byDefault: (_given, ambient) => parseFilePath(ambient.tmpdir ?? '/var/tmp'),
    },
    tempLimit: valued(
      {
        name: 'temp-limit',
        group: 'Transfer',
        value: 'SIZE',
        help: 'most that may wait there, all files together',
      },
      '10GiB',
      within(parseSize, { least: 16 * 2 ** 20, show: showSize }),
    ),
    timeoutMs: valued(
      {
        name: 'timeout',
        group: 'Transfer',
        value: 'TIME',
        help: 'how long S3 may make no progress with a request, or be away while an upload waits for it',
      },
      '60s',
      within(time, { least: 100, show: showTime }),
    ),

    driver: valued(
      {
        name: 'driver',
        group: 'Process and logging',
        value: 'NAME',
        help: 'way to the kernel: auto, kernel (needs root) or fuse-native (needs libfuse 2)',
      },
      'auto',
      oneOf(['auto', 'kernel', 'fuse-native']),
    ),
    logLevel: valued(
      {
        name: 'log-level',
        group: 'Process and logging',
        value: 'LEVEL',
        help: `one of ${logLevels.join(', ')}`,
      },
      'info',
      oneOf(logLevels),
    ),
    logFormat: valued(
      { name: 'log-format', group: 'Process and logging', value: 'FORMAT', help: 'text or json' },
      'text',
      oneOf(['text', 'json']),
    ),
    logFile: {
      name: 'log-file',
      group: 'Process and logging',
      value: 'FILE',
      help: 'file to append the log to',
      defaultText: 'stderr; in the background as said below',
      parse: parseFilePath,
      byDefault: () => undefined,
    },
    auditLog: optional(
      {
        name: 'audit-log',
        group: 'Process and logging',
        value: 'FILE',
        help: 'file to append a JSON line to for each file stored, read, renamed or deleted',
      },
      parseFilePath,
    ),
    metrics: optional(
      {
        name: 'metrics',
        group: 'Process and logging',
        value: 'ADDRESS',
        help: 'serve Prometheus metrics on PORT of this machine alone, or on HOST:PORT',
      },
      parseAddress,
    ),
    drainTimeoutMs: valued(
      {
        name: 'drain-timeout',
        group: 'Process and logging',
        value: 'TIME',
        help: 'how long stopping may take to store what is still open',
      },
      '5m',
      time,
    ),
  };

/** The rows in the order of the table, for help and for documents made from it. */
export const optionRows: readonly OptionSpec<unknown>[] = Object.values(optionTable);
