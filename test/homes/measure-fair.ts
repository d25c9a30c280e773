/**
 * How long another home waits while four are at full rate: `ls` of a directory that nobody looked at, stat
 * of a new name, and a put of 4 KiB, each in its median, idle and beside four homes that write and read
 * large files without pause. Beside it the same three asked of S3 itself, by a process of its own: what
 * the endpoint and the machine make of it. Not part of the suite, because it takes time: scripts/soak-fair
 * runs it.
 */
import '../support/own-users.js';
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { mustRun } from '../../lib/demo/child.js';
import { inParallel } from '../support/bucket.js';
import { endingOf, environment, type Env } from '../support/command.js';
import { startLink } from '../bench/link.js';
import { addUser, mountHomes } from '../support/homes.js';
import { isThere } from '../support/servers.js';

t.setTimeout(0);

const seconds = Number(process.env['S3JAIL_FAIR_SECONDS'] ?? 60);
const hogs = ['ann', 'ben', 'cid', 'dot'];
const actions = ['ls', 'stat', 'put'] as const;
/** Bytes per second of one connection to S3. */
const connectionRate = Number(process.env['S3JAIL_FAIR_RATE'] ?? 1_000_000);
/** Above this many times the idle median somebody starves. */
const most = 3;

for (const [index, name] of [...hogs, 'eve'].entries()) addUser(name, 6001 + index);

/** The three on a mount: how each is done. */
const onMount = `
  const fs = require('fs/promises');
  const [seconds, first, home] = process.argv.slice(1);
  const work = {
    ls: (at) => fs.readdir(home + '/dir-' + at),
    stat: (at) => fs.stat(home + '/new-' + at).catch((error) => {
      if (error.code !== 'ENOENT') throw error;
    }),
    put: (at) => fs.writeFile(home + '/put-' + at, Buffer.alloc(4096, at)),
  };`;
/** The same requests without a mount. */
const onEndpoint = `
  const s3 = require('@aws-sdk/client-s3');
  const [seconds, first, endpoint, Bucket, prefix] = process.argv.slice(1);
  const client = new s3.S3Client({ endpoint, forcePathStyle: true });
  const work = {
    ls: (at) => client.send(new s3.ListObjectsV2Command({ Bucket, Prefix: prefix + 'dir-' + at + '/', Delimiter: '/' })),
    stat: (at) => client.send(new s3.HeadObjectCommand({ Bucket, Key: prefix + 'new-' + at })).catch((error) => {
      if (error.name !== 'NotFound') throw error;
    }),
    put: (at) => client.send(new s3.PutObjectCommand({ Bucket, Key: prefix + 'bare-' + at, Body: Buffer.alloc(4096, at) })),
  };`;
/** Rounds of the three for some time in a process of its own, which prints the medians, ms. */
const rounds = `
  (async () => {
    const times = { ls: [], stat: [], put: [] };
    const timed = async (name, work) => {
      const begin = performance.now();
      await work();
      times[name].push(performance.now() - begin);
    };
    const end = performance.now() + seconds * 1000;
    for (let at = Number(first); performance.now() < end && at < Number(first) + 200; at++) {
      for (const name of Object.keys(times)) await timed(name, () => work[name](at));
    }
    const median = (all) => all.sort((a, b) => a - b)[Math.floor(all.length / 2)];
    process.stdout.write(JSON.stringify(Object.fromEntries(
      Object.entries(times).map(([name, all]) => [name, median(all)]))));
  })();`;

type Medians = Readonly<Record<(typeof actions)[number], number>>;

interface Where {
  readonly script: string;
  readonly args: readonly string[];
  readonly env: Env;
}

async function measure(first: number, forSeconds: number, where: Where): Promise<Medians> {
  const args = ['-e', where.script + rounds, String(forSeconds), String(first), ...where.args];
  const child = spawn(process.execPath, args, {
    cwd: import.meta.dirname,
    env: environment({ ...where.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { status, stdout, stderr } = await endingOf(child);
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Medians;
}

void t.test(`a home beside four at full rate, ${seconds} s`, async (t) => {
  let s3 = '';
  const { server, path } = await mountHomes(t, {
    isClosed: true,
    on: isThere('minio') ? 'minio' : 'embedded',
    // A server on this machine, at full rate, takes the processors from who waits for it.
    url: async ({ url: target }) => {
      const link = await startLink({ target, delayMs: 20, connectionRate });
      t.teardown(() => link.close());
      return (s3 = link.url);
    },
  });
  const names = Array.from({ length: 400 }, (_, at) => `users/eve/dir-${at}/file`);
  await inParallel(8, names, (name) => server.bucket.put(name, 'x'));
  const large = Buffer.alloc(32 * 1024 * 1024, 'x');
  for (const hog of hogs) await server.bucket.put(`users/${hog}/large`, large);

  const mount: Where = { script: onMount, args: [path('eve')], env: {} };
  const endpoint: Where = {
    script: onEndpoint,
    args: [s3, server.bucket.name, 'users/eve/'],
    env: {
      AWS_ACCESS_KEY_ID: server.credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: server.credentials.secretAccessKey,
    },
  };
  const idle = await measure(0, seconds / 3, mount);
  const bareIdle = await measure(0, seconds / 3, endpoint);
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
  const [busy, bare] = await Promise.all([
    measure(200, seconds, mount),
    measure(200, seconds, endpoint),
  ]);
  isOver = true;
  await Promise.all(work);
  t.comment(`${transfers} transfers of 32 MiB beside it`);
  for (const action of actions) {
    const times = busy[action] / idle[action];
    const said = `${action}: ${idle[action].toFixed(1)} ms idle, ${busy[action].toFixed(1)} ms, ${times.toFixed(1)} times`;
    t.ok(times <= most, said);
    t.comment(
      `S3 alone: ${bareIdle[action].toFixed(1)} ms idle, ${bare[action].toFixed(1)} ms beside them`,
    );
  }
});
