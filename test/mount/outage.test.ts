/**
 * S3 goes away under many callers and comes back: each is told in bounded time, nothing piles up, and
 * the same process serves on.
 */
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import t, { type Test } from 'tap';
import type { MountStatus } from '../../lib/status/ask.js';
import { endingOf, environment, Place, run, s3jail, Writer } from '../support/command.js';
import { startFaultProxy } from '../support/fault-proxy.js';

// Whoever is not answered runs into this.
t.setTimeout(600_000);

const callers = 50;

/** What each of many callers at a time was answered: `ok` or an errno name, and how often. */
async function callAtOnce(directory: string): Promise<Record<string, number>> {
  const script = `
    const fs = require('fs/promises');
    const { join } = require('path');
    const [directory, callers] = process.argv.slice(1);
    const at = (name) => join(directory, name);
    const kinds = [
      ['stat', (i) => fs.stat(at('absent-' + i))],
      ['stat', () => fs.stat(at('absent'))],
      ['read', () => fs.readFile(at('stored'))],
      ['list', () => fs.readdir(directory)],
      ['write', (i) => fs.writeFile(at('new-' + i), 'x'.repeat(1000))],
    ];
    const calls = Array.from({ length: Number(callers) }, async (_, i) => {
      const [kind, call] = kinds[i % kinds.length];
      const answer = await call(i).then(() => 'ok', (error) => error.code);
      return kind + ' ' + answer;
    });
    Promise.all(calls).then((answers) => {
      const counts = {};
      for (const answer of answers) counts[answer] = (counts[answer] ?? 0) + 1;
      console.log(JSON.stringify(counts));
    });`;
  const args = ['-e', script, directory, String(callers)];
  const child = spawn(process.execPath, args, {
    env: environment({ UV_THREADPOOL_SIZE: String(callers) }),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse((await endingOf(child)).stdout) as Record<string, number>;
}

async function statusOf(place: Place): Promise<MountStatus | undefined> {
  const { stdout } = await run(s3jail, ['status', place.mountPoint, '--json']);
  return (JSON.parse(stdout) as MountStatus[])[0];
}

const share = callers / 5;
const allFail = { 'stat EIO': 2 * share, 'read EIO': share, 'list EIO': share, 'write EIO': share };
const allWell = { 'stat ENOENT': 2 * share, 'read ok': share, 'list ok': share, 'write ok': share };

async function nothingIsLeft(t: Test, place: Place, pid: number | undefined): Promise<void> {
  const status = await statusOf(place);
  t.match(status, {
    pid,
    state: 'mounted',
    report: {
      handles: 0,
      uploads: [],
      temp: { bytes: 0 },
      memory: { upload: 0, download: 0 },
      driver: { counters: { inFlight: 0, openFiles: 0, openDirectories: 0, releasing: 0 } },
    },
  });
}

void t.test('S3 that is gone costs callers an errno, and the mount nothing', async (t) => {
  const place = await Place.make(t);
  const proxy = await startFaultProxy({ target: place.endpoint.url });
  t.teardown(() => proxy.close());
  await place.mount(
    t,
    ...['--endpoint-url', proxy.url, '--timeout', '2s'],
    ...['--metadata-ttl', '0', '--driver', 'kernel'],
  );
  const { pid } = place;
  await writeFile(place.path('stored'), 'x');

  const writer = await Writer.start(t, place.path('open'), 'data');
  const silence = proxy.inject({ fault: { kind: 'no-answer' }, count: Infinity });
  t.same(await callAtOnce(place.mountPoint), allFail, 'while S3 does not answer');
  t.equal(await writer.close(), 'EIO', 'also for who has a file open');
  t.ok(silence.fired > 0);
  await nothingIsLeft(t, place, pid);
  proxy.clear();
  t.same(await callAtOnce(place.mountPoint), allWell, 'when it answers again');

  await proxy.down();
  t.same(await callAtOnce(place.mountPoint), allFail, 'while nobody can connect');
  await nothingIsLeft(t, place, pid);
  await proxy.up();
  t.same(await callAtOnce(place.mountPoint), allWell, 'when it is back');
  await nothingIsLeft(t, place, pid);
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  place.checkGone(t);
});

void t.test('an upload survives a server that is away for longer than the retries', async (t) => {
  const place = await Place.make(t);
  const proxy = await startFaultProxy({ target: place.endpoint.url });
  t.teardown(() => proxy.close());
  await place.mount(t, '--endpoint-url', proxy.url, '--driver', 'kernel');
  const writer = await Writer.start(t, place.path('file'), 'data');
  const refused = proxy.inject({ fault: { kind: 'reset-before' }, count: Infinity });
  const closed = writer.close();
  // What the retries of one request come to, twice.
  while (refused.fired < 10) await new Promise((resolve) => setTimeout(resolve, 50));
  await proxy.down();
  proxy.clear();
  await proxy.up();
  t.equal(await closed, '');
  t.equal(await readFile(place.path('file'), 'utf8'), 'data');
});
