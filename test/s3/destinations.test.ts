/**
 * Which hosts are asked: of access points, and with dual stack and FIPS as AWS's variables and profiles
 * say. Seen by the proxy that the requests would go through, the SDK's and the project's own alike.
 */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { silentLog } from '../../lib/log.js';
import type { Key } from '../../lib/path.js';
import type { StoreOptions } from '../../lib/s3/connection/client.js';
import { copySource } from '../../lib/s3/copy-source.js';
import { S3Store } from '../../lib/s3/s3-store.js';
import type { ETag } from '../../lib/store.js';
import { setAwsEnvironment, setEnvironment } from '../support/environment.js';

const key = 'file' as Key;
const source = { key, etag: '"0"' as ETag, size: 1 };
const point = 'arn:aws:s3:eu-west-1:123456789012:accesspoint/sftp';

/** The hosts that requests of all sorts go to. */
async function hostsOf(t: Test, options: Partial<StoreOptions>): Promise<readonly string[]> {
  const hosts = new Set<string>();
  const server = createServer();
  server.on('connect', ({ url = '' }, socket) => {
    hosts.add(url);
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  process.env['HTTPS_PROXY'] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const store = new S3Store(
    {
      ...{ bucket: 'bucket', prefix: 'alice/', region: 'eu-west-1' },
      ...{
        partSize: 8 << 20,
        uploadConcurrency: 1,
        timeoutMs: 5000,
        maxAttempts: 1,
        patienceMs: 0,
      },
      ...options,
    },
    silentLog,
  );
  t.teardown(() => store.close());
  const requests: (() => Promise<unknown>)[] = [
    () => store.head(key),
    () => store.get(key),
    () => store.put(key, []),
    () => store.list({ prefix: '' as Key, oneLevel: true }),
    () => store.copy(source, 'copy' as Key, { storageClass: 'STANDARD', metadata: {} }),
    () => store.createUpload(key),
    () => store.abortUpload({ key, uploadId: 'id' }),
  ];
  for (const request of requests) await t.rejects(request, 'nobody is there');
  return [...hosts];
}

const keys = { AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' };

for (const [what, variables, plain, ofPoint] of [
  [
    'nothing said',
    {},
    'bucket.s3.eu-west-1.amazonaws.com:443',
    'sftp-123456789012.s3-accesspoint.eu-west-1.amazonaws.com:443',
  ],
  [
    'dual stack',
    { AWS_USE_DUALSTACK_ENDPOINT: 'true' },
    'bucket.s3.dualstack.eu-west-1.amazonaws.com:443',
    'sftp-123456789012.s3-accesspoint.dualstack.eu-west-1.amazonaws.com:443',
  ],
  [
    'FIPS',
    { AWS_USE_FIPS_ENDPOINT: 'true' },
    'bucket.s3-fips.eu-west-1.amazonaws.com:443',
    'sftp-123456789012.s3-accesspoint-fips.eu-west-1.amazonaws.com:443',
  ],
  [
    'both',
    { AWS_USE_FIPS_ENDPOINT: 'true', AWS_USE_DUALSTACK_ENDPOINT: 'true' },
    'bucket.s3-fips.dualstack.eu-west-1.amazonaws.com:443',
    'sftp-123456789012.s3-accesspoint-fips.dualstack.eu-west-1.amazonaws.com:443',
  ],
] as const) {
  void t.test(`${what}, by variables and by a profile`, async (t) => {
    setAwsEnvironment(t, { ...keys, ...variables });
    setEnvironment(t, { HTTPS_PROXY: '', https_proxy: '', NO_PROXY: '', no_proxy: '' });
    t.strictSame(await hostsOf(t, {}), [plain]);
    t.strictSame(await hostsOf(t, { bucket: point }), [ofPoint]);
    const alias = 'sftp-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias';
    t.strictSame(await hostsOf(t, { bucket: alias }), [plain.replace('bucket', alias)]);

    const folder = await mkdtemp(join(tmpdir(), 's3jail-profile-'));
    t.teardown(() => rm(folder, { recursive: true }));
    const lines = Object.keys(variables).map(
      (name) => `${name.slice('AWS_'.length).toLowerCase()} = true`,
    );
    const file = join(folder, 'config');
    await writeFile(file, `[profile work]\n${lines.join('\n')}\n`);
    setAwsEnvironment(t, { ...keys, AWS_CONFIG_FILE: file });
    t.strictSame(await hostsOf(t, { profile: 'work', credentials: credentials() }), [plain]);
    process.env['AWS_PROFILE'] = 'work';
    t.strictSame(await hostsOf(t, { bucket: point, credentials: credentials() }), [ofPoint]);
  });
}

void t.test('a role is assumed where the variables say', async (t) => {
  const roleArn = 'arn:aws:iam::123456789012:role/sftp';
  setAwsEnvironment(t, { ...keys, AWS_USE_FIPS_ENDPOINT: 'true' });
  setEnvironment(t, { HTTPS_PROXY: '', https_proxy: '', NO_PROXY: '', no_proxy: '' });
  const [host] = await hostsOf(t, { roleArn, region: 'us-east-1' });
  t.equal(host, 'sts-fips.us-east-1.amazonaws.com:443');
});

void t.test('what is copied from an access point is named by its ARN', (t) => {
  t.equal(copySource('bucket', 'a b/c'), 'bucket/a%20b/c');
  t.equal(copySource(point, 'a b/c'), `${point}/object/a%20b/c`);
  t.end();
});

function credentials() {
  return { accessKeyId: keys.AWS_ACCESS_KEY_ID, secretAccessKey: keys.AWS_SECRET_ACCESS_KEY };
}
