/**
 * Multipart uploads: CreateMultipartUpload, UploadPart, CompleteMultipartUpload,
 * AbortMultipartUpload, ListParts, ListMultipartUploads.
 *
 * Completing is idempotent as S3 has it: asked again after the answer got lost, with the same parts,
 * it answers the same.
 */
import { createHash, randomBytes } from 'node:crypto';
import { requireKey, requirePermission } from '../access/access.js';
import { expectedChecksum, receiveDocument } from '../wire/body.js';
import type { Call, Reply } from '../call.js';
import {
  checksumAlgorithms,
  checksumElement,
  checksumHeader,
  isCrc,
  joinChecksums,
  parseAlgorithm,
  type Checksum,
} from '../wire/checksum.js';
import { unquote, writeCheck } from './conditions.js';
import { requireUploadKey } from '../customer-key.js';
import { publishedEtag, receiveBytes } from '../incoming.js';
import type { Bucket, Upload } from '../storage/object-folder.js';
import { checksumHeaders, requireImplied } from './object-handlers.js';
import type {
  CompletedUpload,
  PartRecord,
  StoredObject,
  UploadRecord,
} from '../storage/records.js';
import { S3Error } from '../wire/s3-error.js';
import { randomEtag, type Service } from '../service.js';
import { encryptionHeaders, readSettings } from '../settings.js';
import { maxPartNumber, readPartNumber, readUploadId, requireUpload } from './upload-calls.js';
import {
  childText,
  children,
  childrenNamed,
  document,
  parseXml,
  type XmlElement,
} from '../wire/xml.js';

export async function createUpload(service: Service, call: Call, bucket: Bucket): Promise<Reply> {
  requirePermission(call, bucket, 'PutObject', call.key);
  requireImplied(call, bucket);
  const record: UploadRecord = {
    bucket: bucket.record.name,
    key: call.key,
    uploadId: randomBytes(32).toString('base64url'),
    createdMs: service.now(),
    settings: readSettings(call),
    checksum: readUploadChecksum(call),
  };
  requireKey(call, record.settings.encryption, 'GenerateDataKey', 'Decrypt');
  await service.folder.createUpload(record);
  return {
    status: 200,
    headers: {
      ...encryptionHeaders(record.settings),
      ...(record.checksum !== null && {
        'x-amz-checksum-algorithm': record.checksum.algorithm,
        'x-amz-checksum-type': record.checksum.type,
      }),
    },
    body: document(
      'InitiateMultipartUploadResult',
      children({ Bucket: record.bucket, Key: record.key, UploadId: record.uploadId }),
    ),
  };
}

