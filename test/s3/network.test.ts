/** The way from the store to its endpoint: proxies, private authorities, IPv6, names. */
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import type { Key } from '../../lib/path.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import { makeSignedCertificate } from '../support/certificate.js';
import {
  keyVariables,
  temporaryDirectory,
  testBucket,
  testKey,
  useEndpoint,
} from '../support/embedded.js';
import { setEnvironment } from '../support/environment.js';
import { startForwardProxy } from '../support/forward-proxy.js';
import { letOthersGo } from '../support/mount-namespace.js';
import { complaint, useStore } from '../support/store.js';

const user = { name: 'mount', password: 'p@ss:w%rd' };
const credentials = testKey;
const encoded = `${user.name}:${encodeURIComponent(user.password)}`;

async function works(t: Test, store: S3Store): Promise<void> {
  await store.verifyBucket();
  for (const key of ['a', 'b', 'c'] as Key[]) await store.put(key, [Buffer.from(key)]);
  t.equal((await store.head('c' as Key)).size, 1);
  t.equal((await store.list({ prefix: '' as Key, oneLevel: true })).objects.length, 3);
}

function proxySettings(variables: Readonly<Record<string, string>>): Record<string, string> {
  const names = ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'];
  const unset = names.flatMap((name) => [name, name.toUpperCase()]).map((name) => [name, '']);
  return { ...(Object.fromEntries(unset) as Record<string, string>), ...variables };
}

void t.test('an https endpoint behind a proxy', async (t) => {
  const tls = await makeSignedCertificate(t, 'DNS:s3.private.test');
  const endpoint = await useEndpoint(t, { tls });
  const port = Number(new URL(endpoint.url).port);
  // A name that only the proxy can resolve: what arrives has come through it.
  const url = `https://s3.private.test:${port}`;
  const hosts = { [`s3.private.test:${port}`]: port };
  const proxy = await startForwardProxy(t, { user, hosts });

  await t.test('is reached by a tunnel, with a private authority', async (t) => {
    setEnvironment(t, proxySettings({ HTTPS_PROXY: `http://${encoded}@${proxy.host}` }));
    const store = useStore(t, url, { credentials, caBundle: tls.file });
    await works(t, store);
    t.strictSame([...new Set(proxy.tunnels)], [`s3.private.test:${port}`]);
    t.ok(proxy.tunnels.length <= 4, 'connections are kept');
    t.equal((await store.endpoint()).proxy, `http://${proxy.host}`);
  });

  await t.test('has its certificate verified there too', async (t) => {
    setEnvironment(t, proxySettings({ HTTPS_PROXY: `http://${encoded}@${proxy.host}` }));
    t.match(
      await complaint(useStore(t, url, { credentials })),
      /unknown authority; name that with --ca-bundle/,
    );
  });

  const refused: [string, Record<string, string>, RegExp][] = [
    ['wrong password', { HTTPS_PROXY: `http://mount:wr0ng@${proxy.host}` }, /wants other cred/],
    ['no password', { https_proxy: `http://${proxy.host}` }, /wants other credentials; correct/],
    ['no proxy', { NO_PROXY: '*', HTTPS_PROXY: `http://${proxy.host}` }, /cannot be resolved/],
    ['a SOCKS proxy', { HTTPS_PROXY: 'socks5://u:wr0ng@127.0.0.1' }, /socks5: cannot be used/],
    ['no URL', { HTTPS_PROXY: 'http://u:wr0ng@[' }, /no URL/],
    [
      'a proxy that is gone',
      { HTTPS_PROXY: 'http://u:wr0ng@127.0.0.1:1' },
      /nothing answers there/,
    ],
  ];
  for (const [name, variables, sentence] of refused) {
    await t.test(name, async (t) => {
      setEnvironment(t, proxySettings(variables));
      const said = await complaint(useStore(t, url, { credentials, caBundle: tls.file }));
      t.match(said, sentence);
      t.notMatch(said, 'wr0ng');
      t.notMatch(said, Buffer.from('mount:wr0ng').toString('base64'));
    });
  }

  await t.test('that is not allowed there', async (t) => {
    setEnvironment(t, proxySettings({ HTTPS_PROXY: `http://${encoded}@${proxy.host}` }));
    const store = useStore(t, 'https://other.private.test', { credentials, caBundle: tls.file });
    t.match(await complaint(store), /the proxy does not connect to it; allow it there/);
  });
});

