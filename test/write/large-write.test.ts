/**
 * A file far larger than the temp directory may hold, written front to back: it arrives whole, and
 * neither disk nor memory of the mount grow with it. S3JAIL_LARGE_MIB and S3JAIL_LARGE_LIMIT_MIB say
 * how large; scripts/soak-large says 20 GiB through 512 MiB.
 */
import { createHash, randomBytes } from 'node:crypto';
import { open, readdir, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { systemErrorCode } from '../../lib/errors.js';
import { mountForTest, type Mounted } from '../support/mounted.js';
import { peakMemory } from '../support/peak-memory.js';
import { makePlace } from '../support/place.js';
import { useServer, type TestServer } from '../support/servers.js';
import { mebibyte } from '../support/sizes.js';

const size = Number(process.env['S3JAIL_LARGE_MIB'] ?? 384) * mebibyte;
const tempLimit = Number(process.env['S3JAIL_LARGE_LIMIT_MIB'] ?? 128) * mebibyte;
const memoryLimit = 64 * mebibyte;
/** Node.js itself, the SDK, buffers of requests and what V8 has not collected yet. */
const memoryFloor = 256 * mebibyte;

/** Looks at the disk space of the mount's temporary files; they have no names, only descriptors. */
class TempWatch {
  peak = 0;
  #isOver = false;
  readonly #done: Promise<void>;

  constructor(mounted: Mounted) {
    this.#done = this.#watch(mounted);
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#done;
  }

  async #watch({ child, tempDirectory }: Mounted): Promise<void> {
    while (!this.#isOver) {
      const directory = `/proc/${child.pid}/fd`;
      const sizes = await Promise.all(
        (await readdir(directory)).map((name) => blocksOf(join(directory, name), tempDirectory)),
      );
      const used = sizes.reduce((sum, bytes) => sum + bytes, 0);
      this.peak = Math.max(this.peak, used);
      await sleep(100);
    }
  }
}

async function blocksOf(descriptor: string, tempDirectory: string): Promise<number> {
  try {
    const path = await readlink(descriptor);
    if (!path.startsWith(`${tempDirectory}/`) || !path.includes('/staged-')) return 0;
    const { blocks } = await stat(descriptor);
    return blocks * 512;
  } catch (error) {
    // Closed since the directory was read.
    if (systemErrorCode(error) === 'ENOENT') return 0;
    throw error;
  }
}

/** Writes `size` bytes that never repeat. @returns their SHA-256 */
async function writeLarge(path: string, size: number): Promise<string> {
  const hash = createHash('sha256');
  const block = randomBytes(mebibyte);
  const file = await open(path, 'w');
  for (let at = 0; at < size; at += block.length) {
    block.writeBigUInt64LE(BigInt(at));
    hash.update(block);
    await file.write(block);
  }
  await file.close();
  return hash.digest('hex');
}

async function hashOfStored({ bucket }: TestServer, key: string): Promise<string> {
  const hash = createHash('sha256');
  const found = await bucket.client.send(new GetObjectCommand({ Bucket: bucket.name, Key: key }));
  for await (const chunk of found.Body as AsyncIterable<Uint8Array>) hash.update(chunk);
  return hash.digest('hex');
}

interface Write {
  /** bytes */
  readonly size: number;
  readonly tempLimit: number;
  readonly options: readonly string[];
  /** memory that the process may have */
  readonly memory: number;
}

async function arrives(t: Test, { size, tempLimit, options, memory }: Write): Promise<void> {
  t.setTimeout(120_000 + (size / mebibyte) * 500);
  const server = await useServer(t, 'embedded');
  const place = await makePlace(t);
  const mounted = await mountForTest(t, {
    server,
    place,
    driver: 'kernel',
    options: ['--temp-limit', String(tempLimit), ...options, '--access', 'any'],
  });
  const watch = new TempWatch(mounted);
  const written = await writeLarge(join(mounted.mountPoint, 'large'), size);
  await watch.end();
  t.equal((await server.bucket.head('large')).ContentLength, size);
  t.equal(await hashOfStored(server, 'large'), written, 'the object is what was written');
  t.strictSame(await server.bucket.uploads(), []);
  const peak = await peakMemory(mounted.child.pid);
  t.comment(`peak: ${toMib(watch.peak)} MiB of temporary files, ${toMib(peak)} MiB of memory`);
  t.ok(watch.peak > 0, 'temporary files were seen');
  t.ok(watch.peak <= tempLimit, 'no more disk than allowed');
  t.ok(peak <= memory, 'no more memory than allowed');
}

const title = `${toMib(size)} MiB go through ${toMib(tempLimit)} MiB of temporary files`;
void t.test(title, async (t) => {
  const options = ['--memory-limit', String(memoryLimit)];
  await arrives(t, { size, tempLimit, options, memory: memoryLimit + memoryFloor });
});

void t.test('a part of 384 MiB goes through a process that never has as much', async (t) => {
  const part = 384 * mebibyte;
  const options = ['--part-size', String(part), '--memory-limit', String(2 * part)];
  const memory = memoryFloor + 64 * mebibyte;
  await arrives(t, { size: part + mebibyte, tempLimit: 4 * part, options, memory });
});

function toMib(bytes: number): number {
  return Math.round(bytes / mebibyte);
}
