/** What describes an object stays when its content is appended to, cut or changed, and by a rename. */
import { randomBytes } from 'node:crypto';
import {
  GetObjectTaggingCommand,
  PutObjectCommand,
  RestoreObjectCommand,
} from '@aws-sdk/client-s3';
import type { StorageClass } from '@aws-sdk/client-s3';
import t from 'tap';
import type { PolicyStatement } from '../../lib/endpoint/access/policy.js';
import { silentLog } from '../../lib/log.js';
import type { Key } from '../../lib/path.js';
import { Program, useCore } from '../support/core.js';
import type { Core, CoreOptions } from '../support/core.js';
import { testBucket, testKey } from '../support/embedded.js';
import { ManualClock } from '../support/manual-clock.js';
import { kibibyte } from '../support/sizes.js';

const small: CoreOptions = { minPart: 64 * kibibyte, settings: { partSize: 100 * kibibyte } };
const base = randomBytes(400 * kibibyte);

const described = {
  ContentType: 'text/x-law',
  CacheControl: 'max-age=7',
  ContentDisposition: 'attachment; filename="a b"',
  ContentEncoding: 'zstd',
  ContentLanguage: 'de',
  Expires: new Date('2031-01-02T03:04:05Z'),
};

/** UTF-8 in a header, as Node reads and writes it. */
function onWire(text: string): string {
  return Buffer.from(text).toString('latin1');
}

async function putDescribed(
  core: Core,
  key: string,
  body: Buffer,
  more: { Metadata?: Record<string, string>; StorageClass?: StorageClass } = {},
): Promise<void> {
  await core.client.send(
    new PutObjectCommand({
      ...{ Bucket: testBucket, Key: `alice/${key}`, Body: body },
      ...{ StorageClass: 'STANDARD_IA', Tagging: 'a=1&b=x%20y', ...described },
      Metadata: { mtime: '1700000000', other: 'x' },
      ...more,
    }),
  );
}

/** A client that sends header values as UTF-8, as they are signed. */
function speakUtf8({ client }: Core): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const { headers } = args.request as { headers: Record<string, string> };
      for (const [name, value] of Object.entries(headers)) headers[name] = onWire(value);
      return await next(args);
    },
    { step: 'deserialize', name: 'speakUtf8' },
  );
}

async function restore({ client }: Core, key: string): Promise<void> {
  const object = { Bucket: testBucket, Key: `alice/${key}` };
  await client.send(new RestoreObjectCommand({ ...object, RestoreRequest: { Days: 1 } }));
}

async function tagsOf(core: Core, key: string): Promise<string[]> {
  const { TagSet = [] } = await core.client.send(
    new GetObjectTaggingCommand({ Bucket: testBucket, Key: `alice/${key}` }),
  );
  return TagSet.map(({ Key = '', Value = '' }) => `${Key}=${Value}`).sort();
}

async function appendTo(program: Program, path: string, data: Buffer): Promise<void> {
  const handle = await program.open(path, { access: 'write', append: true });
  await program.write(handle, data);
  await program.close(handle);
}

async function edit(program: Program, path: string, at: number): Promise<void> {
  const handle = await program.open(path, { access: 'write' });
  await program.write(handle, 'Z', at);
  await program.close(handle);
}

const changes: Record<string, (program: Program) => Promise<void>> = {
  'appending a little': (program) => appendTo(program, '/f', randomBytes(10)),
  'appending several parts': (program) => appendTo(program, '/f', randomBytes(350 * kibibyte)),
  'a change in the middle': (program) => edit(program, '/f', 200 * kibibyte),
  'a cut to several parts': (program) => program.truncate('/f', 300 * kibibyte),
  'a cut to less than a part': (program) => program.truncate('/f', 10),
  growing: (program) => program.truncate('/f', 500 * kibibyte),
};

for (const [name, change] of Object.entries(changes)) {
  void t.test(`${name} keeps the description`, async (t) => {
    for (const isListed of [false, true]) {
      const core = await useCore(t, small);
      const program = new Program(core.fs);
      await putDescribed(core, 'f', base);
      // A listing tells less than a lookup by name.
      await (isListed ? program.list('/') : program.stat('/f'));
      await change(program);
      const found = await core.bucket.head('alice/f');
      t.match(found, { ...described, StorageClass: 'STANDARD_IA' });
      t.same(found.Metadata, { other: 'x' }, 'but for the time of the old content');
      t.same(await tagsOf(core, 'f'), ['a=1', 'b=x y']);
      await change(program);
      t.match(await core.bucket.head('alice/f'), described, 'and once more');
    }
  });
}

