/**
 * Who may call: long-lived access keys and the sessions made from them.
 *
 * A session token says which key made it, until when and what it allows, sealed by an HMAC with that key's secret;
 * the session's secret is derived from the token. So sessions outlive a restart, need no table, and
 * die with the key that made them.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { PolicyDocument } from './policy.js';
import { S3Error } from '../wire/s3-error.js';

/** A long-lived access key. */
export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** what it may do; everything if absent */
  readonly policy?: PolicyDocument;
}

/** Temporary credentials. */
export interface SessionCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly expiresMs: number;
}

/** A caller whose secret is known, signature still to be checked. */
export interface Principal {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** each of them has to allow a request: that of the key, and that of the session; none: everything */
  readonly policies: readonly PolicyDocument[];
  /** ARN as GetCallerIdentity shows it */
  readonly arn: string;
  /** the long-lived key behind it */
  readonly owner: string;
}

interface TokenContent {
  /** the key that made the session */
  readonly by: string;
  readonly id: string;
  readonly expiresMs: number;
  /** ARN of the session */
  readonly arn: string;
  /** what the session may do of what the key may (IAM user guide, "Session policies") */
  readonly policy?: PolicyDocument | undefined;
}

export class Identities {
  readonly #accountId: string;
  #keys: ReadonlyMap<string, AccessKey>;

  constructor(keys: readonly AccessKey[], accountId: string) {
    this.#accountId = accountId;
    this.#keys = byId(keys);
  }

  /** Replaces all access keys; sessions of keys that are gone end. */
  setKeys(keys: readonly AccessKey[]): void {
    this.#keys = byId(keys);
  }

  /** Whose permissions a web identity gets: the first key's. */
  firstKey(): AccessKey | undefined {
    return this.#keys.values().next().value;
  }

  /** Makes a session. */
  startSession(session: Omit<TokenContent, 'id'>): SessionCredentials {
    const key = this.#key(session.by);
    const { expiresMs } = session;
    const id = `ASIA${randomBytes(8).toString('hex').toUpperCase()}`;
    const content = Buffer.from(JSON.stringify({ ...session, id })).toString('base64');
    const sessionToken = `${content}.${seal(key, content)}`;
    const secretAccessKey = sessionSecret(key, sessionToken);
    return { accessKeyId: id, secretAccessKey, sessionToken, expiresMs };
  }

  /**
   * The principal of a request.
   * @throws S3Error InvalidAccessKeyId, InvalidToken, ExpiredToken
   */
  resolve(accessKeyId: string, sessionToken: string | undefined, nowMs: number): Principal {
    if (sessionToken === undefined) {
      const { secretAccessKey, policy } = this.#key(accessKeyId);
      const arn = `arn:aws:iam::${this.#accountId}:user/${accessKeyId}`;
      return { accessKeyId, secretAccessKey, policies: given(policy), arn, owner: accessKeyId };
    }
    const { key, content } = this.#openToken(sessionToken);
    if (content.id !== accessKeyId) throw new S3Error('InvalidToken');
    if (content.expiresMs <= nowMs) throw new S3Error('ExpiredToken');
    const secretAccessKey = sessionSecret(key, sessionToken);
    const policies = [...given(key.policy), ...given(content.policy)];
    return { accessKeyId, secretAccessKey, policies, arn: content.arn, owner: content.by };
  }

  #openToken(token: string): { key: AccessKey; content: TokenContent } {
    const [text = '', told = ''] = token.split('.');
    const content = parseToken(text);
    const key = content === undefined ? undefined : this.#keys.get(content.by);
    if (content === undefined || key === undefined || !sameText(seal(key, text), told)) {
      throw new S3Error('InvalidToken', { elements: { 'Token-0': token } });
    }
    return { key, content };
  }

  #key(accessKeyId: string): AccessKey {
    const key = this.#keys.get(accessKeyId);
    if (key === undefined) {
      throw new S3Error('InvalidAccessKeyId', { elements: { AWSAccessKeyId: accessKeyId } });
    }
    return key;
  }
}

function given(policy: PolicyDocument | undefined): readonly PolicyDocument[] {
  return policy === undefined ? [] : [policy];
}

function byId(keys: readonly AccessKey[]): Map<string, AccessKey> {
  return new Map(keys.map((key) => [key.accessKeyId, key]));
}

function seal(key: AccessKey, content: string): string {
  return createHmac('sha256', key.secretAccessKey).update(`seal ${content}`).digest('base64url');
}

function sessionSecret(key: AccessKey, token: string): string {
  return createHmac('sha256', key.secretAccessKey).update(`secret ${token}`).digest('base64url');
}

/** The content of a token whose seal is still to be checked. */
function parseToken(text: string): TokenContent | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64').toString());
    return isTokenContent(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isTokenContent(value: unknown): value is TokenContent {
  return typeof value === 'object' && value !== null && 'by' in value && 'id' in value;
}

function sameText(expected: string, actual: string): boolean {
  const left = Buffer.from(expected);
  const right = Buffer.from(actual);
  return left.length === right.length && timingSafeEqual(left, right);
}
