/**
 * Which credentials the requests are signed with, and where they came from.
 *
 * The base is the SDK's default chain (environment, profile, SSO, process, web identity, container,
 * instance metadata), or keys given with the source. A role, if one is asked for, is assumed from
 * whatever the base gives. Both are renewed in time (refreshed-credentials.ts). The instance metadata
 * service is asked by version 2 only, unless told otherwise: version 1 answers anybody who can make
 * this machine send a plain GET.
 *
 * The name of the provider that answered is for messages; it never holds a key.
 */
import {
  fromInstanceMetadata,
  fromNodeProviderChain,
  fromTemporaryCredentials,
} from '@aws-sdk/credential-providers';
import type { AwsCredentialIdentity, AwsCredentialIdentityProvider } from '@smithy/types';

import type { Clock } from '../../clock.js';
import type { Log } from '../../log.js';
import type { HttpHandler } from './http.js';
import { RefreshedCredentials } from './refreshed-credentials.js';
import { errorFacts, keyDoubt } from './s3-errors.js';

export interface CredentialOptions {
  /** keys that came with the source itself */
  readonly credentials?:
    { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
  readonly profile?: string | undefined;
  readonly roleArn?: string | undefined;
  readonly roleExternalId?: string | undefined;
  readonly roleSessionName?: string | undefined;
  readonly imdsV1?: boolean | undefined;
  readonly noSignRequest?: boolean | undefined;
  /** ask the EC2 instance metadata service for its role, and nobody else */
  readonly instanceRole?: boolean | undefined;
}

export interface CredentialContext {
  /** region for STS */
  readonly region: () => Promise<string>;
  /** where STS is, for services that serve it beside S3; absent for AWS */
  readonly stsEndpoint?: string | undefined;
  readonly requestHandler: HttpHandler;
  readonly clock: Clock;
  readonly log: Log;
}

/** Credentials with a memory of who gave them. */
export interface CredentialSource {
  /** undefined: requests are not signed */
  readonly provider: AwsCredentialIdentityProvider | undefined;
  /** the provider that answered last, in words; what was asked for as long as none has */
  answeredBy(): string;
  /** Which credentials are at hand; another number for others. */
  readonly version: number;
  /**
   * Tells that S3 does not know the credentials any more that a request was signed with, or may not.
   * @param version of those
   * @returns whether there are others now
   */
  renew(version: number, doubt: 'certain' | 'possible'): Promise<boolean>;
}

/** @param base of `baseSource` */
export function credentialSource(
  options: CredentialOptions,
  base: CredentialSource,
  context: CredentialContext,
): CredentialSource {
  const { roleArn, roleExternalId, roleSessionName } = options;
  if (roleArn === undefined) return base;
  const session = { roleArn, roleExternalId, name: roleSessionName ?? `s3jail-${process.pid}` };
  return roleSource(session, base, context);
}

/** A session of a role. */
export interface RoleSession {
  readonly roleArn: string;
  readonly roleExternalId: string | undefined;
  readonly name: string;
  /** what it may do of what the role may; absent: all of it */
  readonly policy?: string;
}

function fixed(
  provider: AwsCredentialIdentityProvider | undefined,
  answered: string,
): CredentialSource {
  return { provider, answeredBy: () => answered, version: 0, renew: () => Promise.resolve(false) };
}

/** Before a role is assumed. */
export function baseSource(
  options: CredentialOptions,
  context: CredentialContext,
): CredentialSource {
  const { credentials, profile, instanceRole } = options;
  if (options.noSignRequest === true) {
    return fixed(undefined, 'no credentials (requests are not signed)');
  }
  if (credentials !== undefined) {
    return fixed(() => Promise.resolve({ ...credentials }), 'the keys in SOURCE');
  }
  const chain = instanceRole === true ? instanceRoleOnly(options, context) : wholeChain;
  const asked = profile === undefined ? 'the default chain' : `profile ${JSON.stringify(profile)}`;
  let answered = instanceRole === true ? 'the instance metadata service' : asked;
  const fetch: AwsCredentialIdentityProvider = async (properties) => {
    const identity = await chain(options, context)(properties);
    answered = sourceName(identity, profile);
    return identity;
  };
  return refreshed(fetch, () => answered, context);
}

type Chain = (
  options: CredentialOptions,
  context: CredentialContext,
) => AwsCredentialIdentityProvider;

/** Made anew for each fetch, because it keeps what it got and the files it read. */
const wholeChain: Chain = ({ profile, imdsV1 }, { requestHandler, log }) =>
  fromNodeProviderChain({
    ...(profile === undefined ? {} : { profile }),
    ec2MetadataV1Disabled: imdsV1 !== true,
    ignoreCache: true,
    clientConfig: { requestHandler },
    logger: providerLog(log),
  });

/** Kept, because it knows after the first answer whether the service takes tokens. */
function instanceRoleOnly({ imdsV1 }: CredentialOptions, { log }: CredentialContext): Chain {
  const provider = fromInstanceMetadata({
    ec2MetadataV1Disabled: imdsV1 !== true,
    logger: providerLog(log),
  });
  return () => async (properties) => {
    try {
      return await provider(properties);
    } catch (error) {
      // Its errors go by many names; the chain has one for them all.
      throw Object.assign(new Error('the instance metadata service gives no role'), {
        name: 'CredentialsProviderError',
        cause: error,
      });
    }
  };
}

function refreshed(
  fetch: AwsCredentialIdentityProvider,
  answeredBy: () => string,
  { log, clock }: CredentialContext,
): CredentialSource {
  const noteFailure = (error: unknown): void => {
    const { code, system } = errorFacts(error);
    const fields = { provider: answeredBy(), code, system };
    log.warn(fields, 'credentials could not be renewed; those at hand are used while they last');
  };
  const credentials = new RefreshedCredentials(fetch, noteFailure, clock);
  return {
    provider: (properties) => credentials.get(properties),
    answeredBy,
    get version() {
      return credentials.version;
    },
    renew: (version, doubt) => credentials.renew(version, doubt),
  };
}

/** @param base whose credentials may assume the role */
export function roleSource(
  { roleArn, roleExternalId, name, policy }: RoleSession,
  base: CredentialSource,
  context: CredentialContext,
): CredentialSource {
  const masterCredentials = base.provider;
  if (masterCredentials === undefined) return base;
  // Made anew for each session, because it keeps a client, and most homes are idle.
  const fetch: AwsCredentialIdentityProvider = async (properties) =>
    await fromTemporaryCredentials({
      masterCredentials,
      params: {
        RoleArn: roleArn,
        RoleSessionName: name,
        ...(roleExternalId === undefined ? {} : { ExternalId: roleExternalId }),
        ...(policy === undefined ? {} : { Policy: policy }),
      },
      clientConfig: {
        region: context.region,
        requestHandler: context.requestHandler,
        ...(context.stsEndpoint === undefined ? {} : { endpoint: context.stsEndpoint }),
      },
    })(properties);
  return refreshed(
    async (properties) => {
      const { version } = base;
      try {
        return await fetch(properties);
      } catch (error) {
        const doubt = keyDoubt(errorFacts(error));
        if (doubt === undefined || !(await base.renew(version, doubt))) throw error;
        return await fetch(properties);
      }
    },
    () => `role ${roleArn}, assumed with ${base.answeredBy()}`,
    context,
  );
}

/** What the providers have to say goes to the log; the SDK would write it to the console. */
function providerLog(log: Log) {
  const ignore = (): void => undefined;
  const warn = (text: unknown): void => {
    log.warn(
      { said: String(text).replace(/\s+/g, ' ') },
      'the AWS SDK has doubts about credentials',
    );
  };
  return { trace: ignore, debug: ignore, info: ignore, warn, error: ignore };
}

/**
 * The marks the SDK's providers leave on what they give (`$source`, kept for its user agent), the
 * outermost first: a profile that assumes a role carries those of its source as well.
 */
const sourceNames: readonly (readonly [mark: string, name: string])[] = [
  ['CREDENTIALS_STS_ASSUME_ROLE_WEB_ID', 'a web identity token'],
  ['CREDENTIALS_ENV_VARS_STS_WEB_ID_TOKEN', 'a web identity token named by the environment'],
  ['CREDENTIALS_PROFILE_STS_WEB_ID_TOKEN', 'a web identity token named by the profile'],
  ['CREDENTIALS_PROFILE_SSO', 'SSO of the profile'],
  ['CREDENTIALS_PROFILE_SSO_LEGACY', 'SSO of the profile'],
  ['CREDENTIALS_PROFILE_LOGIN', 'the console login of the profile'],
  ['CREDENTIALS_PROFILE_PROCESS', 'credential_process of the profile'],
  ['CREDENTIALS_PROFILE_NAMED_PROVIDER', 'the credential source of the profile'],
  ['CREDENTIALS_PROFILE_SOURCE_PROFILE', 'a role of the profile'],
  ['CREDENTIALS_SSO', 'SSO'],
  ['CREDENTIALS_SSO_LEGACY', 'SSO'],
  ['CREDENTIALS_LOGIN', 'the console login'],
  ['CREDENTIALS_PROCESS', 'credential_process of the profile'],
  ['CREDENTIALS_STS_ASSUME_ROLE', 'an assumed role'],
  ['CREDENTIALS_PROFILE', 'the profile'],
  ['CREDENTIALS_ENV_VARS', 'the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY'],
  ['CREDENTIALS_HTTP', 'the container credential endpoint'],
  ['CREDENTIALS_IMDS', 'the instance metadata service'],
];

/** Words for where an identity of the default chain came from. */
export function sourceName(identity: AwsCredentialIdentity, profile?: string): string {
  const marks =
    '$source' in identity && typeof identity.$source === 'object' && identity.$source !== null
      ? identity.$source
      : {};
  const known = sourceNames.find(([mark]) => mark in marks)?.[1];
  if (known !== undefined) {
    const named = profile ?? process.env['AWS_PROFILE'] ?? 'default';
    return known.replace('the profile', `profile ${JSON.stringify(named)}`);
  }
  // The two providers at the end of the chain leave no mark.
  return process.env['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI'] === undefined &&
    process.env['AWS_CONTAINER_CREDENTIALS_FULL_URI'] === undefined
    ? 'the instance metadata service'
    : 'the container credential endpoint';
}
