/**
 * Homes that sign with sessions of their own: what each of them may reach, which requests are signed
 * with which, and what becomes of the others when one is refused.
 */
import { createHash } from 'node:crypto';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import * as fc from 'fast-check';
import t, { type Test } from 'tap';
import { toFsError } from '../../lib/errors.js';
import type { Key } from '../../lib/path.js';
import type { StoreOptions } from '../../lib/s3/connection/client.js';
import { homeNamed } from '../../lib/s3/connection/home-credentials.js';
import { sessionName } from '../../lib/s3/connection/session-name.js';
import { sessionPolicy } from '../../lib/s3/least-policy.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import { testKey, useEndpoint } from '../support/embedded.js';
import { setAwsEnvironment } from '../support/environment.js';
import { startFaultProxy, type FaultProxy, type LoggedRequest } from '../support/fault-proxy.js';
import { ManualClock } from '../support/manual-clock.js';
import { serverNames, useServer } from '../support/servers.js';
import { useStore } from '../support/store.js';
import { until } from '../support/until.js';
import '../support/no-jitter.js';

void t.test('the name of a session is the name of the user, where STS takes it', (t) => {
  const names: Record<string, string> = {
    alice: 'alice',
    'a.b_c-d@corp,x+y': 'a.b_c-d@corp,x=2By',
    x: '=78',
    'a=b': 'a=3Db',
    'CORP\\alice': 'CORP=5Calice',
    'é b': '=C3=A9=20b',
    ['u'.repeat(64)]: 'u'.repeat(64),
  };
  for (const [user, name] of Object.entries(names)) t.equal(sessionName(user), name);
  const long = 'u'.repeat(65);
  const hash = createHash('sha256').update(long).digest('base64url');
  t.equal(sessionName(long), `${'u'.repeat(19)}==${hash}`);
  t.end();
});

void t.test('each name is one that STS takes, and no two users have the same', (t) => {
  const taken = /^[\w+=,.@-]{2,64}$/;
  const units = fc.constantFrom('a', 'A', '=', '3', 'D', '7', '8', '\\', ' ', 'é', '𐍈', '==');
  const names = fc.string({ unit: units, minLength: 1, maxLength: 80 });
  fc.assert(
    fc.property(names, names, (one, other) => {
      const [first, second] = [sessionName(one), sessionName(other)];
      return taken.test(first) && (first === second) === (one === other);
    }),
    { numRuns: 3000 },
  );
  t.notSame(sessionName('x'), sessionName('=78'));
  const long = sessionName('u'.repeat(65));
  t.notSame(sessionName(long), long, 'nor by the name of a session');
  t.end();
});

void t.test('a session policy is one that STS takes, or is refused before it is asked', (t) => {
  const onAws = { isAws: true };
  const policy = sessionPolicy({ bucket: 'b', prefix: 'ключ/"𐍈*?$/' }, onAws);
  t.match(policy, /^[\x20-\x7e]{1,2048}$/);
  const statements = (JSON.parse(policy) as { Statement: { Resource: string }[] }).Statement;
  t.strictSame(
    statements.map(({ Resource }) => Resource),
    ['arn:aws:s3:::b', 'arn:aws:s3:::b/ключ/"𐍈${*}${?}${$}/*', '*'],
  );
  const china = sessionPolicy({ bucket: 'b', prefix: 'p/' }, { ...onAws, region: 'cn-north-1' });
  t.match(china, '"arn:aws-cn:s3:::b/p/*"');
  const reading = sessionPolicy({ bucket: 'b', prefix: 'p/' }, { ...onAws, readOnly: true });
  t.notMatch(reading, /Put|Delete|Abort|Generate/);
  t.notMatch(sessionPolicy({ bucket: 'b', prefix: 'p/' }, { isAws: false }), /kms/);
  const long = { bucket: 'b', prefix: `${'я'.repeat(200)}/` };
  t.throws(() => sessionPolicy(long, onAws), { message: /use a shorter prefix/ });
  t.end();
});

