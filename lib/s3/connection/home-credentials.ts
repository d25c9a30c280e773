/**
 * Credentials of each home for itself: a session of the role that is named after the user and may reach
 * that home only, so that S3 keeps homes apart, whatever goes wrong here, and its logs tell users apart.
 *
 * What a request is about says whose credentials sign it: the name below the mount's prefix that its key
 * begins with, so that no request can be signed with those of another home. A session is begun with the
 * first request about a home, renewed by later ones, and forgotten when there were none for a while;
 * nothing runs in between. Requests about no home are signed with the mount's own credentials.
 *
 * A refusal by STS is remembered for some seconds, because a client that asks for many names in a row
 * would use up what STS grants the account, which all homes need.
 */
import type { S3Client } from '@aws-sdk/client-s3';
import { SignatureV4 } from '@smithy/signature-v4';
import type { HttpRequest, RequestSigner } from '@smithy/types';

import type { Clock } from '../../clock.js';
import { sessionPolicy } from '../least-policy.js';
import type { StoreOptions } from './client.js';
import { roleSource } from './credentials.js';
import type { CredentialContext, CredentialSource } from './credentials.js';
import { sessionName } from './session-name.js';
import { errorFacts, kindOf } from './s3-errors.js';
import type { AttemptStep, CallStep } from './steps.js';

/** A session that nobody used for so long is forgotten. */
const idleMs = 15 * 60_000;
const refusedMs = 5_000;

/** Those that `options` ask for. @param base whose credentials may assume the role */
export function homeCredentials(
  options: StoreOptions,
  base: CredentialSource,
  context: CredentialContext,
): HomeCredentials | undefined {
  const { bucket, prefix, roleArn, roleExternalId } = options;
  if (options.homes !== true || options.homeCredentials !== 'scoped' || roleArn === undefined) {
    return undefined;
  }
  const isAws = context.stsEndpoint === undefined;
  const begin = (home: string): CredentialSource => {
    const place = { bucket, prefix: `${prefix}${home}/` };
    const policy = sessionPolicy(place, { ...options, isAws });
    return roleSource({ roleArn, roleExternalId, name: sessionName(home), policy }, base, context);
  };
  return new HomeCredentials(prefix, begin, context.clock);
}

/** Begins a session for a home. @throws RangeError where there can be none */
export type HomeSession = (home: string) => CredentialSource;

interface Home {
  readonly source: CredentialSource;
  usedMs: number;
  refusal: { readonly error: unknown; readonly atMs: number } | undefined;
}

export class HomeCredentials {
  readonly #begin: HomeSession;
  readonly #clock: Clock;
  readonly #prefix: string;
  /** in the order of their use */
  readonly #homes = new Map<string, Home>();

  /** @param prefix of the mount */
  constructor(prefix: string, begin: HomeSession, clock: Clock) {
    this.#prefix = prefix;
    this.#begin = begin;
    this.#clock = clock;
  }

  /** The credentials that sign requests about `input`; undefined for those of the mount. */
  of(input: object): CredentialSource | undefined {
    return this.#homeOf(input)?.source;
  }

  /** Has the credentials at hand before anything is sent, so that a refusal by STS is not retried. */
  readonly callStep: CallStep = (next) => async (args) => {
    const home = this.#homeOf(args.input);
    if (home !== undefined) await this.#ask(home);
    return await next(args);
  };

  /** Makes a client sign by it. @returns the last step before that */
  signing(client: S3Client): AttemptStep {
    const { config } = client;
    const homes = new WeakMap<object, Home>();
    const usual = config.signer;
    config.signer = async (scheme) => {
      const signer = await usual(scheme);
      return {
        sign: (request, options) => {
          const home = homes.get(request);
          return (home === undefined ? signer : signerOf(home, client)).sign(request, options);
        },
      };
    };
    return (next) => (args) => {
      const home = this.#homeOf(args.input);
      if (home !== undefined) homes.set(args.request as HttpRequest, home);
      return next(args);
    };
  }

  #homeOf(input: object): Home | undefined {
    const name = homeNamed(this.#prefix, input);
    if (name === undefined) return undefined;
    const nowMs = this.#clock.nowMs();
    const known = this.#homes.get(name);
    const home = known ?? { source: this.#begin(name), usedMs: nowMs, refusal: undefined };
    home.usedMs = nowMs;
    this.#homes.delete(name);
    this.#homes.set(name, home);
    for (const [other, { usedMs }] of this.#homes) {
      if (nowMs - usedMs < idleMs) break;
      this.#homes.delete(other);
    }
    return home;
  }

  async #ask(home: Home): Promise<void> {
    const { refusal, source } = home;
    if (refusal !== undefined && this.#clock.nowMs() - refusal.atMs < refusedMs) {
      throw refusal.error;
    }
    try {
      await source.provider?.();
      home.refusal = undefined;
    } catch (error) {
      const isRefused = kindOf(errorFacts(error)) === 'denied';
      home.refusal = isRefused ? { error, atMs: this.#clock.nowMs() } : undefined;
      throw error;
    }
  }
}

/** The name of the home that a request is about. */
export function homeNamed(prefix: string, input: object): string | undefined {
  const { Key, Prefix }: { Key?: unknown; Prefix?: unknown } = input as Record<string, unknown>;
  const named = Key ?? Prefix;
  if (typeof named !== 'string' || !named.startsWith(prefix)) return undefined;
  const end = named.indexOf('/', prefix.length);
  return end > prefix.length ? named.slice(prefix.length, end) : undefined;
}

/** Cheap: what is derived from keys for a day is kept by the library, for all signers. */
function signerOf({ source }: Home, { config }: S3Client): RequestSigner {
  const { region, sha256, signingEscapePath: uriEscapePath } = config;
  const credentials = source.provider ?? config.credentials;
  const options = { credentials, region, sha256, uriEscapePath, service: 's3' };
  return new SignatureV4(options);
}
