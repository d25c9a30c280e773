/**
 * Which credentials the requests are signed with, and where they came from.
 *
 * The base is the SDK's default chain (environment, profile, SSO, process, web identity, container,
 * instance metadata), or keys given with the source. A role, if one is asked for, is assumed from
 * whatever the base gives. The instance metadata service is asked by version 2 only, unless told
 * otherwise: version 1 answers anybody who can make this machine send a plain GET.
 *
 * The name of the provider that answered is for messages; it never holds a key.
 */
import { fromNodeProviderChain, fromTemporaryCredentials } from '@aws-sdk/credential-providers';
import type { AwsCredentialIdentity, AwsCredentialIdentityProvider } from '@smithy/types';

import type { Log } from '../log.js';
import type { HttpHandler } from './http.js';

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
}

export interface CredentialContext {
  /** region for STS */
  readonly region: () => Promise<string>;
  /** where STS is, for services that serve it beside S3; absent for AWS */
  readonly stsEndpoint?: string | undefined;
  readonly requestHandler: HttpHandler;
  readonly log: Log;
}

/** Credentials with a memory of who gave them. */
export interface CredentialSource {
  /** undefined: requests are not signed */
  readonly provider: AwsCredentialIdentityProvider | undefined;
  /** the provider that answered last, in words; what was asked for as long as none has */
  answeredBy(): string;
}

export function credentialSource(
  options: CredentialOptions,
  context: CredentialContext,
): CredentialSource {
  if (options.noSignRequest === true) {
    return { provider: undefined, answeredBy: () => 'no credentials (requests are not signed)' };
  }
  const base = baseSource(options, context);
  return options.roleArn === undefined ? base : roleSource(options.roleArn, base, options, context);
}

function baseSource(options: CredentialOptions, context: CredentialContext): CredentialSource {
  const { credentials, profile } = options;
  if (credentials !== undefined) {
    return {
      provider: () => Promise.resolve({ ...credentials }),
      answeredBy: () => 'the keys in SOURCE',
    };
  }
  const asked = profile === undefined ? 'the default chain' : `profile ${JSON.stringify(profile)}`;
  return remembering(
    fromNodeProviderChain({
      ...(profile === undefined ? {} : { profile }),
      ec2MetadataV1Disabled: options.imdsV1 !== true,
      clientConfig: { requestHandler: context.requestHandler },
      logger: providerLog(context.log),
    }),
    asked,
    (identity) => sourceName(identity, profile),
  );
}

function roleSource(
  roleArn: string,
  base: CredentialSource,
  options: CredentialOptions,
  context: CredentialContext,
): CredentialSource {
  const masterCredentials = base.provider;
  if (masterCredentials === undefined) return base;
  const assumed = fromTemporaryCredentials({
    masterCredentials,
    params: {
      RoleArn: roleArn,
      RoleSessionName: options.roleSessionName ?? `s3jail-${process.pid}`,
      ...(options.roleExternalId === undefined ? {} : { ExternalId: options.roleExternalId }),
    },
    clientConfig: {
      region: context.region,
      requestHandler: context.requestHandler,
      ...(context.stsEndpoint === undefined ? {} : { endpoint: context.stsEndpoint }),
    },
  });
  return {
    provider: (properties) => assumed(properties),
    answeredBy: () => `role ${roleArn}, assumed with ${base.answeredBy()}`,
  };
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

function remembering(
  provider: AwsCredentialIdentityProvider,
  asked: string,
  nameOf: (identity: AwsCredentialIdentity) => string,
): CredentialSource {
  let answered = asked;
  return {
    provider: async (properties) => {
      const identity = await provider(properties);
      answered = nameOf(identity);
      return identity;
    },
    answeredBy: () => answered,
  };
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
  ['CREDENTIALS_PROCESS', 'credential_process'],
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
