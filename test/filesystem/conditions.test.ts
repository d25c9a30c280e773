/** Writes that could hide what another host has stored, and renames where nothing may be deleted. */
import t from 'tap';
import type { Test } from 'tap';
import type { PolicyDocument, PolicyStatement } from '../../lib/endpoint/access/policy.js';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';
import { testBucket, testKey, useEndpoint } from '../support/embedded.js';

const longTtl = { settings: { metadataTtlMs: 60_000 } } as const;

void t.test('a file believed absent does not replace what another host has stored', async (t) => {
  for (const isListed of [false, true]) {
    for (const flags of [{ access: 'write', append: true }, { access: 'readwrite' }] as const) {
      const core = await useCore(t, longTtl);
      const program = new Program(core.fs);
      t.notOk(await program.exists('/log'));
      if (isListed) await program.list('/');
      const handle = await program.create('/log', flags);
      await core.bucket.put('alice/log', 'theirs\n');
      await program.write(handle, 'mine\n');
      await t.rejects(program.close(handle), { code: 'ESTALE' });
      t.equal(await core.bucket.text('alice/log'), 'theirs\n');
      const again = await program.open('/log', { access: 'write', append: true });
      await program.write(again, 'mine\n');
      await program.close(again);
      t.equal(await core.bucket.text('alice/log'), 'theirs\nmine\n', 'tried again, it is known');
    }
  }
});

void t.test('neither does a large one', async (t) => {
  const partSize = 5 * 1024 * 1024;
  const core = await useCore(t, { settings: { ...longTtl.settings, partSize } });
  const program = new Program(core.fs);
  t.notOk(await program.exists('/big'));
  const handle = await program.create('/big');
  await core.bucket.put('alice/big', 'theirs');
  await program.write(handle, Buffer.alloc(2 * partSize));
  await t.rejects(program.close(handle), { code: 'ESTALE' });
  t.equal(await core.bucket.text('alice/big'), 'theirs');
});

void t.test('what was to be replaced is replaced, and O_EXCL is told EEXIST', async (t) => {
  const core = await useCore(t, longTtl);
  const program = new Program(core.fs);
  const cut = await program.create('/cut');
  const created = [
    await program.create('/new', { truncate: true }),
    cut,
    await program.create('/lock', { exclusive: true }),
  ];
  await core.fs.truncate('/cut' as never, 0, {}, cut);
  for (const name of ['new', 'cut', 'lock']) await core.bucket.put(`alice/${name}`, 'theirs');
  for (const handle of created) await program.write(handle, 'mine');
  const [replacing = 0, emptied = 0, exclusive = 0] = created;
  await program.close(replacing);
  await program.close(emptied);
  await t.rejects(program.close(exclusive), { code: 'EEXIST' });
  const texts = ['new', 'cut', 'lock'].map((name) => core.bucket.text(`alice/${name}`));
  t.same(await Promise.all(texts), ['mine', 'mine', 'theirs']);
});

void t.test('an append to an archived object is refused when it is opened', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  await core.store.put('cold' as never, [Buffer.from('x')], { storageClass: 'GLACIER' });
  for (const append of [true, false]) {
    await t.rejects(program.open('/cold', { access: 'write', append }), { code: 'EIO' });
  }
  await t.rejects(program.truncate('/cold', 5), { code: 'EIO' });
  await program.put('/cold', 'whole');
  t.equal((await program.get('/cold')).toString(), 'whole', 'it can be replaced as a whole');
});

const everything: PolicyStatement = { Effect: 'Allow', Action: 's3:*', Resource: '*' };

function denying(where: string): PolicyDocument {
  const Resource = `arn:aws:s3:::${testBucket}/alice/${where}`;
  return { Statement: [everything, { Effect: 'Deny', Action: 's3:DeleteObject', Resource }] };
}

/** A mount of somebody who may not delete below `where`. */
async function useDenied(t: Test, where: string): Promise<Core> {
  const endpoint = await useEndpoint(t, { credentials: [{ ...testKey, policy: denying(where) }] });
  return await useCore(t, { endpoint, settings: { renameDir: 'recursive' } });
}

void t.test('where DELETE is denied a rename changes nothing', async (t) => {
  const core = await useDenied(t, '*');
  const program = new Program(core.fs);
  const before = ['a', 'b', 'full/x', 'empty/', 'log'];
  for (const key of before) await core.bucket.put(`alice/${key}`, `this is ${key}`);
  const log = await program.open('/log', { access: 'write', append: true });
  await program.write(log, ' and more');
  const writes = new Set(['CopyObject', 'PutObject', 'CreateMultipartUpload']);
  core.proxy.reset();
  for (const [from, to] of [
    ...[
      ['/a', '/b'],
      ['/a', '/new'],
      ['/full', '/other'],
      ['/empty', '/other'],
      ['/log', '/b'],
    ],
  ] as [string, string][]) {
    await t.rejects(program.rename(from, to), { code: 'EACCES' }, `${from} ${to}`);
  }
  t.same(
    core.proxy.log.filter(({ action }) => writes.has(action)),
    [],
    'nothing was written',
  );
  await program.close(log);
  t.equal(await core.bucket.text('alice/log'), 'this is log and more', 'at its old name');
  core.endpoint.setCredentials([testKey]);
  await program.rename('/a', '/b');
  t.equal(await core.bucket.text('alice/b'), 'this is a', 'allowed again, it is done at once');
});

void t.test('a refused DELETE is remembered for what it is about', async (t) => {
  const core = await useDenied(t, 'keep/*');
  const program = new Program(core.fs);
  for (const key of ['keep/a', 'keep/b', 'free/a', 'b']) await core.bucket.put(`alice/${key}`, key);
  await t.rejects(program.unlink('/keep/b'), { code: 'EACCES' });
  core.proxy.reset();
  await t.rejects(program.rename('/keep/b', '/b'), { code: 'EACCES' });
  await t.rejects(program.rename('/keep/a', '/b'), { code: 'EACCES' });
  t.equal(core.proxy.counts().CopyObject, undefined);
  t.equal(await core.bucket.text('alice/b'), 'b');
  await program.rename('/free/a', '/b');
  t.equal(await core.bucket.text('alice/b'), 'free/a');
});
