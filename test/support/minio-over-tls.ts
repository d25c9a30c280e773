/**
 * MinIO with a certificate, because it takes the keys of SSE-C by TLS alone: a server of the test's own, where
 * its program is on this machine (scripts/servers --install minio).
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { connect as connectPlain, createServer, type AddressInfo } from 'node:net';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { connect } from 'node:tls';
import { CreateBucketCommand } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { Child } from '../../lib/demo/child.js';
import { freePort } from '../../lib/demo/sshd.js';
import { Bucket } from './bucket.js';
import { makeCertificate } from './certificate.js';
import { makeDirectory, makePlace } from './place.js';
import { makeClient, type TestServer } from './servers.js';
import { until } from './until.js';

export interface MinioOverTls {
  /** by a relay on loopback that speaks TLS to it and http to whoever asks */
  readonly server: TestServer;
  /** https */
  readonly url: string;
  /** PEM file of the authority to trust */
  readonly caFile: string;
}

/** A test on it, or one whose name says why it is left out. */
export function testOnMinioOverTls(
  name: string,
  cases: (t: Test, minio: MinioOverTls) => Promise<void>,
): void {
  const program = minioProgram();
  if (program === undefined) {
    const why = 'not run, there is no program minio (scripts/servers)';
    void t.test(`${name}: ${why}`, { skip: true }, () => undefined);
    return;
  }
  void t.test(name, async (t) => await cases(t, await startMinioOverTls(t, program)));
}

/** As scripts/servers finds it. */
function minioProgram(): string | undefined {
  const { S3JAIL_SERVER_PROGRAMS: named, XDG_CACHE_HOME: cache, PATH: path = '' } = process.env;
  const installed = named ?? join(cache ?? join(homedir(), '.cache'), 's3jail/servers');
  const places = [...path.split(delimiter), installed].map((place) => join(place, 'minio'));
  return places.find((place) => existsSync(place));
}

async function startMinioOverTls(t: Test, program: string): Promise<MinioOverTls> {
  const place = await makePlace(t);
  const data = await makeDirectory(place, 'data');
  const certs = join(place, 'certs');
  await mkdir(certs);
  const certificate = await makeCertificate(t);
  await writeFile(join(certs, 'private.key'), certificate.key, { mode: 0o600 });
  await writeFile(join(certs, 'public.crt'), certificate.cert);
  const credentials = {
    accessKeyId: 's3jail-test',
    secretAccessKey: randomBytes(20).toString('hex'),
  };
  const port = await freePort();
  const args = ['server', data, '--address', `127.0.0.1:${port}`, '--certs-dir', certs];
  const env = {
    PATH: process.env['PATH'],
    HOME: place,
    MINIO_ROOT_USER: credentials.accessKeyId,
    MINIO_ROOT_PASSWORD: credentials.secretAccessKey,
    ...{ MINIO_BROWSER: 'off', MINIO_UPDATE: 'off' },
  };
  const child = await Child.start(program, args, { env });
  t.teardown(() => child.stop());
  await until(() => answers(port));
  const url = await relayTo(t, port, certificate.cert);
  const client = makeClient(url, credentials);
  const bucket = new Bucket(client, `s3jail-${randomBytes(6).toString('hex')}`);
  await until(async () => {
    const made = client.send(new CreateBucketCommand({ Bucket: bucket.name }));
    return await made.then(
      () => true,
      () => false,
    );
  });
  t.teardown(() => client.destroy());
  const none = (): Promise<never> => Promise.reject(new Error('no test asks this server for it'));
  return {
    server: { name: 'minio', url, credentials, bucket, lendKey: none, makeRole: none },
    url: `https://127.0.0.1:${port}`,
    caFile: certificate.file,
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectPlain({ port, host: '127.0.0.1' });
    const end = (isThere: boolean) => (): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.on('connect', end(true)).on('error', end(false));
  });
}

/** For clients of tests that speak http only. */
async function relayTo(t: Test, port: number, ca: string): Promise<string> {
  const server = createServer((client) => {
    const upstream = connect({ port, host: '127.0.0.1', ca });
    client.pipe(upstream).pipe(client);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.teardown(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
