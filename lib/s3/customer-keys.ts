/**
 * SSE-C: which key goes with which request (S3 user guide, "Using server-side encryption with
 * customer-provided keys"). New objects and uploads get the first key. What is read may be under an older
 * one or under none, and S3 does not say which: it refuses with 403 (another key; also 400, by Garage and
 * Ceph) or with 400 (a key where there is none, none where there is one), and then the others are tried.
 * What fitted is remembered, for its directory too, so that a directory of old objects costs one refusal.
 *
 * Commands get the key here, before connection.ts sends them by whichever way.
 */
import type { HttpRequest } from '@smithy/types';
import { LRUCache } from 'lru-cache';

import type { CustomerKey } from '../customer-key.js';
import { StoreError, isStoreError } from '../errors.js';
import { isLoopback } from '../loopback.js';
import type { CallStep } from './connection/steps.js';
import { commandName } from './connection/traffic.js';
import { entityTag } from './object-info.js';

/** The key of an object or upload; `none`: it is not under a key of ours. */
type Fit = CustomerKey | 'none';

const rememberedFits = 10_000;

/** Makes an object, or what will be one. */
const creating: ReadonlySet<string> = new Set(['PutObject', 'CreateMultipartUpload', 'CopyObject']);
/** About an upload that is there. */
const uploading: ReadonlySet<string> = new Set([
  'UploadPart',
  'UploadPartCopy',
  'CompleteMultipartUpload',
  'ListParts',
]);
const reading: ReadonlySet<string> = new Set(['HeadObject', 'GetObject']);
const copying: ReadonlySet<string> = new Set(['CopyObject', 'UploadPartCopy']);
/** After which the object is under the key of the request. */
const storing: ReadonlySet<string> = new Set([
  'PutObject',
  'CopyObject',
  'CompleteMultipartUpload',
]);

/** Codes of refusals that may be about the key; those of a HEAD have none. */
const keyCodes: ReadonlySet<string | undefined> = new Set([
  undefined,
  'AccessDenied',
  'Forbidden',
  'InvalidArgument',
  'InvalidRequest',
]);

interface Subject {
  readonly Key?: string | undefined;
  readonly UploadId?: string | undefined;
  readonly IfMatch?: string | undefined;
}

interface Ways<Output> {
  readonly send: () => Promise<Output>;
  readonly look: (key: string) => Promise<{ readonly ETag?: string | undefined }>;
  readonly isAws: boolean;
}

export class CustomerKeys {
  readonly #keys: readonly CustomerKey[];
  readonly #first: CustomerKey;
  /** what is not under the first key, by full key of object or directory */
  readonly #fits = new LRUCache<string, Fit>({ max: rememberedFits });
  /** uploads of earlier processes that were not begun under the first key */
  readonly #uploads = new Map<string, Fit | 'lost'>();
  #isTaken = false;

  constructor(first: CustomerKey, older: readonly CustomerKey[] = []) {
    this.#keys = [first, ...older];
    this.#first = first;
  }

  /** Whether an answer showed that the endpoint knows SSE-C. */
  get isTaken(): boolean {
    return this.#isTaken;
  }

  /** Which key an upload was begun under, for `recall` by another process. */
  markOf(uploadId: string): string | undefined {
    const fit = this.#uploads.get(uploadId) ?? this.#first;
    return typeof fit === 'string' ? undefined : fit.markOf(uploadId);
  }

  /** What was begun under a key that is none of these waits for it: its requests fail. */
  recall(uploadId: string, mark: string | undefined): void {
    const known = this.#keys.find((key) => key.markOf(uploadId) === mark) ?? 'lost';
    const fit = mark === undefined ? 'none' : known;
    if (fit !== this.#first) this.#uploads.set(uploadId, fit);
  }

  /**
   * Sends a command with the key that it needs.
   * @param source full key of what is copied
   * @param ways.send sends `command` as its input is by then
   * @param ways.look sends HEAD for a full key
   * @throws StoreError
   */
  async send<Output extends object>(
    command: { readonly input: object },
    source: string | undefined,
    ways: Ways<Output>,
  ): Promise<Output> {
    const { send } = ways;
    const action = commandName(command.constructor.name);
    const { input } = command;
    const { Key = '', UploadId = '' } = input as Subject;
    const attempt = async (fields: object): Promise<Output> => {
      // The command is sent again as it is, so that what hangs on it stays.
      (command as { input: object }).input = { ...input, ...fields };
      return this.#noted(await send());
    };
    if (reading.has(action)) {
      return await this.#fitting(Key, async (fit) => await attempt(targetFields(fit)));
    }
    if (action === 'ListParts' && !this.#uploads.has(UploadId)) {
      // What a process that was killed left may be under any of them.
      return await this.#fitting(UploadId, async (fit) => await attempt(targetFields(fit)));
    }
    if (!creating.has(action) && !uploading.has(action)) return await send();
    const key = creating.has(action) ? this.#first : (this.#uploads.get(UploadId) ?? this.#first);
    if (key === 'lost') throw keyIsLost(action);
    const target = targetFields(key);
    const output = copying.has(action)
      ? await this.#fitting(
          source ?? Key,
          async (fit) => await attempt({ ...target, ...sourceFields(fit) }),
        )
      : await this.#replacing(input, ways, async (more) => await attempt({ ...target, ...more }));
    if (storing.has(action)) this.#note(Key, key);
    return output;
  }

