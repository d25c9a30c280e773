import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import t from 'tap';
import { Spool } from '../../lib/write/spool.js';
import { TempSpace } from '../../lib/limits/temp-space.js';
import { mebibyte } from '../support/sizes.js';

const segment = 16 * mebibyte;

void t.test('what was written at any offset is read back, with its checksum', async (t) => {
  const space = new TempSpace(t.testdir(), 1024 * mebibyte, 1000);
  const spool = new Spool(space);
  const truth = randomBytes(segment + 3 * mebibyte);
  await spool.write(0, truth);
  // Steps of odd sizes, forth and back, over block and segment borders.
  for (let step = 0; step < 400; step++) {
    const length = 1 + ((step * 7919) % 90_000);
    const offset = (step * 1_234_577) % (truth.length - length);
    const data = randomBytes(length);
    data.copy(truth, offset);
    await spool.write(offset, data);
  }
  const whole = Buffer.alloc(truth.length);
  const sum = await spool.read(whole.subarray(0, segment), 0);
  t.ok(whole.subarray(0, segment).equals(truth.subarray(0, segment)));
  t.equal(sum, crc32(truth.subarray(0, segment)));
  const odd = Buffer.alloc(100_001);
  t.equal(
    await spool.read(odd, segment - 50_000),
    crc32(truth.subarray(segment - 50_000, segment + 50_001)),
  );
  spool.dispose();
  t.equal(space.used, 0);
});

void t.test('bytes that others compare are never half of one write, half of another', async (t) => {
  const spool = new Spool(new TempSpace(t.testdir(), 64 * mebibyte, 1000));
  const part = randomBytes(4 * mebibyte);
  await spool.write(0, part);
  const isOver = new AbortController();
  /** Writes into the same segment as long as the others read. */
  const write = async (offset: number, length: number): Promise<void> => {
    while (!isOver.signal.aborted) await spool.write(offset, randomBytes(length));
  };
  const writers = [write(4 * mebibyte, mebibyte), write(8 * mebibyte, 100)];
  for (let reads = 0; reads < 50; reads++) {
    const into = Buffer.alloc(part.length);
    t.equal(await spool.read(into, 0, false), crc32(part), 'beside what is being written');
    t.ok(into.equals(part));
  }
  const block = Buffer.alloc(64 * 1024);
  writers.push(write(0, block.length));
  for (let reads = 0; reads < 50; reads++) {
    t.equal(await spool.read(block, 0, false), crc32(block), 'where it is being written');
  }
  isOver.abort();
  await Promise.all(writers);
  spool.dispose();
});

void t.test('temp files have no name and are gone with the spool', async (t) => {
  const directory = t.testdir();
  const space = new TempSpace(directory, 64 * mebibyte, 1000);
  const spool = new Spool(space);
  await spool.write(0, randomBytes(1000));
  t.same(await readdir(directory), [], 'a killed process leaves nothing behind');
  t.equal(space.used, 1000);
  spool.dispose();
  t.equal(space.used, 0);
});

void t.test('cutting forgets the rest, and growing again shows zeros', async (t) => {
  const space = new TempSpace(t.testdir(), 64 * mebibyte, 1000);
  const spool = new Spool(space);
  await spool.write(0, Buffer.alloc(200_000, 1));
  await spool.truncate(100_000);
  t.equal(space.used, 100_000);
  await spool.write(100_010, Buffer.alloc(10, 2));
  const bytes = Buffer.alloc(30);
  await spool.read(bytes, 99_990);
  t.ok(bytes.equals(Buffer.concat([Buffer.alloc(10, 1), Buffer.alloc(10), Buffer.alloc(10, 2)])));
  spool.dispose();
});

void t.test('a full space refuses with ENOSPC when nothing is on its way out', async (t) => {
  const space = new TempSpace(t.testdir(), mebibyte, 60_000);
  const spool = new Spool(space);
  await spool.write(0, Buffer.alloc(mebibyte));
  await t.rejects(spool.write(mebibyte, Buffer.alloc(1)), { code: 'ENOSPC' });
  await spool.write(10, Buffer.alloc(10));
  t.equal(space.used, mebibyte, 'rewriting needs no room');
  spool.dispose();
});

void t.test('a full space makes writers wait while something is on its way out', async (t) => {
  const space = new TempSpace(t.testdir(), 32 * mebibyte, 60_000);
  const old = new Spool(space);
  const full = Buffer.alloc(segment, 7);
  await old.write(0, full);
  await old.write(segment, full);
  let asked = 0;
  const holder = {
    expectsRelease: true,
    reclaim: () => {
      asked++;
      if (asked === 3) t.same(old.release(0, segment), [{ start: 0, end: segment }]);
    },
  };
  space.join(holder);
  const next = new Spool(space);
  const writing = next.write(0, Buffer.alloc(mebibyte));
  const nudging = setInterval(() => space.nudge(), 1);
  await writing;
  clearInterval(nudging);
  t.ok(asked >= 3);
  t.equal(space.used, segment + mebibyte);
  t.ok(space.peak <= 32 * mebibyte);
  old.dispose();
  next.dispose();
});

void t.test('a nearly full disk is a full space, whatever the limit says', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 's3jail-spool-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=96m', 'tmpfs', directory]);
  t.teardown(() => {
    execFileSync('umount', ['--lazy', directory]);
    rmdirSync(directory);
  });
  const space = new TempSpace(directory, 1024 * mebibyte, 1000);
  const spool = new Spool(space);
  const writing = async (): Promise<void> => {
    for (let at = 0; at < 96 * mebibyte; at += mebibyte)
      await spool.write(at, Buffer.alloc(mebibyte));
  };
  await t.rejects(writing(), { code: 'ENOSPC', message: /bytes free on its file system/ });
  t.ok(
    space.used >= 16 * mebibyte && space.used <= 33 * mebibyte,
    `${space.used} bytes were taken`,
  );
  spool.dispose();
  t.equal(space.used, 0);
});
