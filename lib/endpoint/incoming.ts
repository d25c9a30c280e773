/**
 * Bytes on their way in: a request body, or a range of another object, becomes segments with entity
 * tag and checksum.
 *
 * Whoever calls these functions is a user of the segments and releases them, also after
 * publishing; a body that fails its checks leaves nothing.
 */
import { createHash } from 'node:crypto';
import type { Bytes } from './wire/byte-range.js';
import { sliceSegments, type Segment } from './storage/segment.js';
import { receiveBody } from './wire/body.js';
import type { Call } from './call.js';
import { startChecksum, type ChecksumAlgorithm } from './wire/checksum.js';
import type { StoredObject } from './storage/records.js';
import { randomEtag, type Service } from './service.js';

/** Bytes on disk, not yet anybody's object. */
export interface Incoming {
  readonly segments: readonly Segment[];
  readonly size: number;
  /** without quotes */
  readonly etag: string;
  /** undefined if the request announced none */
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly value: string } | undefined;
}

/** Takes the body of a PUT. @throws S3Error as receiveBody */
export async function receiveBytes(service: Service, call: Call): Promise<Incoming> {
  const blob = service.folder.blobs.create();
  const wantsMd5 = service.etag === 'md5';
  try {
    const { size, md5, checksum } = await receiveBody(call, {
      maxBytes: service.limits.maxPut,
      md5: wantsMd5,
      write: (data) => blob.write(data),
    });
    const etag = wantsMd5 && md5 !== undefined ? md5 : randomEtag();
    return { segments: await blob.finish(), size, etag, checksum };
  } catch (error) {
    await blob.discard();
    throw error;
  }
}

/**
 * A range of an object as new bytes. Nothing is moved; the source is read only where an entity
 * tag or a checksum is not known yet.
 */
export async function shareBytes(
  service: Service,
  source: StoredObject,
  range: Bytes,
  algorithm: ChecksumAlgorithm | undefined,
): Promise<Incoming> {
  const segments = sliceSegments(source.segments, range.start, range.end);
  const size = range.end - range.start;
  const { blobs } = service.folder;
  blobs.retain(segments);
  try {
    const known = size === source.size ? knownHashes(source) : {};
    const checksumKnown = known.checksum?.algorithm === algorithm ? known.checksum : undefined;
    const running =
      algorithm === undefined || checksumKnown !== undefined ? undefined : startChecksum(algorithm);
    const md5 = service.etag === 'md5' && known.md5 === undefined ? createHash('md5') : undefined;
    if (running !== undefined || md5 !== undefined) {
      for await (const piece of blobs.read(segments, 0, size)) {
        running?.update(piece);
        md5?.update(piece);
      }
    }
    const etag = service.etag === 'random' ? randomEtag() : (known.md5 ?? md5?.digest('hex'));
    const checksum =
      algorithm === undefined || running === undefined
        ? checksumKnown
        : { algorithm, value: running.finish() };
    return { segments, size, etag: etag ?? randomEtag(), checksum };
  } catch (error) {
    blobs.release(segments);
    throw error;
  }
}

interface KnownHashes {
  readonly md5?: string;
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly value: string };
}

/** What is known of a whole object: its MD5 if it was sent in one piece, its full checksum. */
function knownHashes({ etag, parts, encryption, checksum }: StoredObject): KnownHashes {
  const isMd5 = parts === null && (encryption === null || encryption.algorithm === 'AES256');
  return {
    ...(isMd5 && { md5: etag }),
    ...(checksum?.type === 'FULL_OBJECT' && { checksum }),
  };
}

/** An object under a key of KMS or of SSE-C has an entity tag that says nothing of its content. */
export function publishedEtag(etag: string, encryption: StoredObject['encryption']): string {
  if (encryption === null) return etag;
  const { algorithm, customerKeyMd5 } = encryption;
  return algorithm === 'AES256' && customerKeyMd5 === undefined ? etag : randomEtag();
}
