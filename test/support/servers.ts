/**
 * The S3 servers that tests run against: the embedded endpoint, made for each test, and those that
 * nobody here wrote, where the environment names them (scripts/servers prints these variables).
 */
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { Test } from 'tap';
import { mustRun } from '../../lib/demo/child.js';
import { startEndpoint } from '../../lib/endpoint/endpoint.js';
import { Bucket } from './bucket.js';
import { makeDirectory, makePlace } from './place.js';

/** Servers that nobody here wrote, in the order of scripts/servers. */
export const realServers = ['minio', 'versitygw', 'seaweedfs', 'garage', 'ceph'] as const;

export type RealServer = (typeof realServers)[number];
export type ServerName = 'embedded' | RealServer;

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** A second key to the same objects, for a mount that is to lose it. */
export interface LentKey {
  readonly credentials: Credentials;
  /** From now on the server refuses it. */
  revoke(): Promise<void>;
  /** From now on the server takes it again. */
  restore(): Promise<void>;
}

/** A running server. */
interface Running {
  readonly url: string;
  readonly credentials: Credentials;
  lendKey(): Promise<LentKey>;
  /** A role that may do everything and that `credentials` may assume, gone with the test. @returns its ARN */
  makeRole(t: Test): Promise<string>;
}

export interface TestServer extends Running {
  readonly name: ServerName;
  /** a fresh one, gone with the test */
  readonly bucket: Bucket;
}

/**
 * The embedded endpoint, and Ceph where it is there: the two whose keys can be revoked in the middle
 * of a test.
 */
export function serverNames(): ServerName[] {
  return isThere('ceph') ? ['embedded', 'ceph'] : ['embedded'];
}

/** Whether the environment names one. */
export function isThere(server: RealServer): boolean {
  return process.env[variableOf(server, 'URL')] !== undefined;
}

/** A test on a server that nobody here wrote; skipped where there is none, and its name says so. */
export function testOnServer(
  t: Test,
  { server, name }: { server: RealServer; name: string },
  body: (t: Test, server: TestServer) => Promise<void>,
): Promise<unknown> {
  const skip = !isThere(server);
  const why = skip ? `: not run, ${variableOf(server, 'URL')} is not set (scripts/servers)` : '';
  return t.test(`${name}${why}`, { skip }, async (t) => body(t, await useServer(t, server)));
}

export async function useServer(t: Test, name: ServerName): Promise<TestServer> {
  const running = name === 'embedded' ? await startEmbedded(t) : realServer(name);
  const client = makeClient(running.url, running.credentials);
  const bucket = new Bucket(client, `s3jail-${randomBytes(6).toString('hex')}`);
  await client.send(new CreateBucketCommand({ Bucket: bucket.name }));
  t.teardown(async () => {
    await bucket.remove();
    client.destroy();
  });
  return { ...running, name, bucket };
}

/** A client as any other program has one: the SDK, and nothing of ours. */
export function makeClient(url: string, credentials: Credentials): S3Client {
  return new S3Client({
    endpoint: url,
    credentials,
    region: 'us-east-1',
    forcePathStyle: true,
    // Ceph 16.2 answers bodies with checksum trailers with 411.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
}

async function startEmbedded(t: Test): Promise<Running> {
  const credentials = newCredentials();
  const directory = await makeDirectory(await makePlace(t), 'objects');
  // Its objects need not outlive a power cut.
  const endpoint = await startEndpoint({ directory, credentials: [credentials], fsync: false });
  t.teardown(() => endpoint.close());
  const lendKey = (): Promise<LentKey> => {
    const lent = newCredentials();
    const accept = (...keys: Credentials[]): Promise<void> => {
      endpoint.setCredentials(keys);
      return Promise.resolve();
    };
    const revoke = (): Promise<void> => accept(credentials);
    const restore = (): Promise<void> => accept(credentials, lent);
    return restore().then(() => ({ credentials: lent, revoke, restore }));
  };
  // It knows no roles, and so lets everybody assume any.
  const makeRole = () => Promise.resolve('arn:aws:iam::123456789012:role/test');
  return { url: endpoint.url, credentials, lendKey, makeRole };
}

function realServer(server: RealServer): Running {
  return {
    url: variable(server, 'URL'),
    credentials: {
      accessKeyId: variable(server, 'ACCESS_KEY'),
      secretAccessKey: variable(server, 'SECRET_KEY'),
    },
    lendKey: () => {
      if (server === 'ceph') return lendCephKey();
      return Promise.reject(new Error(`no test takes a key of ${server} away`));
    },
    makeRole: (t) => {
      if (server === 'ceph') return makeCephRole(t);
      return Promise.reject(new Error(`no test assumes a role of ${server}`));
    },
  };
}

/** Ceph's keys are made and revoked by its own tool, which talks to the cluster, not to the gateway. */
async function lendCephKey(): Promise<LentKey> {
  const lent = newCredentials();
  const key = ['--uid=test', `--access-key=${lent.accessKeyId}`];
  const revoke = (): Promise<void> => cephAdmin('key', 'rm', ...key);
  const restore = (): Promise<void> =>
    cephAdmin('key', 'create', ...key, `--secret-key=${lent.secretAccessKey}`);
  await restore();
  return { credentials: lent, revoke, restore };
}

async function makeCephRole(t: Test): Promise<string> {
  const name = `--role-name=s3jail-${randomBytes(6).toString('hex')}`;
  const allow = (statement: object): string =>
    JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', ...statement }] });
  const caller = { Principal: { AWS: ['arn:aws:iam:::user/test'] }, Action: ['sts:AssumeRole'] };
  const rights = { Action: ['s3:*'], Resource: 'arn:aws:s3:::*' };
  await cephAdmin('role', 'create', name, `--assume-role-policy-doc=${allow(caller)}`);
  t.teardown(() => cephAdmin('role', 'delete', name));
  const policy = '--policy-name=all';
  await cephAdmin('role-policy', 'put', name, policy, `--policy-doc=${allow(rights)}`);
  t.teardown(() => cephAdmin('role-policy', 'delete', name, policy));
  return `arn:aws:iam:::role/${name.replace('--role-name=', '')}`;
}

async function cephAdmin(...args: string[]): Promise<void> {
  const script = fileURLToPath(new URL('../../../scripts/ceph', import.meta.url));
  await mustRun(script, ['admin', '--dir', variable('ceph', 'DIR'), '--', ...args]);
}

function newCredentials(): Credentials {
  return {
    accessKeyId: `s3jail-${randomBytes(6).toString('hex')}`,
    secretAccessKey: randomBytes(20).toString('hex'),
  };
}

function variable(server: RealServer, what: string): string {
  const name = variableOf(server, what);
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set; scripts/servers prints it`);
  return value;
}

function variableOf(server: RealServer, what: string): string {
  return `S3JAIL_TEST_${server.toUpperCase()}_${what}`;
}