  /**
   * Of what is to be replaced MinIO compares the tag only if it is under the same key, or none, as the write.
   * What is not is looked at here, and then replaced: another writer in between is not noticed.
   */
  async #replacing<Output extends object>(
    { Key: key = '', IfMatch: wanted }: Subject,
    { look, isAws }: Ways<Output>,
    attempt: (more: object) => Promise<Output>,
  ): Promise<Output> {
    try {
      return await attempt({});
    } catch (error) {
      if (isAws || wanted === undefined || !mayBeAboutKey(error)) throw error;
      const found = entityTag((await look(key)).ETag);
      if (this.#likely(key) === this.#first) throw error;
      if (found !== wanted) {
        const { message, action } = error;
        throw new StoreError('changed', `${message}; the object is another now`, { action });
      }
      return await attempt({ IfMatch: undefined });
    }
  }

  #likely(key: string): Fit {
    return this.#fits.get(key) ?? this.#fits.get(directoryOf(key)) ?? this.#first;
  }

  /** Tries with the likely key, and with others while it is the key that may be refused. */
  async #fitting<Output>(key: string, attempt: (fit: Fit) => Promise<Output>): Promise<Output> {
    const likely = this.#likely(key);
    let refused: StoreError;
    try {
      return await attempt(likely);
    } catch (error) {
      if (!mayBeAboutKey(error)) throw error;
      refused = error;
    }
    for (const fit of this.#others(likely, refused)) {
      try {
        const output = await attempt(fit);
        this.#note(key, fit);
        this.#note(directoryOf(key), fit);
        return output;
      } catch (error) {
        if (!mayBeAboutKey(error)) throw error;
      }
    }
    throw withHint(refused);
  }

  #others(likely: Fit, { status }: StoreError): Fit[] {
    const none: Fit[] = likely !== 'none' && status === 400 ? ['none'] : [];
    return [...none, ...this.#keys.filter((key) => key !== likely)];
  }

  #note(key: string, fit: Fit): void {
    // What its directory is remembered for may not be true of it.
    if (fit !== this.#first || this.#fits.size > 0) this.#fits.set(key, fit);
  }

  #noted<Output extends object>(output: Output): Output {
    if (!this.#isTaken && 'SSECustomerKeyMD5' in output && output.SSECustomerKeyMD5 !== undefined)
      this.#isTaken = true;
    return output;
  }
}

function targetFields(fit: Fit): object {
  if (fit === 'none') return {};
  return {
    SSECustomerAlgorithm: 'AES256',
    SSECustomerKey: fit.base64,
    SSECustomerKeyMD5: fit.md5,
  };
}

function sourceFields(fit: Fit): object {
  if (fit === 'none') return {};
  return {
    CopySourceSSECustomerAlgorithm: 'AES256',
    CopySourceSSECustomerKey: fit.base64,
    CopySourceSSECustomerKeyMD5: fit.md5,
  };
}

function directoryOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/', key.length - 2) + 1);
}

function mayBeAboutKey(error: unknown): error is StoreError {
  if (!isStoreError(error)) return false;
  return (error.status === 400 || error.status === 403) && keyCodes.has(error.code);
}

function withHint(error: StoreError): StoreError {
  const { action, key, status, code, requestId, cause } = error;
  const hint = 'none of the keys of --sse-c-key-file fits, or it is denied';
  return new StoreError(error.kind, `${error.message}; ${hint}`, {
    ...{ action, cause },
    ...(key === undefined ? {} : { key }),
    ...(status === undefined ? {} : { status }),
    ...(code === undefined ? {} : { code }),
    ...(requestId === undefined ? {} : { requestId }),
  });
}

function keyIsLost(action: string): StoreError {
  const what = 'the upload was begun under a key that --sse-c-key-file does not name any more';
  return new StoreError('denied', `${action}: ${what}`, { action });
}

/** Lets no key out to where anybody could read it on its way, wherever the endpoint was named. */
export const keepKeysPrivate: CallStep = (next, context) => (args) => {
  const { protocol, hostname, headers } = args.request as HttpRequest;
  const isKeyed = keyHeaders.some((name) => name in headers);
  if (protocol === 'https:' || !isKeyed || isLoopback(hostname)) return next(args);
  const action = commandName(context['commandName']);
  const what = `${action}: the keys of --sse-c-key-file go to an https endpoint only`;
  throw new StoreError('denied', what, { action });
};

const keyHeaders = [
  'x-amz-server-side-encryption-customer-key',
  'x-amz-copy-source-server-side-encryption-customer-key',
];
