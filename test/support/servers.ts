/**
 * The S3 servers that tests run against: the embedded endpoint, made for each test, and Ceph where
 * the environment names one (scripts/ceph prints these variables).
 */
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { Test } from 'tap';
import { mustRun } from '../../lib/demo/child.js';
import { startEndpoint } from '../../lib/endpoint/endpoint.js';
import { Bucket } from './bucket.js';
import { makeDirectory, makePlace } from './place.js';

export type ServerName = 'embedded' | 'ceph';

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
}

export interface TestServer extends Running {
  readonly name: ServerName;
  /** a fresh one, gone with the test */
  readonly bucket: Bucket;
}

/** The servers at hand. */
export function serverNames(): ServerName[] {
  return process.env['S3JAIL_TEST_CEPH_URL'] === undefined ? ['embedded'] : ['embedded', 'ceph'];
}

/** A test on Ceph; skipped where there is none, and its name says so. */
export function testOnCeph(
  t: Test,
  name: string,
  body: (t: Test, server: TestServer) => Promise<void>,
): Promise<unknown> {
  const isThere = serverNames().includes('ceph');
  const why = isThere ? '' : ': not run, S3JAIL_TEST_CEPH_URL is not set (scripts/ceph start)';
  return t.test(`${name}${why}`, { skip: !isThere }, async (t) =>
    body(t, await useServer(t, 'ceph')),
  );
}

export async function useServer(t: Test, name: ServerName): Promise<TestServer> {
  const running = name === 'embedded' ? await startEmbedded(t) : ceph();
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
  return { url: endpoint.url, credentials, lendKey };
}

/** Ceph's keys are made and revoked by its own tool, which talks to the cluster, not to the gateway. */
function ceph(): Running {
  const credentials = {
    accessKeyId: variable('S3JAIL_TEST_CEPH_ACCESS_KEY'),
    secretAccessKey: variable('S3JAIL_TEST_CEPH_SECRET_KEY'),
  };
  const lendKey = async (): Promise<LentKey> => {
    const lent = newCredentials();
    const key = ['--uid=test', `--access-key=${lent.accessKeyId}`];
    const revoke = (): Promise<void> => cephAdmin('key', 'rm', ...key);
    const restore = (): Promise<void> =>
      cephAdmin('key', 'create', ...key, `--secret-key=${lent.secretAccessKey}`);
    await restore();
    return { credentials: lent, revoke, restore };
  };
  return { url: variable('S3JAIL_TEST_CEPH_URL'), credentials, lendKey };
}

async function cephAdmin(...args: string[]): Promise<void> {
  const script = fileURLToPath(new URL('../../../scripts/ceph', import.meta.url));
  await mustRun(script, ['admin', '--dir', variable('S3JAIL_TEST_CEPH_DIR'), '--', ...args]);
}

function newCredentials(): Credentials {
  return {
    accessKeyId: `s3jail-${randomBytes(6).toString('hex')}`,
    secretAccessKey: randomBytes(20).toString('hex'),
  };
}

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set; scripts/ceph start prints it`);
  return value;
}
