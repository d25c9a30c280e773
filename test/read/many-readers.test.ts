/**
 * 64 readers of large files at once: each gets the true bytes by one GET for each part, and the mount's
 * memory stays under --memory-limit and what the process needs without any file. S3JAIL_READERS_MIB
 * says how large the files are; scripts/soak-readers says 64 MiB.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { CopyObjectCommand } from '@aws-sdk/client-s3';
import t from 'tap';
import { inParallel, sha256 } from '../support/bucket.js';
import { environment } from '../support/command.js';
import { startFaultProxy } from '../support/fault-proxy.js';
import { mountForTest } from '../support/mounted.js';
import { peakMemory } from '../support/peak-memory.js';
import { makePlace } from '../support/place.js';
import { useServer } from '../support/servers.js';
import { mebibyte } from '../support/sizes.js';

const size = Number(process.env['S3JAIL_READERS_MIB'] ?? 10) * mebibyte;
const readers = 64;
const memoryLimit = 32 * mebibyte;
/** the default */
const partSize = 8 * mebibyte;
/** Node.js itself, the SDK, what V8 has not collected yet, and for each reader a request and a socket. */
const memoryFloor = 256 * mebibyte;

/** All at once, in a process of its own. Prints the different hashes it found. */
const readAll = `
const { createHash } = require('crypto');
const fs = require('fs/promises');
const [directory, count] = process.argv.slice(1);
const hashOf = async (name) => {
  const hash = createHash('sha256');
  const file = await fs.open(directory + '/' + name);
  const buffer = Buffer.alloc(128 * 1024);
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
  }
  await file.close();
  return hash.digest('hex');
};
Promise.all(Array.from({ length: Number(count) }, (_, index) => hashOf(index))).then(
  (hashes) => console.log([...new Set(hashes)].join()),
);
`;

void t.test(`${readers} readers of ${size / mebibyte} MiB each`, async (t) => {
  t.setTimeout(120_000 + (size / mebibyte) * 10_000);
  const server = await useServer(t, 'embedded');
  const { bucket } = server;
  const content = randomBytes(size);
  await bucket.put('0', content);
  const copies = Array.from({ length: readers - 1 }, (_, index) => String(index + 1));
  await inParallel(8, copies, async (Key) => {
    const CopySource = `${bucket.name}/0`;
    await bucket.client.send(new CopyObjectCommand({ Bucket: bucket.name, Key, CopySource }));
  });
  const proxy = await startFaultProxy({ target: server.url });
  t.teardown(() => proxy.close());
  const mounted = await mountForTest(t, {
    server,
    url: proxy.url,
    place: await makePlace(t),
    driver: 'kernel',
    options: ['--memory-limit', String(memoryLimit), '--access', 'any'],
  });
  const child = spawn(process.execPath, ['-e', readAll, mounted.mountPoint, String(readers)], {
    env: environment({ UV_THREADPOOL_SIZE: String(readers) }),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  t.equal((await text(child.stdout)).trim(), sha256(content), 'all got the same, true bytes');
  await exited;
  const parts = readers * Math.ceil(size / partSize);
  const gets = proxy.counts().GetObject ?? 0;
  t.ok(
    gets >= parts && gets <= 1.05 * parts,
    `one GET for each part, and a few that lag twice: ${gets}`,
  );
  const bytes = proxy.bytes().toClient;
  t.ok(bytes < 1.05 * readers * size, `hardly a byte twice: ${bytes}`);
  const memory = await peakMemory(mounted.child.pid);
  t.comment(`peak of memory: ${Math.round(memory / mebibyte)} MiB`);
  t.ok(memory <= memoryLimit + memoryFloor, 'memory does not grow with the files');
});
