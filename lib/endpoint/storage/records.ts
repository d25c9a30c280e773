/**
 * What the endpoint keeps about buckets, objects and uploads, and the changes it journals.
 */
import type { Checksum, ChecksumAlgorithm, ChecksumType } from '../wire/checksum.js';
import type { Segment } from './segment.js';

export interface BucketRecord {
  readonly name: string;
  readonly createdMs: number;
  readonly region: string;
  /** what requests without a signature may do */
  readonly anonymous: 'nothing' | 'read' | 'read-write';
  /** requests have to carry `x-amz-request-payer: requester` */
  readonly requesterPays: boolean;
}

/** How an object is stored, apart from its bytes; given at PUT or CreateMultipartUpload. */
export interface ObjectSettings {
  /** `content-type` and the like, names in lower case */
  readonly headers: Readonly<Record<string, string>>;
  /** user metadata, names in lower case without `x-amz-meta-` */
  readonly metadata: Readonly<Record<string, string>>;
  readonly storageClass: string;
  readonly encryption: {
    readonly algorithm: string;
    readonly keyId?: string;
    /** base64; of the key of SSE-C */
    readonly customerKeyMd5?: string;
  } | null;
  readonly tags: Readonly<Record<string, string>>;
}

/** A part of a finished multipart object. */
export interface ObjectPart {
  readonly number: number;
  readonly size: number;
  readonly checksum: Checksum | null;
}

export interface StoredObject extends ObjectSettings {
  readonly key: string;
  readonly size: number;
  /** without quotes */
  readonly etag: string;
  readonly modifiedMs: number;
  readonly segments: readonly Segment[];
  readonly checksum: Checksum | null;
  /** null for an object sent in one piece */
  readonly parts: readonly ObjectPart[] | null;
  /** until when an archived object can be read */
  readonly restoredUntilMs: number | null;
}

/** A part of an open upload. */
export interface PartRecord {
  readonly number: number;
  readonly size: number;
  readonly etag: string;
  readonly modifiedMs: number;
  readonly segments: readonly Segment[];
  readonly checksum: Checksum | null;
}

export interface UploadRecord {
  readonly bucket: string;
  readonly key: string;
  readonly uploadId: string;
  readonly createdMs: number;
  readonly settings: ObjectSettings;
  /** what CreateMultipartUpload asked for */
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly type: ChecksumType } | null;
}

/** What a second CompleteMultipartUpload needs to be answered like the first. */
export interface CompletedUpload {
  readonly bucket: string;
  readonly key: string;
  readonly uploadId: string;
  /** numbers and entity tags of the parts, in order */
  readonly parts: string;
  readonly etag: string;
  readonly checksum: Checksum | null;
}

/** A line of the journal. */
export type Change =
  | { readonly type: 'format'; readonly version: 1 }
  | { readonly type: 'bucket'; readonly bucket: BucketRecord }
  | { readonly type: 'bucketGone'; readonly name: string }
  | { readonly type: 'object'; readonly bucket: string; readonly object: StoredObject }
  | { readonly type: 'objectGone'; readonly bucket: string; readonly key: string }
  | { readonly type: 'upload'; readonly upload: UploadRecord }
  | { readonly type: 'part'; readonly uploadId: string; readonly part: PartRecord }
  | { readonly type: 'uploadGone'; readonly uploadId: string }
  /** with `object`: published in the same instant */
  | {
      readonly type: 'completed';
      readonly completed: CompletedUpload;
      readonly object: StoredObject | null;
    };
