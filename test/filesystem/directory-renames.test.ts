/** Directories that are renamed with all that is in them, and what S3 and others do meanwhile. */
import { PutObjectCommand } from '@aws-sdk/client-s3';
import t from 'tap';
import type { Test } from 'tap';
import { inParallel } from '../support/bucket.js';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';
import { testBucket } from '../support/embedded.js';

const recursive = { settings: { renameDir: 'recursive' } } as const;

/** All keys below the prefix with their content. */
async function stored(core: Core): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const key of await core.bucket.keys('alice/')) {
    found[key.slice('alice/'.length)] = await core.bucket.text(key);
  }
  return found;
}

for (const action of ['CopyObject', 'DeleteObject'] as const) {
  void t.test(`a rename that fails in ${action} does nothing once it is answered`, async (t) => {
    const core = await useCore(t, recursive);
    const program = new Program(core.fs);
    const names = Array.from({ length: 100 }, (_, index) => `f${1000 + index}`);
    await inParallel(16, names, (name) => core.bucket.put(`alice/a/${name}`, name));
    core.proxy.inject({
      action,
      key: /f1020$/,
      // A copy that is denied is tried again without tags.
      count: 2,
      fault: { kind: 'status', status: 403, code: 'AccessDenied' },
    });
    await t.rejects(program.rename('/a', '/b'), { code: 'EACCES' });
    const requests = core.proxy.log.length;
    t.ok((core.proxy.counts()[action] ?? 0) < 90, 'the first failure is the end');
    // Whatever was left going would have come through by the time all this has.
    for (let index = 0; index < 20; index++) await core.bucket.keys('alice/');
    const open = core.proxy.log.filter(({ status }) => status === undefined);
    t.same([core.proxy.log.length, open], [requests, []], 'nothing goes on behind the answer');
    core.proxy.clear();
    await program.rename('/a', '/b');
    t.same(await stored(core), Object.fromEntries(names.map((name) => [`b/${name}`, name])));
  });
}

const note = { Metadata: { owner: 'somebody' }, CacheControl: 'max-age=7' };

/** A marker as other tools may write one. */
async function putNote(core: Core, key: string, text = 'about this directory'): Promise<void> {
  const object = { Bucket: testBucket, Key: `alice/${key}`, Body: Buffer.from(text) };
  await core.client.send(new PutObjectCommand({ ...object, ...note }));
}

async function hasNote(t: Test, core: Core, key: string, text?: string): Promise<void> {
  const { Metadata, ...found } = await core.bucket.head(`alice/${key}`);
  // Every create under If-None-Match has a token of its own.
  const own = Object.entries(Metadata ?? {}).filter(([name]) => name !== 's3jail-upload');
  t.same(Object.fromEntries(own), note.Metadata, `${key}: metadata`);
  t.match(found, { CacheControl: note.CacheControl }, `${key}: headers`);
  t.equal(await core.bucket.text(`alice/${key}`), text ?? 'about this directory', key);
}

/** Another host on the bucket. */
async function otherHost(t: Test, core: Core, mountId = 'other:/srv'): Promise<Core> {
  return await useCore(t, {
    endpoint: core.endpoint,
    settings: { renameDir: 'recursive', mountId, metadataTtlMs: 60_000 },
  });
}

void t.test('markers of others outlive what happens beside and below them', async (t) => {
  const core = await useCore(t, recursive);
  const program = new Program(core.fs);
  for (const directory of ['rm', 'mv', 'rmdir', 'staged']) {
    await putNote(core, `${directory}/`);
    await core.bucket.put(`alice/${directory}/z`, 'z');
    await program.stat(`/${directory}/z`);
  }
  await core.bucket.put('alice/rmdir/below/', '');
  await program.unlink('/rm/z');
  await program.rename('/mv/z', '/moved');
  await program.rmdir('/rmdir/below');
  await program.unlink('/rmdir/z');
  const handle = await program.open('/staged/z', { access: 'write', truncate: true });
  await program.rename('/staged/z', '/later');
  await program.close(handle);
  for (const directory of ['rm', 'mv', 'rmdir', 'staged']) await hasNote(t, core, `${directory}/`);
});

void t.test('a directory that is renamed keeps what its markers say', async (t) => {
  for (const text of ['about this directory', '']) {
    const core = await useCore(t, recursive);
    const program = new Program(core.fs);
    await putNote(core, 'empty/', text);
    await program.rename('/empty', '/moved');
    await hasNote(t, core, 'moved/', text);
    await putNote(core, 'full/', text);
    await putNote(core, 'full/deep/', text);
    await core.bucket.put('alice/full/deep/f', 'f');
    await program.rename('/full', '/filled');
    t.same(await core.bucket.keys('alice/'), [
      ...['alice/filled/', 'alice/filled/deep/', 'alice/filled/deep/f', 'alice/moved/'],
    ]);
    await hasNote(t, core, 'filled/', text);
    await hasNote(t, core, 'filled/deep/', text);
    const copied = core.proxy.log.filter(
      ({ action, key }) => action === 'CopyObject' && /\/$/.test(key),
    );
    t.same(copied, [], 'some servers do not copy markers');
  }
});

void t.test('of two hosts that make a directory one hears that it is there', async (t) => {
  const core = await useCore(t, { settings: { metadataTtlMs: 60_000 } });
  const [one, two] = [core, await otherHost(t, core)].map(({ fs }) => new Program(fs)) as [
    Program,
    Program,
  ];
  t.notOk(await one.exists('/lock'));
  await two.mkdir('/lock');
  await t.rejects(one.mkdir('/lock'), { code: 'EEXIST' });
  t.ok(await one.exists('/lock'), 'and sees it from then on');
  const ends = await Promise.allSettled([one.mkdir('/race'), two.mkdir('/race')]);
  t.equal(ends.filter(({ status }) => status === 'fulfilled').length, 1);
});

