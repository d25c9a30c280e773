/** Who the store says it is, and what it says where that is not enough to mount. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import type { Key } from '../../lib/path.js';
import type { StoreOptions } from '../../lib/s3/connection/client.js';
import { makeCertificate } from '../support/certificate.js';
import { CredentialService } from '../support/credential-service.js';
import {
  keyVariables,
  temporaryDirectory,
  testBucket,
  testKey,
  useEndpoint,
} from '../support/embedded.js';
import { setAwsEnvironment } from '../support/environment.js';
import { complaint, useStore } from '../support/store.js';

const run = promisify(execFile);

/** A server that is none of S3. @returns its port */
async function listen(t: Test, onConnection: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

void t.test('credentials come from where AWS has them', async (t) => {
  const { url } = await useEndpoint(t);
  const folder = await temporaryDirectory(t);

  await t.test('the environment', async (t) => {
    setAwsEnvironment(t, keyVariables);
    const store = useStore(t, url);
    await store.verifyBucket();
    t.match(store.credentialsFrom, /environment variables/);
  });

  await t.test('a profile', async (t) => {
    const file = join(folder, 'credentials');
    const { accessKeyId, secretAccessKey } = testKey;
    const keys = `aws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`;
    await writeFile(file, `[work]\n${keys}`, { mode: 0o600 });
    // Keys in the environment lose against a profile that was asked for.
    setAwsEnvironment(t, {
      ...keyVariables,
      AWS_ACCESS_KEY_ID: 'WRONG',
      AWS_SHARED_CREDENTIALS_FILE: file,
    });
    const store = useStore(t, url, { profile: 'work' });
    await store.verifyBucket();
    t.equal(store.credentialsFrom, 'profile "work"');
    t.match(
      await complaint(useStore(t, url, { profile: 'none' })),
      /profile "none" gives no credentials/,
    );
  });

  await t.test('a process', async (t) => {
    const { accessKeyId, secretAccessKey } = testKey;
    const script = join(folder, 'print-keys');
    const printed = { Version: 1, AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey };
    await writeFile(script, `#!/bin/sh\necho '${JSON.stringify(printed)}'\n`, { mode: 0o700 });
    const config = join(folder, 'config');
    await writeFile(config, `[profile made]\ncredential_process = ${script}\n`);
    setAwsEnvironment(t, { AWS_CONFIG_FILE: config, AWS_PROFILE: 'made' });
    const store = useStore(t, url);
    await store.verifyBucket();
    t.equal(store.credentialsFrom, 'credential_process of profile "made"');
  });

  await t.test('the source itself', async (t) => {
    setAwsEnvironment(t, {});
    const store = useStore(t, url, { credentials: testKey });
    await store.verifyBucket();
    t.equal(store.credentialsFrom, 'the keys in SOURCE');
  });

  await t.test('the instance metadata service, version 2', async (t) => {
    const service = await CredentialService.start(t, { mint: () => testKey });
    setAwsEnvironment(t, {
      AWS_EC2_METADATA_DISABLED: 'false',
      AWS_EC2_METADATA_SERVICE_ENDPOINT: service.url,
    });
    const store = useStore(t, url);
    await store.verifyBucket();
    t.match(store.credentialsFrom, /instance metadata/);
    t.equal(service.untokened, 0);
  });

  await t.test('version 1 of it only where asked for', async (t) => {
    const service = await CredentialService.start(t, {
      mint: () => testKey,
      versions: 'only 1',
    });
    setAwsEnvironment(t, {
      AWS_EC2_METADATA_DISABLED: 'false',
      AWS_EC2_METADATA_SERVICE_ENDPOINT: service.url,
    });
    t.match(await complaint(useStore(t, url)), /credentials/);
    t.equal(service.untokened, 0, 'nothing was asked without a token');
    await useStore(t, url, { imdsV1: true }).verifyBucket();
    t.ok(service.untokened > 0);
  });

  await t.test('no credentials at all', async (t) => {
    setAwsEnvironment(t, {});
    const said = await complaint(useStore(t, url));
    t.match(said, /no credentials found; set AWS_ACCESS_KEY_ID/);
  });
});

void t.test('a role is assumed, and its name is told', async (t) => {
  const arn = 'arn:aws:iam::123456789012:role/uploader';
  const { url } = await useEndpoint(t, { roles: [{ arn, externalId: 'shared' }] });
  setAwsEnvironment(t, keyVariables);
  const store = useStore(t, url, { roleArn: arn, roleExternalId: 'shared' });
  await store.verifyBucket();
  t.match(store.credentialsFrom, `role ${arn}, assumed with the environment variables`);
  await store.put('x' as Key, [Buffer.from('x')]);
  const other = useStore(t, url, { roleArn: arn, roleExternalId: 'wrong' });
  t.match(
    await complaint(other),
    /^role arn:aws:iam::123456789012:role\/uploader cannot be assumed .*--role-external-id/,
  );
});

void t.test('a public bucket needs no credentials', async (t) => {
  const { url } = await useEndpoint(t, {
    buckets: [{ name: testBucket, anonymous: 'read-write' }],
  });
  setAwsEnvironment(t, {});
  const store = useStore(t, url, { noSignRequest: true });
  await store.verifyBucket().catch(() => undefined);
  await store.put('x' as Key, [Buffer.from('x')]);
  t.equal((await store.head('x' as Key)).size, 1);
  t.match(store.credentialsFrom, /no credentials/);
});

void t.test('what is wrong is said in a sentence with its cure', async (t) => {
  const { url } = await useEndpoint(t);
  setAwsEnvironment(t, keyVariables);
  const wrong = (more: object) => ({ credentials: { ...testKey, ...more } });

  const cases: [string, Partial<StoreOptions>, RegExp][] = [
    ['no bucket', { bucket: 'absent' }, /bucket "absent" at http.*no such bucket; create it/],
    ['unknown key', wrong({ accessKeyId: 'AKIANOBODY' }), /access key is not known there/],
    [
      'wrong secret',
      wrong({ secretAccessKey: 'no' }),
      /secret key does not belong to the access key/,
    ],
    ['wrong owner', { expectedBucketOwner: '999999999999' }, /s3jail policy prints the policy/],
    ['refused', { endpointUrl: 'http://127.0.0.1:1' }, /nothing answers there .*--endpoint-url/],
    ['no such host', { endpointUrl: 'http://no.such.invalid' }, /host name cannot be resolved/],
    [
      'TLS where there is none',
      { endpointUrl: url.replace('http:', 'https:') },
      /does not speak TLS/,
    ],
  ];
  for (const [name, options, sentence] of cases) {
    await t.test(name, async (t) => {
      const store = useStore(t, url, options);
      const said = await complaint(store);
      t.match(said, sentence);
      t.match(said, `bucket "${options.bucket ?? testBucket}" at ${options.endpointUrl ?? url}`);
      t.match(said, /\(credentials: .+\)$/);
      t.notMatch(said, testKey.secretAccessKey);
      t.notMatch(said, '\n');
    });
  }

  await t.test('one LIST of the prefix is all it asks', async (t) => {
    const policy = {
      Statement: [
        {
          Effect: 'Allow' as const,
          Action: 's3:ListBucket',
          Resource: `arn:aws:s3:::${testBucket}`,
          Condition: { StringLike: { 's3:prefix': ['alice/', 'alice/*'] } },
        },
      ],
    };
    const limited = await useEndpoint(t, { credentials: [{ ...testKey, policy }] });
    const store = useStore(t, limited.url);
    await store.verifyBucket();
    t.strictSame(store.counters.requests, { ListObjectsV2: 1 });
    const denied = await complaint(useStore(t, limited.url, { prefix: 'bob/' }));
    t.match(denied, /listing s3:\/\/bucket\/bob\/ is denied.*allow s3:ListBucket/);
  });

  await t.test('a wrong clock', async (t) => {
    const early = await useEndpoint(t, { now: () => Date.now() - 3 * 3_600_000 });
    const store = useStore(t, early.url);
    t.equal(await complaint(store), 'nothing', 'is corrected by what the answer tells');
    t.equal(store.counters.retries, 1);
  });

  await t.test('a service that never answers is given up within seconds', async (t) => {
    const port = await listen(t, () => undefined);
    const said = await complaint(useStore(t, `http://127.0.0.1:${port}`, { timeoutMs: 60_000 }));
    t.match(said, /cannot be reached now \(TimeoutError\)/);
  });

  await t.test('something that is not S3', async (t) => {
    const answer =
      'HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n<html></html>';
    const port = await listen(t, (socket) => socket.end(answer));
    t.match(await complaint(useStore(t, `http://127.0.0.1:${port}`)), /does not answer as S3 does/);
  });
});

void t.test('a bucket of another region is found', async (t) => {
  const { url } = await useEndpoint(t, { buckets: [{ name: testBucket, region: 'eu-west-3' }] });
  setAwsEnvironment(t, keyVariables);
  for (const region of [undefined, 'us-east-1', 'ap-south-1']) {
    await t.test(region ?? 'none given', async (t) => {
      const store = useStore(t, url, { region });
      await store.verifyBucket();
      const { requests } = store.counters;
      t.equal(requests['ListObjectsV2'], 2);
      await store.put('x' as Key, [Buffer.from('x')]);
      t.equal(requests['PutObject'], 1, 'and every request goes there at once');
    });
  }
});

void t.test('a private authority is trusted where it is named', async (t) => {
  const tls = await makeCertificate(t);
  const { url } = await useEndpoint(t, { tls });
  setAwsEnvironment(t, keyVariables);
  t.match(await complaint(useStore(t, url)), /unknown authority; name that with --ca-bundle/);
  const store = useStore(t, url, { caBundle: tls.file });
  await store.verifyBucket();
  // The first body is signed, the next ones only checked: the server repeats their checksums.
  for (const name of ['a', 'b', 'c'] as Key[]) {
    await store.put(name, [Buffer.from(`content of ${name}`)]);
    t.equal((await store.head(name)).size, 12);
  }
  t.throws(() => useStore(t, url, { caBundle: '/nonexistent/ca.pem' }), { code: 'ENOENT' });
});

void t.test('nothing is written to the console', async (t) => {
  const { url } = await useEndpoint(t);
  const program = `
    import { openStore } from ${JSON.stringify(new URL('../../lib/s3/s3-store.js', import.meta.url).href)};
    import { silentLog } from ${JSON.stringify(new URL('../../lib/log.js', import.meta.url).href)};
    const store = await openStore({ bucket: '${testBucket}', prefix: '', endpointUrl: '${url}',
      partSize: 8e6, uploadConcurrency: 1, timeoutMs: 5000 }, silentLog);
    await store.verifyBucket();
    await store.put('x', [Buffer.from('x')]);
    await store.head('absent').catch(() => undefined);
    store.close();`;
  const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', program], {
    env: { PATH: process.env['PATH'], ...keyVariables },
  });
  t.strictSame([stdout, stderr], ['', '']);
});
