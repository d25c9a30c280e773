/** What each operation costs in S3 requests, counted on the wire. */
import { randomBytes } from 'node:crypto';
import t from 'tap';
import { inParallel } from '../support/bucket.js';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';
import { mebibyte } from '../support/sizes.js';
import { parsePath } from '../../lib/path.js';

/** Requests of `work`, as `{ Action: count }`. */
async function cost(core: Core, work: () => Promise<unknown>): Promise<Record<string, number>> {
  core.proxy.reset();
  await work();
  return { ...core.proxy.counts() };
}

void t.test('lookups cost two requests cold and none after a listing', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  for (const key of ['a', 'd/x', 'd/y', 'm/', 'z']) await core.bucket.put(`alice/${key}`, 'x');
  const pair = { HeadObject: 1, ListObjectsV2: 1 };
  t.same(await cost(core, () => program.stat('/a')), pair);
  t.same(await cost(core, () => program.stat('/a')), {}, 'warm');
  t.same(await cost(core, () => program.stat('/d')), {}, 'the LIST was a page of what follows');
  t.same(await cost(core, () => program.stat('/z')), {});
  t.same(await cost(core, () => program.exists('/d/nothing')), pair);
  t.same(await cost(core, () => program.exists('/d/nothing')), {}, 'absence is remembered too');
  const listing = await cost(core, async () => {
    for (const name of await program.list('/')) await program.stat(`/${name.replace('/', '')}`);
  });
  t.same(listing, { ListObjectsV2: 1 });
  t.same(await cost(core, () => program.exists('/other')), {}, 'a listing knows what is not there');
  const { log } = core.proxy;
  t.notOk(
    log.some(({ query }) => /prefix=(alice)?(&|$)/.test(query)),
    'never the bucket root',
  );
});

void t.test(
  'lookups of many names of a directory cost a LIST for all that are there',
  async (t) => {
    const core = await useCore(t, { settings: { metadataTtlMs: 60_000 } });
    const program = new Program(core.fs);
    const names = Array.from({ length: 20 }, (_, index) => `/d/f${index}`);
    for (const name of names) await core.bucket.put(`alice${name}`, 'x');
    const count = await cost(core, async () => {
      for (const name of names) await program.stat(name);
    });
    t.same(count, { HeadObject: 1, ListObjectsV2: 1 });
    await core.bucket.put('alice/d/later', 'x');
    t.equal((await program.stat('/d/later')).size, 1, 'what comes later is looked up');
    const absent = await cost(core, async () => {
      for (let index = 0; index < 5; index++) await program.exists(`/d/absent${index}`);
    });
    t.ok(Object.values(absent).reduce((sum, each) => sum + each, 0) <= 10, 'no more than two each');
  },
);

void t.test('no lookup costs more than two requests, however large the directory', async (t) => {
  const core = await useCore(t, { settings: { metadataTtlMs: 60_000 } });
  const program = new Program(core.fs);
  const names = Array.from({ length: 2100 }, (_, index) => `f${10_000 + index}`);
  await inParallel(16, names, (name) => core.bucket.put(`alice/big/${name}`, ''));
  const asked: number[] = [];
  for (const name of ['f12099', 'f10000', 'f11500', 'f10700', 'f1', 'nothing', 'f0']) {
    const count = await cost(core, async () => {
      t.equal(await program.exists(`/big/${name}`), names.includes(name), name);
    });
    asked.push(Object.values(count).reduce((sum, each) => sum + each, 0));
  }
  t.same(asked, [2, 1, 1, 0, 1, 2, 2], 'f1 is not there: then the rest is asked for by name');
});

void t.test('files of several parts are looked up with their checksum', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  await core.bucket.put('alice/more', 'x');
  await core.bucket.put('alice/large', Buffer.alloc(9 * mebibyte));
  await program.stat('/more');
  const count = await cost(core, () => program.stat('/large'));
  t.same(count, { HeadObject: 1, ListObjectsV2: 1 });
});

void t.test('lookups of many names at a time share a page', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  const names = Array.from({ length: 20 }, (_, index) => `/d/f${10 + index}`);
  for (const name of names) await core.bucket.put(`alice${name}`, 'x');
  const upwards = await cost(core, () => Promise.all(names.map((name) => program.stat(name))));
  t.same(upwards, { HeadObject: 1, ListObjectsV2: 1 });
  const downwards = await cost(core, () =>
    Promise.all(names.map((name) => program.exists(`${name}-not`)).reverse()),
  );
  const sum = Object.values(downwards).reduce((all, each) => all + each, 0);
  t.ok(sum <= 2 * names.length, `${sum} requests`);
});

