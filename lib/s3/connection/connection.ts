/**
 * One bucket at one endpoint: sends commands and turns failures into StoreErrors. Nothing else in the
 * store talks to the SDK's client.
 */
import { setMaxListeners } from 'node:events';

import { HeadObjectCommand } from '@aws-sdk/client-s3';
import type { S3Client, ServiceInputTypes, ServiceOutputTypes } from '@aws-sdk/client-s3';
import type { HttpRequest } from '@smithy/types';

import { Budget } from '../../limits/budget.js';
import { systemClock } from '../../clock.js';
import { isStoreError } from '../../errors.js';
import type { StoreError } from '../../errors.js';
import { Limitation } from '../../limitation.js';
import type { Log } from '../../log.js';
import type { Key } from '../../path.js';
import type { ETag } from '../../store.js';
import {
  createClient,
  defaultMaxAttempts,
  defaultRegion,
  endpointOf,
  isAwsHost,
} from './client.js';
import { BucketRegion, fallbackRegion } from './bucket-region.js';
import type { StoreOptions } from './client.js';
import { baseSource, credentialSource } from './credentials.js';
import type { CredentialSource } from './credentials.js';
import { homeCredentials, homeNamed } from './home-credentials.js';
import type { HomeCredentials } from './home-credentials.js';
import { CustomerKeys, keepKeysPrivate } from '../customer-keys.js';
import { refuseForeignAnswers } from '../evidence.js';
import type { AnyCommand } from './commands.js';
import { HttpHandler, askFirst, uploadTimeoutMs } from './http.js';
import { ReadChecksums } from './read-checksums.js';
import { Resending } from './resending.js';
import { markDamage } from './retry.js';
import { RetryBudget } from './retry-budget.js';
import { Sender } from './sender.js';
import { errorFacts, toStoreError } from './s3-errors.js';
import { SigningTime } from './signing-time.js';
import type { CallStep } from './steps.js';
import { StoredEncoding } from './stored-encoding.js';
import { Traffic, commandName } from './traffic.js';
import type { StoreCounters } from './traffic.js';
import { TransferRate } from './transfer-rate.js';

export interface SendOptions {
  /** key relative to the mount's prefix, for messages */
  readonly key?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** bytes in the request's body */
  readonly bodyBytes?: number;
  /** bytes that the answer may have in its body, where that is known */
  readonly answerBytes?: number | undefined;
  /** may wait for S3 to come back (resending.ts); absent: as a part of an upload does */
  readonly isPatient?: boolean;
}

/**
 * Requests of all homes in flight, a download until its answer begins: with 20 ms to S3 still several
 * thousand a second, more than one process sends.
 */
const mostInFlight = 128;

/** What uploads are made of. */
const uploadActions: ReadonlySet<string> = new Set([
  'PutObject',
  'CreateMultipartUpload',
  'UploadPart',
  'UploadPartCopy',
  'CompleteMultipartUpload',
]);

export interface BucketInput {
  readonly Bucket: string;
  readonly RequestPayer?: 'requester';
  readonly ExpectedBucketOwner?: string;
}

export interface ObjectInput extends BucketInput {
  readonly Key: string;
}

export class Connection {
  readonly credentials: CredentialSource;
  /** absent: all homes have the same */
  readonly homes: HomeCredentials | undefined;
  readonly #sender: Sender;
  readonly #traffic: Traffic;
  readonly options: StoreOptions;
  readonly log: Log;
  readonly retryBudget = new RetryBudget();
  /** for bytes received */
  readonly downloads: TransferRate;
  readonly #uploads: TransferRate;
  readonly #handler: HttpHandler;
  readonly #region: BucketRegion;
  readonly #resending: Resending;
  /** for requests in flight; absent: there is one user */
  readonly #slots: Budget | undefined;
  /** the endpoint was seen to compare the CRC32 of a body */
  comparesCrc32 = false;
  readonly readChecksums: ReadChecksums;
  /** absent: S3 is not given any key to encrypt with */
  readonly customerKeys: CustomerKeys | undefined;
  readonly #sourceConditions: Limitation;
  readonly #storedEncoding = new StoredEncoding();

