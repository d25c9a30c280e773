/**
 * Requests that are shared: who joins one that is under way gets its answer. Where it fails, it was sent
 * earlier and for another caller, and its failure is not the later one's: S3 may be back by now.
 */
import { PutObjectCommand } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { textOfTime } from '../../lib/file-time.js';
import type { FilesystemSettings } from '../../lib/filesystem/settings.js';
import { Program, useCore, type Core } from '../support/core.js';
import { testBucket } from '../support/embedded.js';
import type { ProxyAction } from '../support/faults.js';
import type { Gate } from '../support/gate.js';
import { kibibyte } from '../support/sizes.js';

const fault = { kind: 'status', status: 503, code: 'SlowDown' } as const;

interface Scene extends Core {
  readonly program: Program;
  /** Stops the next request of the kind, or a later one; let through, it fails, and is not sent again by itself. */
  readonly failing: (action: ProxyAction, key: string, ordinal?: number) => Gate;
}

async function useScene(t: Test, settings: Partial<FilesystemSettings> = {}): Promise<Scene> {
  const core = await useCore(t, { settings, maxAttempts: 1 });
  const failing = (action: ProxyAction, key: string, ordinal = 1): Gate => {
    core.proxy.inject({ action, key, ordinal, fault });
    return core.proxy.gate({ action, key, ordinal, at: 'request' });
  };
  return { ...core, program: new Program(core.fs), failing };
}

void t.test('a file that is fetched ahead', async (t) => {
  const { bucket, program, failing } = await useScene(t);
  const names = Array.from({ length: 6 }, (_, index) => `f${index}`);
  for (const name of names) await bucket.put(`alice/d/${name}`, name);
  await program.list('/d');
  const get = failing('GetObject', 'alice/d/f4');
  for (const name of names.slice(0, 4)) await program.get(`/d/${name}`);
  await get.arrived;
  const handle = await program.open('/d/f4', { access: 'read' });
  const reading = program.read(handle);
  get.open();
  t.equal((await reading).toString(), 'f4');
  await program.close(handle);
});

void t.test('a part of a file that is fetched ahead', async (t) => {
  const partSize = 256 * kibibyte;
  const { bucket, fs, program, failing } = await useScene(t, { partSize });
  const content = Buffer.alloc(8 * partSize, 'content of the file ');
  await bucket.put('alice/f', content);
  await program.list('/');
  const ahead = failing('GetObject', 'alice/f', 2);
  const handle = await program.open('/f', { access: 'read' });
  for (const half of [0, 1]) await fs.read(handle, (half * partSize) / 2, partSize / 2, {});
  await ahead.arrived;
  const reading = program.read(handle, partSize);
  ahead.open();
  t.ok((await reading).equals(content.subarray(partSize)));
  await program.close(handle);
});

void t.test('a look-up', async (t) => {
  const { bucket, program, failing } = await useScene(t);
  await bucket.put('alice/d/f', 'content');
  await program.stat('/d');
  const head = failing('HeadObject', 'alice/d/f');
  const first = t.rejects(program.stat('/d/f'), { code: 'EIO' }, 'who asked hears it');
  await head.arrived;
  const second = program.stat('/d/f');
  head.open();
  await first;
  t.equal((await second).size, 7, 'who came later does not');
});

void t.test('a listing', async (t) => {
  const { bucket, program, failing } = await useScene(t);
  await bucket.put('alice/d/f', 'content');
  const page = failing('ListObjectsV2', '');
  const first = t.rejects(program.list('/d'), { code: 'EIO' }, 'who asked hears it');
  await page.arrived;
  const second = program.list('/d');
  page.open();
  await first;
  t.strictSame(await second, ['f'], 'who came later does not');
});

void t.test('given times that are asked for ahead', async (t) => {
  const { client, program, failing } = await useScene(t, { utimens: 'store' });
  const names = ['f0', 'f1', 'f2', 'f3'];
  for (const name of names) {
    const at = { Bucket: testBucket, Key: `alice/d/${name}`, Body: 'x' };
    await client.send(new PutObjectCommand({ ...at, Metadata: { mtime: textOfTime(5n) } }));
  }
  await program.list('/d');
  const head = failing('HeadObject', 'alice/d/f3');
  for (const name of names.slice(0, 2)) await program.stat(`/d/${name}`);
  await head.arrived;
  const later = program.stat('/d/f3');
  head.open();
  t.equal((await later).mtime, 5n);
});
