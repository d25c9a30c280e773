/** Small files that are read in the order of their listing: fetched ahead, once each, and never old. */
import t, { type Test } from 'tap';
import type { FilesystemSettings } from '../../lib/filesystem/settings.js';
import { Program, useCore, type Core } from '../support/core.js';
import { ManualClock } from '../support/manual-clock.js';
import { until } from '../support/until.js';

const names = Array.from({ length: 24 }, (_, index) => `f${10 + index}`);
const contentOf = (name: string): string => `${name} `.repeat(100);

interface Directory {
  readonly core: Core;
  readonly program: Program;
  readonly clock: ManualClock;
  /** Reads one file as it is now. @returns GETs there were until then */
  readonly read: (name: string) => Promise<number>;
}

/** Small files beside an empty one and a directory, listed. */
async function useDirectory(
  t: Test,
  settings: Partial<FilesystemSettings> = {},
): Promise<Directory> {
  const clock = new ManualClock();
  const core = await useCore(t, { settings: { metadataTtlMs: 60_000, ...settings }, clock });
  const program = new Program(core.fs);
  for (const name of names) await core.bucket.put(`alice/d/${name}`, contentOf(name));
  await core.bucket.put('alice/d/f12-empty', '');
  await core.bucket.put('alice/d/f13/inside', 'x');
  await program.list('/d');
  core.proxy.reset();
  const read = async (name: string): Promise<number> => {
    const handle = await program.open(`/d/${name}`, { access: 'read' });
    const content = await program.read(handle);
    await program.close(handle);
    t.equal(content.toString(), contentOf(name), name);
    return core.proxy.counts().GetObject ?? 0;
  };
  return { core, program, clock, read };
}

/** Files of the directory that can be read: `f13` is hidden by the directory of its name. */
const readable = names.filter((name) => name !== 'f13');

void t.test('the longer files are read in order, the more are fetched ahead', async (t) => {
  const { core, read } = await useDirectory(t);
  const counts: number[] = [];
  for (const name of readable.slice(0, 8)) counts.push(await read(name));
  await answered(core, 8 + 8);
  t.same(counts.slice(0, 3), [1, 2, 3], 'the first are nothing to go by');
  t.equal(core.proxy.counts().GetObject, 8 + 8, 'as many ahead as a reader fetches parts at once');
  for (const name of readable.slice(8)) await read(name);
  t.same(core.proxy.counts(), { GetObject: readable.length }, 'each was fetched once');
  t.equal(core.fs.status.downloadMemory, 0);
});

void t.test('names that are known from lookups alone do too', async (t) => {
  const { core, program } = await useDirectory(t);
  for (const name of names) await core.bucket.put(`alice/e/${name}`, contentOf(name));
  core.proxy.reset();
  const get = async (name: string): Promise<void> => {
    t.equal((await program.get(`/e/${name}`)).toString(), contentOf(name));
  };
  for (const name of names.slice(0, 11)) await get(name);
  await answered(core, 11 + 8);
  t.equal(core.proxy.counts().GetObject, 11 + 8);
  for (const name of names.slice(11)) await get(name);
  t.same(core.proxy.counts(), { HeadObject: 1, ListObjectsV2: 1, GetObject: names.length });
});

void t.test('files that are read in another order are fetched as they are asked for', async (t) => {
  const { core, read } = await useDirectory(t);
  const steps = Array.from({ length: 20 }, (_, index) => (index * 7) % readable.length);
  for (const [index, step] of steps.entries()) {
    t.equal(await read(readable[step] ?? ''), index + 1);
  }
  t.equal(core.fs.status.downloadMemory, 0);
});

void t.test('several who share the files read each once', async (t) => {
  const { core, read } = await useDirectory(t);
  const rest = readable.values();
  const worker = async (): Promise<void> => {
    for (const name of rest) await read(name);
  };
  await Promise.all([worker(), worker(), worker()]);
  t.same(core.proxy.counts(), { GetObject: readable.length });
});

void t.test('who goes elsewhere leaves nothing in memory', async (t) => {
  const { core, read } = await useDirectory(t);
  for (const name of readable.slice(0, 6)) await read(name);
  t.ok(core.fs.status.downloadMemory > 0);
  await read('f30');
  t.equal(core.fs.status.downloadMemory, 0);
});

void t.test('a file that changed since it was fetched is fetched again', async (t) => {
  const { core, program, read, clock } = await useDirectory(t, { metadataTtlMs: 2000 });
  for (const name of readable.slice(0, 5)) await read(name);
  await answered(core, 5 + 2);
  const [, , , , , next = '', own = ''] = readable;
  await core.bucket.put(`alice/d/${next}`, 'of somebody else');
  await program.put(`/d/${own}`, 'of this mount');
  clock.pass(2000);
  t.equal((await program.get(`/d/${next}`)).toString(), 'of somebody else');
  t.equal((await program.get(`/d/${own}`)).toString(), 'of this mount');
});

void t.test('a GET ahead that fails is not the reader’s failure', async (t) => {
  const { core, read } = await useDirectory(t);
  for (const name of readable.slice(0, 3)) await read(name);
  const [, , , reached = '', ahead = '', ...rest] = readable;
  const fault = { kind: 'status', status: 500, code: 'InternalError' } as const;
  const failing = core.proxy.inject({ key: `alice/d/${ahead}`, count: 3, fault });
  await read(reached);
  await until(() => failing.fired === 3);
  await answered(core, 4 + 3);
  for (const name of [ahead, ...rest]) await read(name);
  t.equal(core.proxy.counts().GetObject, readable.length + 3);
});

void t.test('files ahead stay within the memory for reading', async (t) => {
  const limit = 4096;
  const { core, read } = await useDirectory(t, { memoryLimit: 2 * limit });
  for (const name of readable) await read(name);
  t.ok(core.fs.status.downloadMemoryPeak <= limit, `${core.fs.status.downloadMemoryPeak} bytes`);
});

/** So many GETs were made and are answered; one too many shows in what is counted afterwards. */
async function answered({ proxy }: Core, gets: number): Promise<void> {
  await until(() => (proxy.counts().GetObject ?? 0) >= gets && proxy.busy === 0);
}