void t.test('the home is the first name below the prefix, for objects and listings', (t) => {
  const cases: [object, string | undefined][] = [
    [{ Key: 'users/alice/a/b' }, 'alice'],
    [{ Prefix: 'users/alice/' }, 'alice'],
    [{ Prefix: 'users/alice/a', Key: undefined }, 'alice'],
    [{ Key: 'users/alice' }, undefined],
    [{ Prefix: 'users/' }, undefined],
    [{ Prefix: 'users/.s3jail-probe-1' }, undefined],
    [{ Key: 'users//a' }, undefined],
    [{ Key: 'user/alice/a' }, undefined],
    [{}, undefined],
  ];
  for (const [input, home] of cases) {
    t.equal(homeNamed('users/', input), home, JSON.stringify(input));
  }
  t.end();
});

const roleArn = 'arn:aws:iam::123456789012:role/homes';

interface Scene {
  readonly proxy: FaultProxy;
  readonly store: S3Store;
  readonly clock: ManualClock;
}

async function setScene(t: Test, options: Partial<StoreOptions> = {}): Promise<Scene> {
  setAwsEnvironment(t, {});
  const clock = new ManualClock();
  const endpoint = await useEndpoint(t, { roles: [{ arn: roleArn }], now: () => clock.dateMs() });
  const proxy = await startFaultProxy({ target: endpoint.url });
  t.teardown(() => proxy.close());
  const store = useStore(t, proxy.url, {
    prefix: 'users/',
    credentials: testKey,
    roleArn,
    homes: true,
    homeCredentials: 'scoped',
    clock,
    ...options,
  });
  return { proxy, store, clock };
}

/** Of the session that signed a request: the token tells it, as those of AWS do not. */
function signer({ headers }: LoggedRequest): string {
  const token = headers['x-amz-security-token'];
  if (typeof token !== 'string') return 'no session';
  const [content = ''] = token.split('.');
  const { arn, policy } = JSON.parse(Buffer.from(content, 'base64').toString()) as Session;
  return `${arn.replace(/^.*\//, '')}${policy === undefined ? '' : ', limited'}`;
}

interface Session {
  readonly arn: string;
  readonly policy?: object;
}

const denied = { name: 'StoreError', kind: 'denied' };
const put = (store: S3Store, key: string) => store.put(key as Key, [Buffer.from(key)]);

