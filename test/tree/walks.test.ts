/** Recursive walks: what they cost, and that what they find is the truth. */
import t from 'tap';
import { inParallel } from '../support/bucket.js';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';

async function putAll(core: Core, keys: readonly string[]): Promise<void> {
  await inParallel(16, keys, (key) => core.bucket.put(`alice/${key}`, 'x'));
}

/** Every file below `path`, found as find(1) does it. */
async function walk(program: Program, path = '/'): Promise<string[]> {
  const files: string[] = [];
  for (const name of await program.list(path)) {
    const child = `${path === '/' ? '' : path}/${name}`;
    if (name.endsWith('/')) files.push(...(await walk(program, child.slice(0, -1))));
    else files.push(child.slice(1));
  }
  return files;
}

void t.test('a walk through 200 small directories costs a LIST for each 1,000 keys', async (t) => {
  const core = await useCore(t, { settings: { metadataTtlMs: 60_000 } });
  const keys = Array.from({ length: 200 }, (_, index) => `d${1000 + index}`).flatMap(
    (directory) => [
      `${directory}/one`,
      `${directory}/sub/two`,
      `${directory}.txt/three`,
      `${directory}-x`,
    ],
  );
  await putAll(core, keys);
  core.proxy.reset();
  t.same((await walk(new Program(core.fs))).sort(), [...keys].sort());
  const counts = core.proxy.counts();
  t.same(Object.keys(counts), ['ListObjectsV2']);
  t.ok((counts.ListObjectsV2 ?? 0) <= 6, `${counts.ListObjectsV2 ?? 0}`);
});

void t.test('a large directory is found out by one LIST too many', async (t) => {
  const core = await useCore(t, { settings: { metadataTtlMs: 60_000 } });
  const large = Array.from({ length: 1010 }, (_, index) => `b/sub/${index}`);
  const keys = ['a/sub/0', ...large];
  await putAll(core, keys);
  core.proxy.reset();
  t.same((await walk(new Program(core.fs))).sort(), [...keys].sort());
  // /, /a, /a/sub, /b and two pages of /b/sub.
  t.equal(core.proxy.counts().ListObjectsV2, 6 + 1);
});

void t.test('what changes during a walk is not brought back by it', async (t) => {
  const core = await useCore(t, { settings: { metadataTtlMs: 60_000 } });
  const program = new Program(core.fs);
  await putAll(core, ['a/x', 'b/x', 'c/x', 'd/x', 'd/y', 'e/x']);
  t.same(await program.list('/'), ['a/', 'b/', 'c/', 'd/', 'e/']);
  await program.list('/a');
  const slow = core.proxy.inject({
    action: 'ListObjectsV2',
    fault: { kind: 'bandwidth', bytesPerSecond: 10_000 },
  });
  const walking = program.list('/b');
  await program.stat('/d/x').catch(() => undefined);
  await program.unlink('/d/x');
  await program.put('/c/new', 'new');
  await walking;
  slow.remove();
  t.same(await program.list('/d'), ['y']);
  t.same(await program.list('/c'), ['new', 'x']);
  t.same(await program.list('/e'), ['x']);
});
