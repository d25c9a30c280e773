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
  /** DeleteObject under an If-Match that does not hold deletes nevertheless */
  readonly deletesAnyway: boolean;
  /** multipart uploads take tags */
  readonly tagsUploads: boolean;
  /** checksums of whole objects are stored and come back with GET */
  readonly storesChecksums: boolean;
  /** answers to a wrong secret and to an unknown key */
  readonly wrongKeyCode: 'own' | 'AccessDenied';
  /** answers requests signed for another region */
  readonly ignoresRegion: boolean;
  /** knows GLACIER and refuses to read what is there */
  readonly archives: boolean;
}

const kept: KeptConditions = { absent: true, etag: true };
const ignored: KeptConditions = { absent: false, etag: false };

/** The embedded endpoint: AWS's strict side. */
export const embeddedDeviations: Deviations = {
  conditions: { put: kept, complete: kept, copy: kept },
  namesVersions: true,
  deletesAnyway: false,
  tagsUploads: true,
  storesChecksums: true,
  wrongKeyCode: 'own',
  ignoresRegion: false,
  archives: true,
};

/** Ceph 16.2, as Debian 12 has it. It also answers 412 where If-Match of a PUT does hold. */
export const ceph16Deviations: Deviations = {
  conditions: { put: { absent: true, etag: false }, complete: ignored, copy: ignored },
  namesVersions: false,
  deletesAnyway: true,
  tagsUploads: false,
  storesChecksums: false,
  wrongKeyCode: 'AccessDenied',
  ignoresRegion: true,
  archives: false,
};

/** Ceph 18.2, as Debian 13 has it. */
export const ceph18Deviations: Deviations = { ...ceph16Deviations, namesVersions: true };

/** Ceph 20.2, as Debian's unstable has it. */
export const ceph20Deviations: Deviations = {
  conditions: { put: kept, complete: kept, copy: ignored },
  namesVersions: true,
  deletesAnyway: false,
  tagsUploads: true,
  storesChecksums: true,
  wrongKeyCode: 'AccessDenied',
  ignoresRegion: true,
  archives: false,
};

/** Those of the Ceph that the environment names: S3JAIL_TEST_CEPH_VERSION, as scripts/ceph prints it; 16 if not. */
export function cephDeviations(): Deviations {
  const version = Number(process.env['S3JAIL_TEST_CEPH_VERSION'] ?? '16');
  if (version >= 20) return ceph20Deviations;
  return version >= 18 ? ceph18Deviations : ceph16Deviations;
}

/** MinIO of February 2026. */
const minioDeviations: Deviations = {
  ...embeddedDeviations,
  conditions: { put: kept, complete: kept, copy: ignored },
  deletesAnyway: true,
  ignoresRegion: true,
  archives: false,
};

/** versitygw 1.8 on a directory. */
const versitygwDeviations: Deviations = { ...minioDeviations };

/** SeaweedFS 4.48. */
const seaweedfsDeviations: Deviations = { ...minioDeviations };

/** Garage 1.2. */
const garageDeviations: Deviations = { ...minioDeviations };

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
