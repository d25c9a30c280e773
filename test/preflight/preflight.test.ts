/** `check` and `policy`: what they say, against an endpoint that enforces policies. */
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import t from 'tap';
import { mustRun } from '../../lib/demo/child.js';
import type { Endpoint } from '../../lib/endpoint/endpoint.js';
import type { PolicyDocument } from '../../lib/endpoint/access/policy.js';
import { silentLog } from '../../lib/log.js';
import { planService, storeOptionsOf, type ServicePlan } from '../../lib/options/mount-plan.js';
import { UsageError } from '../../lib/options/options.js';
import { leastPolicy } from '../../lib/s3/least-policy.js';
import { runCheck } from '../../lib/preflight/check.js';
import { policyNote } from '../../lib/preflight/printed-policy.js';
import { openStore } from '../../lib/s3/s3-store.js';
import { parseSource } from '../../lib/options/source.js';
import type { Key } from '../../lib/path.js';
import { useCore } from '../support/core.js';
import { dayOptions, liveADay } from '../support/day.js';
import { keyVariables, testBucket, testKey, useClient, useEndpoint } from '../support/embedded.js';
import { setAwsEnvironment } from '../support/environment.js';
import type { Fault } from '../support/faults.js';
import { startFaultProxy } from '../support/fault-proxy.js';
import { useStore } from '../support/store.js';

const ambient = { uid: 0, gid: 0, tmpdir: undefined, hasEndpointVariable: false };

function planOf(args: readonly string[], variables: Record<string, string> = {}): ServicePlan {
  const operands = args.filter((arg) => !arg.startsWith('--'));
  const commandLine = args
    .filter((arg) => arg.startsWith('--'))
    .map((arg) => /^--([^=]+)(?:=(.*))?$/s.exec(arg))
    .map((match) => ({ name: match?.[1] ?? '', text: match?.[2] }));
  const request = { operands, commandLine, lists: [], sloppy: false };
  return planService('check', request, { environment: variables, ambient });
}

/** What `check` finds: the verdict on each item. */
async function check(
  args: readonly string[],
  variables: Record<string, string> = {},
): Promise<{ status: number; verdicts: Record<string, string>; text: string }> {
  const lines: string[] = [];
  const plan = planOf(['--timeout=2s', ...args], variables);
  const status = await runCheck(plan, (line) => lines.push(line));
  const verdicts: Record<string, string> = {};
  for (const line of lines) {
    const [, verdict = '', what = ''] = /^(ok {2}|warn|FAIL) {2}([^:]+): .+$/.exec(line) ?? [];
    verdicts[what.replace(/^driver .*/, 'driver')] = verdict.trim();
  }
  return { status, verdicts, text: lines.join('\n') };
}

const allFine = {
  'temporary files': 'ok',
  credentials: 'ok',
  endpoint: 'ok',
  region: 'ok',
  clock: 'ok',
  list: 'ok',
  put: 'ok',
  get: 'ok',
  versions: 'ok',
  'copy (rename)': 'ok',
  'multipart upload': 'ok',
  'part copy (append)': 'ok',
  'abort of an upload': 'ok',
  'conditional writes': 'ok',
  delete: 'ok',
};

/** Gives the key nothing but `policy`. */
function restrict(endpoint: Endpoint, policy: PolicyDocument): void {
  endpoint.setCredentials([{ ...testKey, policy }]);
}

/** What is left of a policy without one of its actions. */
function without(policy: PolicyDocument, action: string): PolicyDocument {
  const Statement = policy.Statement.map((statement) => ({
    ...statement,
    Action: [statement.Action].flat().filter((each) => each !== action),
  }));
  return { ...policy, Statement };
}

void t.test('with the printed policy everything works, and nothing is left behind', async (t) => {
  setAwsEnvironment(t, keyVariables);
  const endpoint = await useEndpoint(t);
  for (const prefix of ['', 'alice/', 'odd *?$ name/']) {
    const source = `s3://${testBucket}/${prefix}`;
    restrict(endpoint, leastPolicy(parseSource(source), {}));
    const found = await check([source, `--endpoint-url=${endpoint.url}`]);
    t.match(found.verdicts, allFine, source);
    t.equal(found.status, 0);
    t.strictSame(endpoint.keys(testBucket), []);
    t.strictSame(endpoint.openUploads(), []);
  }
});

