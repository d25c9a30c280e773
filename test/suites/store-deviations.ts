/**
 * What the servers under test do otherwise than AWS, as far as the store's laws notice: one list for
 * each server. The laws assert each deviation, so that a server that mends its ways is noticed.
 */

import type { ServerName } from '../support/servers.js';

/** Whether conditions on the target of a write are kept: where not, the store looks first. */
export interface KeptConditions {
  readonly absent: boolean;
  readonly etag: boolean;
}

export interface Deviations {
  readonly conditions: {
    readonly put: KeptConditions;
    readonly complete: KeptConditions;
    readonly copy: KeptConditions;
  };
  /** CompleteMultipartUpload answers with the ETag, so that nobody has to ask for it */
  readonly namesVersions: boolean;
  /** the ETag of a PUT is the MD5 of its body, which proves it where no checksum does; not under SSE-C */
  readonly tagsByMd5: boolean;
  /** If-Match of a marker's own tag does not hold (MinIO, under SSE-C) */
  readonly mistakesMarkers: boolean;
  /** DeleteObject under an If-Match that does not hold deletes nevertheless */
  readonly deletesAnyway: boolean;
  /** AbortMultipartUpload answers 200, so that ListParts has to tell whether it was done */
  readonly abortsBy200: boolean;
  /** multipart uploads take tags */
  readonly tagsUploads: boolean;
  /** checksums of whole objects are stored and come back with GET */
  readonly storesChecksums: boolean;
  /** knows GLACIER and refuses to read what is there */
  readonly archives: boolean;
  /** a storage class beside the default one that it keeps; undefined where it knows none */
  readonly otherClass: 'STANDARD_IA' | 'REDUCED_REDUNDANCY' | undefined;
  /** completes uploads whose parts are below 5 MiB */
  readonly takesSmallParts: boolean;
  /** knows the tags of objects */
  readonly tags: boolean;
  /**
   * What comes of an object `a` and one below `a/`: each is there, or the first hides the second from
   * listings, or the second is refused.
   */
  readonly nesting: 'kept' | 'hidden' | 'refused';
  /** an object `a` and a marker `a/` may both be there */
  readonly nestsMarkers: boolean;
  /** lists all levels folder by folder, `a/b` before `a.txt`, and not in the order of UTF-8 bytes */
  readonly listsByFolder: boolean;
  /** a marker keeps metadata and headers */
  readonly describesMarkers: boolean;
  /** metadata beyond ASCII comes back encoded as RFC 2047 has it */
  readonly encodesMetadata: boolean;
  /** a marker may have content */
  readonly fillsMarkers: boolean;
  /** longest name between slashes, bytes */
  readonly longestSegment: number;
  /** names that it refuses, or stores under another name without a word */
  readonly lostNames: readonly string[];
  /** a bucket that is not there is made by the first write to it */
  readonly makesBuckets: boolean;
  /** refuses a large body with most of it unread, and resets: its answer is heard now and then */
  readonly resetsEarly: boolean;
}

/** Names with segments that a path cannot have: servers that store in folders do not hold them. */
const pathLike = ['a//b', './x', '../x', 'x/../y'];

const kept: KeptConditions = { absent: true, etag: true };
const ignored: KeptConditions = { absent: false, etag: false };

/** The embedded endpoint: AWS's strict side. */
export const embeddedDeviations: Deviations = {
  conditions: { put: kept, complete: kept, copy: kept },
  namesVersions: true,
  tagsByMd5: true,
  mistakesMarkers: false,
  deletesAnyway: false,
  abortsBy200: false,
  tagsUploads: true,
  storesChecksums: true,
  archives: true,
  otherClass: 'STANDARD_IA',
  takesSmallParts: false,
  tags: true,
  nesting: 'kept',
  nestsMarkers: true,
  listsByFolder: false,
  describesMarkers: true,
  encodesMetadata: false,
  fillsMarkers: true,
  longestSegment: 1024,
  lostNames: [],
  makesBuckets: false,
  resetsEarly: false,
};

/** Ceph 16.2, as Debian 12 has it. It also answers 412 where If-Match of a PUT does hold. */
export const ceph16Deviations: Deviations = {
  ...embeddedDeviations,
  conditions: { put: { absent: true, etag: false }, complete: ignored, copy: ignored },
  namesVersions: false,
  deletesAnyway: true,
  abortsBy200: false,
  tagsUploads: false,
  storesChecksums: false,
  archives: false,
};

/** Ceph 18.2, as Debian 13 has it. */
export const ceph18Deviations: Deviations = { ...ceph16Deviations, namesVersions: true };

/** Ceph 20.2, as Debian's unstable has it. */
export const ceph20Deviations: Deviations = {
  ...embeddedDeviations,
  conditions: { put: kept, complete: kept, copy: ignored },
  namesVersions: true,
  deletesAnyway: false,
  abortsBy200: false,
  tagsUploads: true,
  storesChecksums: true,
  archives: false,
};

/** Those of the Ceph that the environment names: S3JAIL_TEST_CEPH_VERSION, as scripts/ceph prints it; 16 if not. */
export function cephDeviations(): Deviations {
  const version = Number(process.env['S3JAIL_TEST_CEPH_VERSION'] ?? '16');
  if (version >= 20) return ceph20Deviations;
  return version >= 18 ? ceph18Deviations : ceph16Deviations;
}

/** MinIO of February 2026, on a disk: names are folders, and an object is one too. */
const minioDeviations: Deviations = {
  ...embeddedDeviations,
  encodesMetadata: true,
  conditions: { put: kept, complete: kept, copy: ignored },
  // It does not look at If-Match of DeleteObject.
  deletesAnyway: true,
  archives: false,
  otherClass: 'REDUCED_REDUNDANCY',
  nesting: 'hidden',
  longestSegment: 255,
  lostNames: pathLike,
};

/** versitygw 1.8 on a directory: each object is a file of its name. */
const versitygwDeviations: Deviations = {
  ...embeddedDeviations,
  conditions: { put: kept, complete: kept, copy: ignored },
  archives: false,
  otherClass: undefined,
  nesting: 'refused',
  nestsMarkers: false,
  fillsMarkers: false,
  longestSegment: 227,
  resetsEarly: true,
  // Control characters come back as U+FFFD.
  lostNames: [...pathLike, 'directory/', 'control\u0001\u001f\u007f', '\u0001'],
};

/** SeaweedFS 4.48: its filer has files and folders. */
const seaweedfsDeviations: Deviations = {
  ...embeddedDeviations,
  archives: false,
  nestsMarkers: false,
  listsByFolder: true,
  describesMarkers: false,
  fillsMarkers: false,
  longestSegment: 255,
  makesBuckets: true,
  // A backslash is a slash.
  lostNames: [...pathLike, 'directory/', 'back\\slash'],
};

/** Garage 1.2: no conditions, no tags, no classes. */
const garageDeviations: Deviations = {
  ...embeddedDeviations,
  conditions: { put: ignored, complete: ignored, copy: ignored },
  deletesAnyway: true,
  abortsBy200: true,
  archives: false,
  otherClass: undefined,
  takesSmallParts: true,
  tags: false,
};

const deviations: Readonly<Record<ServerName, () => Deviations>> = {
  embedded: () => embeddedDeviations,
  minio: () => minioDeviations,
  versitygw: () => versitygwDeviations,
  seaweedfs: () => seaweedfsDeviations,
  garage: () => garageDeviations,
  ceph: cephDeviations,
};

export function deviationsOf(server: ServerName): Deviations {
  return deviations[server]();
}
