/**
 * How long another home waits while four are at full rate: `ls` of a directory that nobody looked at, stat
 * of a new name, and a put of 4 KiB, each in its median, idle and beside four homes that write and read
 * large files without pause. Not part of the suite, because it takes time: scripts/soak-fair runs it.
 */
import '../support/own-users.js';
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { mustRun } from '../../lib/demo/child.js';
import { inParallel } from '../support/bucket.js';
import { endingOf } from '../support/command.js';
import { addUser, mountHomes } from '../support/homes.js';
import { isThere } from '../support/servers.js';

t.setTimeout(0);

const seconds = Number(process.env['S3JAIL_FAIR_SECONDS'] ?? 60);
const hogs = ['ann', 'ben', 'cid', 'dot'];
const actions = ['ls', 'stat', 'put'] as const;
/** Above this many times the idle median somebody starves. */
const most = 3;

for (const [index, name] of [...hogs, 'eve'].entries()) addUser(name, 6001 + index);

/** Rounds of the three for some time in a process of its own, which prints the medians, ms. */
const script = `
  const fs = require('fs/promises');
  const [home, seconds, first] = process.argv.slice(1);
  (async () => {
    const times = { ls: [], stat: [], put: [] };
    const timed = async (name, work) => {
      const begin = performance.now();
      await work();
      times[name].push(performance.now() - begin);
    };
    const end = performance.now() + seconds * 1000;
    for (let at = Number(first); performance.now() < end && at < Number(first) + 200; at++) {
      await timed('ls', () => fs.readdir(home + '/dir-' + at));
      await timed('stat', () => fs.stat(home + '/new-' + at).catch((error) => {
        if (error.code !== 'ENOENT') throw error;
      }));
      await timed('put', () => fs.writeFile(home + '/put-' + at, Buffer.alloc(4096, at)));
    }
    const median = (all) => all.sort((a, b) => a - b)[Math.floor(all.length / 2)];
    process.stdout.write(JSON.stringify(Object.fromEntries(
      Object.entries(times).map(([name, all]) => [name, median(all)]))));
  })();`;

type Medians = Readonly<Record<(typeof actions)[number], number>>;

async function measure(home: string, first: number, forSeconds: number): Promise<Medians> {
  const args = ['-e', script, home, String(forSeconds), String(first)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const { status, stdout, stderr } = await endingOf(child);
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Medians;
}

void t.test(`a home beside four at full rate, ${seconds} s`, async (t) => {
  const { server, path } = await mountHomes(t, {
    isClosed: true,
    on: isThere('minio') ? 'minio' : 'embedded',
  });
  const names = Array.from({ length: 400 }, (_, at) => `users/eve/dir-${at}/file`);
  await inParallel(8, names, (name) => server.bucket.put(name, 'x'));
  const large = Buffer.alloc(32 * 1024 * 1024, 'x');
  for (const hog of hogs) await server.bucket.put(`users/${hog}/large`, large);

  const idle = await measure(path('eve'), 0, seconds / 3);
  let isOver = false;
  let transfers = 0;
  const atFullRate = async (...args: string[]): Promise<void> => {
    while (!isOver) {
      await mustRun('dd', [...args, 'bs=1M', 'status=none']);
      transfers++;
    }
  };
  const work = hogs.flatMap((hog) => [
    ...[1, 2].map((at) =>
      atFullRate('if=/dev/zero', `of=${path(hog, `up-${at}`)}`, 'count=32', 'conv=fsync'),
    ),
    ...[1, 2].map(() => atFullRate(`if=${path(hog, 'large')}`, 'of=/dev/null', 'iflag=direct')),
  ]);
  await sleep(2000);
  const busy = await measure(path('eve'), 200, seconds);
  isOver = true;
  await Promise.all(work);
  t.comment(`${transfers} transfers of 32 MiB beside it`);
  for (const action of actions) {
    const times = busy[action] / idle[action];
    const said = `${action}: ${idle[action].toFixed(1)} ms idle, ${busy[action].toFixed(1)} ms, ${times.toFixed(1)} times`;
    t.ok(times <= most, said);
  }
});
