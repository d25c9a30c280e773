/**
 * One measurement: a row by a contestant on a mount of its own, so that all caches are empty, or by the
 * bare SDK; timed, counted, and what it moved compared.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Account } from '../../lib/demo/account.js';
import { Child, descendantsOf, endProcesses, sendSignal } from '../../lib/demo/child.js';
import { clientOptions, type Sshd } from '../../lib/demo/sshd.js';
import { bytesOf, pattern } from './content.js';
import { mountAfresh, type Contestant } from './contestants.js';
import type { FloorInput, FloorOutput } from './floor.js';
import type { Link, Traffic } from './link.js';
import { smallSize, type FloorTask, type Row, type Sizes } from './rows.js';
import type { Storage } from './storage.js';
import { CpuMeter, forgetPeak, limitShare, peakOf, type Usage } from './usage.js';
import { workProgram } from './work.js';
import { mebibyte } from '../support/sizes.js';

/** What all measurements share. */
export interface Stage {
  readonly storage: Storage;
  /** root's, with no parent that others can write to */
  readonly scratch: string;
  /** where s3jail's mounts are: as `s3jail setup` makes it, open to root alone */
  readonly closed: string;
  readonly account: Account;
  readonly sshd: Sshd;
  /** chroots to the mount, as sshd does for users of s3jail */
  readonly jail: Sshd;
  readonly sizes: Sizes;
  /** how long a measurement may take */
  readonly limitMs: number;
}

/** A script; seconds, or undefined where the limit came first. */
type Run = (script: string | undefined) => Promise<number | undefined>;

export interface Measured {
  /** undefined where the limit came first */
  readonly seconds: number | undefined;
  readonly traffic: Traffic;
  readonly usage: Usage;
}

/** How an SFTP client gets to the mount. */
interface Way {
  readonly port: number;
  readonly identityFile: string;
  /** the mount's root as the client names it, without a slash at its end */
  readonly root: string;
}

const floorProgram = fileURLToPath(new URL('floor.js', import.meta.url));

/**
 * Done before on each mount, on files of its own: what is measured is a mount in use, with its
 * connections open and, where it is compiled at run time, its code compiled.
 */
const warmUp = `
  mkdir "$1/warm"
  perl "$BENCH_WORK" write "$1/warm/large" ${32 * mebibyte}
  perl "$BENCH_WORK" read "$1/warm/large" ${32 * mebibyte}
  perl "$BENCH_WORK" create "$1/warm/small" 10
  perl "$BENCH_WORK" check "$1/warm/small" 10
  ls -la "$1/warm/small" >"$BENCH_LOCAL/listing"`;

/** The same where there is SFTP alone. */
const warmUpSftp = `
  printf '%s\\n' "mkdir $BENCH_ROOT/warm" "put $BENCH_LOCAL/small/000000 $BENCH_ROOT/warm/small" \\
    "get $BENCH_ROOT/warm/small $BENCH_LOCAL/got" "ls -la $BENCH_ROOT/warm" | $BENCH_SFTP >&2
  rm "$BENCH_LOCAL/got"`;

/** The files that rows put, and what their programs need. */
export async function prepareScratch(scratch: string, sizes: Sizes): Promise<void> {
  await writeFile(join(scratch, 'pattern'), pattern);
  await writeFile(join(scratch, 'work'), workProgram);
  const local = join(scratch, 'local');
  await mkdir(join(local, 'small'), { recursive: true });
  await writeFile(
    join(local, 'large'),
    bytesOf({ size: sizes.largeMib * mebibyte, firstBlock: 0 }),
  );
  for (let index = 0; index < sizes.smallFiles; index++) {
    const name = join(local, 'small', String(index).padStart(6, '0'));
    await writeFile(name, bytesOf({ size: smallSize, firstBlock: index }));
  }
}

/**
 * @param name what the row makes begins with it
 * @throws Error where a contestant cannot do it, or did not do what it said
 */
export async function measure(
  stage: Stage,
  link: Link,
  { contestant, row, name }: { contestant: Contestant; row: Row; name: string },
): Promise<Measured> {
  return await verified(stage, { row, name }, () =>
    onMount(stage, link, { contestant, row, name }),
  );
}

async function verified(
  stage: Stage,
  { row, name }: { row: Row; name: string },
  work: () => Promise<Measured>,
): Promise<Measured> {
  try {
    const measured = await work();
    if (measured.seconds !== undefined) await verify(stage, row, name);
    return measured;
  } finally {
    await stage.storage.clear(name);
    await stage.storage.clear('warm');
  }
}

async function onMount(
  stage: Stage,
  link: Link,
  { contestant, row, name }: { contestant: Contestant; row: Row; name: string },
): Promise<Measured> {
  const { storage, scratch, closed, sizes, account } = stage;
  const order = {
    ...{ owner: account, publicKeyFile: `${stage.sshd.identityFile}.pub` },
    ...{ hasRandomTags: storage.hasRandomTags, place: { ...storage.place, url: link.url } },
  };
  for (const file of ['got', 'listing']) {
    await rm(join(scratch, 'local', file), { recursive: true, force: true });
  }
  if (row.copyOf !== undefined) await storage.copy(row.copyOf, name);
  const isChroot = contestant.serves === 'a mount that sshd can chroot to';
  const mount = await mountAfresh(contestant, isChroot ? closed : scratch, order);
  const way = wayTo(stage, contestant, mount);
  const run: Run = (script) =>
    script === undefined ? Promise.resolve(0) : runScript(stage, way, [script, mount.path, name]);
  try {
    const warm = contestant.serves === 'sftp alone' ? warmUpSftp : warmUp;
    for (const script of [warm, row.before?.(sizes)]) {
      if ((await run(script)) === undefined) throw new Error('took too long before');
    }
    const measured = await timed(stage, link, { row, run, mount });
    if (measured.seconds !== undefined) await run(row.after?.(sizes));
    return measured;
  } finally {
    await mount.stop();
  }
}