void t.test('an object described in UTF-8 can be changed and renamed', async (t) => {
  const core = await useCore(t, small);
  const program = new Program(core.fs);
  const said = 'grün, 文字 🙂';
  speakUtf8(core);
  for (const size of [10, 400 * kibibyte]) {
    const [from, to] = [`f${size}`, `g${size}`];
    await putDescribed(core, from, randomBytes(size), { Metadata: { said } });
    const { Metadata } = await core.bucket.head(`alice/${from}`);
    t.same(Metadata, { said: onWire(said) }, 'what is in S3 is UTF-8');
    await program.stat(`/${from}`);
    await appendTo(program, `/${from}`, Buffer.from('more'));
    t.same((await core.bucket.head(`alice/${from}`)).Metadata, Metadata, 'appended');
    await program.rename(`/${from}`, `/${to}`);
    t.same((await core.bucket.head(`alice/${to}`)).Metadata, Metadata, 'renamed');
    t.same((await core.store.head(to as Key)).metadata, { said }, 'and read as what it is');
  }
});

const everything: PolicyStatement = { Effect: 'Allow', Action: 's3:*', Resource: '*' };

void t.test('what may not have tags is changed without them, and the log says so', async (t) => {
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (_: unknown, text: string): void => void warnings.push(text) };
  for (const Action of ['s3:PutObjectTagging', 's3:GetObjectTagging']) {
    const policy = { Statement: [everything, { Effect: 'Deny', Action, Resource: '*' } as const] };
    const core = await useCore(t, { ...small, log });
    await putDescribed(core, 'f', base);
    core.endpoint.setCredentials([{ ...testKey, policy }]);
    await appendTo(new Program(core.fs), '/f', Buffer.from('more'));
    core.endpoint.setCredentials([testKey]);
    t.match(await core.bucket.head('alice/f'), described, Action);
    t.same(await tagsOf(core, 'f'), []);
    t.match(warnings.splice(0), [/without their tags/]);
  }
});

void t.test('tags that were refused are tried again', async (t) => {
  const clock = new ManualClock();
  const core = await useCore(t, { ...small, clock });
  const program = new Program(core.fs);
  const deny = { Effect: 'Deny', Action: 's3:PutObjectTagging', Resource: '*' } as const;
  for (const name of ['f', 'h']) await putDescribed(core, name, base);
  core.endpoint.setCredentials([{ ...testKey, policy: { Statement: [everything, deny] } }]);
  await appendTo(program, '/f', Buffer.from('more'));
  t.match(core.store.capabilities, { 'tags of what is copied': 'not kept' });
  core.endpoint.setCredentials([testKey]);
  clock.pass(60_000);
  await appendTo(program, '/h', Buffer.from('more'));
  t.same(await tagsOf(core, 'h'), ['a=1', 'b=x y']);
  t.match(core.store.capabilities, { 'tags of what is copied': 'kept' });
});

void t.test('tags of one object that may not be read say nothing of others', async (t) => {
  const core = await useCore(t, small);
  const Resource = `arn:aws:s3:::${testBucket}/alice/f`;
  const deny = { Effect: 'Deny', Action: 's3:GetObjectTagging', Resource } as const;
  for (const name of ['f', 'g']) await putDescribed(core, name, base);
  core.endpoint.setCredentials([{ ...testKey, policy: { Statement: [everything, deny] } }]);
  for (const name of ['f', 'g']) {
    await appendTo(new Program(core.fs), `/${name}`, Buffer.from('more'));
  }
  core.endpoint.setCredentials([testKey]);
  t.same(await tagsOf(core, 'f'), []);
  t.same(await tagsOf(core, 'g'), ['a=1', 'b=x y']);
});

void t.test('a restored object stays readable after a change', async (t) => {
  for (const change of [
    ...Object.values(changes),
    (program: Program) => program.rename('/f', '/g'),
  ]) {
    const core = await useCore(t, small);
    const program = new Program(core.fs);
    await putDescribed(core, 'f', base, { StorageClass: 'GLACIER' });
    await restore(core, 'f');
    await program.list('/');
    await change(program);
    const [key = ''] = await core.bucket.keys('alice/');
    t.equal((await core.bucket.head(key)).StorageClass, undefined, 'in a class that can be read');
    t.ok((await program.get(key.replace('alice', ''))).length > 0);
  }
});
