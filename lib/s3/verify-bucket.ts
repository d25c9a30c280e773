/**
 * The question before a mount: is the bucket there, and may these credentials list the prefix?
 *
 * Asked with one LIST of the prefix for one key: the bucket's root may be forbidden where the prefix
 * is not, and HeadBucket answers with a bare status. Its patience is short and its own: an operator
 * waits for the answer. A bucket of another AWS region is found by what S3 says about it, and
 * everything from then on goes there.
 */
import { HeadObjectCommand } from '@aws-sdk/client-s3';

import { unlessAborted } from '../concurrency/abort.js';
import { StoreError, isStoreError } from '../errors.js';
import type { Connection } from './connection/connection.js';
import type { Listings } from './listing.js';
import { mustBeListing } from './object-info.js';
import { errorFacts, isElsewhere, plainText, toStoreError } from './connection/s3-errors.js';
import type { ErrorFacts } from './connection/s3-errors.js';

const action = 'ListObjectsV2';
/** For one try; credentials from a metadata service take their own time before it. */
const tryMs = 2_500;
const tries = 2;
/** For all of it, providers of credentials that do not answer included. */
const patienceMs = 6_000;

/** @throws StoreError whose message names bucket, endpoint, credentials and the cure */
export async function verifyBucket(connection: Connection, listings: Listings): Promise<void> {
  await verifyCredentials(connection);
  const failure = await listOnce(connection, listings);
  if (failure === undefined) return;
  const facts = errorFacts(failure);
  const { region } = facts;
  if (isElsewhere(facts) && region !== undefined && region !== (await connection.region())) {
    connection.moveTo(region);
    const second = await listOnce(connection, listings);
    if (second === undefined) return;
    throw await explained(connection, second);
  }
  throw await explained(connection, failure);
}

/**
 * Asks for the credentials alone.
 * @throws StoreError as verifyBucket
 */
export async function verifyCredentials(connection: Connection): Promise<void> {
  if (connection.credentials.provider === undefined) return;
  try {
    const late = Object.assign(new Error('no answer in time'), { name: 'TimeoutError' });
    const patience = AbortSignal.timeout(patienceMs);
    await unlessAborted(connection.client.config.credentials(), patience, late);
  } catch (error) {
    const role = connection.options.roleArn;
    const { code } = errorFacts(error);
    // What STS refuses is not about the bucket; what no provider has is told below.
    if (role === undefined || code === 'CredentialsProviderError') {
      throw await explained(connection, error);
    }
    const { kind, message } = toStoreError(error, { action: 'AssumeRole' });
    throw new StoreError(
      kind,
      `role ${role} cannot be assumed (${message}); correct --role-arn and --role-external-id, or ` +
        `let the role trust this caller (credentials: ${connection.credentials.answeredBy()})`,
      { action: 'AssumeRole', ...(code === undefined ? {} : { code }), cause: error },
    );
  }
}

/**
 * An object named like the prefix or a directory above it, without the slash, if there is one: its URL.
 * @throws StoreError, but not where a key above the prefix may not be looked at
 */
export async function objectAbove(connection: Connection): Promise<string | undefined> {
  const { bucket, prefix } = connection.options;
  const segments = prefix.split('/').slice(0, -1);
  for (let depth = segments.length; depth > 0; depth--) {
    const Key = segments.slice(0, depth).join('/');
    try {
      await connection.send(new HeadObjectCommand({ ...connection.bucketInput, Key }));
      return `s3://${bucket}/${Key}`;
    } catch (error) {
      if (!isStoreError(error, 'notFound', 'denied', 'invalid')) throw error;
    }
  }
  return undefined;
}

async function listOnce(connection: Connection, listings: Listings): Promise<unknown> {
  const sender = connection.impatient(tryMs, tries);
  const query = { ...connection.bucketInput, Prefix: connection.options.prefix, MaxKeys: 1 };
  try {
    const abortSignal = AbortSignal.timeout(patienceMs);
    mustBeListing(await listings.page(query, (command) => sender.send(command, { abortSignal })));
    return undefined;
  } catch (error) {
    return error ?? new Error('no reason given');
  } finally {
    sender.destroy();
  }
}

async function explained(connection: Connection, failure: unknown): Promise<StoreError> {
  const error = toStoreError(failure, { action });
  const sentence = sentenceFor(errorFacts(failure), error, {
    bucket: connection.options.bucket,
    prefix: connection.options.prefix,
    place: connection.place,
    region: await connection.region(),
    provider: connection.credentials.answeredBy(),
    profile: connection.options.profile,
    instanceRole: connection.options.instanceRole === true,
  });
  return new StoreError(error.kind === 'aborted' ? 'unavailable' : error.kind, sentence, {
    action,
    ...(error.status === undefined ? {} : { status: error.status }),
    ...(error.code === undefined ? {} : { code: error.code }),
    ...(error.requestId === undefined ? {} : { requestId: error.requestId }),
    cause: failure,
  });
}

/** What the sentence is about. */
export interface Circumstances {
  readonly bucket: string;
  readonly prefix: string;
  /** endpoint, in words */
  readonly place: string;
  readonly region: string;
  /** credential provider that answered, in words */
  readonly provider: string;
  readonly profile: string | undefined;
  /** nobody but the metadata service was asked */
  readonly instanceRole: boolean;
}

/** One sentence with the reason and one with the cure. */
export function sentenceFor(facts: ErrorFacts, error: StoreError, about: Circumstances): string {
  const { bucket, place, provider } = about;
  const where = `bucket ${JSON.stringify(bucket)} at ${place}`;
  const reason = byCode(facts, about) ?? byKind(error, facts, about);
  return `${where}: ${reason} (credentials: ${provider})`;
}