function wayTo({ sshd, jail }: Stage, { serves }: Contestant, mount: OpenMount): Way {
  const { identityFile } = sshd;
  if (mount.sftpPort !== undefined) return { port: mount.sftpPort, identityFile, root: '' };
  return serves === 'a mount that sshd can chroot to'
    ? { port: jail.port, identityFile: jail.identityFile, root: '' }
    : { port: sshd.port, identityFile, root: mount.path };
}

type OpenMount = Awaited<ReturnType<typeof mountAfresh>>;

async function timed(
  { storage, sizes }: Stage,
  link: Link,
  { row, run, mount }: { row: Row; run: Run; mount: OpenMount },
): Promise<Measured> {
  forgetPeak(mount.pid);
  const own = new CpuMeter([mount.pid]);
  const server = new ServerMeter(storage, link);
  const seconds = await run(row.script(sizes));
  const usage: Usage = {
    ...server.read(),
    cpuSeconds: own.seconds(),
    peakBytes: await peakOf(mount.pid),
  };
  const traffic = link.traffic();
  return { seconds, traffic, usage };
}

/** What lies behind the contestant, from now on. */
class ServerMeter {
  readonly #cpu: CpuMeter | undefined;
  readonly #link: Link;

  constructor({ pids }: Storage, link: Link) {
    link.reset();
    this.#link = link;
    this.#cpu = pids.length === 0 ? undefined : new CpuMeter(pids);
  }

  read(): Pick<Usage, 'serverCpuSeconds' | 'limit'> {
    const limit =
      this.#cpu?.isLimit() === true
        ? 'endpoint'
        : this.#link.busyShare() > limitShare
          ? 'link'
          : undefined;
    return {
      ...(this.#cpu !== undefined && { serverCpuSeconds: this.#cpu.seconds() }),
      ...(limit !== undefined && { limit }),
    };
  }
}

/** The same by the SDK alone, in a process of its own; its start does not count. */
export async function measureFloor(
  stage: Stage,
  link: Link,
  { task, row, name }: { task: FloorTask; row: Row; name: string },
): Promise<Measured> {
  const { storage, sizes } = stage;
  const prefix = row.name.split('-')[1] ?? '';
  const place = { ...storage.place, url: link.url };
  const input: FloorInput = { task, place, sizes, name, prefix };
  return await verified(stage, { row, name }, async () => {
    const child = await Child.start(process.execPath, [floorProgram], {
      env: { ...process.env, BENCH_FLOOR: JSON.stringify(input) },
    });
    await child.untilSaid(/^ready$/m);
    const server = new ServerMeter(storage, link);
    sendSignal(child.pid, 'SIGUSR2');
    const { status, stdout, stderr } = await child.ended;
    if (status !== 0) throw new Error(`status ${status}: ${stderr.trim()}`);
    const { seconds, ...own } = JSON.parse(stdout) as FloorOutput;
    return { seconds, traffic: link.traffic(), usage: { ...server.read(), ...own } };
  });
}

/** @returns seconds, or undefined if it was ended because the limit came first */
async function runScript(
  stage: Stage,
  way: Way,
  [script, path, name]: [string, string, string],
): Promise<number | undefined> {
  const { scratch, limitMs } = stage;
  const env = {
    ...{ PATH: process.env['PATH'], LC_ALL: 'C' },
    ...{ BENCH_SFTP: sftpCommand(stage, way), BENCH_ROOT: way.root },
    ...{ BENCH_LOCAL: join(scratch, 'local'), BENCH_WORK: join(scratch, 'work') },
    BENCH_PATTERN: join(scratch, 'pattern'),
  };
  const began = performance.now();
  const child = await Child.start('sh', ['-euc', script, 'bench', path, name], { env });
  const patience = new AbortController();
  const ending = await Promise.race([
    child.ended,
    sleep(limitMs, undefined, { signal: patience.signal }).catch(() => undefined), // it came in time
  ]);
  patience.abort();
  if (ending === undefined) {
    await endProcesses([...descendantsOf(child.pid), child.pid], 500);
    return undefined;
  }
  if (ending.status !== 0) throw new Error(ending.stderr.trim() || `status ${ending.status}`);
  return (performance.now() - began) / 1000;
}

async function verify({ storage, sizes }: Stage, row: Row, name: string): Promise<void> {
  if (row.leaves === undefined) return;
  const expected = [...row.leaves(sizes, name)];
  // Markers of directories are everybody's own affair.
  const found = (await storage.keys(name)).filter((key) => !key.endsWith('/'));
  if (found.length !== expected.length) {
    throw new Error(`${found.length} objects instead of ${expected.length}`);
  }
  await storage.verify(expected);
}

/** Whoever answers for a port of this machine's own is trusted: SFTPGo has new keys each time. */
function sftpCommand({ account }: Stage, { port, identityFile }: Way): string {
  const options = ['-q', '-b', '-', '-P', String(port)];
  options.push(...clientOptions({ identityFile, knownHostsFile: '/dev/null' }));
  return ['sftp', ...options, '-o', 'StrictHostKeyChecking=no', `${account.name}@127.0.0.1`].join(
    ' ',
  );
}
