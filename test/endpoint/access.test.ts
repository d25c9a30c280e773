/**
 * Who may do what: policies, sessions, bucket owners, requester pays.
 */
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import {
  AssumeRoleCommand,
  type AssumeRoleCommandOutput,
  AssumeRoleWithWebIdentityCommand,
  GetCallerIdentityCommand,
  STSClient,
  STSServiceException,
} from '@aws-sdk/client-sts';
import t, { type Test } from 'tap';
import { isAllowed, type PolicyDocument } from '../../lib/endpoint/access/policy.js';
import { refusal, testBucket, testKey, useClient, useEndpoint } from '../support/embedded.js';

const Bucket = testBucket;

const aliceOnly: PolicyDocument = {
  Statement: [
    {
      Effect: 'Allow',
      Action: 's3:ListBucket',
      Resource: `arn:aws:s3:::${Bucket}`,
      Condition: { StringLike: { 's3:prefix': ['alice/*'] } },
    },
    {
      Effect: 'Allow',
      Action: ['s3:GetObject', 's3:Put*'],
      Resource: `arn:aws:s3:::${Bucket}/alice/*`,
    },
    { Effect: 'Deny', Action: '*', Resource: `arn:aws:s3:::${Bucket}/alice/secret?` },
  ],
};

void t.test('a policy allows what it names, and a denial wins', (t) => {
  const may = (action: string, key: string, prefix?: string): boolean => {
    const resource = `arn:aws:s3:::${Bucket}${key}`;
    return isAllowed(aliceOnly, {
      action,
      resource,
      context: prefix === undefined ? {} : { 's3:prefix': prefix },
    });
  };
  t.ok(may('s3:GetObject', '/alice/a/b'));
  t.ok(may('s3:PutObject', '/alice/a'));
  t.notOk(may('s3:DeleteObject', '/alice/a'));
  t.notOk(may('s3:GetObject', '/alice2/a'));
  t.notOk(may('s3:GetObject', '/alice/secret1'));
  t.ok(may('s3:GetObject', '/alice/secret12'));
  t.ok(may('s3:ListBucket', '', 'alice/'));
  t.notOk(may('s3:ListBucket', '', 'alice'));
  t.notOk(may('s3:ListBucket', ''), 'a condition on what is not there does not hold');
  t.end();
});

void t.test('a limited key meets 403 where it may not know', async (t) => {
  const limited = { accessKeyId: 'AKIALIMITED', secretAccessKey: 'limited', policy: aliceOnly };
  const { url } = await useEndpoint(t, { credentials: [testKey, limited] });
  const client = useClient(t, url, { credentials: limited });
  const put = (Key: string): Promise<string> =>
    refusal(client.send(new PutObjectCommand({ Bucket, Key, Body: 'v' })));
  t.equal(await put('alice/a'), 'accepted');
  t.equal(await put('bob/a'), '403 AccessDenied');
  const head = (Key: string): Promise<string> =>
    refusal(client.send(new HeadObjectCommand({ Bucket, Key })));
  t.equal(await head('alice/a'), 'accepted');
  t.match(await head('alice/absent'), /^403 /, 'HEAD has no prefix, so it may not list');
  const list = (Prefix?: string): Promise<string> =>
    refusal(client.send(new ListObjectsV2Command({ Bucket, Prefix })));
  t.equal(await list('alice/'), 'accepted');
  t.equal(await list(), '403 AccessDenied');
});

void t.test('the bucket owner and the payer must be as the request says', async (t) => {
  const buckets = [Bucket, { name: 'paid', requesterPays: true }];
  const { url } = await useEndpoint(t, { buckets, accountId: '111122223333' });
  const client = useClient(t, url);
  const list = (ExpectedBucketOwner: string): Promise<string> =>
    refusal(client.send(new ListObjectsV2Command({ Bucket, ExpectedBucketOwner })));
  t.equal(await list('111122223333'), 'accepted');
  t.equal(await list('999999999999'), '403 AccessDenied');
  const paid = new ListObjectsV2Command({ Bucket: 'paid' });
  t.equal(await refusal(client.send(paid)), '403 AccessDenied');
  const payer = new ListObjectsV2Command({ Bucket: 'paid', RequestPayer: 'requester' });
  t.equal((await client.send(payer)).RequestCharged, 'requester');
});

const RoleArn = 'arn:aws:iam::123456789012:role/sftp';
const RoleSessionName = 'session';

function useSts(t: Test, url: string, credentials = testKey): STSClient {
  const client = new STSClient({
    endpoint: url,
    region: 'us-east-1',
    credentials,
    maxAttempts: 1,
  });
  t.teardown(() => client.destroy());
  return client;
}

async function stsCode(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    if (error instanceof STSServiceException) return error.name;
    throw error;
  }
  return 'accepted';
}

interface StsCredentials {
  readonly AccessKeyId?: string | undefined;
  readonly SecretAccessKey?: string | undefined;
  readonly SessionToken?: string | undefined;
}

function toCredentials(given: StsCredentials | undefined): {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string;
} {
  return {
    accessKeyId: given?.AccessKeyId ?? '',
    secretAccessKey: given?.SecretAccessKey ?? '',
    sessionToken: given?.SessionToken ?? '',
  };
}