void t.test('what archive classes mean is said before users find out', async (t) => {
  setAwsEnvironment(t, keyVariables);
  const endpoint = await useEndpoint(t);
  const client = useClient(t, endpoint.url);
  for (const [Key, StorageClass] of [
    ['alice/cold', 'GLACIER'],
    ['alice/warm', 'STANDARD_IA'],
  ] as const) {
    await client.send(new PutObjectCommand({ Bucket: testBucket, Key, Body: 'x', StorageClass }));
  }
  const args = [`s3://${testBucket}/alice/`, `--endpoint-url=${endpoint.url}`];
  for (const more of [[], ['--read-only']]) {
    const { status, verdicts, text } = await check([...args, ...more]);
    t.match({ status, verdicts }, { status: 0, verdicts: { archive: 'warn' } }, more.join());
    t.match(text, /archive: 1 of the first 2 objects .*\(GLACIER\).* restored/);
    t.notOk('--storage-class' in verdicts);
  }
  const cold = await check([...args, '--storage-class=DEEP_ARCHIVE']);
  t.match(cold.text, /^warn {2}--storage-class: DEEP_ARCHIVE is an archive/m);
});

void t.test(
  'each action of the policy is needed, and check names what fails without',
  async (t) => {
    setAwsEnvironment(t, keyVariables);
    const endpoint = await useEndpoint(t);
    const source = `s3://${testBucket}/alice/`;
    const sseKmsKeyId = 'arn:aws:kms:us-east-1:123456789012:key/sftp';
    const encrypted = ['--sse=aws:kms', `--sse-kms-key-id=${sseKmsKeyId}`];
    const args = [source, `--endpoint-url=${endpoint.url}`, '--acl=private', ...encrypted];
    const policy = leastPolicy(parseSource(source), { acl: 'private', sseKmsKeyId });
    restrict(endpoint, policy);
    t.match(await check(args), { status: 0, verdicts: allFine });
    const failing: Record<string, string> = {
      's3:ListBucket': 'list',
      's3:GetObject': 'get',
      's3:PutObject': 'put',
      's3:PutObjectAcl': 'put',
      's3:DeleteObject': 'delete',
      's3:AbortMultipartUpload': 'abort of an upload',
      'kms:Decrypt': 'get',
      'kms:GenerateDataKey': 'put',
    };
    const actions = policy.Statement.flatMap(({ Action }) => Action);
    t.strictSame([...actions].sort(), Object.keys(failing).sort());
    for (const action of actions) {
      restrict(endpoint, without(policy, action));
      const found = await check(args);
      t.equal(found.status, 32, action);
      t.match(found.verdicts, { [failing[action] ?? '']: 'FAIL' }, action);
      const line = found.text.split('\n').find((each) => each.startsWith('FAIL'));
      // An ACL is part of the put: the refusal does not tell which of the two was missing.
      t.match(line, action.replace('Acl', ''), 'and the action to allow');
    }
  },
);

void t.test(
  'with --interrupted resume, parts can be listed and rules leave them alone',
  async (t) => {
    setAwsEnvironment(t, keyVariables);
    const endpoint = await useEndpoint(t);
    const proxy = await startFaultProxy({ target: endpoint.url });
    t.teardown(() => proxy.close());
    const source = `s3://${testBucket}/alice/`;
    const args = [source, `--endpoint-url=${proxy.url}`, '--interrupted=resume', '--driver=kernel'];
    const policy = leastPolicy(parseSource(source), { interrupted: 'resume' });
    restrict(endpoint, policy);
    t.match(await check(args), { verdicts: { ...allFine, 'interrupted uploads': 'ok' } });
    restrict(endpoint, without(policy, 's3:ListMultipartUploadParts'));
    const unlisted = await check(args);
    t.match(unlisted, { status: 0, verdicts: { 'interrupted uploads': 'warn' } });
    t.match(unlisted.text, /s3:ListMultipartUploadParts/);

    restrict(endpoint, policy);
    const rules = (prefix: string, days: number): Fault => ({
      kind: 'foreign',
      answer: () => ({
        status: 200,
        headers: { 'content-type': 'application/xml' },
        body: `<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix>${prefix}</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>${days}</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>`,
      }),
    });
    for (const [prefix, days, isShort] of [
      ['', 1, true],
      ['alice/', 1, true],
      ['alice/', 7, false],
      ['bob/', 1, false],
    ] as const) {
      const injection = proxy.inject({ action: 'Unknown', count: 1, fault: rules(prefix, days) });
      const { text } = await check([...args, '--resume-for=48h']);
      t.equal(injection.fired, 1);
      t.equal(/lifecycle rule of the bucket aborts uploads a day/.test(text), isShort, text);
    }
  },
);

