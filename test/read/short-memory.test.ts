/** Reading where there is less memory than parts: still one GET for each, of which S3 sends what fits. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { Program, useCore } from '../support/core.js';
import type { Core, CoreOptions } from '../support/core.js';
import { ManualClock } from '../support/manual-clock.js';
import { kibibyte, mebibyte } from '../support/sizes.js';

t.setTimeout(120_000);

/** Objects with the same bytes, listed. */
async function useObjects(
  t: Parameters<typeof useCore>[0],
  options: { size: number; names: readonly string[] } & CoreOptions,
): Promise<{ core: Core; program: Program; content: Buffer }> {
  const core = await useCore(t, options);
  const content = randomBytes(options.size);
  for (const name of options.names) await core.bucket.put(`alice${name}`, content);
  const program = new Program(core.fs);
  await program.list('/');
  core.proxy.reset();
  return { core, program, content };
}

/** Waits until no more bytes come. @returns bytes that came from S3 so far */
async function bytesAtRest({ proxy }: Core): Promise<number> {
  for (let before = -1; ;) {
    const now = proxy.bytes().toClient;
    if (now === before) return now;
    before = now;
    await sleep(300);
  }
}

void t.test('readers side by side fetch each part once, whatever their share', async (t) => {
  const names = Array.from({ length: 16 }, (_, index) => `/${index}`);
  for (const memoryLimit of [64 * mebibyte, 16 * mebibyte, 2 * mebibyte]) {
    const settings = { memoryLimit, partSize: mebibyte };
    const { core, program, content } = await useObjects(t, { size: 4 * mebibyte, names, settings });
    const got = await Promise.all(names.map((name) => program.get(name)));
    t.ok(got.every((bytes) => bytes.equals(content)));
    t.same(core.proxy.counts(), { GetObject: 64 });
    t.equal(core.proxy.bytes().toClient, 64 * mebibyte, 'no byte twice');
    const { downloadMemory, downloadMemoryPeak } = core.fs.status;
    t.ok(downloadMemoryPeak <= memoryLimit / 2, `${downloadMemoryPeak} of ${memoryLimit}`);
    t.equal(downloadMemory, 0);
  }
});

void t.test(
  'a reader that stops keeps no memory from others, and reads on by its GET',
  async (t) => {
    const settings = { memoryLimit: 2 * mebibyte, partSize: 64 * mebibyte };
    const size = 48 * mebibyte;
    const { core, program, content } = await useObjects(t, { size, names: ['/f', '/g'], settings });
    const handle = await program.open('/f', { access: 'read' });
    const first = Buffer.concat(await core.fs.read(handle, 0, 128 * kibibyte, {}));
    t.ok(first.equals(content.subarray(0, 128 * kibibyte)));
    const came = await bytesAtRest(core);
    // What the sockets on the way hold comes on top.
    t.ok(came < size / 2, `${came} bytes came`);
    t.ok(core.fs.status.downloadMemory <= mebibyte);
    t.ok((await program.get('/g')).equals(content), 'another file is read meanwhile');
    const rest: Buffer[] = [first];
    for (let at = 128 * kibibyte; at < size; at += mebibyte) {
      rest.push(Buffer.concat(await core.fs.read(handle, at, mebibyte, {})));
    }
    t.ok(Buffer.concat(rest).equals(content));
    await program.close(handle);
    t.same(core.proxy.counts(), { GetObject: 2 });
    t.equal(core.fs.status.downloadMemory, 0);
  },
);

void t.test('who rests gives up what it holds for others, and all of it', async (t) => {
  // Less than a segment is left over.
  const settings = { memoryLimit: 2 * mebibyte + 200 * kibibyte, partSize: 64 * mebibyte };
  const size = 16 * mebibyte;
  const clock = new ManualClock();
  const { core, program, content } = await useObjects(t, {
    ...{ size, names: ['/f', '/g'], settings, clock },
  });
  const resting = await program.open('/f', { access: 'read' });
  const first = Buffer.concat(await core.fs.read(resting, 0, 128 * kibibyte, {}));
  await bytesAtRest(core);
  clock.pass(15_500);
  const handle = await program.open('/g', { access: 'read' });
  for (const at of [5, 12, 3, 9, 14].map((mib) => mib * mebibyte)) {
    const got = Buffer.concat(await core.fs.read(handle, at, 4 * kibibyte, {}));
    t.ok(got.equals(content.subarray(at, at + 4 * kibibyte)));
    await sleep(50);
  }
  const rest: Buffer[] = [first];
  for (let at = 128 * kibibyte; at < size; at += mebibyte) {
    rest.push(Buffer.concat(await core.fs.read(resting, at, mebibyte, {})));
  }
  t.ok(Buffer.concat(rest).equals(content));
  await program.close(handle);
  await program.close(resting);
  t.equal(core.fs.status.downloadMemory, 0);
});

void t.test('closing ends a GET that waits for memory', async (t) => {
  const settings = { memoryLimit: 2 * mebibyte, partSize: 64 * mebibyte };
  const { core, program } = await useObjects(t, { size: 48 * mebibyte, names: ['/f'], settings });
  const handle = await program.open('/f', { access: 'read' });
  await core.fs.read(handle, 0, 128 * kibibyte, {});
  const came = await bytesAtRest(core);
  await program.close(handle);
  t.equal(core.fs.status.downloadMemory, 0);
  t.ok((await bytesAtRest(core)) < came + 8 * mebibyte);
});

void t.test('a connection lost while nobody read is made up for', async (t) => {
  const settings = { memoryLimit: 2 * mebibyte, partSize: 64 * mebibyte };
  const size = 48 * mebibyte;
  const { core, program, content } = await useObjects(t, {
    ...{ size, names: ['/f'], settings },
  });
  const handle = await program.open('/f', { access: 'read' });
  const got = [Buffer.concat(await core.fs.read(handle, 0, mebibyte, {}))];
  await bytesAtRest(core);
  await core.proxy.down();
  await core.proxy.up();
  for (let at = mebibyte; at < size; at += mebibyte) {
    got.push(Buffer.concat(await core.fs.read(handle, at, mebibyte, {})));
  }
  t.ok(Buffer.concat(got).equals(content));
  await program.close(handle);
  t.same(core.proxy.counts(), { GetObject: 2 });
});
