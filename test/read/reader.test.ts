/** Reading: what is fetched, how often, and that no wrong byte is taken for a right one. */
import { randomBytes } from 'node:crypto';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import fc from 'fast-check';
import t from 'tap';
import { useClient } from '../support/embedded.js';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';
import { kibibyte, mebibyte } from '../support/sizes.js';

/** A core with small parts, and one object whose bytes are known; its name is, unless `isCold`. */
async function useObject(
  t: Parameters<typeof useCore>[0],
  options: { size: number; partSize?: number; isCold?: boolean } & Parameters<typeof useCore>[1],
): Promise<{ core: Core; program: Program; content: Buffer }> {
  const { size, partSize = 256 * kibibyte, isCold = false, settings, ...rest } = options;
  const core = await useCore(t, { ...rest, settings: { partSize, ...settings } });
  const content = randomBytes(size);
  await core.bucket.put('alice/f', content);
  const program = new Program(core.fs);
  if (!isCold) await program.list('/');
  core.proxy.reset();
  return { core, program, content };
}

void t.test('two handles on one object share what is fetched', async (t) => {
  const { core, program, content } = await useObject(t, { size: 3 * mebibyte });
  const both = await Promise.all([program.get('/f'), program.get('/f')]);
  for (const got of both) t.ok(got.equals(content));
  t.equal(core.proxy.counts().GetObject, 12);
  t.equal(core.proxy.bytes().toClient, content.length, 'each byte once');
  t.equal(core.fs.status.downloadMemory, 0, 'nothing is kept after the last close');
});

void t.test('a small step back is answered from memory', async (t) => {
  const { core, program, content } = await useObject(t, { size: 2 * mebibyte });
  const handle = await program.open('/f', { access: 'read' });
  for (const offset of [0, 128, 64, 256, 384, 192, 512, 320, 640].map((kib) => kib * kibibyte)) {
    const got = Buffer.concat(await core.fs.read(handle, offset, 64 * kibibyte, {}));
    t.ok(got.equals(content.subarray(offset, offset + 64 * kibibyte)));
  }
  t.ok((await program.read(handle, 640 * kibibyte)).equals(content.subarray(640 * kibibyte)));
  t.equal(core.proxy.bytes().toClient, content.length);
  await program.close(handle);
});

/** Reads a file from start to end. @returns the memory that its bytes were in */
async function readThrough(
  t: Parameters<typeof useCore>[0],
  { core, program, content }: Awaited<ReturnType<typeof useObject>>,
  use: { readonly whenRead: (giveBack: () => void) => void; readonly keeps: boolean },
): Promise<Set<ArrayBufferLike>> {
  const handle = await program.open('/f', { access: 'read' });
  const memory = new Set<ArrayBufferLike>();
  const kept: { readonly at: number; readonly pieces: readonly Uint8Array[] }[] = [];
  const isRight = ({ at, pieces }: (typeof kept)[number]): boolean =>
    Buffer.concat(pieces).equals(content.subarray(at, at + 256 * kibibyte));
  for (let at = 0; at < content.length; at += 256 * kibibyte) {
    const lend = { lend: use.whenRead };
    const read = { at, pieces: await core.fs.read(handle, at, 256 * kibibyte, lend) };
    if (use.keeps) kept.push(read);
    else t.ok(isRight(read));
    for (const piece of read.pieces) memory.add(piece.buffer);
  }
  await program.close(handle);
  t.ok(kept.every(isRight), 'what was lent is as it was');
  return memory;
}

void t.test('memory of bytes that were given back is used again, and no other', async (t) => {
  const used = await useObject(t, { size: 32 * mebibyte, partSize: mebibyte });
  const held: (() => void)[] = [];
  const lent = { whenRead: (giveBack: () => void) => held.push(giveBack), keeps: true };
  t.equal((await readThrough(t, used, lent)).size, 128, 'as long as a driver looks at it');
  for (const giveBack of held) giveBack();
  let last = (): void => undefined;
  const returned = {
    whenRead: (giveBack: () => void) => {
      last();
      last = giveBack;
    },
    keeps: false,
  };
  const { size } = await readThrough(t, used, returned);
  t.ok(size < 96, `all but the first few: ${size}`);
  // A driver that does not say when it is done keeps what it got.
  const handle = await used.program.open('/f', { access: 'read' });
  const first = await used.core.fs.read(handle, 0, 256 * kibibyte, {});
  await used.program.close(handle);
  await used.program.get('/f');
  t.ok(Buffer.concat(first).equals(used.content.subarray(0, 256 * kibibyte)));
});

