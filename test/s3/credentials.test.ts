/**
 * Credentials that expire within seconds, from every place that gives such: the store works on for
 * longer than any of them lives, and after an outage of whoever gives them.
 */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { Endpoint } from '../../lib/endpoint/endpoint.js';
import { toFsError } from '../../lib/errors.js';
import type { Key } from '../../lib/path.js';
import type { StoreOptions } from '../../lib/s3/connection/client.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import { CredentialService, type CredentialServiceOptions } from '../support/credential-service.js';
import { keyVariables, temporaryDirectory, testKey, useEndpoint } from '../support/embedded.js';
import { setAwsEnvironment, setEnvironment } from '../support/environment.js';
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.js';
import { ManualClock } from '../support/manual-clock.js';
import { useStore } from '../support/store.js';

const roleArn = 'arn:aws:iam::123456789012:role/uploader';
const webToken = 'web-identity-token-of-the-test';
/** Shorter than a test with a few of them may take, longer than a request does on a slow machine. */
const lifeMs = 1200;

interface Scene {
  readonly t: Test;
  readonly endpoint: Endpoint;
  readonly proxy: FaultProxy;
  readonly folder: string;
}

async function setScene(t: Test, sessionMs = lifeMs): Promise<Scene> {
  const role = { arn: roleArn, externalId: 'shared', webIdentityToken: webToken };
  const endpoint = await useEndpoint(t, { roles: [role], sessionMs });
  const proxy = await startFaultProxy({ target: endpoint.url });
  t.teardown(() => proxy.close());
  const folder = await temporaryDirectory(t);
  return { t, endpoint, proxy, folder };
}

/** A service that hands out sessions of the endpoint. */
function service(
  { t, endpoint }: Scene,
  options: Omit<CredentialServiceOptions, 'mint'> = {},
  sessionMs = lifeMs,
): Promise<CredentialService> {
  const mint = () => endpoint.startSession(testKey.accessKeyId, sessionMs);
  return CredentialService.start(t, { mint, ...options });
}

async function put(store: S3Store, text = 'x'): Promise<void> {
  await store.put('x' as Key, [Buffer.from(text)]);
}

/** Access keys that signed S3 requests so far. */
function keysSeen({ proxy }: Scene): Set<string> {
  const ofS3 = proxy.log.filter(({ action }) => action !== 'STS');
  return new Set(ofS3.map(({ accessKeyId }) => accessKeyId ?? 'none'));
}

/** Writes without pause until a third session is in use; none of the writes fails. */
async function outlivesTwoSessions(scene: Scene, store: S3Store): Promise<void> {
  while (keysSeen(scene).size < 3) {
    await put(store);
    await sleep(20);
  }
}

async function file(path: string, text: string, mode = 0o600): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text, { mode });
  return path;
}

type Way = (scene: Scene) => Promise<{
  readonly variables: Record<string, string>;
  readonly options?: Partial<StoreOptions>;
  readonly answeredBy: RegExp;
}>;

/** A process that assumes the role by itself and prints what it got. */
const assumingProgram = `
const body = new URLSearchParams({ Action: 'AssumeRoleWithWebIdentity', RoleArn: process.argv[3],
  RoleSessionName: 'process', WebIdentityToken: process.argv[4] });
const answer = await (await fetch(process.argv[2], { method: 'POST', body })).text();
const of = (name) => new RegExp('<' + name + '>([^<]*)').exec(answer)[1];
console.log(JSON.stringify({ Version: 1, AccessKeyId: of('AccessKeyId'),
  SecretAccessKey: of('SecretAccessKey'), SessionToken: of('SessionToken'),
  Expiration: of('Expiration') }));`;

