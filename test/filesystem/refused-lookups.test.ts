/**
 * A HEAD that was refused beside a LIST that went through: the name may be free, the object may not be
 * read, or the keys were others a moment ago. What is there is shown, and never replaced by mistake.
 */
import t, { type Test } from 'tap';
import { keyOf, parsePath } from '../../lib/path.js';
import { testBucket } from '../support/embedded.js';
import { Program, useCore, type Core, type CoreOptions } from '../support/core.js';
import type { ProxyAction } from '../support/faults.js';
import { backwards, rewriteLists } from '../support/list-answers.js';

const refused = { kind: 'status', status: 403, code: 'AccessDenied' } as const;

/** Whatever reads the key is refused, for good or so many times. */
function refuse(core: Core, key: string, actions: ProxyAction[], count = Infinity): void {
  for (const action of actions) core.proxy.inject({ action, key, count, fault: refused });
}

const reading: ProxyAction[] = ['HeadObject', 'GetObject'];

async function useSecret(t: Test, options: CoreOptions = {}): Promise<Core> {
  const core = await useCore(t, options);
  await core.bucket.put('alice/secret', 'do not read');
  refuse(core, 'alice/secret', reading);
  // A copy of it is refused too; the key is the target's.
  for (const action of ['CopyObject', 'UploadPartCopy'] as const) {
    core.proxy.inject({ action, count: Infinity, fault: refused });
  }
  return core;
}

/** As `>>` does it. */
async function append(program: Program, path: string, text: string): Promise<void> {
  const handle = (await program.exists(path))
    ? await program.open(path, { access: 'write', append: true })
    : await program.create(path, { access: 'write', append: true });
  try {
    await program.write(handle, text);
  } finally {
    await program.close(handle);
  }
}

void t.test('an absent name, where S3 says 403 for it', async (t) => {
  const core = await useCore(t);
  refuse(core, 'alice/new', ['HeadObject']);
  for (let index = 10; index < 40; index++) await core.bucket.put(`alice/new${index}`, 'x');
  const program = new Program(core.fs);
  // Before the first answer a refusal might be about the asking for checksums.
  await core.store.head(keyOf(parsePath('/new10')));
  core.proxy.reset();
  await t.rejects(program.stat('/new'), { code: 'ENOENT' });
  t.strictSame(core.proxy.counts(), { HeadObject: 1, ListObjectsV2: 2 });
  await program.close(await program.create('/new', { exclusive: true }));
  t.ok(core.endpoint.keys(testBucket).includes('alice/new'));
});

void t.test('a page of the directory that is refused is asked for once', async (t) => {
  const core = await useCore(t);
  for (const name of ['a/x', 'b/x', 'b/y']) await core.bucket.put(`alice/${name}`, 'x');
  const program = new Program(core.fs);
  core.proxy.inject({ action: 'ListObjectsV2', count: 1, fault: refused });
  const costs: Record<string, number>[] = [];
  for (const name of ['/a/x', '/b/x', '/b/y']) {
    core.proxy.reset();
    t.equal((await program.stat(name)).size, 1);
    costs.push({ ...core.proxy.counts() });
  }
  const pair = { HeadObject: 1, ListObjectsV2: 1 };
  t.same(costs, [{ HeadObject: 1, ListObjectsV2: 2 }, pair, { ListObjectsV2: 1 }]);
});

void t.test('an object that may not be read is shown, and refused', async (t) => {
  const core = await useSecret(t);
  const program = new Program(core.fs);
  t.equal((await program.stat('/secret')).size, 11);
  await t.rejects(program.get('/secret'), { code: 'EACCES' });
  await t.rejects(append(program, '/secret', 'more'), { code: 'EACCES' });
  await t.rejects(program.open('/secret', { access: 'write' }), { code: 'EACCES' });
  await t.rejects(program.truncate('/secret', 3), { code: 'EACCES' });
  await t.rejects(program.create('/secret', { exclusive: true }), { code: 'EEXIST' });
  await t.rejects(program.mkdir('/secret'), { code: 'EEXIST' });
  await t.rejects(program.rename('/secret', '/public'), { code: 'EACCES' });
  t.equal(await core.bucket.text('alice/secret'), 'do not read');
  await program.put('/secret', 'new');
  t.equal(await core.bucket.text('alice/secret'), 'new', 'to write it anew is no reading');
  await program.unlink('/secret');
  t.notOk(core.endpoint.keys(testBucket).includes('alice/secret'));
});

void t.test('the same in no order', async (t) => {
  const core = await useSecret(t);
  for (let index = 10; index < 40; index++) await core.bucket.put(`alice/secret${index}`, 'x');
  rewriteLists(core.proxy, backwards);
  const program = new Program(core.fs);
  t.equal((await program.stat('/secret')).size, 11);
  await t.rejects(append(program, '/secret', 'more'), { code: 'EACCES' });
});

void t.test('the same, known from a listing or from a page of it', async (t) => {
  const core = await useSecret(t);
  for (const name of ['a', 'b', 'c']) await core.bucket.put(`alice/${name}`, name);
  const program = new Program(core.fs);
  t.strictSame(await program.list('/'), ['a', 'b', 'c', 'secret']);
  await t.rejects(program.get('/secret'), { code: 'EACCES' });
  await t.rejects(append(program, '/secret', 'more'), { code: 'EACCES' });
  t.equal(await core.bucket.text('alice/secret'), 'do not read');
});

void t.test('an object larger than a part, known from a page', async (t) => {
  const core = await useCore(t, { settings: { partSize: 64 * 1024 }, minPart: 64 * 1024 });
  for (const name of ['a', 'b', 'c']) await core.bucket.put(`alice/${name}`, Buffer.alloc(100_000));
  refuse(core, 'alice/c', reading);
  const program = new Program(core.fs);
  for (const name of ['a', 'b', 'c']) {
    t.equal((await program.stat(`/${name}`)).size, 100_000, name);
  }
  t.ok(
    core.proxy.log.some(({ query }) => query.includes('start-after')),
    'by a page',
  );
  await t.rejects(append(program, '/c', 'more'), { code: 'EACCES' });
});

void t.test('one refusal, as where keys are being rotated, is no answer', async (t) => {
  const core = await useCore(t);
  await core.bucket.put('alice/log', 'one ');
  const program = new Program(core.fs);
  refuse(core, 'alice/log', ['HeadObject'], 1);
  t.equal((await program.stat('/log')).size, 4);
  await append(program, '/log', 'two');
  t.equal(await core.bucket.text('alice/log'), 'one two');
});

void t.test('a LIST of the very key that is refused too: nothing is said', async (t) => {
  const core = await useSecret(t);
  const program = new Program(core.fs);
  core.proxy.inject({ action: 'ListObjectsV2', ordinal: 2, count: Infinity, fault: refused });
  await t.rejects(program.stat('/secret'), { code: 'EACCES' });
  await t.rejects(append(program, '/secret', 'more'), { code: 'EACCES' });
});

void t.test('a HEAD that knows nothing of what is listed does not hide it', async (t) => {
  const core = await useCore(t, { settings: { partSize: 64 * 1024 }, minPart: 64 * 1024 });
  for (const name of ['a', 'b', 'c']) await core.bucket.put(`alice/${name}`, Buffer.alloc(100_000));
  core.proxy.inject({
    ...{ action: 'HeadObject', key: 'alice/c', count: Infinity },
    fault: { kind: 'status', status: 404, code: 'NoSuchKey' },
  });
  const program = new Program(core.fs);
  for (const name of ['a', 'b', 'c']) t.equal((await program.stat(`/${name}`)).size, 100_000, name);
});