void t.test('a window left behind by a jump is given up at once', async (t) => {
  const { core, program, content } = await useObject(t, {
    size: 40 * mebibyte,
    partSize: mebibyte,
  });
  const handle = await program.open('/f', { access: 'read' });
  const got: Buffer[] = [];
  for (let at = 0; at < 4 * mebibyte; at += 128 * kibibyte) {
    got.push(Buffer.concat(await core.fs.read(handle, at, 128 * kibibyte, {})));
  }
  t.ok(Buffer.concat(got).equals(content.subarray(0, 4 * mebibyte)));
  // From here on no body comes to its end by itself.
  core.proxy.inject({ action: 'GetObject', count: 1000, fault: { kind: 'no-answer' } });
  await core.fs.read(handle, 4 * mebibyte, 128 * kibibyte, {});
  core.proxy.clear();
  t.ok(core.fs.status.downloadMemory > 2 * mebibyte, 'a window was ahead');
  const far = Buffer.concat(await core.fs.read(handle, 30 * mebibyte, 4096, {}));
  t.ok(far.equals(content.subarray(30 * mebibyte, 30 * mebibyte + 4096)));
  t.equal(core.fs.status.downloadMemory, 4096);
  await program.close(handle);
  t.equal(core.fs.status.downloadMemory, 0);
});

void t.test('closing gives up what is under way', async (t) => {
  const { core, program } = await useObject(t, { size: 8 * mebibyte, partSize: mebibyte });
  core.proxy.inject({
    action: 'GetObject',
    count: 1000,
    fault: { kind: 'stall', afterBytes: 200 * kibibyte },
  });
  const handle = await program.open('/f', { access: 'read' });
  await core.fs.read(handle, 0, 128 * kibibyte, {});
  await program.close(handle);
  t.equal(core.fs.status.downloadMemory, 0);
  t.ok(core.proxy.bytes().toClient < mebibyte);
});

void t.test(
  'a flipped bit in a ranged GET fails the last read, and a new open is right',
  async (t) => {
    const { core, program, content } = await useObject(t, { size: 3 * mebibyte, isCold: true });
    const fault = { kind: 'flip-response', at: 100 } as const;
    core.proxy.inject({ action: 'GetObject', ordinal: 5, fault });
    const handle = await program.open('/f', { access: 'read' });
    const last = content.length - 128 * kibibyte;
    for (let at = 0; at < last; at += 128 * kibibyte)
      await core.fs.read(handle, at, 128 * kibibyte, {});
    await t.rejects(core.fs.read(handle, last, 128 * kibibyte, {}), { code: 'EIO' });
    t.ok((await program.get('/f')).equals(content), 'another handle does not get the wrong bytes');
    await t.rejects(core.fs.read(handle, last, 128 * kibibyte, {}), { code: 'EIO' });
    await program.close(handle);
  },
);

void t.test('a whole file costs nothing more for being compared with its checksum', async (t) => {
  const { core, program, content } = await useObject(t, { size: mebibyte });
  t.ok((await program.get('/f')).equals(content));
  t.same(core.proxy.counts(), { GetObject: 4 });
  await core.bucket.put('alice/d/small', content.subarray(0, 256 * kibibyte));
  await program.list('/d');
  core.proxy.reset();
  await program.get('/d/small');
  t.same(core.proxy.counts(), { GetObject: 1 });
});

void t.test('what this mount wrote is compared with what it sent, whatever S3 tells', async (t) => {
  const core = await useCore(t, { minPart: 64 * kibibyte, settings: { partSize: 256 * kibibyte } });
  const program = new Program(core.fs);
  const content = randomBytes(mebibyte);
  await program.put('/f', content);
  core.proxy.reset();
  t.ok((await program.get('/f')).equals(content));
  t.same(core.proxy.counts(), { GetObject: 4 });
  core.proxy.inject({ action: 'GetObject', ordinal: 3, fault: { kind: 'flip-response', at: 7 } });
  await t.rejects(program.get('/f'), { code: 'EIO' });
  t.ok((await program.get('/f')).equals(content));
});

void t.test('an object without a checksum is read', async (t) => {
  const core = await useCore(t, { settings: { partSize: 256 * kibibyte } });
  const content = randomBytes(mebibyte);
  const plain = useClient(t, core.endpoint.url, { requestChecksumCalculation: 'WHEN_REQUIRED' });
  await plain.send(
    new PutObjectCommand({ Bucket: core.bucket.name, Key: 'alice/f', Body: content }),
  );
  const program = new Program(core.fs);
  await program.list('/');
  core.proxy.reset();
  t.ok((await program.get('/f')).equals(content));
  t.same(core.proxy.counts(), { GetObject: 4 });
});