void t.test('the rename of an empty directory sees what others have made', async (t) => {
  const core = await useCore(t, { settings: { metadataTtlMs: 60_000 } });
  const program = new Program(core.fs);
  for (const name of ['full', 'implicit', 'file', 'empty']) {
    t.notOk(await program.exists(`/${name}`));
    await program.mkdir(`/to-${name}`);
  }
  for (const key of ['full/', 'full/x', 'implicit/x', 'file'])
    await core.bucket.put(`alice/${key}`, 'x');
  await putNote(core, 'empty/');
  await t.rejects(program.rename('/to-full', '/full'), { code: 'ENOTEMPTY' });
  await t.rejects(program.rename('/to-implicit', '/implicit'), { code: 'ENOTEMPTY' });
  await t.rejects(program.rename('/to-file', '/file'), { code: 'ENOTDIR' });
  await program.rename('/to-empty', '/empty');
  t.same(await program.list('/'), [
    ...['empty/', 'file', 'full/', 'implicit/', 'to-file/', 'to-full/', 'to-implicit/'],
  ]);
});

void t.test('of two hosts that rename a directory to one name, one has it', async (t) => {
  const core = await useCore(t, { settings: { renameDir: 'recursive', metadataTtlMs: 60_000 } });
  const [one, two] = [core, await otherHost(t, core)].map(({ fs }) => new Program(fs)) as [
    Program,
    Program,
  ];
  for (const lock of ['lock', 'race']) {
    for (const [host, program] of [one, two].entries()) {
      await program.mkdir(`/${lock}.${host}`);
      await program.put(`/${lock}.${host}/host${host}`, 'mine');
      t.notOk(await program.exists(`/${lock}`));
    }
  }
  await two.rename('/lock.1', '/lock');
  await t.rejects(one.rename('/lock.0', '/lock'), { code: 'ENOTEMPTY' });
  const ends = await Promise.allSettled([
    one.rename('/race.0', '/race'),
    two.rename('/race.1', '/race'),
  ]);
  t.equal(ends.filter(({ status }) => status === 'fulfilled').length, 1, 'one has won');
  const winner = ends[0].status === 'fulfilled' ? 0 : 1;
  const loser = 1 - winner;
  t.same(await core.bucket.keys('alice/'), [
    ...['alice/lock.0/', 'alice/lock.0/host0', 'alice/lock/', 'alice/lock/host1'],
    ...[`alice/race.${loser}/`, `alice/race.${loser}/host${loser}`],
    ...['alice/race/', `alice/race/host${winner}`],
  ]);
});

void t.test('a directory that is not empty is not replaced', async (t) => {
  const core = await useCore(t, recursive);
  const program = new Program(core.fs);
  const before = { 'a/x': 'new', 'b/x': 'old', 'c/': '', 'c/x': 'own', 'd/': '', 'd/x': 'own' };
  for (const [key, text] of Object.entries(before)) await core.bucket.put(`alice/${key}`, text);
  await t.rejects(program.rename('/a', '/b'), { code: 'ENOTEMPTY' });
  await t.rejects(program.rename('/c', '/d'), { code: 'ENOTEMPTY' }, 'equal to the byte');
  t.same(await stored(core), before);
});

for (const action of ['CopyObject', 'DeleteObject'] as const) {
  const title = `a rename that was cut off in ${action} is taken up by this mount alone`;
  void t.test(title, async (t) => {
    const core = await useCore(t, recursive);
    const program = new Program(core.fs);
    const names = Array.from({ length: 40 }, (_, index) => `f${100 + index}`);
    await putNote(core, 'a/');
    for (const name of names) await core.bucket.put(`alice/a/${name}`, name);
    const fault = { kind: 'status', status: 403, code: 'AccessDenied' } as const;
    core.proxy.inject({ action, key: /f130$/, count: 2, fault });
    await t.rejects(program.rename('/a', '/b'), { code: 'EACCES' });
    core.proxy.clear();
    const other = new Program((await otherHost(t, core)).fs);
    await t.rejects(other.rename('/a', '/b'), { code: 'ENOTEMPTY' });
    const foreign = await foreignCopy(core, names);
    if (action === 'CopyObject') {
      await t.rejects(program.rename('/a', '/b'), { code: 'ENOTEMPTY' }, 'it is in the way');
      t.equal(await core.bucket.text(foreign), 'FFFF', 'and stays');
      await core.bucket.delete(foreign);
    }
    const again = await otherHost(t, core, 'host:/srv/alice');
    const restarted = new Program(again.fs);
    await restarted.rename('/a', '/b');
    const want = Object.fromEntries(names.map((name) => [`b/${name}`, name]));
    t.match(await stored(core), action === 'CopyObject' ? want : { 'b/f139': 'f139' });
    t.same(await core.bucket.keys('alice/a/'), []);
    await hasNote(t, core, 'b/');
    await restarted.mkdir('/a');
    await restarted.put('/a/f', 'x');
    await t.rejects(restarted.rename('/a', '/b'), { code: 'ENOTEMPTY' }, 'it is over');
  });
}

/** Somebody writes over a copy, with a file of equal size. */
async function foreignCopy(core: Core, names: readonly string[]): Promise<string> {
  const key = `alice/b/${names[0] ?? ''}`;
  await core.bucket.put(key, 'FFFF');
  return key;
}