void t.test('with the printed policy a mount does all it can', async (t) => {
  setAwsEnvironment(t, {});
  const core = await useCore(t, dayOptions);
  restrict(core.endpoint, leastPolicy({ bucket: testBucket, prefix: 'alice/' }, {}));
  await liveADay(t, core);
});

void t.test('the policy ends where the prefix does', async (t) => {
  setAwsEnvironment(t, keyVariables);
  const endpoint = await useEndpoint(t);
  restrict(endpoint, leastPolicy(parseSource(`s3://${testBucket}/alice/`), {}));
  const other = planOf([`${testBucket}/alice2/`, `--endpoint-url=${endpoint.url}`]);
  const store = await openStore(storeOptionsOf(other), silentLog);
  t.teardown(() => store.close());
  const denied = { name: 'StoreError', kind: 'denied' };
  await t.rejects(store.verifyBucket(), denied);
  await t.rejects(store.put('x' as Key, [Buffer.from('x')]), denied);
  await t.rejects(store.delete('x' as Key), denied);
});

void t.test('a read-only mount needs a smaller policy and is checked for less', async (t) => {
  setAwsEnvironment(t, keyVariables);
  const endpoint = await useEndpoint(t);
  const source = `s3://${testBucket}/alice/`;
  const args = [source, `--endpoint-url=${endpoint.url}`, '--read-only'];
  const policy = leastPolicy(parseSource(source), { readOnly: true });
  restrict(endpoint, policy);
  const found = await check(args);
  t.match(found, { status: 0, verdicts: { list: 'ok', get: 'ok' } });
  t.match(found.text, /get: not tried: nothing to read was found/);
  t.notOk('put' in found.verdicts);
  t.strictSame(endpoint.keys(testBucket), []);

  await t.test('each action of which is needed', async (t) => {
    endpoint.setCredentials([testKey]);
    await useStore(t, endpoint.url, { credentials: testKey }).put('x' as Key, [Buffer.from('x')]);
    const failing = { 's3:ListBucket': 'list', 's3:GetObject': 'get' };
    const actions = policy.Statement.flatMap(({ Action }) => Action);
    t.strictSame([...actions].sort(), Object.keys(failing).sort());
    restrict(endpoint, policy);
    t.match(await check(args), { status: 0, text: /get: works below/ });
    for (const [action, item] of Object.entries(failing)) {
      restrict(endpoint, without(policy, action));
      t.match(await check(args), { status: 32, verdicts: { [item]: 'FAIL' } }, action);
    }
  });
});

void t.test('options change the policy', (t) => {
  const source = parseSource('s3://bucket/alice/');
  const named = (options: object): string => JSON.stringify(leastPolicy(source, options));
  t.match(named({ region: 'cn-north-1' }), 'arn:aws-cn:s3:::bucket/alice/*');
  t.match(named({ region: 'us-gov-west-1' }), 'arn:aws-us-gov:s3:::bucket');
  const key = 'arn:aws:kms:eu-west-1:123456789012:key/abc';
  t.match(leastPolicy(source, { sseKmsKeyId: key }).Statement.at(-1), {
    Action: ['kms:Decrypt', 'kms:GenerateDataKey'],
    Resource: key,
  });
  t.match(leastPolicy(source, { sseKmsKeyId: 'alias/sftp' }).Statement.at(-1), {
    Condition: { 'ForAnyValue:StringEquals': { 'kms:ResourceAliases': 'alias/sftp' } },
  });
  t.end();
});

