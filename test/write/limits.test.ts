/** What the write path does at its limits: little temporary disk, little memory. */
import { randomBytes } from 'node:crypto';
import t, { type Test } from 'tap';
import { silentLog, type LogFields } from '../../lib/log.js';
import type { HandleId } from '../../lib/operations.js';
import { parsePath } from '../../lib/path.js';
import { Program, useCore, type Core } from '../support/core.js';
import { mostAtOnce } from '../support/fault-proxy.js';
import { mebibyte } from '../support/sizes.js';

const partSize = 8 * mebibyte;
const tempLimit = 64 * mebibyte;
const content = randomBytes(2 * tempLimit);

async function writeAll(program: Program, handle: HandleId, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; at += mebibyte) {
    await program.write(handle, bytes.subarray(at, at + mebibyte), at);
  }
}

/** A file of twice what the temp directory may hold, all of it written and still open. */
async function useLargeFile(t: Test): Promise<{
  core: Core;
  program: Program;
  handle: HandleId;
  warnings: LogFields[];
}> {
  const warnings: LogFields[] = [];
  const log = { ...silentLog, warn: (fields: LogFields) => void warnings.push(fields) };
  const core = await useCore(t, { settings: { partSize, tempLimit, timeoutMs: 60_000 }, log });
  const program = new Program(core.fs);
  await core.bucket.put('alice/f', 'old');
  const handle = await program.open('/f', { access: 'write', truncate: true });
  await writeAll(program, handle, content);
  t.ok(core.fs.status.tempPeak <= tempLimit, 'no more disk than allowed');
  return { core, program, handle, warnings };
}

void t.test('files that together are larger than the temp directory take turns', async (t) => {
  const settings = { partSize, tempLimit, timeoutMs: 60_000 };
  const core = await useCore(t, { settings, log: silentLog });
  const program = new Program(core.fs);
  const bytes = randomBytes(2 * partSize);
  const names = Array.from({ length: 8 }, (_none, index) => `/f${index}`);
  await Promise.all(
    names.map(async (name) => {
      const handle = await program.create(name, { access: 'write' });
      await writeAll(program, handle, bytes);
      await program.close(handle);
    }),
  );
  t.ok(core.fs.status.tempPeak <= tempLimit, 'no more disk than allowed');
  for (const name of names) t.ok((await core.bucket.bytes(`alice${name}`)).equals(bytes), name);
});

void t.test('a large file whose beginning is filled in at the end arrives', async (t) => {
  const { core, program, handle } = await useLargeFile(t);
  await program.write(handle, 'HEADER', 4);
  await program.close(handle);
  const want = Buffer.from(content);
  want.write('HEADER', 4);
  t.ok((await core.bucket.bytes('alice/f')).equals(want));
});

void t.test('a part that has left and is written anew as a whole arrives', async (t) => {
  const { core, program, handle } = await useLargeFile(t);
  const anew = randomBytes(16 * mebibyte);
  for (let at = 0; at < anew.length; at += mebibyte) {
    await program.write(handle, anew.subarray(at, at + mebibyte), 2 * partSize + at);
  }
  await program.close(handle);
  const want = Buffer.from(content);
  anew.copy(want, 2 * partSize);
  t.ok((await core.bucket.bytes('alice/f')).equals(want));
});

void t.test('a byte in the middle of a part that has left cannot be written', async (t) => {
  const { core, program, handle, warnings } = await useLargeFile(t);
  await program.write(handle, 'x', 2 * partSize + 5);
  await t.rejects(program.close(handle), {
    code: 'ENOSPC',
    message: /bytes \d+ to \d+ of \/f have left the temp directory.*raise --temp-limit/,
  });
  t.match(
    warnings.filter(({ operation }) => operation === 'flush'),
    [{ path: '/f', errno: 'ENOSPC', cause: /have left the temp directory/ }],
    'the log says so, once',
  );
  t.equal((await core.bucket.bytes('alice/f')).toString(), 'old');
  t.same(core.endpoint.openUploads(), []);
  t.equal(core.fs.status.tempBytes, 0);
});

void t.test('bodies on their way fit the memory, however many files are closed', async (t) => {
  const size = 256 * 1024;
  const settings = { partSize: size, memoryLimit: 8 * size };
  const core = await useCore(t, { minPart: size / 4, settings, requestTimeoutMs: 60_000 });
  const program = new Program(core.fs);
  const body = randomBytes(size);
  const names = Array.from({ length: 24 }, (_, index) => `/small${index}`);
  for (const name of names) await program.exists(name);
  core.proxy.inject({ action: 'PutObject', count: 99, fault: { kind: 'latency', ms: 50 } });
  const puts = Promise.all(names.map((name) => program.put(name, body)));
  const most = await mostAtOnce(core.proxy, 'PutObject', puts);
  t.ok(most > 1 && most <= 4, `${most} bodies of a quarter of the memory for uploads`);
  for (const name of names) {
    t.ok((await core.bucket.bytes(`alice${name}`)).equals(body));
  }
});

void t.test('a file written back to front goes through little memory', async (t) => {
  const size = 256 * 1024;
  const settings = { partSize: size, memoryLimit: 2 * size };
  const core = await useCore(t, { minPart: size / 4, settings });
  const program = new Program(core.fs);
  const body = randomBytes(9 * size + 77);
  const handle = await program.create('/backwards');
  for (let at = body.length; at > 0; at -= size) {
    const start = Math.max(0, at - size);
    await program.write(handle, body.subarray(start, at), start);
  }
  core.proxy.inject({ action: 'UploadPart', count: 99, fault: { kind: 'latency', ms: 20 } });
  const most = await mostAtOnce(core.proxy, 'UploadPart', program.close(handle));
  t.ok(most <= 1, `${most} parts at once where one fits`);
  t.ok((await core.bucket.bytes('alice/backwards')).equals(body));
  t.same(core.endpoint.openUploads(), []);
});

void t.test('a time set after the first part has left is stored with the file', async (t) => {
  const minPart = 64 * 1024;
  const settings = { partSize: minPart, utimens: 'store' } as const;
  const core = await useCore(t, { minPart, settings });
  const program = new Program(core.fs);
  const body = randomBytes(5 * minPart);
  const handle = await program.create('/timed.txt');
  await program.write(handle, body);
  const time = 1_700_000_000_123_456_789n;
  await core.fs.utimens(parsePath('/timed.txt'), time, time, {});
  await program.close(handle);
  t.ok((await core.bucket.bytes('alice/timed.txt')).equals(body));
  const head = await core.bucket.head('alice/timed.txt');
  t.match(head, { ContentType: 'text/plain', Metadata: { mtime: '1700000000.123456789' } });
  t.equal((await program.stat('/timed.txt')).mtime, time);
});
