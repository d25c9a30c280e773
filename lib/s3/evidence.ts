/**
 * What proves a write. A status of 200 alone does not: a captive portal, a wrong proxy or a broken
 * gateway answers 200 too, and nothing is stored. So each answer is looked at twice.
 *
 * First its form, before anybody believes a field of it: the document is the one that the action
 * answers with (S3 API reference, "Response Syntax"; the SDK takes any root for it), an upload's
 * answer has an ETag, and no header is the request's own come back. What fails here is no answer, and the
 * request is sent again.
 *
 * | action | document | proof of this very write | where that is missing |
 * |---|---|---|---|
 * | PutObject | – | CRC32 repeated beside a request id; ETag is the body's MD5 | HEAD: token, CRC32, MD5 |
 * | CreateMultipartUpload | InitiateMultipartUploadResult | an upload id, which the parts try | failed |
 * | UploadPart | – | its ETag, which Complete has S3 compare | failed |
 * | UploadPartCopy | CopyPartResult | its ETag, likewise | cannot be copied |
 * | CompleteMultipartUpload | CompleteMultipartUploadResult | CRC32 of the whole; ETag made of the parts' | HEAD: token, or ETag and size with the upload gone |
 * | CopyObject | CopyObjectResult | an ETag in it | HEAD: the source's ETag and size |
 * | DeleteObject | – | status 204 | LIST without the key |
 * | AbortMultipartUpload | – | status 204 | ListParts: no such upload |
 * | ListObjects, of both versions | ListBucketResult | nothing is written | failed |
 *
 * The token is random, in the object's metadata (`tokenName`). It is set where nothing has shown yet
 * that the endpoint's answers prove by themselves, so on AWS never, and elsewhere mostly once.
 */
import { createHash, randomBytes } from 'node:crypto';

import type {
  CompleteMultipartUploadCommandOutput,
  PutObjectCommandOutput,
} from '@aws-sdk/client-s3';

import { StoreError } from '../errors.js';
import type { Key } from '../path.js';
import type { ETag, UploadedPart } from '../store.js';
import type { AnswerStep } from './connection/steps.js';
import { entityTag, md5OfTag } from './object-info.js';
import { base64Crc32 } from './stored-checksum.js';

/** The root of each action's document. */
const documents: Readonly<Record<string, string>> = {
  CreateMultipartUploadCommand: 'InitiateMultipartUploadResult',
  CompleteMultipartUploadCommand: 'CompleteMultipartUploadResult',
  CopyObjectCommand: 'CopyObjectResult',
  UploadPartCopyCommand: 'CopyPartResult',
  ListObjectsCommand: 'ListBucketResult',
  ListObjectsV2Command: 'ListBucketResult',
  ListPartsCommand: 'ListPartsResult',
  ListMultipartUploadsCommand: 'ListMultipartUploadsResult',
  GetObjectTaggingCommand: 'Tagging',
};
const tagged: ReadonlySet<unknown> = new Set(['PutObjectCommand', 'UploadPartCommand']);
/** Headers of requests that no S3 server has in an answer. */
const requestHeaders = ['authorization', 'amz-sdk-invocation-id', 'x-amz-content-sha256'];

/** Actions whose answers may not prove anything, though the write was done. */
type ProvenAction = 'PutObject' | 'CompleteMultipartUpload';

/** As far as it matters here; the SDK calls it unknown. */
interface RawAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  /** a Buffer but for the content of objects: see bounded-answer.ts */
  readonly body?: unknown;
}

/** What an endpoint's answers were seen to prove. */
export class Evidence {
  readonly #connection: { readonly isAws: boolean };
  readonly #proving = new Set<ProvenAction>();

  constructor(connection: { readonly isAws: boolean }) {
    this.#connection = connection;
  }

  /** For the metadata of a write that nothing else may prove; undefined where something will. */
  token(action: ProvenAction): string | undefined {
    return this.#connection.isAws || this.#proving.has(action) ? undefined : newToken();
  }