function byCode(facts: ErrorFacts, about: Circumstances): string | undefined {
  switch (facts.code) {
    case 'NoSuchBucket':
      return 'there is no such bucket; create it, or correct its name or the endpoint';
    case 'InvalidAccessKeyId':
    case 'InvalidClientTokenId':
    case 'XAdminUserNotFound':
      return 'the access key is not known there; use a key of this service';
    case 'SignatureDoesNotMatch':
      return 'the secret key does not belong to the access key; correct it';
    case 'RequestTimeTooSkewed':
    case 'RequestExpired':
      return 'the clock of this machine is wrong; set it, best by NTP';
    case 'ExpiredToken':
    case 'ExpiredTokenException':
    case 'TokenRefreshRequired':
      return 'the session of the credentials has expired; get new ones';
    case 'InvalidToken':
    case 'InvalidTokenId':
      return 'the session token is not valid there; correct or unset AWS_SESSION_TOKEN';
    case 'CredentialsProviderError':
    case 'TokenProviderError':
      return noCredentials(about);
    case 'PermanentRedirect':
    case 'AuthorizationHeaderMalformed':
    case 'IllegalLocationConstraintException':
      return facts.region === undefined
        ? `the bucket is not in region ${about.region}; name its region with --region`
        : `the bucket is in region ${facts.region}, not ${about.region}; use --region ${facts.region}`;
    case 'InvalidBucketName':
      return 'the name is no bucket name there; correct it';
    case undefined:
    default:
      return byTrust(facts.status === 407 ? 'ERR_PROXY_CREDENTIALS' : (facts.system ?? facts.code));
  }
}

function noCredentials({ profile, instanceRole }: Circumstances): string {
  if (instanceRole) {
    return (
      'the instance metadata service gives no credentials; attach a role to the EC2 instance, and ' +
      'for containers on it allow two hops'
    );
  }
  return profile === undefined
    ? 'no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, use --profile, ' +
        'give the machine a role, keep keys in /etc/credstore/s3jail.NAME for a mount that is made at ' +
        'boot, or use --no-sign-request for a public bucket'
    : `profile ${JSON.stringify(profile)} gives no credentials; correct ~/.aws/config and ` +
        '~/.aws/credentials of the user who mounts, or name another --profile';
}

/** Codes of TLS failures, as Node has them from OpenSSL. */
function byTrust(code: string | undefined): string | undefined {
  switch (code) {
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return 'its certificate is from an unknown authority; name that with --ca-bundle FILE';
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return 'its certificate is for another host name; correct --endpoint-url';
    case 'CERT_HAS_EXPIRED':
    case 'CERT_NOT_YET_VALID':
      return 'its certificate is not valid now; check the clock of this machine, or renew it';
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
      return 'it does not speak TLS; use http:// in --endpoint-url, or the right port';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'the host name cannot be resolved; correct --endpoint-url or the DNS of this machine';
    case 'ERR_PROXY_CREDENTIALS':
      return (
        'the proxy wants other credentials; correct those in HTTPS_PROXY or ' +
        'HTTP_PROXY, http://USER:PASSWORD@HOST:PORT'
      );
    case 'ERR_PROXY_REFUSED':
      return 'the proxy does not connect to it; allow it there, or name the endpoint in NO_PROXY';
    case 'ECONNREFUSED':
      return 'nothing answers there (connection refused); start the service or correct --endpoint-url';
    case undefined:
    default:
      return undefined;
  }
}

/** Some servers have one code for everything: Garage says AccessDenied to keys it does not know. */
function wordsOf({ cause, code = '' }: StoreError): string | undefined {
  const words = plainText(cause);
  const isCode = words.replaceAll(/[^a-z]/gi, '').toLowerCase() === code.toLowerCase();
  return words === '' || isCode ? undefined : words;
}

function inBrackets(...parts: readonly (string | undefined)[]): string {
  const known = parts.filter((part) => part !== undefined);
  return known.length === 0 ? '' : ` (${known.join(': ')})`;
}

function byKind(error: StoreError, facts: ErrorFacts, about: Circumstances): string {
  switch (error.kind) {
    case 'denied':
      return (
        `listing s3://${about.bucket}/${about.prefix} is denied` +
        `${inBrackets(facts.code, wordsOf(error))}; allow s3:ListBucket for this prefix ` +
        '(s3jail policy prints the policy), or use other credentials'
      );
    case 'aborted':
    case 'unavailable':
    case 'throttled':
      if (facts.status !== undefined && facts.status >= 300 && facts.status < 400) {
        return (
          `it sends requests elsewhere (HTTP ${facts.status}), as a login page does, or a service by ` +
          'another of its names; log in, or correct --endpoint-url (https for http?)'
        );
      }
      return (
        `it cannot be reached now (${facts.code ?? facts.system ?? `HTTP ${facts.status ?? '?'}`}); ` +
        'check network, proxy and --endpoint-url'
      );
    case 'notFound':
    case 'corrupt':
    case 'invalid':
    case 'unsupported':
      return `it does not answer as S3 does (${error.message}); correct --endpoint-url`;
    case 'noBucket':
      return 'there is no such bucket; create it, or correct its name or the endpoint';
    case 'noUpload':
    case 'changed':
    case 'isDirectory':
    case 'underFile':
    case 'nameTooLong':
    case 'badName':
    case 'tooLarge':
    case 'full':
    case 'archived':
      return error.message;
  }
}
