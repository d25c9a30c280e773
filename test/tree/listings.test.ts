/** Listings that are too long for memory: whole, each name once, and own changes on top. */
import t from 'tap';
import { Filesystem } from '../../lib/filesystem/filesystem.js';
import type { FilesystemSettings } from '../../lib/filesystem/settings.js';
import { silentLog } from '../../lib/log.js';
import { parsePath } from '../../lib/path.js';
import { inParallel } from '../support/bucket.js';
import { defaultSettings, Program, useCore } from '../support/core.js';
import { until } from '../support/until.js';

/** More than a page between a file and the directory of its name. */
const names = ['a', ...Array.from({ length: 1200 }, (_, index) => `a-${1000 + index}`), 'b'];
const directory = parsePath('/d');

const core = await useCore(t);
await inParallel(16, [...names, 'a/inside'], (name) => core.bucket.put(`alice/d/${name}`, 'x'));

/** A mount of its own on the same objects. */
function useLong(settings: Partial<FilesystemSettings> = {}): { fs: Filesystem; program: Program } {
  const { store, tempDir } = core;
  const fs = new Filesystem({
    store,
    settings: { ...defaultSettings, tempDir, longestListing: 1, ...settings },
    log: silentLog,
  });
  core.proxy.reset();
  return { fs, program: new Program(fs) };
}

/** All entries, as a kernel asks for them, a few at a time. */
async function readAll(fs: Filesystem, handle: number): Promise<string[]> {
  const found: string[] = [];
  for (let at = 0; ;) {
    const entries = await fs.readdir(handle, at, 70);
    if (entries.length === 0) return found;
    found.push(...entries.map(({ name }) => name));
    at = entries.at(-1)?.next ?? at;
  }
}

void t.test('it is whole, each name once, and its attributes cost nothing', async (t) => {
  const { fs, program } = useLong({ metadataTtlMs: 600_000 });
  const handle = await fs.opendir(directory, {});
  t.ok(fs.status.tempBytes > 0, 'it is on disk');
  t.equal(fs.status.cachedEntries, 0, 'and not in memory');
  const found: string[] = [];
  for (let at = 0; ;) {
    const entries = await fs.readdir(handle, at, 70);
    if (entries.length === 0) break;
    for (const { name, attributes } of entries) {
      found.push(name);
      const { kind } = await program.stat(`/d/${name}`);
      if (kind !== attributes.kind) t.fail(`${name} is a ${kind}`);
    }
    at = entries.at(-1)?.next ?? at;
  }
  t.same(found, names);
  t.equal((await program.stat('/d/a')).kind, 'directory', 'a directory beats a file of its name');
  t.same(await fs.readdir(handle, 3, 2), (await fs.readdir(handle, 0, 5)).slice(3));
  fs.releasedir(handle);
  t.same(core.proxy.counts(), { ListObjectsV2: 2 });
});

void t.test('who asks at the same time shares it, and the last takes the file along', async (t) => {
  const { fs } = useLong({ metadataTtlMs: 0 });
  const handles = await Promise.all([1, 2, 3].map(() => fs.opendir(directory, {})));
  t.same(core.proxy.counts(), { ListObjectsV2: 2 });
  for (const handle of handles) t.equal((await readAll(fs, handle)).length, names.length);
  for (const handle of handles) fs.releasedir(handle);
  await until(() => fs.status.tempBytes === 0);
  t.equal(fs.status.handles, 0);
});

void t.test('a page that fails fails opendir and leaves nothing behind', async (t) => {
  const { fs, program } = useLong();
  const injection = core.proxy.inject({
    action: 'ListObjectsV2',
    ordinal: 2,
    count: 1000,
    fault: { kind: 'status', status: 500, code: 'InternalError' },
  });
  await t.rejects(fs.opendir(directory, {}), { code: 'EIO' });
  t.ok(injection.fired > 0);
  t.equal(fs.status.tempBytes, 0);
  core.proxy.clear();
  t.equal((await program.list('/d')).length, names.length);
});

void t.test('one that does not fit on the disk is refused', async (t) => {
  const { fs } = useLong({ tempLimit: 10_000, timeoutMs: 100 });
  await t.rejects(fs.opendir(directory, {}), { code: 'ENOSPC' });
  t.equal(fs.status.tempBytes, 0);
});

void t.test(
  'a directory filled through the mount is remembered only as far as allowed',
  async (t) => {
    const core = await useCore(t, { settings: { longestListing: 5000 } });
    const program = new Program(core.fs);
    await program.mkdir('/new');
    const made = Array.from({ length: 30 }, (_, index) => `f${10 + index}`);
    for (const name of made) await program.put(`/new/${name}`, name);
    core.proxy.reset();
    t.same(await program.list('/new'), made);
    t.equal(core.proxy.counts().ListObjectsV2, 1, 'S3 is asked again');
  },
);
void t.test('own changes show at once, and rows do not bring back what is gone', async (t) => {
  const { fs, program } = useLong({ metadataTtlMs: 600_000 });
  const writing = await program.create('/d/written');
  const rewriting = await program.open('/d/a-1000', { access: 'write' });
  await program.write(rewriting, 'longer');
  const handle = await fs.opendir(directory, {});
  await program.unlink('/d/a-1100');
  await program.put('/d/a-1150', 'changed');
  t.same((await readAll(fs, handle)).sort(), [...names, 'written'].sort());
  t.notOk(await program.exists('/d/a-1100'), 'its row came, and it stays removed');
  t.equal((await program.stat('/d/a-1150')).size, 7);
  t.equal((await program.stat('/d/a-1000')).size, 6);
  await program.close(writing);
  await program.close(rewriting);
  core.proxy.reset();
  const again = await fs.opendir(directory, {});
  t.same(core.proxy.counts(), {}, 'it is still good');
  const now = [...names.filter((name) => name !== 'a-1100'), 'written'].sort();
  t.same((await readAll(fs, again)).sort(), now);
  t.same((await readAll(fs, handle)).sort(), [...names, 'written'].sort(), 'offsets stay');
  fs.releasedir(handle);
  fs.releasedir(again);
});

void t.test(
  'a row of a file that is being written tells its size of now, to be kept by nobody',
  async (t) => {
    await core.bucket.put('alice/w/f', 'old');
    const { fs, program } = useLong({ longestListing: 2 ** 20 });
    const handle = await fs.opendir(parsePath('/w'), {});
    const [before] = await fs.readdir(handle, 0, 1);
    t.ok((before?.attributes.validForMs ?? 0) > 0, 'what only S3 has may be kept');
    const writing = await program.open('/w/f', { access: 'write' });
    await program.write(writing, 'longer than before');
    const [row] = await fs.readdir(handle, 0, 1);
    t.equal(row?.attributes.size, 18);
    t.equal(row?.attributes.validForMs ?? 0, 0);
    await program.close(writing);
    fs.releasedir(handle);
  },
);