  /** The version stored, if the answer proves that it is `body`. */
  put(
    output: PutObjectCommandOutput,
    { body, crc32 }: { readonly body: Buffer; readonly crc32: number },
  ): ETag | undefined {
    const etag = entityTag(output.ETag);
    // Without a request id it may be the request's own header that came back.
    const isEchoed =
      output.ChecksumCRC32 === base64Crc32(crc32) && output.$metadata.requestId !== undefined;
    const isProven =
      etag !== undefined &&
      (isEchoed || md5OfTag(etag) === createHash('md5').update(body).digest('hex'));
    return this.#noted('PutObject', isProven ? etag : undefined);
  }

  /** The version made, if the answer proves that it is of these parts. */
  complete(
    output: CompleteMultipartUploadCommandOutput,
    {
      parts,
      crc32,
    }: {
      readonly parts: readonly Pick<UploadedPart, 'etag'>[];
      readonly crc32?: number | undefined;
    },
  ): ETag | undefined {
    const etag = entityTag(output.ETag);
    const isSummed = crc32 !== undefined && output.ChecksumCRC32 === base64Crc32(crc32);
    const isProven = etag !== undefined && (isSummed || etag === multipartTag(parts));
    return this.#noted('CompleteMultipartUpload', isProven ? etag : undefined);
  }

  #noted(action: ProvenAction, etag: ETag | undefined): ETag | undefined {
    if (etag === undefined) this.#proving.delete(action);
    else this.#proving.add(action);
    return etag;
  }
}

export function newToken(): string {
  return randomBytes(12).toString('hex');
}

/** A write was answered, and the answer does not prove it: in doubt, as if there were none. */
export function unproven(action: string, key: Key): StoreError {
  const what = 'the answer does not prove that it was done';
  return new StoreError('corrupt', `${action} ${JSON.stringify(key)}: ${what}`, { action, key });
}

/** @throws StoreError `corrupt`, in doubt, unless S3's own status for what is gone now */
export function proveGone(
  action: string,
  key: Key,
  { $metadata }: { readonly $metadata: { readonly httpStatusCode?: number } },
): void {
  if ($metadata.httpStatusCode !== 204) throw unproven(action, key);
}

/** The ETag S3 gives an object completed from these parts, where theirs are MD5s. */
export function multipartTag(parts: readonly Pick<UploadedPart, 'etag'>[]): ETag | undefined {
  const hash = createHash('md5');
  for (const part of parts) {
    const md5 = md5OfTag(part.etag);
    if (md5 === undefined) return undefined;
    hash.update(md5, 'hex');
  }
  return `"${hash.digest('hex')}-${parts.length}"` as ETag;
}

/** Refuses answers that do not have the form of their action's. */
export const refuseForeignAnswers: AnswerStep = (next, context) => async (args) => {
  const result = await next(args);
  const answer = result.response as RawAnswer;
  if (answer.statusCode < 300) checkForm(answer, context['commandName']);
  return result;
};

function checkForm(answer: RawAnswer, command: unknown): void {
  const returned = requestHeaders.find((name) => name in answer.headers);
  if (returned !== undefined) refuse(answer, `the request's own header ${returned} came back`);
  if (tagged.has(command) && entityTag(answer.headers['etag']) === undefined) {
    refuse(answer, 'there is no ETag in the answer');
  }
  const wanted = documents[String(command)];
  // Nothing, and an error in a 200, are known to the SDK, which sends the request again.
  if (wanted === undefined || !Buffer.isBuffer(answer.body) || answer.body.length === 0) return;
  const root = rootOf(answer.body);
  if (root !== wanted && root !== 'Error') refuse(answer, `the answer is no ${wanted}`);
}

/** The name of the first element of an XML document. */
function rootOf(document: Buffer): string | undefined {
  const begin = document.subarray(0, 4096).toString();
  return /^\uFEFF?\s*(?:<[?!][^>]*>\s*)*<([\w:.-]+)[\s/>]/.exec(begin)?.[1];
}

/** Fails in the form of the SDK's own failures, so that the request is sent again. */
function refuse({ statusCode }: RawAnswer, what: string): never {
  throw Object.assign(new Error(`not S3's: ${what}`), {
    $metadata: { httpStatusCode: statusCode },
  });
}