  /** @throws Error (system error) if the CA bundle cannot be read */
  constructor(options: StoreOptions, log: Log) {
    this.options = options;
    this.log = log;
    const clock = options.clock ?? systemClock;
    this.#traffic = new Traffic({ observer: options.observer, clock, log });
    this.#sourceConditions = new Limitation(options.clock);
    this.readChecksums = new ReadChecksums(options.noReadChecksums !== true, options.clock);
    const [newest, ...older] = options.customerKeys ?? [];
    this.customerKeys = newest && new CustomerKeys(newest, older);
    this.#uploads = new TransferRate(options.maxUploadRate);
    this.downloads = new TransferRate(options.maxDownloadRate);
    this.#handler = new HttpHandler({ ...options, log });
    const context = {
      region: () => this.region(),
      stsEndpoint: stsEndpoint(options),
      requestHandler: this.#handler,
      clock,
      log,
    };
    const base = baseSource(options, context);
    this.credentials = credentialSource(options, base, context);
    this.homes = homeCredentials(options, base, context);
    this.#slots = options.homes === true ? new Budget(mostInFlight) : undefined;
    this.#sender = this.#newSender(options, this.#handler);
    this.#region = new BucketRegion({
      region: options.region,
      defaultRegion: () => defaultRegion(options),
      senderOf: (region) =>
        region === undefined ? this.#sender : this.#newSender(options, this.#handler, region),
      log,
    });
    this.#resending = new Resending({
      region: this.#region,
      isAws: () => this.isAws,
      patienceMs: options.patienceMs ?? options.timeoutMs,
      log,
    });
  }

  /**
   * A sender of the same credentials and region with patience of its own, for asking whether the
   * endpoint is there at all; to be destroyed after use. Does not follow a bucket to another region:
   * its user wants to know.
   */
  impatient(timeoutMs: number, maxAttempts: number): Sender {
    const options = { ...this.options, timeoutMs, maxAttempts };
    return this.#newSender(options, new HttpHandler({ ...options, log: this.log }));
  }

  #newSender(options: StoreOptions, requestHandler: HttpHandler, region?: string): Sender {
    const signing = new SigningTime();
    const client = createClient(options, {
      credentials: this.credentials,
      requestHandler,
      region: () => (region === undefined ? this.region() : Promise.resolve(region)),
      retry: {
        maxAttempts: options.maxAttempts ?? defaultMaxAttempts,
        budget: this.retryBudget,
        isOutdated: (error) => signing.isOutdated(error),
        onRetry: (retry) => this.#traffic.noteRetry(retry),
      },
    });
    signing.attach(client);
    const { homes } = this;
    return new Sender(client, requestHandler, {
      call: [
        ...(homes ? [homes.callStep] : []),
        this.readChecksums.step,
        this.#unsignedPayload,
        ...(this.customerKeys ? [keepKeysPrivate] : []),
      ],
      unsigned: [askFirst, ...(homes ? [homes.signing(client)] : [])],
      signed: [
        this.#storedEncoding.step,
        markDamage,
        this.#traffic.step(requestHandler),
        signing.step,
      ],
      answer: [refuseForeignAnswers, this.#traffic.clockStep],
    });
  }

  /** See integrity.ts. */
  readonly #unsignedPayload: CallStep = (next, context) => (args) => {
    const request = args.request as HttpRequest;
    const isCompared = this.comparesCrc32 || isAwsHost(request.hostname);
    if (
      isCompared &&
      request.protocol === 'https:' &&
      hasBodySum(context['commandName'], request)
    ) {
      request.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
    }
    return next(args);
  };

  /** What went over the wire so far. */
  get counters(): StoreCounters {
    return this.#traffic.counters;
  }

  /** Of the SDK, for its configuration. */
  get client(): S3Client {
    return this.#sender.client;
  }

  /** What every request about an object carries. */
  at(key: Key): ObjectInput {
    return { ...this.bucketInput, Key: this.options.prefix + key };
  }

  /** What every request carries. */
  get bucketInput(): BucketInput {
    const { bucket, requesterPays, expectedBucketOwner } = this.options;
    return {
      Bucket: bucket,
      ...(requesterPays === true ? { RequestPayer: 'requester' } : {}),
      ...(expectedBucketOwner === undefined ? {} : { ExpectedBucketOwner: expectedBucketOwner }),
    };
  }

  /** The region in use. */
  async region(): Promise<string> {
    return await this.#region.get();
  }

  /** Sends everything from now on to another region. */
  moveTo(region: string): void {
    this.#region.moveTo(region);
  }

  /** Where requests go, for messages: the endpoint's URL, or AWS and the region. */
  get place(): string {
    const endpoint = endpointOf(this.options);
    if (endpoint !== undefined) return endpoint;
    return `AWS S3 (${this.#traffic.host ?? this.#region.known ?? fallbackRegion})`;
  }

  /** How far this machine's clock is ahead of the endpoint's, to a second; unknown without an answer. */
  get clockAheadMs(): number | undefined {
    return this.#traffic.clockAheadMs;
  }

  /** The proxy that requests go through, in words; undefined for none and before the first request. */
  get proxy(): string | undefined {
    return this.#traffic.proxy;
  }

  /** Whether the requests go to AWS itself; before the first one, by what the options say. */
  get isAws(): boolean {
    return isAwsHost(this.#traffic.host ?? hostOf(endpointOf(this.options)));
  }

  /** What was found out about it so far, in words, by what it is about. */
  get capabilities(): Readonly<Record<string, string>> {
    return {
      'checksums of what is read': this.readChecksums.describe(),
      'conditions on the source of a copy': this.#sourceConditions.isSuspected ? 'refused' : 'sent',
    };
  }

  /**
   * Sends a command, with retries.
   * @throws StoreError
   */
  async send<Input extends ServiceInputTypes, Output extends ServiceOutputTypes>(
    command: AnyCommand<Input, Output>,
    options: SendOptions = {},
  ): Promise<Output> {
    const { customerKeys, options: mount } = this;
    if (customerKeys === undefined) return await this.#send(command, options);
    const { key } = options;
    const about = key === undefined ? undefined : mount.prefix + key;
    return await customerKeys.send(command, about, {
      send: () => this.#send(command, options),
      look: async (Key) => await this.send(new HeadObjectCommand({ ...this.bucketInput, Key })),
      isAws: this.isAws,
    });
  }

  async #send<Input extends ServiceInputTypes, Output extends ServiceOutputTypes>(
    command: AnyCommand<Input, Output>,
    options: SendOptions,
  ): Promise<Output> {
    const { key, signal, bodyBytes = 0, answerBytes } = options;
    const action = actionOf(command);
    if (signal?.aborted === true) throw toStoreError(abortError(), { action, key, signal });
    // One signal may end many requests; Node would suspect a leak at the eleventh.
    if (signal !== undefined) setMaxListeners(0, signal);
    const http = {
      requestTimeout: uploadTimeoutMs(this.options.timeoutMs, bodyBytes),
      ...(signal === undefined ? {} : { abortSignal: signal }),
      ...(answerBytes === undefined ? {} : { answerBytes }),
    };
    const isPatient = options.isPatient ?? uploadActions.has(action);
    try {
      await this.#uploads.take(bodyBytes, signal);
      const credentials = this.homes?.of(command.input) ?? this.credentials;
      const output = await this.#inFlight(command.input, () =>
        this.#resending.send(async (sender) => await sender.send(command, http), {
          signal,
          isPatient,
          credentials,
        }),
      );
      return this.#noted(output, { action, key });
    } catch (error) {
      throw toStoreError(error, { action, key, signal });
    }
  }

  /** Waits where other homes would have to wait for this one, until its requests are answered. */
  async #inFlight<Output>(input: object, send: () => Promise<Output>): Promise<Output> {
    if (this.#slots === undefined) return await send();
    return await this.#slots.hold(1, send, homeNamed(this.options.prefix, input));
  }

  #noted<Output extends ServiceOutputTypes>(
    output: Output,
    { action, key }: { action: string; key: string | undefined },
  ): Output {
    const { requestId } = output.$metadata;
    if (key !== undefined && requestId !== undefined) {
      this.options.observer?.answered({ action, key, requestId });
    }
    return output;
  }

  /**
   * Sends a copy by `send`, under the condition that the source is still the version `etag`; without
   * it where the endpoint refuses the header. Callers look at the source afterwards, since others
   * ignore it without a word.
   */
  async withSourceCondition<Output>(
    etag: ETag,
    send: (condition: { CopySourceIfMatch?: string }) => Promise<Output>,
  ): Promise<Output> {
    if (this.#sourceConditions.holds) return await send({});
    try {
      return await send({ CopySourceIfMatch: etag });
    } catch (error) {
      if (this.isAws || !isStoreError(error, 'unsupported', 'invalid')) throw error;
      const output = await send({});
      if (this.#sourceConditions.note())
        this.log.info({ refused: error.message }, 'the endpoint takes no conditions on copies');
      return output;
    }
  }

  /** Closes the connections. */
  destroy(): void {
    this.#sender.destroy();
  }
}

/** How often the request behind a failure was sent; the first sending included. */
export function attemptsOf(error: StoreError): number {
  return errorFacts(error.cause).attempts;
}

function actionOf(command: object): string {
  return commandName(command.constructor.name);
}

function abortError(): Error {
  return Object.assign(new Error('gave up before it was sent'), { name: 'AbortError' });
}

/** Whether a request carries the CRC32 of its own body; the one of Complete is the object's. */
function hasBodySum(command: unknown, request: HttpRequest): boolean {
  const isUpload = command === 'PutObjectCommand' || command === 'UploadPartCommand';
  return isUpload && 'x-amz-checksum-crc32' in request.headers;
}

/** Without an endpoint of somebody else's, requests go to AWS. */
function hostOf(endpoint: string | undefined): string {
  if (endpoint === undefined) return 's3.amazonaws.com';
  return URL.canParse(endpoint) ? new URL(endpoint).hostname : '';
}

function stsEndpoint(options: StoreOptions): string | undefined {
  const endpoint = endpointOf(options);
  if (endpoint === undefined || !URL.canParse(endpoint)) return undefined;
  if (isAwsHost(new URL(endpoint).hostname)) return undefined;
  return process.env['AWS_ENDPOINT_URL_STS'] ?? endpoint;
}