const ways: Record<string, Way> = {
  'the instance role, by version 2': async (scene) => {
    const { url } = await service(scene, { versions: 'only 2' });
    return { variables: metadataAt(url), answeredBy: /^the instance metadata service$/ };
  },
  'the instance role, by version 1 where that is allowed': async (scene) => {
    const { url } = await service(scene, { versions: 'only 1' });
    const options = { imdsV1: true };
    return { variables: metadataAt(url), options, answeredBy: /^the instance metadata service$/ };
  },
  'the instance role alone, as iam_lookup asks for it': async (scene) => {
    const { url } = await service(scene, { versions: 'only 2' });
    const options = { instanceRole: true };
    // Keys in the environment are somebody else's.
    const variables = { ...metadataAt(url), AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' };
    return { variables, options, answeredBy: /^the instance metadata service$/ };
  },
  'a container, with a token in a file': async (scene) => {
    const { url } = await service(scene, { token: 'of-the-pod' });
    const variables = {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/container`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: await file(join(scene.folder, 'pod'), 'of-the-pod'),
    };
    return { variables, answeredBy: /^the container credential endpoint$/ };
  },
  'a web identity': async (scene) => {
    const variables = {
      AWS_ROLE_ARN: roleArn,
      AWS_WEB_IDENTITY_TOKEN_FILE: await file(join(scene.folder, 'token'), webToken),
      AWS_ENDPOINT_URL_STS: scene.endpoint.url,
    };
    return { variables, answeredBy: /^a web identity token/ };
  },
  'a process': async (scene) => {
    const program = await file(join(scene.folder, 'assume.mjs'), assumingProgram);
    const command = `${process.execPath} ${program} ${scene.endpoint.url}/ ${roleArn} ${webToken}`;
    const config = `[profile made]\ncredential_process = ${command}\n`;
    const variables = { AWS_CONFIG_FILE: await file(join(scene.folder, 'config'), config) };
    const options = { profile: 'made' };
    return { variables, options, answeredBy: /^credential_process of profile "made"$/ };
  },
  'a profile that assumes a role with another one': async (scene) => {
    const config = `[profile base]
aws_access_key_id = ${testKey.accessKeyId}
aws_secret_access_key = ${testKey.secretAccessKey}
[profile work]
role_arn = ${roleArn}
external_id = shared
source_profile = base
region = us-east-1
`;
    const variables = {
      AWS_CONFIG_FILE: await file(join(scene.folder, 'config'), config),
      AWS_ENDPOINT_URL_STS: scene.endpoint.url,
    };
    return { variables, options: { profile: 'work' }, answeredBy: /a role of profile "work"/ };
  },
  'SSO, with a token in its cache': async (scene) => {
    const { url } = await service(scene, { token: 'of-the-login' });
    const config = `[profile sso]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = uploader
[sso-session corp]
sso_region = us-east-1
sso_start_url = https://corp.awsapps.com/start
`;
    const cached = {
      accessToken: 'of-the-login',
      expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
    };
    const name = createHash('sha1').update('corp').digest('hex');
    await file(join(scene.folder, '.aws/sso/cache', `${name}.json`), JSON.stringify(cached));
    setEnvironment(scene.t, { HOME: scene.folder });
    const variables = {
      AWS_CONFIG_FILE: await file(join(scene.folder, 'config'), config),
      AWS_ENDPOINT_URL_SSO: url,
    };
    return { variables, options: { profile: 'sso' }, answeredBy: /^SSO of profile "sso"$/ };
  },
  'a role, assumed with the role of a container': async (scene) => {
    const { url } = await service(scene);
    const variables = { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/container` };
    const options = { roleArn, roleExternalId: 'shared', roleSessionName: 'alice' };
    return { variables, options, answeredBy: /^role arn.*assumed with the container/ };
  },
};

function metadataAt(url: string): Record<string, string> {
  return { AWS_EC2_METADATA_DISABLED: 'false', AWS_EC2_METADATA_SERVICE_ENDPOINT: url };
}

void t.test('sessions are renewed while requests run', async (t) => {
  for (const [name, way] of Object.entries(ways)) {
    await t.test(name, async (t) => {
      const scene = await setScene(t);
      const { variables, options = {}, answeredBy } = await way(scene);
      setAwsEnvironment(t, variables);
      const store = useStore(t, scene.proxy.url, options);
      await store.verifyBucket();
      t.match(store.credentialsFrom, answeredBy);
      await outlivesTwoSessions(scene, store);
    });
  }
});

void t.test('a session token from the environment is sent', async (t) => {
  const scene = await setScene(t);
  const session = scene.endpoint.startSession(testKey.accessKeyId, 60_000);
  const keys = {
    AWS_ACCESS_KEY_ID: session.accessKeyId,
    AWS_SECRET_ACCESS_KEY: session.secretAccessKey,
  };
  setAwsEnvironment(t, { ...keys, AWS_SESSION_TOKEN: session.sessionToken });
  await put(useStore(t, scene.proxy.url));
  t.strictSame([...keysSeen(scene)], [session.accessKeyId]);
  setAwsEnvironment(t, keys);
  await t.rejects(put(useStore(t, scene.proxy.url)), { name: 'StoreError', kind: 'denied' });
});

void t.test('an outage of the metadata service', async (t) => {
  const scene = await setScene(t);
  const metadata = await service(scene, {}, 4000);
  setAwsEnvironment(t, metadataAt(metadata.url));
  const clock = new ManualClock();
  const store = useStore(t, scene.proxy.url, { clock });
  await put(store);

  await t.test('is not noticed while the credentials last', async () => {
    await metadata.down();
    // Their end is a date, which may be set.
    clock.setDate(-3_600_000);
    // Past the middle of their life they are to be renewed.
    clock.pass(2100);
    await put(store);
  });

  await t.test('fails requests after that', async (t) => {
    clock.pass(2000);
    const failure: unknown = await put(store).catch((error: unknown) => error);
    t.match(failure, { name: 'StoreError', kind: 'unavailable' });
    t.equal(toFsError(failure).code, 'EIO', 'which is no refusal');
    t.equal(keysSeen(scene).size, 1, 'nothing was sent with what had expired');
  });

  await t.test('is over when it is over', async (t) => {
    await metadata.up();
    await put(store);
    t.equal(keysSeen(scene).size, 2);
  });
});

void t.test('an outage of STS is not noticed while the session lasts', async (t) => {
  const scene = await setScene(t, 4000);
  const sts = await startFaultProxy({ target: scene.endpoint.url });
  t.teardown(() => sts.close());
  setAwsEnvironment(t, { ...keyVariables, AWS_ENDPOINT_URL_STS: sts.url });
  const store = useStore(t, scene.proxy.url, { roleArn, roleExternalId: 'shared' });
  await put(store);
  await sts.down();
  await sleep(2100);
  await put(store);
  t.equal(keysSeen(scene).size, 1);
  await sts.up();
  await outlivesTwoSessions(scene, store);
});

void t.test('keys that are replaced in ~/.aws are taken up', async (t) => {
  const scene = await setScene(t);
  const path = join(scene.folder, 'credentials');
  const write = (key: typeof testKey): Promise<string> =>
    file(
      path,
      `[default]\naws_access_key_id = ${key.accessKeyId}\n` +
        `aws_secret_access_key = ${key.secretAccessKey}\n`,
    );
  await write(testKey);
  setAwsEnvironment(t, { AWS_SHARED_CREDENTIALS_FILE: path });
  const store = useStore(t, scene.proxy.url);
  await put(store);
  const next = { accessKeyId: 'AKIANEXT', secretAccessKey: 'next-secret-of-the-test' };
  await write(next);
  scene.endpoint.setCredentials([next]);
  await put(store);
  await put(store);
  const answers = scene.proxy.log.map(({ accessKeyId, status }) => `${accessKeyId} ${status}`);
  t.strictSame(answers, ['AKIATEST 200', 'AKIATEST 403', 'AKIANEXT 200', 'AKIANEXT 200']);
});

void t.test('a session that S3 ends early is replaced', async (t) => {
  const scene = await setScene(t);
  const metadata = await service(scene, {}, 3_600_000);
  setAwsEnvironment(t, metadataAt(metadata.url));
  const store = useStore(t, scene.proxy.url);
  await put(store);
  scene.proxy.inject({
    action: 'PutObject',
    fault: { kind: 'status', status: 400, code: 'ExpiredToken' },
  });
  await put(store);
  t.equal(keysSeen(scene).size, 2);
});

void t.test('metadata that cannot be reached from a container is said', async (t) => {
  const scene = await setScene(t);
  const metadata = await service(scene, { versions: 'too far' });
  setAwsEnvironment(t, metadataAt(metadata.url));
  for (const options of [{}, { instanceRole: true }, { imdsV1: true }]) {
    await t.rejects(
      useStore(t, scene.proxy.url, options).verifyBucket(),
      /no credentials found|gives no credentials; attach a role/,
    );
  }
  t.strictSame(scene.proxy.log, []);
});
