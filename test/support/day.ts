/**
 * What users do in a day: every operation that reaches S3, on files small and large enough for parts,
 * composed and copied. For servers that know less, and for mounts that may do less.
 */
import { randomBytes } from 'node:crypto';
import type { Test } from 'tap';
import { testBucket } from './embedded.js';
import { Program, type Core, type CoreOptions } from './core.js';

const minPart = 64 * 1024;

/** How the core of `liveADay` has to be made. */
export const dayOptions = {
  minPart,
  settings: { partSize: minPart, renameDir: 'recursive' },
  copyThreshold: 2 * minPart,
} as const satisfies CoreOptions;

/** Leaves one object behind. */
export async function liveADay(t: Test, { fs, endpoint }: Core): Promise<void> {
  const program = new Program(fs);
  const large = randomBytes(5 * minPart);
  await program.put('/small', 'small');
  await program.put('/small', 'smaller');
  await program.put('/large', large);
  t.ok((await program.get('/large')).equals(large));
  const handle = await program.open('/large', { access: 'write' });
  await program.write(handle, 'more', large.length);
  await program.close(handle);
  t.equal((await program.stat('/large')).size, large.length + 4);
  t.ok((await program.get('/large')).equals(Buffer.concat([large, Buffer.from('more')])));
  await program.truncate('/large', 200_000);
  await program.mkdir('/dir');
  await program.rename('/large', '/dir/large');
  await program.rename('/dir', '/other');
  t.ok((await program.get('/other/large')).equals(large.subarray(0, 200_000)));
  await program.close(await program.create('/new', { exclusive: true }));
  await t.rejects(program.create('/new', { exclusive: true }), { code: 'EEXIST' });
  await program.rename('/small', '/new');
  t.equal(String(await program.get('/new')), 'smaller');
  t.strictSame(await program.list('/'), ['new', 'other/']);
  await program.unlink('/other/large');
  await program.rmdir('/other');
  t.notOk(await program.exists('/other'));
  await t.rejects(program.stat('/never'), { code: 'ENOENT' });
  t.strictSame(endpoint.keys(testBucket), ['alice/new']);
  t.strictSame(endpoint.openUploads(), []);
}
