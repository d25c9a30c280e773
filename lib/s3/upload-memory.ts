/**
 * An open multipart upload from one process to the next: what multipart.ts has to remember of it, as
 * JSON and back, and what S3 itself says of its parts.
 */
import { ListPartsCommand } from '@aws-sdk/client-s3';

import { StoreError, isStoreError } from '../errors.js';
import type { Key } from '../path.js';
import type { ETag, ListedPart, MultipartUpload } from '../store.js';
import type { Connection } from './connection/connection.js';
import { entityTag } from './object-info.js';
import { partMd5s, partSums, wholeSum } from './upload-ways.js';
import type { UploadWay } from './upload-ways.js';

/** What is known of an upload that this process made, or an earlier one. */
export interface UploadState {
  /** how it was created */
  readonly way: UploadWay;
  /** what its parts carry from now on */
  partSum: UploadWay['partSum'];
  /** the endpoint says that it keeps a checksum of the whole object */
  readonly keepsWhole: boolean;
  /** base64, of the parts that the endpoint has the CRC32 of, by number */
  readonly sums: Map<number, string>;
  /** numbers of the parts that were copied */
  readonly copied: Set<number>;
  /** objects copied from under a condition that may not have been kept, by key */
  readonly sources: Map<Key, ETag>;
  /** in the metadata of the object to be: see evidence.ts */
  readonly token: string | undefined;
}

/** The same as JSON. */
interface WrittenState {
  readonly way: string;
  readonly partSum: UploadWay['partSum'];
  readonly keepsWhole: boolean;
  readonly sums: readonly (readonly [number, string])[];
  readonly copied: readonly number[];
  readonly sources: readonly (readonly [Key, ETag])[];
  readonly token?: string | undefined;
  /** of the key of SSE-C that it was begun under */
  readonly keyMark?: string | undefined;
}

export function writtenState(state: UploadState, keyMark: string | undefined): WrittenState {
  const { way, partSum, keepsWhole, sums, copied, sources, token } = state;
  return {
    ...{ partSum, keepsWhole, token, keyMark },
    way: way.name,
    sums: [...sums],
    copied: [...copied],
    sources: [...sources],
  };
}

/** @throws StoreError `invalid` where `written` is nothing that `writtenState` wrote */
export function readState(written: unknown): UploadState {
  const { way: name, partSum, keepsWhole, sums, copied, sources, token } = written as WrittenState;
  const way = [wholeSum, partSums, partMd5s].find((each) => each.name === name);
  if (way === undefined) {
    throw new StoreError('invalid', 'an upload was not written down whole', {
      action: 'ListParts',
    });
  }
  return {
    ...{ way, partSum, keepsWhole, token },
    sums: new Map(sums),
    copied: new Set(copied),
    sources: new Map(sources),
  };
}

/** @param written what `writtenState` wrote */
export function keyMarkOf(written: unknown): string | undefined {
  return (written as WrittenState).keyMark;
}

/**
 * ListParts, to the end.
 * @returns undefined where it may not be asked
 * @throws StoreError `noUpload`; `corrupt` where the pages have no end
 */
export async function listParts(
  connection: Connection,
  upload: MultipartUpload,
): Promise<ListedPart[] | undefined> {
  const { key, uploadId } = upload;
  const parts: ListedPart[] = [];
  let marker: string | undefined;
  try {
    for (;;) {
      const at = { ...connection.at(key), UploadId: uploadId, PartNumberMarker: marker };
      const page = await connection.send(new ListPartsCommand(at), { key });
      for (const { PartNumber, ETag, Size } of page.Parts ?? []) {
        const etag = entityTag(ETag);
        if (PartNumber === undefined || etag === undefined || Size === undefined) continue;
        parts.push({ number: PartNumber, etag, size: Size });
      }
      if (page.IsTruncated !== true) return parts;
      const next = page.NextPartNumberMarker;
      if (next === undefined || Number(next) <= Number(marker ?? 0)) {
        const what = `ListParts ${JSON.stringify(key)}: its pages do not go on`;
        throw new StoreError('corrupt', what, { action: 'ListParts', key });
      }
      marker = next;
    }
  } catch (error) {
    if (isStoreError(error, 'denied', 'unsupported')) return undefined;
    // How Ceph says it.
    if (!isStoreError(error, 'notFound')) throw error;
    throw new StoreError('noUpload', error.message, { action: error.action, key, cause: error });
  }
}
