/**
 * What the core answers in the same turn of the event loop, without a promise: it is what the other way of
 * asking would answer, and comes only where that needs nothing from S3 and no turn of its own.
 */
import t from 'tap';
import { Program, useCore } from '../support/core.js';
import { mebibyte } from '../support/sizes.js';
import { parsePath } from '../../lib/path.js';

const nobody = {};
const reading = { access: 'read' } as const;
const writing = { access: 'write', exclusive: false } as const;

void t.test('attributes: what is known, absence too', async (t) => {
  const { fs, bucket, proxy } = await useCore(t, { settings: { chroot: true } });
  const program = new Program(fs);
  await bucket.put('alice/d/file', 'four');
  const [file, absent, guarded] = ['/d/file', '/d/absent', '/etc/passwd'].map(parsePath);
  if (file === undefined || absent === undefined || guarded === undefined) return;
  t.equal(fs.getattrNow(file), undefined, 'nobody has asked yet');
  t.equal(fs.getattrNow(guarded), 'absent');
  t.match(fs.getattrNow(parsePath('/')), { kind: 'directory', uid: 0 });
  await program.list('/d');
  proxy.reset();
  const { version, mtime } = await fs.getattr(file, nobody);
  t.match(fs.getattrNow(file), { kind: 'file', size: 4, version, mtime });
  t.equal(fs.getattrNow(absent), 'absent');
  t.equal(
    fs.getattrNow(parsePath(`/d${`/${'n'.repeat(250)}`.repeat(5)}`)),
    undefined,
    'a failure is no answer',
  );
  t.same(proxy.counts(), {});
});

void t.test(
  'a file being written is shown as it grows; a file read as it was opened',
  async (t) => {
    const { fs, bucket } = await useCore(t);
    const program = new Program(fs);
    await bucket.put('alice/old', 'old');
    const path = parsePath('/old');
    await program.stat('/old');
    const reader = fs.openNow(path, reading, nobody) ?? 0;
    const handle = await program.open('/old', { access: 'write', truncate: true });
    await program.write(handle, 'longer');
    t.match(fs.getattrNow(path), { size: 6 });
    t.match(fs.getattrNow(path, handle), { size: 6 });
    t.match(fs.getattrNow(path, reader), { size: 3 });
    t.notOk(fs.flushNow(handle), 'there is something to store');
    t.notOk(fs.releaseNow(handle), 'and this is the last handle');
    const shared = fs.openNow(path, reading, nobody) ?? 0;
    t.ok(fs.flushNow(shared), 'a handle for reading stores nothing');
    t.ok(fs.releaseNow(shared));
    await program.close(handle);
    t.ok(fs.releaseNow(reader));
    t.equal(fs.status.handles, 0);
  },
);

void t.test('times that S3 has to be asked for are asked for', async (t) => {
  const { fs, bucket } = await useCore(t, { settings: { utimens: 'store' } });
  const program = new Program(fs);
  await bucket.put('alice/d/file', 'x');
  await program.list('/d');
  t.equal(fs.getattrNow(parsePath('/d/file')), undefined, 'a listing does not tell it');
  await program.stat('/d/file');
  t.match(fs.getattrNow(parsePath('/d/file')), { kind: 'file' });
});

void t.test('open: not where it could fail, or somebody is changing the name', async (t) => {
  const { fs, bucket, proxy } = await useCore(t);
  const program = new Program(fs);
  await bucket.put('alice/d/file', 'x');
  const path = parsePath('/d/file');
  t.equal(fs.openNow(path, reading, nobody), undefined);
  await program.list('/d');
  t.equal(fs.openNow(parsePath('/d'), reading, nobody), undefined, 'a directory');
  t.equal(fs.openNow(parsePath('/d/absent'), reading, nobody), undefined);
  t.equal(fs.openNow(path, writing, nobody), undefined);
  t.equal(fs.openNow(path, { access: 'read', truncate: true }, nobody), undefined);
  const making = fs.mkdir(parsePath('/d/new'), nobody);
  t.equal(fs.createNow(parsePath('/d/new'), writing, nobody), undefined, 'it is being made');
  const opening = program.open('/d/file', { access: 'write' });
  t.equal(fs.openNow(path, reading, nobody), undefined, 'it is being opened for writing');
  await making;
  await program.close(await opening);
  proxy.reset();
  const handle = fs.openNow(path, reading, nobody);
  t.type(handle, 'number');
  t.same(proxy.counts(), {});
  t.ok(fs.releaseNow(handle ?? 0));
  await fs.drain(AbortSignal.timeout(5000), () => undefined);
  t.equal(fs.openNow(path, reading, nobody), undefined, 'the mount is ending');
});

