/**
 * What all handlers share: the folder, the rules that a test may change, and new entity tags.
 */
import { randomBytes } from 'node:crypto';
import type { Identities } from './access/identity.js';
import type { ObjectFolder } from './storage/object-folder.js';

/** S3's size limits, in bytes. Tests make them smaller, to reach them. */
export interface SizeLimits {
  /** smallest part but the last */
  readonly minPart: number;
  /** largest part, and largest body of PutObject */
  readonly maxPut: number;
  /** largest source of CopyObject */
  readonly maxCopy: number;
}

/** A role that AssumeRole and AssumeRoleWithWebIdentity hand out sessions for. */
export interface Role {
  readonly arn: string;
  readonly externalId?: string;
  /** the token a web identity has to show; without it, none is taken */
  readonly webIdentityToken?: string;
}

export interface Service {
  readonly folder: ObjectFolder;
  readonly identities: Identities;
  readonly region: string;
  readonly accountId: string;
  readonly domains: readonly string[];
  readonly limits: SizeLimits;
  /** `md5`: as S3; `random`: no hashing, for measurements */
  readonly etag: 'md5' | 'random';
  /** a part of an upload that was created without a checksum may not carry one */
  readonly strictPartSums: boolean;
  /** undefined: any role */
  readonly roles: readonly Role[] | undefined;
  /** how long sessions live; undefined: as the caller asks */
  readonly sessionMs: number | undefined;
  now(): number;
}

/** An entity tag that no content has. */
export function randomEtag(): string {
  return randomBytes(16).toString('hex');
}
