/**
 * What a commit promises: nothing is seen before it, it replaces nobody else's object, damaged bytes
 * do not get through it, and a failure is told by every later call and leaves nothing behind.
 */
import { randomBytes } from 'node:crypto';
import { open, readdir, readlink } from 'node:fs/promises';
import t, { type Test } from 'tap';
import { systemErrorCode } from '../../lib/errors.js';
import { parsePath } from '../../lib/path.js';
import { Program, useCore, type Core } from '../support/core.js';
import { kibibyte } from '../support/sizes.js';
import { until } from '../support/until.js';

const minPart = 64 * kibibyte;
const partSize = 100 * kibibyte;
const large = randomBytes(530 * kibibyte);

async function useProgram(t: Test): Promise<{ core: Core; program: Program }> {
  const core = await useCore(t, { minPart, settings: { partSize } });
  return { core, program: new Program(core.fs) };
}

/** Waits until so many parts have left. */
async function sent(core: Core, bytes: number): Promise<void> {
  await until(() => (core.fs.status.uploads[0]?.sent ?? 0) >= bytes);
}

function isClean(t: Test, core: Core): void {
  t.same(core.endpoint.openUploads(), [], 'no multipart upload is left');
  t.equal(core.fs.status.tempBytes, 0, 'no temp bytes are left');
  t.equal(core.fs.status.uploadMemory, 0, 'no memory is held');
}

void t.test('parts leave while the file is written, and nobody sees it before close', async (t) => {
  const { core, program } = await useProgram(t);
  const handle = await program.create('/f');
  await program.write(handle, large);
  await sent(core, 5 * partSize);
  t.same(await core.bucket.keys('alice/'), []);
  t.equal((await program.stat('/f')).size, large.length, 'this mount shows how far it is');
  core.proxy.reset();
  await program.close(handle);
  t.same(
    core.proxy.counts(),
    { UploadPart: 1, CompleteMultipartUpload: 1 },
    'close sends the rest',
  );
  t.ok((await core.bucket.bytes('alice/f')).equals(large));
});

void t.test('what somebody else stored meanwhile stays, and close says so', async (t) => {
  for (const [name, size, data, offset] of [
    ['a small file', 100, Buffer.from('x'), 10],
    ['a change in the middle', 400 * kibibyte, Buffer.from('x'), 200 * kibibyte],
    ['an appended stream', 400 * kibibyte, large, 400 * kibibyte],
  ] as const) {
    const { core, program } = await useProgram(t);
    await core.bucket.put('alice/f', randomBytes(size));
    const handle = await program.open('/f', { access: 'write' });
    await program.write(handle, data, offset);
    await core.bucket.put('alice/f', 'theirs');
    await t.rejects(program.close(handle), { code: 'ESTALE' });
    t.equal((await core.bucket.bytes('alice/f')).toString(), 'theirs', name);
    isClean(t, core);
  }
});

void t.test('of two who create a file exclusively the later one hears of it', async (t) => {
  for (const content of [Buffer.from('mine'), large]) {
    const { core, program } = await useProgram(t);
    const handle = await program.create('/lock', { exclusive: true });
    await program.write(handle, content);
    await core.bucket.put('alice/lock', 'theirs');
    await t.rejects(program.close(handle), { code: 'EEXIST' });
    t.equal((await core.bucket.bytes('alice/lock')).toString(), 'theirs');
    isClean(t, core);
  }
});

void t.test('a failure is told by every later call, though S3 has recovered', async (t) => {
  const { core, program } = await useProgram(t);
  await core.bucket.put('alice/f', 'old');
  const handle = await program.open('/f', { access: 'write', truncate: true });
  const fault = { kind: 'status', status: 403, code: 'AccessDenied' } as const;
  const injection = core.proxy.inject({ action: 'UploadPart', count: 1000, fault });
  await program.write(handle, large);
  await until(() => core.fs.status.uploads.length === 0);
  t.ok(injection.fired > 0);
  core.proxy.clear();
  const denied = { code: 'EACCES' };
  await t.rejects(program.write(handle, 'more', large.length), denied);
  await t.rejects(core.fs.fsync(handle), denied);
  await t.rejects(core.fs.flush(handle, {}), denied);
  isClean(t, core);
  t.equal((await program.stat('/f')).size, 3, 'the old object shows');
  await t.rejects(program.close(handle), denied);
  await program.put('/f', 'new');
  t.equal((await core.bucket.bytes('alice/f')).toString(), 'new', 'the name can be used again');
});