void t.test('what is wrong is the item that fails', async (t) => {
  setAwsEnvironment(t, keyVariables);
  const endpoint = await useEndpoint(t, {
    buckets: [testBucket, { name: 'abroad', region: 'eu-west-3' }],
  });
  const at = `--endpoint-url=${endpoint.url}`;
  const cases: [string, readonly string[], object, RegExp][] = [
    ['no bucket', ['nobody', at], { endpoint: 'ok', bucket: 'FAIL' }, /no such bucket; create it/],
    ['nothing there', ['bucket', '--endpoint-url=http://127.0.0.1:1'], { endpoint: 'FAIL' }, /ref/],
    ['no role', ['bucket', at, '--role-arn=arn:aws:iam::1:role/x'], {}, /ok {4}credentials: role/],
    ['no profile', ['bucket', at, '--profile=none'], { credentials: 'FAIL' }, /"none" gives no/],
    ['another region', ['abroad', at], { region: 'ok', list: 'ok' }, /eu-west-3, as found/],
    ['CA', ['bucket', at, '--ca-bundle=/none.pem'], { '--ca-bundle': 'FAIL' }, /ENOENT/],
    ['temp', ['bucket', at, '--temp-dir=/nowhere/at/all'], { 'temporary files': 'FAIL' }, /ENOENT/],
    ['space', ['bucket', at, '--temp-limit=900TiB'], { 'temporary files': 'warn' }, /--temp-limit/],
  ];
  for (const [name, args, verdicts, sentence] of cases) {
    await t.test(name, async (t) => {
      const found = await check(args);
      t.match(found.verdicts, verdicts);
      t.match(found.text, sentence);
      t.equal(found.status, Object.values(verdicts).includes('FAIL') ? 32 : 0);
      t.notMatch(found.text, testKey.secretAccessKey);
    });
  }

  await t.test('a clock that is minutes off', async (t) => {
    const server = createServer((_request, response) => {
      response.setHeader('date', new Date(Date.now() - 4 * 60_000).toUTCString());
      response.setHeader('content-type', 'application/xml');
      response.end('<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount></ListBucketResult>');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => new Promise((resolve) => server.close(resolve)));
    t.teardown(() => server.closeAllConnections());
    const { port } = server.address() as AddressInfo;
    const url = `--endpoint-url=http://127.0.0.1:${port}`;
    const found = await check([testBucket, url, '--read-only']);
    t.match(found.verdicts, { clock: 'warn' });
    t.match(found.text, /24\d s ahead of the endpoint's; set it, best by NTP/);
  });
});

void t.test('what a service does not know is told with its price', async (t) => {
  setAwsEnvironment(t, keyVariables);
  const endpoint = await useEndpoint(t);
  const proxy = await startFaultProxy({
    target: endpoint.url,
    refuse: ({ action, method, headers }) =>
      action === 'UploadPartCopy' ||
      (method !== 'GET' && ('if-none-match' in headers || 'if-match' in headers))
        ? { status: 501, code: 'NotImplemented' }
        : undefined,
  });
  t.teardown(() => proxy.close());
  const found = await check([testBucket, `--endpoint-url=${proxy.url}`]);
  const warnings = { 'conditional writes': 'warn', 'part copy (append)': 'warn' };
  t.match(found, { status: 0, verdicts: { ...allFine, ...warnings } });
  t.match(found.text, /a file that is appended to or edited is sent again as a whole/);
  t.match(found.text, /not kept by PutObject, CompleteMultipartUpload, CopyObject/);
  t.strictSame(endpoint.keys(testBucket), []);
  t.strictSame(endpoint.openUploads(), []);
});

void t.test('a mount point is looked at as sshd does', async (t) => {
  setAwsEnvironment(t, keyVariables);
  const endpoint = await useEndpoint(t);
  const folder = await mkdtemp(join(tmpdir(), 's3jail-chroot-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const args = [testBucket, `--endpoint-url=${endpoint.url}`, '--read-only'];
  // Everybody can write to /tmp, and sshd takes no chroot below such a place.
  const found = await check([...args, folder]);
  t.match(found, { status: 32, verdicts: { 'mount point': 'ok', chroot: 'FAIL' } });
  t.match(found.text, /FAIL {2}chroot: sshd refuses it: \/tmp .*chmod/);
  const own = await mkdtemp('/var/lib/s3jail-chroot-');
  t.teardown(() => rm(own, { recursive: true, force: true }));
  const good = await check([...args, own]);
  t.match(good, { status: 0, verdicts: { 'mount point': 'ok', chroot: 'ok' } });
  const absent = await check([...args, join(folder, 'absent'), '--no-chroot']);
  t.match(absent, { status: 32, verdicts: { 'mount point': 'FAIL' } });
  t.notOk('chroot' in absent.verdicts);
});

void t.test('SOURCE with keys comes from the environment or a private file', async (t) => {
  setAwsEnvironment(t, {});
  const endpoint = await useEndpoint(t);
  const { host } = new URL(endpoint.url);
  const source = `s3://${testKey.accessKeyId}:${testKey.secretAccessKey}@${host}/${testBucket}/alice`;
  const at = `--endpoint-url=${endpoint.url}`;
  const folder = await mkdtemp(join(tmpdir(), 's3jail-source-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'alice');
  await writeFile(file, `# the key of alice\n${source}\n`, { mode: 0o600 });

  const fromVariable = await check([at], { S3JAIL_SOURCE: source });
  t.match(fromVariable, { status: 0, verdicts: allFine });
  t.match(fromVariable.text, /credentials: the keys in SOURCE\n/);
  const fromFile = await check([at, `--source-file=${file}`]);
  t.match(fromFile, { status: 0, verdicts: allFine });
  for (const { text } of [fromVariable, fromFile]) t.notMatch(text, testKey.secretAccessKey);

  const refused = (args: readonly string[], variables = {}): string => {
    try {
      planOf(args, variables);
    } catch (error) {
      if (error instanceof UsageError) return error.message;
      throw error;
    }
    return 'taken';
  };
  t.match(refused([source]), /every user of this machine can read the arguments/);
  t.match(refused([source, `--source-file=${file}`]), /leave one out/);
  t.match(refused([`--source-file=${folder}`]), /no regular file/);
  t.match(refused([`--source-file=${file}none`]), /cannot be read: ENOENT/);
  t.match(refused(['--endpoint-url=http://other', `--source-file=${file}`]), /names a host/);
  t.match(refused(['--profile=x'], { S3JAIL_SOURCE: source }), /holds keys.*--profile/);
  await chmod(file, 0o640);
  t.match(refused([at, `--source-file=${file}`]), /mode 0640; chown it .* chmod 600/);
  t.equal(refused(['none', at, '/mnt'], { S3JAIL_SOURCE: source }), 'taken', 'as fstab has it');
});

void t.test('an access point has a policy of its own, and is in one place', (t) => {
  const arn = 'arn:aws:s3:eu-west-1:123456789012:accesspoint/sftp';
  const plan = planOf([`s3://${arn}/alice/`]);
  t.equal(plan.options.region, 'eu-west-1');
  const [list, objects] = leastPolicy(plan.source, plan.options).Statement;
  t.match(list, { Resource: arn, Condition: { StringLike: { 's3:prefix': 'alice/*' } } });
  t.match(objects, { Resource: `${arn}/object/alice/*` });
  t.match(policyNote(plan), /s3:DataAccessPointAccount/);
  const refused =
    (...args: string[]) =>
    () =>
      planOf([`s3://${arn}/alice/`, ...args]);
  t.throws(refused('--region=us-east-1'), /SOURCE names the region eu-west-1/);
  t.throws(refused('--force-path-style'), /always in the host/);
  t.throws(refused('--endpoint-url=https://minio.example'), /access point of AWS/);
  const ofVpc = '--endpoint-url=https://accesspoint.vpce-1-a.s3.eu-west-1.vpce.amazonaws.com';
  t.doesNotThrow(refused(ofVpc, '--region=eu-west-1'));
  const context = { environment: {}, ambient };
  const alias = ['s3://sftp-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias/alice/'];
  const request = { operands: alias, commandLine: [], lists: [], sloppy: false };
  t.throws(
    () => planService('policy', request, context),
    /alias .* no policy can name; write its ARN/,
  );
  t.doesNotThrow(() => planService('check', request, context));
  t.end();
});

void t.test('what a mount would stumble over on this machine is told beforehand', async (t) => {
  setAwsEnvironment(t, keyVariables);
  const endpoint = await useEndpoint(t);
  const place = await mkdtemp(join(tmpdir(), 's3jail-check-'));
  t.teardown(() => rm(place, { recursive: true }));
  const args = [`s3://${testBucket}/a/`, `--endpoint-url=${endpoint.url}`, '--no-chroot'];
  const filled = await check([...args, place, `--log-file=${place}/log`, '--metrics=0']);
  t.match(filled, {
    status: 0,
    verdicts: { 'mount point': 'ok', '--log-file': 'ok', '--metrics': 'ok' },
  });

  await writeFile(join(place, 'file'), '');
  const full = await check([...args, place]);
  t.match(full, { status: 32, verdicts: { 'mount point': 'FAIL' } });
  t.match(full.text, /is not empty/);
  const taken = await check([...args, '/proc']);
  t.match(taken, { status: 32, verdicts: { 'mount point': 'FAIL' } });
  t.match(taken.text, /is a mount point of proc/);

  const busy = createServer().listen(0, '127.0.0.1');
  t.teardown(() => busy.close());
  await once(busy, 'listening');
  const { port } = busy.address() as AddressInfo;
  const others = await check([
    ...args,
    `--metrics=127.0.0.1:${port}`,
    `--log-file=${place}/absent/log`,
    `--audit-log=${place}/absent/audit`,
  ]);
  t.match(others, {
    status: 32,
    verdicts: { '--metrics': 'FAIL', '--log-file': 'FAIL', '--audit-log': 'FAIL' },
  });

  const small = join(place, 'small');
  await mkdir(small);
  await mustRun('mount', ['-t', 'tmpfs', '-o', 'size=1m', 's3jail-test', small]);
  t.teardown(() => mustRun('umount', [small]));
  const noRoom = await check([...args, `--temp-dir=${small}`]);
  t.match(noRoom, { status: 32, verdicts: { 'temporary files': 'FAIL' } });
});

void t.test('keys that may not write or not read are told what they are good for', async (t) => {
  setAwsEnvironment(t, keyVariables);
  const endpoint = await useEndpoint(t);
  const source = `s3://${testBucket}/alice/`;
  const args = [source, `--endpoint-url=${endpoint.url}`];
  const policy = leastPolicy(parseSource(source), {});
  restrict(endpoint, without(policy, 's3:PutObject'));
  const reader = await check(args);
  t.match(reader.text, /^FAIL {2}put: .*or mount with --read-only/m);
  restrict(endpoint, without(policy, 's3:GetObject'));
  const writer = await check(args);
  t.match(writer.verdicts, { get: 'FAIL', 'conditional writes': 'warn' });
  t.match(writer.text, /conditional writes: not tried/);
});

void t.test('a role for sessions of homes is tried, and its policy printed', async (t) => {
  setAwsEnvironment(t, keyVariables);
  const roleArn = 'arn:aws:iam::123456789012:role/homes';
  const endpoint = await useEndpoint(t, { roles: [{ arn: roleArn }] });
  const proxy = await startFaultProxy({ target: endpoint.url });
  t.teardown(() => proxy.close());
  const source = `s3://${testBucket}/users/`;
  const homes = ['--homes', `--role-arn=${roleArn}`, '--home-credentials=scoped'];
  const args = [source, `--endpoint-url=${proxy.url}`, ...homes];
  const fine = await check(args);
  t.match(fine, { status: 0, verdicts: { 'home credentials': 'ok' } });
  t.strictSame(endpoint.keys(testBucket), []);
  restrict(endpoint, leastPolicy(parseSource(source), {}));
  t.match(await check(args), { status: 0, verdicts: { 'home credentials': 'ok', put: 'ok' } });
  // The first session is the mount's own.
  const fault = { kind: 'status', status: 403, code: 'AccessDenied' } as const;
  proxy.inject({ action: 'STS', ordinal: 2, count: 100, fault });
  const refused = await check(args);
  t.match(refused, { status: 32, verdicts: { 'home credentials': 'FAIL' } });
  t.match(refused.text, /home credentials: no session for one home: .*has to trust whoever mounts/);
  t.equal(policyNote(planOf([source])), undefined);
  t.match(
    policyNote(planOf([source, ...homes])),
    `this is for ${roleArn}; whoever mounts needs sts`,
  );
  t.throws(() => planOf([source, '--homes', '--home-credentials=scoped']), /add --role-arn/);
});