void t.test('32 sessions that look into a directory at once share the exchange', async (t) => {
  for (const order of ['upwards', 'downwards', 'mixed'] as const) {
    const core = await useCore(t);
    const program = new Program(core.fs);
    const names = Array.from({ length: 32 }, (_, index) => `/d/f${10 + index}`);
    await inParallel(16, names, (name) => core.bucket.put(`alice${name}`, 'x'));
    if (order === 'downwards') names.reverse();
    if (order === 'mixed') names.sort((one, other) => Number(one.at(-1)) - Number(other.at(-1)));
    const count = await cost(core, () => Promise.all(names.map((name) => program.stat(name))));
    // Where the first to come is not the first by name, the others' page begins with the directory.
    const pages = order === 'downwards' ? 2 : 1;
    t.same(count, { HeadObject: 1, ListObjectsV2: pages }, order);
  }
});

void t.test('two lookups of one name at a time share the requests', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  const count = await cost(core, () =>
    Promise.all(Array.from({ length: 20 }, () => program.exists('/same'))),
  );
  t.same(count, { HeadObject: 1, ListObjectsV2: 1 });
});

void t.test('listing 2,500 entries with their attributes costs three requests', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  const names = Array.from({ length: 2500 }, (_, index) => `f${index}`);
  for (let at = 0; at < names.length; at += 50) {
    await Promise.all(
      names.slice(at, at + 50).map((name) => core.bucket.put(`alice/big/${name}`, '')),
    );
  }
  const count = await cost(core, async () => {
    const listed = await program.list('/big');
    t.same(listed, [...names].sort());
    for (const name of listed) await program.stat(`/big/${name}`);
  });
  t.same(count, { ListObjectsV2: 3 });
});

void t.test('reading costs one GET a part, no byte twice, and none past the end', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  for (const [size, gets] of [
    [0, 0],
    [1, 1],
    [8 * mebibyte, 1],
    [8 * mebibyte + 1, 2],
    [50 * mebibyte, 7],
  ] as const) {
    const content = randomBytes(size);
    await core.bucket.put('alice/read', content);
    const fresh = await useFresh(core, program);
    core.proxy.reset();
    const handle = await program.open(fresh, { access: 'read' });
    t.ok((await program.read(handle)).equals(content), `${size} bytes`);
    await core.fs.read(handle, size + 10, 1000, {});
    await program.close(handle);
    t.equal(core.proxy.counts().GetObject ?? 0, gets, `${size} bytes`);
    t.equal(core.proxy.bytes().toClient, size);
  }
});

/** A copy under a name nobody has looked at, listed, so that opening it costs nothing. */
async function useFresh(core: Core, program: Program): Promise<string> {
  const name = `fresh-${randomBytes(4).toString('hex')}`;
  await core.bucket.put(`alice/${name}`, await core.bucket.bytes('alice/read'));
  await program.stat(`/${name}`);
  return `/${name}`;
}

void t.test('a random read fetches what it asks for', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  const content = randomBytes(40 * mebibyte);
  await core.bucket.put('alice/big', content);
  await program.stat('/big');
  const handle = await program.open('/big', { access: 'read' });
  core.proxy.reset();
  for (const offset of [30 * mebibyte, 11 * mebibyte, 22 * mebibyte]) {
    const pieces = await core.fs.read(handle, offset, 4096, {});
    t.ok(Buffer.concat(pieces).equals(content.subarray(offset, offset + 4096)));
  }
  t.same(core.proxy.counts(), { GetObject: 3 });
  t.equal(core.proxy.bytes().toClient, 3 * 4096);
  await program.close(handle);
});

void t.test('writing costs one PUT up to a part, and parts + 2 above', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  for (const [size, want] of [
    [0, { PutObject: 1 }],
    [1, { PutObject: 1 }],
    [8 * mebibyte, { PutObject: 1 }],
    [8 * mebibyte + 1, { CreateMultipartUpload: 1, UploadPart: 2, CompleteMultipartUpload: 1 }],
    [50 * mebibyte, { CreateMultipartUpload: 1, UploadPart: 7, CompleteMultipartUpload: 1 }],
  ] as const) {
    const content = randomBytes(size);
    await program.exists(`/w${size}`);
    core.proxy.reset();
    const handle = await program.create(`/w${size}`, { exclusive: true });
    for (let at = 0; at < size; at += mebibyte) {
      await program.write(handle, content.subarray(at, at + mebibyte), at);
    }
    await program.close(handle);
    t.same(core.proxy.counts(), want, `${size} bytes`);
    t.ok((await core.bucket.bytes(`alice/w${size}`)).equals(content));
    t.same(await cost(core, () => program.stat(`/w${size}`)), {}, 'known afterwards');
  }
  t.same(core.endpoint.openUploads(), []);
  t.equal(core.fs.status.tempBytes, 0);
});