void t.test('a part that lags far behind its siblings gets a second request', async (t) => {
  const { core, program, content } = await useObject(t, {
    size: 4 * mebibyte,
    requestTimeoutMs: 120_000,
  });
  const fault = { kind: 'stall', afterBytes: 100 * kibibyte } as const;
  core.proxy.inject({ action: 'GetObject', ordinal: 10, fault });
  t.ok((await program.get('/f')).equals(content), 'without waiting for the timeout');
  t.equal(core.proxy.counts().GetObject, 17);
  // The store holds the last piece of a body back.
  const most = content.length + 64 * kibibyte;
  t.ok(core.proxy.bytes().toClient <= most, 'the second asks for what is missing');
});

void t.test('a file replaced while it is read is ESTALE, never a mixture', async (t) => {
  const { core, program, content } = await useObject(t, { size: 8 * mebibyte });
  const handle = await program.open('/f', { access: 'read' });
  await core.fs.read(handle, 0, 128 * kibibyte, {});
  await core.bucket.put('alice/f', randomBytes(8 * mebibyte));
  await t.rejects(core.fs.read(handle, 7 * mebibyte, 128 * kibibyte, {}), { code: 'ESTALE' });
  await program.close(handle);
  t.notOk((await core.bucket.bytes('alice/f')).equals(content));
});

void t.test('an archived object is refused at open, by one HEAD', async (t) => {
  const core = await useCore(t);
  await core.client.send(
    new PutObjectCommand({
      Bucket: core.bucket.name,
      Key: 'alice/cold',
      Body: Buffer.from('x'),
      StorageClass: 'GLACIER',
    }),
  );
  const program = new Program(core.fs);
  await program.list('/');
  core.proxy.reset();
  await t.rejects(program.open('/cold', { access: 'read' }), { code: 'EIO' });
  t.same(core.proxy.counts(), { HeadObject: 1 });
});

void t.test('64 readers of large files at once stay under the limit', async (t) => {
  const memoryLimit = 16 * mebibyte;
  const { core, program, content } = await useObject(t, {
    size: mebibyte,
    partSize: 512 * kibibyte,
    settings: { memoryLimit },
  });
  const names = Array.from({ length: 64 }, (_, index) => `/d/${index}`);
  for (const name of names) await core.bucket.put(`alice${name}`, content);
  await program.list('/d');
  core.proxy.reset();
  await t.resolves(
    Promise.all(
      names.map(async (name) => {
        const got = await program.get(name);
        if (!got.equals(content)) throw new Error(`${name} is wrong`);
      }),
    ),
  );
  t.ok(
    core.fs.status.downloadMemoryPeak <= memoryLimit / 2,
    `${core.fs.status.downloadMemoryPeak}`,
  );
  t.equal(core.fs.status.downloadMemory, 0);
  const total = core.proxy.bytes().toClient;
  t.ok(total < 64 * content.length * 1.1, `hardly a byte twice: ${total / content.length}`);
});

for (const memoryLimit of [2 * mebibyte, 300 * kibibyte]) {
  void t.test(`random reads get the true bytes with ${memoryLimit / kibibyte} kibibyte`, (t) =>
    readAtRandom(t, memoryLimit),
  );
}

async function readAtRandom(t: Parameters<typeof useCore>[0], memoryLimit: number): Promise<void> {
  const size = 700 * kibibyte + 13;
  const { core, program, content } = await useObject(t, {
    size,
    partSize: 100 * kibibyte,
    settings: { memoryLimit },
  });
  const read = fc.record({
    handle: fc.nat(2),
    offset: fc.oneof(fc.nat(size + 10), fc.constant(-1)),
    length: fc.integer({ min: 1, max: 200 * kibibyte }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(read, { maxLength: 30 }), async (reads) => {
      const handles = await Promise.all(
        [0, 1, 2].map(async () => await program.open('/f', { access: 'read' })),
      );
      const ends = [0, 0, 0];
      await Promise.all(
        reads.map(async ({ handle, offset, length }) => {
          // -1: on from where the handle is
          const start = offset < 0 ? (ends[handle] ?? 0) : offset;
          ends[handle] = start + length;
          const got = await core.fs.read(handles[handle] ?? 0, start, length, {});
          if (!Buffer.concat(got).equals(content.subarray(start, start + length))) {
            throw new Error(`wrong bytes at ${start}, ${length}`);
          }
        }),
      );
      for (const handle of handles) await program.close(handle);
      return core.fs.status.downloadMemory === 0;
    }),
    { numRuns: 40 },
  );
}