/** CRCs may be of the whole object, CRC64NVME always is, hashes never. */
function readUploadChecksum(call: Call): UploadRecord['checksum'] {
  const name = call.header('x-amz-checksum-algorithm');
  const type = call.header('x-amz-checksum-type');
  if (name === undefined) {
    if (type === undefined) return null;
    throw new S3Error('InvalidRequest', {
      message:
        'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.',
    });
  }
  const algorithm = parseAlgorithm(name);
  const chosen = type ?? (algorithm === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE');
  const possible =
    chosen === 'COMPOSITE'
      ? algorithm !== 'CRC64NVME'
      : chosen === 'FULL_OBJECT' && isCrc(algorithm);
  if (!possible || (chosen !== 'COMPOSITE' && chosen !== 'FULL_OBJECT')) {
    throw new S3Error('InvalidRequest', {
      message: `The ${chosen} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.`,
    });
  }
  return { algorithm, type: chosen };
}

export async function uploadPart(service: Service, call: Call, bucket: Bucket): Promise<Reply> {
  requirePermission(call, bucket, 'PutObject', call.key);
  const number = readPartNumber(call);
  const { record: upload } = requireUpload(service, call, bucket);
  requireUploadKey(call, upload.settings);
  requireSameAlgorithm(service, call, upload);
  const incoming = await receiveBytes(service, call);
  try {
    const part: PartRecord = {
      number,
      size: incoming.size,
      etag: publishedEtag(incoming.etag, upload.settings.encryption),
      modifiedMs: service.now(),
      segments: incoming.segments,
      checksum:
        incoming.checksum === undefined ? null : { ...incoming.checksum, type: 'FULL_OBJECT' },
    };
    await service.folder.putPart(upload, part);
    return {
      status: 200,
      headers: {
        etag: `"${part.etag}"`,
        ...checksumHeaders(part.checksum),
        ...encryptionHeaders(upload.settings),
      },
    };
  } finally {
    service.folder.blobs.release(incoming.segments);
  }
}

/** A part brings the checksum its upload was created with; a composite one cannot do without. */
function requireSameAlgorithm(service: Service, call: Call, { checksum }: UploadRecord): void {
  if (checksum === null && !service.strictPartSums) return;
  const sent = expectedChecksum(call)?.algorithm;
  if (sent === checksum?.algorithm) return;
  if (sent === undefined && checksum?.type === 'FULL_OBJECT') return;
  const expected = checksum?.algorithm.toLowerCase() ?? 'null';
  const actual = sent?.toLowerCase() ?? 'null';
  throw new S3Error('InvalidRequest', {
    message: `Checksum Type mismatch occurred, expected checksum Type: ${expected}, actual checksum Type: ${actual}`,
  });
}

interface RequestedPart {
  readonly number: number;
  readonly etag: string;
  readonly element: XmlElement;
}

export async function completeUpload(service: Service, call: Call, bucket: Bucket): Promise<Reply> {
  requirePermission(call, bucket, 'PutObject', call.key);
  if (call.header('if-match') !== undefined) requirePermission(call, bucket, 'GetObject', call.key);
  const check = writeCheck(call);
  const document = await receiveDocument(call, { foreignChecksum: true });
  const requested = readRequestedParts(document);
  const fingerprint = requested.map(({ number, etag }) => `${number}:${etag}`).join(' ');
  const { name } = bucket.record;
  const completed = await service.folder.exclusive(name, call.key, async () => {
    const before = service.folder.completed(name, call.key, readUploadId(call));
    if (before?.parts === fingerprint) return before;
    const upload = requireUpload(service, call, bucket);
    if (upload.record.checksum !== null) requireUploadKey(call, upload.record.settings);
    const object = composeObject(service, call, upload, requested);
    check(bucket.objects.get(call.key));
    const done: CompletedUpload = {
      bucket: name,
      key: call.key,
      uploadId: upload.record.uploadId,
      parts: fingerprint,
      etag: object.etag,
      checksum: object.checksum,
    };
    await service.folder.completeUpload(done, object);
    return done;
  });
  return completionReply(call, completed);
}

function completionReply(call: Call, { bucket, key, etag, checksum }: CompletedUpload): Reply {
  return {
    status: 200,
    body: document(
      'CompleteMultipartUploadResult',
      children({
        Location: `http://${call.header('host') ?? ''}/${bucket}/${encodeURIComponent(key)}`,
        Bucket: bucket,
        Key: key,
        ETag: `"${etag}"`,
        ...(checksum !== null && {
          [checksumElement(checksum.algorithm)]: checksum.value,
          ChecksumType: checksum.type,
        }),
      }),
    ),
  };
}

function readRequestedParts(text: string): RequestedPart[] {
  const request = parseXml(text);
  const parts = childrenNamed(request, 'Part').map((element) => ({
    number: Number(childText(element, 'PartNumber') ?? Number.NaN),
    etag: unquote(childText(element, 'ETag') ?? ''),
    element,
  }));
  const wellFormed = parts.every(({ number, etag }) => Number.isInteger(number) && etag !== '');
  if (request.name !== 'CompleteMultipartUpload' || parts.length === 0 || !wellFormed) {
    throw new S3Error('MalformedXML');
  }
  if (parts.length > maxPartNumber) throw new S3Error('MalformedXML');
  if (parts.some(({ number }, index) => number <= (parts[index - 1]?.number ?? 0))) {
    throw new S3Error('InvalidPartOrder');
  }
  return parts;
}

function composeObject(
  service: Service,
  call: Call,
  upload: Upload,
  requested: readonly RequestedPart[],
): StoredObject {
  const parts = requested.map((wanted) => findPart(upload, wanted));
  parts.slice(0, -1).forEach((part) => {
    if (part.size >= service.limits.minPart) return;
    throw new S3Error('EntityTooSmall', {
      elements: {
        ProposedSize: String(part.size),
        MinSizeAllowed: String(service.limits.minPart),
        PartNumber: String(part.number),
        ETag: part.etag,
      },
    });
  });
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  requireDeclaredSize(call, size);
  const checksum = composeChecksum(call, upload.record, parts);
  const { settings } = upload.record;
  return {
    ...settings,
    key: upload.record.key,
    size,
    etag: publishedEtag(composeEtag(service, parts), settings.encryption),
    modifiedMs: service.now(),
    segments: parts.flatMap((part) => part.segments),
    checksum,
    parts: parts.map((part) => ({
      number: part.number,
      size: part.size,
      checksum: part.checksum,
    })),
    restoredUntilMs: null,
  };
}

/** @throws S3Error InvalidPart, InvalidRequest */
function findPart({ parts, record }: Upload, { number, etag, element }: RequestedPart): PartRecord {
  const part = parts.get(number);
  const invalid = new S3Error('InvalidPart', {
    elements: { UploadId: record.uploadId, PartNumber: String(number), ETag: etag },
  });
  if (part?.etag !== etag) throw invalid;
  for (const algorithm of checksumAlgorithms) {
    const claimed = childText(element, checksumElement(algorithm));
    if (claimed === undefined || claimed === '') continue;
    if (part.checksum?.algorithm !== algorithm || part.checksum.value !== claimed) throw invalid;
  }
  const { checksum } = record;
  const missing =
    checksum?.type === 'COMPOSITE' &&
    (childText(element, checksumElement(checksum.algorithm)) ?? '') === '';
  if (missing) {
    throw new S3Error('InvalidRequest', {
      message: `The upload was created using a ${checksum.algorithm.toLowerCase()} checksum. The complete request must include the checksum for each part. It was missing for part ${number} in the request.`,
    });
  }
  return part;
}

function requireDeclaredSize(call: Call, size: number): void {
  const declared = call.header('x-amz-mp-object-size');
  if (declared === undefined || Number(declared) === size) return;
  throw new S3Error('InvalidRequest', {
    message: `The provided 'x-amz-mp-object-size' header value ${declared} does not match what was computed: ${size}`,
  });
}

/** The object's checksum, which must be what the request claims it to be. */
function composeChecksum(
  call: Call,
  { checksum }: UploadRecord,
  parts: readonly PartRecord[],
): Checksum | null {
  const claimed = checksumAlgorithms.find(
    (name) => call.header(checksumHeader(name)) !== undefined,
  );
  const algorithm = checksum?.algorithm ?? claimed;
  if (algorithm === undefined) return null;
  const type = checksum?.type ?? 'FULL_OBJECT';
  const sized = parts.flatMap((part) =>
    part.checksum?.algorithm === algorithm ? [{ size: part.size, value: part.checksum.value }] : [],
  );
  if (sized.length !== parts.length) {
    // Nothing to compute it from: without a claim there is none, and a claim cannot be kept.
    if (claimed === undefined) return null;
    throw new S3Error('BadDigest', { message: `The ${algorithm} could not be verified.` });
  }
  const computed = joinChecksums(algorithm, type, sized);
  const value = claimed === undefined ? undefined : call.header(checksumHeader(claimed));
  const plain = computed.value.replace(/-\d+$/, '');
  if (
    value !== undefined &&
    (claimed !== algorithm || (value !== computed.value && value !== plain))
  ) {
    throw new S3Error('BadDigest', {
      message: `The ${claimed?.toLowerCase() ?? ''} you specified did not match the calculated checksum.`,
    });
  }
  return checksum === null && claimed === undefined ? null : computed;
}

/** MD5 of the parts' MD5s and the number of parts, as S3's multipart entity tags are. */
function composeEtag(service: Service, parts: readonly PartRecord[]): string {
  if (service.etag === 'random') return `${randomEtag()}-${parts.length}`;
  const hash = createHash('md5');
  for (const part of parts) hash.update(Buffer.from(part.etag, 'hex'));
  return `${hash.digest('hex')}-${parts.length}`;
}

export async function abortUpload(service: Service, call: Call, bucket: Bucket): Promise<Reply> {
  requirePermission(call, bucket, 'AbortMultipartUpload', call.key);
  await service.folder.abortUpload(bucket.record.name, call.key, readUploadId(call));
  return { status: 204 };
}
