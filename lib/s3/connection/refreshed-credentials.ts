/**
 * Credentials that outlive their expiry: fetched again in time, and kept while they last.
 *
 * A provider (metadata service, STS, a process) may be away for a while. As long as the credentials
 * at hand are valid nobody waits for it: they are used, and newer ones are fetched beside. Only what
 * has expired is waited for, and then each request asks anew, so that a mount works again as soon as
 * the provider does. Credentials that S3 itself refuses, such as rotated keys, are asked for anew as
 * well, but not more often than every few seconds; and once a minute where all that is known is that
 * access was denied, which is what some endpoints say of unknown keys.
 *
 * Their end is a date. What is left until then is counted down, because the date may be set back; and
 * the date counts too, because a host that sleeps counts nothing down.
 *
 * The SDK caches credentials on its own terms, by their expiration: it is told one that is over, and
 * so asks here for every request.
 */
import type { AwsCredentialIdentity, AwsCredentialIdentityProvider } from '@smithy/types';

import type { Clock } from '../../clock.js';

/** Newer credentials are looked for this long before the end, or half of a shorter life. */
const refreshBeforeMs = 5 * 60_000;
/** What is signed this long before the end, or a tenth of a shorter life, might arrive after it. */
const marginMs = 10_000;
/** After a fetch that brought nothing new, while valid credentials are at hand. */
const pauseMs = 5_000;
/** After a fetch for a mere suspicion. */
const suspicionPauseMs = 60_000;
/** What the SDK is told, whatever it takes the date for. */
const expiredForSdk = new Date(0);

type Properties = Parameters<AwsCredentialIdentityProvider>[0];

export class RefreshedCredentials {
  readonly #fetch: AwsCredentialIdentityProvider;
  readonly #noteFailure: (error: unknown) => void;
  readonly #clock: Clock;
  #held: Held | undefined;
  #pending: Promise<Held> | undefined;
  /** when a fetch last brought nothing new */
  #fruitlessMs = Number.NEGATIVE_INFINITY;
  /** when credentials were last fetched because they might be refused */
  #suspectedMs = Number.NEGATIVE_INFINITY;
  #version = 0;

  /**
   * @param fetch asks the provider, without a cache in between
   * @param noteFailure told of a failed fetch that nobody waited for
   */
  constructor(
    fetch: AwsCredentialIdentityProvider,
    noteFailure: (error: unknown) => void,
    clock: Clock,
  ) {
    this.#fetch = fetch;
    this.#noteFailure = noteFailure;
    this.#clock = clock;
  }

  /**
   * Credentials to sign with now.
   * @throws what the provider throws, where none are valid; an outage where it gave some before
   */
  async get(properties?: Properties): Promise<AwsCredentialIdentity> {
    const held = this.#held;
    if (held === undefined) return (await this.#refresh(properties)).forSdk;
    if (this.#hasCome(held.end)) {
      return (await this.#refresh(properties).catch((error: unknown) => throwOutage(error))).forSdk;
    }
    if (this.#hasCome(held.refresh) && this.#isDue) {
      this.#refresh(properties).catch((error: unknown) => this.#noteFailure(error));
    }
    return held.forSdk;
  }

  /** Which credentials are at hand; another number for others. */
  get version(): number {
    return this.#version;
  }

  /**
   * Credentials that S3 refused are not trusted any more.
   * @param version of those that the request was signed with
   * @returns whether there are others now, so that sending it again makes sense
   */
  async renew(version: number, doubt: 'certain' | 'possible'): Promise<boolean> {
    if (this.#version !== version) return true;
    if (this.#pending === undefined) {
      const isSuspicion = doubt === 'possible';
      const nowMs = this.#clock.nowMs();
      if (!this.#isDue) return false;
      if (isSuspicion && nowMs - this.#suspectedMs < suspicionPauseMs) return false;
      if (isSuspicion) this.#suspectedMs = nowMs;
    }
    try {
      await this.#refresh();
      return this.#version !== version;
    } catch (error) {
      // What S3 said about the old ones is the failure to report.
      this.#noteFailure(error);
      return false;
    }
  }

  get #isDue(): boolean {
    return this.#clock.nowMs() - this.#fruitlessMs >= pauseMs;
  }

  #hasCome({ nowMs, dateMs }: Moment): boolean {
    return this.#clock.nowMs() >= nowMs || this.#clock.dateMs() >= dateMs;
  }

  /** One fetch at a time, whoever asks. */
  #refresh(properties?: Properties): Promise<Held> {
    this.#pending ??= this.#fetchAnew(properties).finally(() => (this.#pending = undefined));
    return this.#pending;
  }

  async #fetchAnew(properties: Properties): Promise<Held> {
    const before = this.#held?.identity;
    let isNew = false;
    try {
      const identity = await this.#fetch(properties);
      isNew = before === undefined || !isSame(identity, before);
      if (isNew) this.#version += 1;
      this.#held = hold(identity, this.#clock);
      return this.#held;
    } finally {
      if (!isNew) this.#fruitlessMs = this.#clock.nowMs();
    }
  }
}

/** Nobody was refused anything: who gave credentials before is away, or has none now. */
function throwOutage(error: unknown): never {
  if (!(error instanceof Error) || error.name !== 'CredentialsProviderError') throw error;
  const what = `the credentials have expired and are not renewed (${error.message})`;
  throw Object.assign(new Error(what, { cause: error }), { name: 'CredentialsOutage' });
}

interface Held {
  readonly identity: AwsCredentialIdentity;
  /** the same, as far as the SDK may see it */
  readonly forSdk: AwsCredentialIdentity;
  readonly refresh: Moment;
  readonly end: Moment;
}

/** By both of a clock's times. */
interface Moment {
  readonly nowMs: number;
  readonly dateMs: number;
}

function hold(identity: AwsCredentialIdentity, clock: Clock): Held {
  const nowMs = clock.nowMs();
  const dateMs = clock.dateMs();
  const lastMs = endOf(identity)?.getTime() ?? Number.POSITIVE_INFINITY;
  const left = Math.max(0, lastMs - dateMs);
  const before = (ms: number): Moment => ({
    nowMs: nowMs + left - ms,
    dateMs: dateMs + left - ms,
  });
  const refresh = before(Math.min(refreshBeforeMs, left / 2));
  const forSdk = { ...identity, expiration: expiredForSdk };
  return { identity, forSdk, refresh, end: before(Math.min(marginMs, left / 10)) };
}

/** The SDK moves the end of what the metadata service no longer renews; S3 does not. */
function endOf(identity: AwsCredentialIdentity): Date | undefined {
  if ('originalExpiration' in identity && identity.originalExpiration instanceof Date) {
    return identity.originalExpiration;
  }
  return identity.expiration;
}

function isSame(one: AwsCredentialIdentity, other: AwsCredentialIdentity): boolean {
  return (
    one.accessKeyId === other.accessKeyId &&
    one.secretAccessKey === other.secretAccessKey &&
    one.sessionToken === other.sessionToken
  );
}