void t.test('a session works until it expires or its key goes', async (t) => {
  let nowMs = Date.now();
  const endpoint = await useEndpoint(t, { sessionMs: 60_000, now: () => nowMs });
  const sts = useSts(t, endpoint.url);
  const assumed = await sts.send(new AssumeRoleCommand({ RoleArn, RoleSessionName }));
  const credentials = toCredentials(assumed.Credentials);
  const get = (given: typeof credentials): Promise<string> => {
    const client = useClient(t, endpoint.url, { credentials: given });
    return refusal(client.send(new GetObjectCommand({ Bucket, Key: 'absent' })));
  };
  t.equal(await get(credentials), '404 NoSuchKey');
  const { accessKeyId } = testKey;
  t.equal(await get({ ...credentials, accessKeyId }), '400 InvalidToken');
  t.equal(await get({ ...credentials, secretAccessKey: 'x' }), '403 SignatureDoesNotMatch');
  const forged = `${credentials.sessionToken.slice(0, -4)}AAAA`;
  t.equal(await get({ ...credentials, sessionToken: forged }), '400 InvalidToken');
  nowMs += 60_001;
  t.equal(await get(credentials), '400 ExpiredToken');
  nowMs -= 60_001;
  endpoint.setCredentials([]);
  t.equal(await get(credentials), '400 InvalidToken');
});

void t.test('a session with a policy may do what it and the policy of its key allow', async (t) => {
  const limited = { accessKeyId: 'AKIALIMITED', secretAccessKey: 'limited', policy: aliceOnly };
  const { url } = await useEndpoint(t, { credentials: [testKey, limited] });
  const allow = (Resource: string): string =>
    JSON.stringify({
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Action: ['s3:GetObject', 's3:PutObject'], Resource }],
    });
  const assume = (Policy: string, credentials = testKey): Promise<AssumeRoleCommandOutput> =>
    useSts(t, url, credentials).send(new AssumeRoleCommand({ RoleArn, RoleSessionName, Policy }));
  const puts = async (Policy: string, key = testKey): Promise<(Key: string) => Promise<string>> => {
    const { Credentials } = await assume(Policy, key);
    const client = useClient(t, url, { credentials: toCredentials(Credentials) });
    return (Key) => refusal(client.send(new PutObjectCommand({ Bucket, Key, Body: 'v' })));
  };
  const asBob = await puts(allow(`arn:aws:s3:::${Bucket}/bob/*`));
  t.equal(await asBob('bob/a'), 'accepted');
  t.equal(await asBob('alice/a'), '403 AccessDenied');
  const asBoth = await puts(allow(`arn:aws:s3:::${Bucket}/*`), limited);
  t.equal(await asBoth('alice/a'), 'accepted');
  t.equal(await asBoth('bob/a'), '403 AccessDenied', 'a policy gives no right that the key lacks');

  const ofUnknownKind = JSON.stringify({
    Statement: [{ Effect: 'Allow', Action: '*', Resource: '*', Condition: { IpAddress: {} } }],
  });
  for (const Policy of ['{', '{}', '[]', '{"Statement":[]}', ofUnknownKind]) {
    t.equal(await stsCode(assume(Policy)), 'MalformedPolicyDocumentException', Policy);
  }
  for (const Policy of ['', allow('x'.repeat(2048)), allow('\u0100')]) {
    t.equal(await stsCode(assume(Policy)), 'ValidationError');
  }
});

void t.test('a role asks for its external id or its web identity', async (t) => {
  const roles = [
    { arn: RoleArn, externalId: 'tenant 7' },
    { arn: `${RoleArn}-web`, webIdentityToken: 'token of the pod' },
  ];
  const { url } = await useEndpoint(t, { roles });
  const sts = useSts(t, url);
  const assume = (ExternalId?: string, arn = RoleArn): Promise<string> =>
    stsCode(sts.send(new AssumeRoleCommand({ RoleArn: arn, RoleSessionName, ExternalId })));
  t.equal(await assume('tenant 7'), 'accepted');
  t.equal(await assume('tenant 8'), 'AccessDenied');
  t.equal(await assume(), 'AccessDenied');
  t.equal(await assume('tenant 7', `${RoleArn}-unknown`), 'AccessDenied');
  const web = (WebIdentityToken: string) =>
    sts.send(
      new AssumeRoleWithWebIdentityCommand({
        RoleArn: `${RoleArn}-web`,
        RoleSessionName,
        WebIdentityToken,
      }),
    );
  t.equal(await stsCode(web('another token')), 'AccessDenied');
  const credentials = toCredentials((await web('token of the pod')).Credentials);
  const who = new STSClient({ endpoint: url, region: 'us-east-1', credentials });
  t.teardown(() => who.destroy());
  const identity = await who.send(new GetCallerIdentityCommand({}));
  t.equal(identity.Arn, 'arn:aws:sts::123456789012:assumed-role/sftp-web/session');
});

void t.test('an unknown key gets no session', async (t) => {
  const endpoint = await useEndpoint(t);
  const sts = useSts(t, endpoint.url);
  endpoint.setCredentials([]);
  const assume = new AssumeRoleCommand({ RoleArn, RoleSessionName });
  t.equal(await stsCode(sts.send(assume)), 'InvalidClientTokenId');
});