void t.test('names cost what the table says', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  await program.mkdir('/d');
  t.same(await cost(core, () => program.mkdir('/d/e')), { PutObject: 1 });
  t.same(await cost(core, () => program.rmdir('/d/e')), { ListObjectsV2: 1, DeleteObject: 1 });
  t.same(await cost(core, () => program.put('/d/f', 'x')), { PutObject: 1 });
  t.same(await cost(core, () => program.rename('/d/f', '/d/g')), {
    CopyObject: 1,
    DeleteObject: 1,
  });
  t.same(await cost(core, () => program.unlink('/d/g')), { DeleteObject: 1 });
  const renaming = await cost(core, () => program.rename('/d', '/z'));
  t.equal(renaming['PutObject'], 1);
  t.equal(renaming['DeleteObject'], 1);
  t.equal(renaming['ListObjectsV2'], 1 + 1, 'one LIST, and a cold lookup of the new name');
  await program.put('/z/full', 'x');
  await program.exists('/y');
  t.same(await cost(core, async () => t.rejects(program.rename('/z', '/y'), { code: 'ENOSYS' })), {
    ListObjectsV2: 1,
  });
  await core.bucket.put('alice/implicit/only', 'x');
  await program.stat('/implicit/only');
  t.same(
    await cost(core, () => program.unlink('/implicit/only')),
    { DeleteObject: 1, PutObject: 1 },
    'the emptied directory gets its marker',
  );
  for (const work of [
    () => t.rejects(core.fs.symlink('x', parsePath('/s')), { code: 'ENOSYS' }),
    () => t.rejects(core.fs.link(parsePath('/z/full')), { code: 'ENOSYS' }),
    () => t.rejects(core.fs.mknod(parsePath('/n')), { code: 'ENOSYS' }),
    () => core.fs.chmod(parsePath('/z/full'), 0, {}),
    () => core.fs.chown(parsePath('/z/full'), 0, 0, {}),
    () => core.fs.utimens(parsePath('/z/full'), 'now', 'now', {}),
    () =>
      t.rejects(core.fs.utimens(parsePath('/z/full'), 1_000_000_000n, 1n, {}), { code: 'EPERM' }),
  ]) {
    t.same(await cost(core, work), {});
  }
});

void t.test(
  'appending a mebibyte to a large object moves little more than a mebibyte',
  async (t) => {
    const core = await useCore(t);
    const program = new Program(core.fs);
    const base = randomBytes(60 * mebibyte);
    await core.bucket.put('alice/log', base, 'text/x-log');
    await program.stat('/log');
    const more = randomBytes(mebibyte);
    core.proxy.reset();
    const handle = await program.open('/log', { access: 'write', append: true });
    await program.write(handle, more);
    await program.close(handle);
    t.ok(core.proxy.bytes().fromClient < 2 * mebibyte, `${core.proxy.bytes().fromClient} bytes up`);
    t.ok(core.proxy.bytes().toClient < mebibyte, `${core.proxy.bytes().toClient} bytes down`);
    t.same(core.proxy.counts().GetObject ?? 0, 0);
    t.ok((await core.bucket.bytes('alice/log')).equals(Buffer.concat([base, more])));
    t.equal(
      (await core.bucket.head('alice/log')).ContentType,
      'text/x-log',
      'still described as before',
    );
  },
);

void t.test('a byte changed in the middle moves about two small parts', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  const content = randomBytes(60 * mebibyte);
  await core.bucket.put('alice/disk', content);
  const handle = await program.open('/disk', { access: 'write' });
  core.proxy.reset();
  await program.write(handle, 'Z', 30 * mebibyte);
  await program.close(handle);
  content[30 * mebibyte] = 'Z'.charCodeAt(0);
  t.ok((await core.bucket.bytes('alice/disk')).equals(content));
  const moved = core.proxy.bytes();
  t.ok(moved.fromClient + moved.toClient < 11 * mebibyte, JSON.stringify(moved));
});

void t.test('overwriting without O_TRUNC fetches nothing, as scp does it', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  await core.bucket.put('alice/f', randomBytes(20 * mebibyte));
  const content = randomBytes(12 * mebibyte);
  const handle = await program.open('/f', { access: 'write' });
  core.proxy.reset();
  for (let at = 0; at < content.length; at += mebibyte) {
    await program.write(handle, content.subarray(at, at + mebibyte), at);
  }
  await core.fs.truncate(parsePath('/f'), content.length, {}, handle);
  await program.close(handle);
  t.same(core.proxy.counts().GetObject ?? 0, 0);
  t.ok((await core.bucket.bytes('alice/f')).equals(content));
});