/** Flips a bit in the middle of the only temp file; it has no name, only this process has it open. */
async function flipTempBit(directory: string): Promise<void> {
  for (const number of await readdir('/proc/self/fd')) {
    const path = `/proc/self/fd/${number}`;
    const target = await readlink(path).catch((error: unknown) => {
      if (systemErrorCode(error) === 'ENOENT') return ''; // the one that readdir had open
      throw error;
    });
    if (!target.startsWith(`${directory}/`)) continue;
    const file = await open(path, 'r+');
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, 1000);
    byte[0] = (byte[0] ?? 0) ^ 1;
    await file.write(byte, 0, 1, 1000);
    await file.close();
    return;
  }
  throw new Error('there is no temp file');
}

void t.test('a bit that flips in a temp file fails the close', async (t) => {
  const small = large.subarray(0, 5000);
  // Once an answer has shown that S3 compares checksums, the comparison is left to it.
  for (const { content, isCompared } of [
    { content: small, isCompared: false },
    { content: large.subarray(0, partSize), isCompared: false },
    { content: small, isCompared: true },
    { content: large.subarray(0, partSize), isCompared: true },
  ]) {
    const { core, program } = await useProgram(t);
    if (isCompared) {
      await program.put('/before', 'x');
      await program.unlink('/before');
    }
    t.equal(core.store.comparesCrc32, isCompared);
    const handle = await program.create('/f');
    await program.write(handle, content);
    // What is no appending is not gathered in memory.
    await program.write(handle, content.subarray(0, 1), 0);
    await flipTempBit(core.tempDir);
    await t.rejects(program.close(handle), {
      code: 'EIO',
      message: /differ from what was written/,
    });
    t.same(await core.bucket.keys('alice/'), []);
    isClean(t, core);
  }
});

void t.test('a file that is removed while its parts leave is never published', async (t) => {
  const { core, program } = await useProgram(t);
  const handle = await program.create('/f', { access: 'readwrite' });
  await program.write(handle, large);
  await sent(core, 2 * partSize);
  await program.unlink('/f');
  t.same(core.endpoint.openUploads(), [], 'what had left is taken back');
  t.ok((await program.read(handle)).equals(large), 'who has it open can read it');
  await program.write(handle, 'more', large.length);
  await program.close(handle);
  t.same(await core.bucket.keys('alice/'), []);
  isClean(t, core);
});

void t.test('a file renamed while its parts leave arrives under the new name only', async (t) => {
  const { core, program } = await useProgram(t);
  await core.bucket.put('alice/new', 'before');
  const handle = await program.create('/f.filepart');
  await program.write(handle, large);
  await sent(core, 2 * partSize);
  await program.rename('/f.filepart', '/new');
  t.equal((await core.bucket.bytes('alice/new')).toString(), 'before', 'until it is closed');
  await program.close(handle);
  t.same(await core.bucket.keys('alice/'), ['alice/new']);
  t.ok((await core.bucket.bytes('alice/new')).equals(large));
  isClean(t, core);
});

void t.test('handles on one file share what is written', async (t) => {
  const { core, program } = await useProgram(t);
  const first = await program.create('/f');
  await program.write(first, large);
  const second = await program.open('/f', { access: 'readwrite' });
  await program.write(second, 'AB', 7);
  await program.truncate('/f', 300 * kibibyte);
  const want = Buffer.from(large.subarray(0, 300 * kibibyte));
  want.write('AB', 7);
  t.ok((await program.read(second)).equals(want));
  await program.close(first);
  t.ok((await core.bucket.bytes('alice/f')).equals(want), 'the first close stores it');
  core.proxy.reset();
  await program.close(second);
  t.same(core.proxy.counts(), {}, 'and the second has nothing to do');
  isClean(t, core);
});