void t.test('an http endpoint behind a proxy', async (t) => {
  const endpoint = await useEndpoint(t);
  const port = Number(new URL(endpoint.url).port);
  const proxy = await startForwardProxy(t, { user, hosts: { [`plain.test:${port}`]: port } });
  setEnvironment(t, proxySettings({ HTTP_PROXY: `http://${encoded}@${proxy.host}` }));
  await works(t, useStore(t, `http://plain.test:${port}`, { credentials }));
  t.ok(proxy.requests.length >= 5);
  t.strictSame(proxy.tunnels, []);

  await t.test('and wrong credentials for that', async (t) => {
    setEnvironment(t, proxySettings({ HTTP_PROXY: `http://a:b@${proxy.host}` }));
    const store = useStore(t, `http://plain.test:${port}`, { credentials });
    t.match(await complaint(store), /the proxy wants other credentials/);
  });

  await t.test('this machine itself is never asked for through it', async (t) => {
    const before = proxy.requests.length;
    await works(t, useStore(t, endpoint.url, { credentials }));
    await works(t, useStore(t, endpoint.url.replace('127.0.0.1', 'localhost'), { credentials }));
    t.equal(proxy.requests.length, before);
  });
});

void t.test('an endpoint with an IPv6 address', async (t) => {
  const tls = await makeSignedCertificate(t, 'IP:::1');
  for (const options of [{}, { tls }]) {
    const endpoint = await useEndpoint(t, { host: '::1', ...options });
    const { port, protocol } = new URL(endpoint.url.replace('::1', '[::1]'));
    const store = useStore(t, `${protocol}//[::1]:${port}`, { credentials, caBundle: tls.file });
    await works(t, store);
  }
});

/** A store in a process whose /etc/hosts is a file of the test; it tries at each line it is sent. */
const tryingProgram = `
import { createInterface } from 'node:readline';
const [url, storeModule, logModule, bucket] = process.argv.slice(1);
const { openStore } = await import(storeModule);
const { silentLog } = await import(logModule);
const store = await openStore({ bucket, prefix: '', endpointUrl: url, region: 'us-east-1',
  partSize: 8e6, uploadConcurrency: 1, timeoutMs: 5000, maxAttempts: 2 }, silentLog);
for await (const key of createInterface({ input: process.stdin })) {
  const said = await store.put(key, [Buffer.from('x')]).then(() => 'stored', (error) => error.kind);
  console.log(said);
}
store.close();`;

void t.test('a name that cannot be resolved for a while', async (t) => {
  const endpoint = await useEndpoint(t);
  const { port } = new URL(endpoint.url);
  const folder = await temporaryDirectory(t);
  const hosts = join(folder, 'hosts');
  await writeFile(hosts, '127.0.0.1 localhost\n');
  const modules = ['../../lib/s3/s3-store.js', '../../lib/log.js'];
  const child = spawn(
    'unshare',
    [
      ...['--mount', 'sh', '-c', `${letOthersGo} mount --bind "$0" /etc/hosts && exec "$@"`, hosts],
      ...[process.execPath, '--input-type=module', '-e', tryingProgram],
      `http://s3.flaky.test:${port}`,
      ...modules.map((name) => new URL(name, import.meta.url).href),
      testBucket,
    ],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: {
        PATH: process.env['PATH'],
        ...keyVariables,
        AWS_EC2_METADATA_DISABLED: 'true',
      },
    },
  );
  t.teardown(() => void child.kill('SIGKILL'));
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const attempt = async (key: string): Promise<unknown> => {
    child.stdin.write(`${key}\n`);
    return (await answers.next()).value;
  };
  t.equal(await attempt('first'), 'unavailable');
  await writeFile(hosts, '127.0.0.1 localhost s3.flaky.test\n');
  t.equal(await attempt('second'), 'stored');
  await writeFile(hosts, '127.0.0.1 localhost\n');
  // Connections that are there need no name.
  t.equal(await attempt('third'), 'stored');
  t.strictSame(endpoint.keys(testBucket), ['second', 'third']);
});