void t.test('create: where nothing is known to be there', async (t) => {
  const { fs, bucket, proxy } = await useCore(t, { settings: { chroot: true } });
  const program = new Program(fs);
  await bucket.put('alice/d/file', 'x');
  t.equal(fs.createNow(parsePath('/d/new'), writing, nobody), undefined);
  await program.list('/d');
  t.equal(fs.createNow(parsePath('/etc'), writing, nobody), undefined, 'reserved');
  t.equal(fs.createNow(parsePath('/d/file'), writing, nobody), undefined, 'it is there');
  proxy.reset();
  const handle = fs.createNow(parsePath('/d/new'), writing, nobody) ?? 0;
  t.same(proxy.counts(), {});
  await program.write(handle, 'new');
  await program.close(handle);
  t.equal((await program.get('/d/new')).toString(), 'new');
});

void t.test('create: of one file after another, what a page does not show', async (t) => {
  const { fs, bucket, proxy } = await useCore(t);
  const program = new Program(fs);
  await bucket.put('alice/d/other', 'x');
  for (const name of ['1', '2', '3', '4', '5']) {
    await program.exists(`/d/${name}`);
    await program.put(`/d/${name}`, Buffer.from(name));
  }
  proxy.reset();
  t.equal(fs.getattrNow(parsePath('/d/6')), 'absent');
  const handle = fs.createNow(parsePath('/d/6'), writing, nobody) ?? 0;
  await program.close(handle);
  t.equal(fs.getattrNow(parsePath('/e/1')), undefined, 'another directory');
  t.same(proxy.counts(), { PutObject: 1 });
});

void t.test('a listing that is known is opened, one that is not is asked for', async (t) => {
  const { fs, bucket, proxy } = await useCore(t);
  const program = new Program(fs);
  const directory = parsePath('/d');
  await bucket.put('alice/d/file', 'x');
  t.equal(fs.opendirNow(directory), undefined);
  await program.list('/d');
  const written = await program.create('/d/new');
  proxy.reset();
  const handle = fs.opendirNow(directory) ?? 0;
  const names = fs.readdirNow(handle, 0, 10)?.map(({ name }) => name);
  t.same(names?.sort(), ['file', 'new'], 'and what is being written is in it');
  fs.releasedir(handle);
  t.same(proxy.counts(), {});
  await program.close(written);
  t.equal(fs.status.handles, 0);
});

void t.test('create: a mount for reading only refuses with its errno', async (t) => {
  const { fs, bucket } = await useCore(t, { settings: { readOnly: true } });
  await bucket.put('alice/d/file', 'x');
  await new Program(fs).list('/d');
  t.equal(fs.createNow(parsePath('/d/new'), writing, nobody), undefined);
  await t.rejects(fs.create(parsePath('/d/new'), writing, nobody), { code: 'EROFS' });
});

void t.test('read: what is in memory, each byte once, and the rest is fetched ahead', async (t) => {
  const { fs, bucket, proxy } = await useCore(t, { settings: { partSize: mebibyte } });
  const program = new Program(fs);
  const content = Buffer.alloc(4 * mebibyte, 'some bytes');
  await bucket.put('alice/file', content);
  const handle = await program.open('/file', reading);
  const step = 16 * 1024;
  t.equal(fs.readNow(handle, step, step, nobody), undefined, 'nothing is there yet');
  let atOnce = 0;
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < content.length; at += step) {
    const known = fs.readNow(handle, at, step, nobody);
    if (known !== undefined) atOnce++;
    pieces.push(...(known ?? (await fs.read(handle, at, step, nobody))));
  }
  t.ok(Buffer.concat(pieces).equals(content));
  t.ok(atOnce > 0, `${atOnce} of 256 came at once`);
  t.equal(proxy.counts()['GetObject'], 4, 'one GET a part');
  t.equal(fs.readNow(handle, 3 * mebibyte, 2 * mebibyte, nobody), undefined, 'the end is checked');
  fs.check();
  t.ok(fs.releaseNow(handle));
});