void t.test('who is told to stop does not wait for the zeros of a huge hole', async (t) => {
  // The ways differ with what fits the memory and the number of parts.
  for (const [size, memoryLimit] of [
    [20 * 1024 * kibibyte, 64 * 1024 * kibibyte],
    [600 * kibibyte, 4 * partSize],
    [100 * 1024 * 1024 * kibibyte, 64 * 1024 * kibibyte],
  ] as const) {
    const core = await useCore(t, { minPart, settings: { partSize, memoryLimit } });
    const program = new Program(core.fs);
    await core.bucket.put('alice/f', 'old');
    const stop = new AbortController();
    const gate = core.proxy.gate({ action: 'UploadPart', at: 'request' });
    const handle = await program.open('/f', { access: 'write', truncate: true });
    await core.fs.truncate(parsePath('/f'), size, {}, handle);
    const closing = program.close(handle, { signal: stop.signal });
    await gate.arrived;
    stop.abort();
    gate.open();
    await t.rejects(closing, { code: 'EINTR' });
    t.equal(await core.bucket.text('alice/f'), 'old');
    isClean(t, core);
    await program.unlink('/f');
    t.same(await core.bucket.keys('alice/'), []);
  }
});

void t.test('who removes or cuts a huge hole does not wait for its zeros', async (t) => {
  const wanted = { unlink: undefined, truncate: 'ne', open: '' } as const;
  for (const how of ['unlink', 'truncate', 'open'] as const) {
    const { core, program } = await useProgram(t);
    const gate = core.proxy.gate({ action: 'UploadPart', at: 'request' });
    const handle = await program.create('/f');
    await program.write(handle, 'new');
    await core.fs.truncate(parsePath('/f'), 100 * 1024 * 1024 * kibibyte, {}, handle);
    const closing = program.close(handle);
    await gate.arrived;
    const change = {
      unlink: () => program.unlink('/f'),
      truncate: () => program.truncate('/f', 2),
      open: async () => {
        await program.close(await program.open('/f', { access: 'write', truncate: true }));
      },
    }[how]();
    gate.open();
    await change;
    await closing;
    const want = wanted[how];
    t.same(await core.bucket.keys('alice/'), want === undefined ? [] : ['alice/f'], how);
    if (want !== undefined) t.equal(await core.bucket.text('alice/f'), want);
    isClean(t, core);
  }
});

void t.test('a commit that made way for a removal that fails is made all the same', async (t) => {
  const settings = { partSize, memoryLimit: 4 * partSize };
  const core = await useCore(t, { minPart, settings });
  const program = new Program(core.fs);
  await core.bucket.put('alice/f', 'old');
  const gate = core.proxy.gate({ action: 'UploadPart', at: 'request' });
  const handle = await program.open('/f', { access: 'write', truncate: true });
  await core.fs.truncate(parsePath('/f'), 600 * kibibyte, {}, handle);
  const closing = program.close(handle);
  await gate.arrived;
  core.proxy.inject({
    action: 'DeleteObject',
    fault: { kind: 'status', status: 403, code: 'AccessDenied' },
  });
  const removing = t.rejects(program.unlink('/f'), { code: 'EACCES' });
  gate.open();
  await removing;
  await closing;
  t.ok((await core.bucket.bytes('alice/f')).equals(Buffer.alloc(600 * kibibyte)));
  isClean(t, core);
});

void t.test('what is small or kept is stored whatever its caller is told', async (t) => {
  for (const interrupted of ['discard', 'keep'] as const) {
    const core = await useCore(t, { minPart, settings: { partSize, interrupted } });
    const program = new Program(core.fs);
    const stop = new AbortController();
    const action = interrupted === 'keep' ? 'UploadPart' : 'PutObject';
    const content = interrupted === 'keep' ? large : Buffer.from('small');
    const handle = await program.create('/f');
    const gate = core.proxy.gate({ action, at: 'request' });
    await program.write(handle, content);
    const closing = program.close(handle, { signal: stop.signal });
    await gate.arrived;
    stop.abort();
    gate.open();
    await closing;
    t.ok((await core.bucket.bytes('alice/f')).equals(content));
    isClean(t, core);
  }
});