void t.test('each request is signed with the session of the home it is about', async (t) => {
  const { proxy, store } = await setScene(t);
  await Promise.all(['alice/a', 'alice/b', 'bob/a'].map((key) => put(store, key)));
  t.equal(proxy.counts().STS, 3, 'one for each home, and the mount itself');
  await store.list({ prefix: 'alice/' as Key, oneLevel: true });
  await store.list({ prefix: '' as Key, oneLevel: true });
  await store.copy(
    { key: 'bob/a' as Key, etag: (await store.head('bob/a' as Key)).etag, size: 5 },
    'bob/copy' as Key,
  );
  const upload = await store.createUpload('bob/parts' as Key);
  const part = await store.uploadPart(upload, 1, [Buffer.from('x')]);
  await store.completeUpload(upload, [part]);
  t.equal(proxy.counts().STS, 3);
  const mine = proxy.log.filter(({ key }) => /^users\/(alice|bob)\//.test(key));
  t.strictSame(
    [...new Set(mine.map((request) => `${request.key.split('/')[1]}: ${signer(request)}`))],
    ['alice: alice, limited', 'bob: bob, limited'],
  );
  const root = proxy.log.find(({ query }) => /prefix=users%2F(&|$)/.test(query));
  t.match(root && signer(root), /^s3jail-\d+$/);
  const below = proxy.log.find(({ query }) => /prefix=users%2Falice%2F(&|$)/.test(query));
  t.equal(below && signer(below), 'alice, limited');
});

/** Sessions so far, by whom S3 saw. */
function sessionsOf({ log }: FaultProxy, home: string): number {
  const mine = log.filter(({ key }) => key.startsWith(`users/${home}/`));
  return new Set(mine.map(({ accessKeyId }) => accessKeyId)).size;
}

void t.test('a home that STS refuses a session is refused, and no other', async (t) => {
  const { proxy, store, clock } = await setScene(t);
  await put(store, 'alice/a');
  const refused = { kind: 'status', status: 403, code: 'AccessDenied' } as const;
  const refusal = proxy.inject({ action: 'STS', count: 100, fault: refused });
  const failure: unknown = await put(store, 'bob/a').catch((error: unknown) => error);
  t.match(failure, { name: 'StoreError', kind: 'denied', key: 'bob/a' });
  t.equal(toFsError(failure).code, 'EACCES');
  const { fired } = refusal;
  await t.rejects(put(store, 'bob/b'), denied);
  await t.rejects(store.head('bob/b' as Key), denied);
  t.equal(refusal.fired, fired, 'STS is not asked for each name');
  await put(store, 'alice/b');
  proxy.clear();
  clock.pass(5000);
  await put(store, 'bob/a');
  t.equal(sessionsOf(proxy, 'alice'), 1);
});

void t.test('where STS is away, homes with a session work on and others get EIO', async (t) => {
  const { proxy, store } = await setScene(t, { patienceMs: 0 });
  await put(store, 'alice/a');
  proxy.inject({ action: 'STS', count: 100, fault: { kind: 'status', status: 503, code: 'Away' } });
  const failure: unknown = await put(store, 'bob/a').catch((error: unknown) => error);
  t.match(failure, { name: 'StoreError', kind: 'unavailable' });
  t.equal(toFsError(failure).code, 'EIO');
  await put(store, 'alice/b');
  proxy.clear();
  await put(store, 'bob/a');
});

void t.test('a session is renewed while it is used and forgotten when it is not', async (t) => {
  const { proxy, store, clock } = await setScene(t);
  const minute = 60_000;
  await put(store, 'alice/a');
  for (let at = 0; at < 70; at += 14) {
    clock.pass(14 * minute);
    await put(store, 'alice/a');
  }
  // The last of them may have begun the renewal only.
  await until(() => Promise.resolve(proxy.busy === 0));
  await put(store, 'alice/a');
  t.equal(sessionsOf(proxy, 'alice'), 2);
  clock.pass(15 * minute);
  await put(store, 'bob/a');
  await put(store, 'alice/a');
  t.equal(sessionsOf(proxy, 'alice'), 3);
});

void t.test('a session that S3 does not take any more is another one at once', async (t) => {
  const { proxy, store } = await setScene(t);
  await put(store, 'alice/a');
  await put(store, 'bob/a');
  const fault = { kind: 'status', status: 400, code: 'ExpiredToken' } as const;
  const expiry = proxy.inject({ action: 'PutObject', key: 'users/alice/b', fault });
  await put(store, 'alice/b');
  t.equal(expiry.fired, 1);
  t.equal(sessionsOf(proxy, 'alice'), 2);
  await put(store, 'bob/b');
  t.equal(sessionsOf(proxy, 'bob'), 1);
});

for (const name of serverNames()) {
  void t.test(`on ${name} S3 itself keeps sessions in their homes`, async (t) => {
    const server = await useServer(t, name);
    const bucket = server.bucket.name;
    for (const key of ['u/alice/x', 'u/alice2/x', 'u/bob/x']) await server.bucket.put(key, 'x');
    const RoleArn = await server.makeRole(t);
    const sts = new STSClient({ endpoint: server.url, region: 'us-east-1', ...server });
    t.teardown(() => sts.destroy());
    const { Credentials: session } = await sts.send(
      new AssumeRoleCommand({
        RoleArn,
        RoleSessionName: sessionName('CORP\\alice+1'),
        Policy: sessionPolicy({ bucket, prefix: 'u/alice/' }, { isAws: false }),
      }),
    );
    setAwsEnvironment(t, {
      AWS_ACCESS_KEY_ID: session?.AccessKeyId ?? '',
      AWS_SECRET_ACCESS_KEY: session?.SecretAccessKey ?? '',
      AWS_SESSION_TOKEN: session?.SessionToken ?? '',
    });
    const store = useStore(t, server.url, { bucket, prefix: 'u/', forcePathStyle: true });
    const list = (prefix: string) => store.list({ prefix: prefix as Key, oneLevel: true });
    t.equal((await list('alice/')).objects.length, 1);
    await put(store, 'alice/y');
    await store.delete('alice/y' as Key);
    t.equal((await store.head('alice/x' as Key)).size, 1);
    for (const other of ['', 'alice', 'alice2/', 'bob/']) {
      await t.rejects(list(other), denied, `a listing of ${other}`);
    }
    for (const other of ['alice2/x', 'bob/x']) await t.rejects(store.head(other as Key), denied);
    for (const other of ['alice2/y', 'bob/x', 'x']) await t.rejects(put(store, other), denied);
  });
}
