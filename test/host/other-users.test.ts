/**
 * Another user of this machine, who means harm: what that user writes is found by `s3jail status` and
 * `s3jail unmount` of root's, and by the unit that serves the metrics. A real mount of a real user, whose
 * record and socket are then tampered with.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, chown, mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makeAccount, type Account } from '../../lib/demo/account.js';
import { mountName } from '../../lib/host/mount-name.js';
import { terminate, userOf } from '../../lib/host/process-identity.js';
import { findRecord } from '../../lib/host/runtime-record.js';
import type { MountStatus } from '../../lib/status/ask.js';
import { unitText } from '../../lib/setup/unit.js';
import { useMachine } from '../support/machine.js';
import { endingOf, environment, hasEnded, Place, run, s3jail } from '../support/command.js';
import { checkByPromtool } from '../support/promtool.js';
import { until } from '../support/until.js';

t.setTimeout(900_000);

// They open a device to everybody.
await useMachine(t);
const alice = await makeAccount('s3jail-test');
const bob = await makeAccount('s3jail-test');
// Of an earlier user of these numbers, whose test was killed or mounted with --run-as.
const removeRecords = async () => {
  const names = readdirSync('/tmp').filter((name) => /^s3jail-\d+(\.|$)/.test(name));
  const own = [alice, bob].map(({ uid }) => `s3jail-${uid}`);
  for (const name of names.filter((each) => own.includes(each.replace(/\..*/, '')))) {
    await rm(join('/tmp', name), { recursive: true, force: true });
  }
  for (const name of own) await rm(join('/run', name), { recursive: true, force: true });
};
t.beforeEach(removeRecords);
t.teardown(async () => {
  await removeRecords();
  await alice.remove();
  await bob.remove();
});

/** Where a user without a login keeps records. */
function directoryOf(uid: number): string {
  return `/tmp/s3jail-${uid}`;
}

function recordOf(uid: number, mountPoint: string): string {
  return join(directoryOf(uid), `${mountName(mountPoint)}.json`);
}

function startAs(t: Test, { uid, gid }: Account, ...command: string[]): ChildProcess {
  const identity = ['--reuid', String(uid), '--regid', String(gid), '--clear-groups', '--'];
  const env = { ...environment({}), XDG_RUNTIME_DIR: '' };
  const child = spawn('setpriv', [...identity, ...command], {
    cwd: '/',
    env,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

const shell = (t: Test, who: Account, script: string, ...args: string[]) =>
  endingOf(startAs(t, who, 'sh', '-c', script, 'sh', ...args));

const node = (t: Test, who: Account, script: string, ...args: string[]) =>
  startAs(t, who, process.execPath, '-e', script, ...args);

/** A process that sleeps, as a record names it. */
async function sleeper(t: Test, who?: Account): Promise<{ pid: number; startTime: string }> {
  const child =
    who === undefined
      ? spawn('sleep', ['infinity'], { stdio: 'ignore' })
      : startAs(t, who, 'sleep', 'infinity');
  t.teardown(() => child.kill('SIGKILL'));
  const pid = child.pid ?? 0;
  const uid = who?.uid ?? 0;
  const statOf = () => readFileSync(`/proc/${pid}/stat`, 'latin1');
  await until(() => readFileSync(`/proc/${pid}/status`, 'latin1').includes(`Uid:\t${uid}\t`));
  await until(() => statOf().includes('(sleep)'));
  return { pid, startTime: statOf().split(' ')[21] ?? '' };
}

/** A mount of alice's own, without root, and one of root's beside it. */
async function makeMounts(t: Test): Promise<{ hers: Place; roots: Place }> {
  // As udev leaves it; machines without udev keep it for root.
  const { mode } = await stat('/dev/fuse');
  t.teardown(() => chmod('/dev/fuse', mode & 0o777));
  await chmod('/dev/fuse', 0o666);
  const hers = await Place.make(t);
  await chown(hers.base, alice.uid, alice.gid);
  await chown(hers.mountPoint, alice.uid, alice.gid);
  const args = ['mount', 'bucket', hers.mountPoint, ...hers.options, '--log-file', hers.log];
  const mount = startAs(t, alice, process.execPath, s3jail, ...args, '--driver', 'fuse-native');
  const { status, stderr } = await endingOf(mount);
  if (status !== 0) throw new Error(stderr);
  const pid = findRecord(hers.mountPoint, alice.uid)?.state.pid ?? 0;
  t.teardown(() => {
    if (!hasEnded(pid)) process.kill(pid, 'SIGKILL');
  });
  const roots = await Place.make(t);
  await roots.mount(t);
  return { hers, roots };
}

async function statusOf(
  t: Test,
  { hers, roots }: { hers: Place; roots: Place },
): Promise<{ theirs: MountStatus | undefined; text: string }> {
  const json = await run(s3jail, ['status', '--json']);
  const { stdout } = await run(s3jail, ['status']);
  for (const text of [json.stdout, stdout]) {
    t.notMatch(text, /[^\P{Cc}\n]|[\u2028\u2029\p{Bidi_Control}]/u, 'nothing steers a terminal');
  }
  const all = JSON.parse(json.stdout) as MountStatus[];
  const own = all.find(({ mountPoint }) => mountPoint === roots.mountPoint);
  t.match(own, { state: 'mounted', report: { version: String } }, 'root sees the mount of root');
  t.match(stdout, new RegExp(`^mounted .* ${roots.mountPoint}$`, 'm'));
  t.equal(json.stderr, '');
  return { theirs: all.find(({ mountPoint }) => mountPoint === hers.mountPoint), text: stdout };
}

/** @returns whether hers is up, as the unit finds it with the rights that it leaves itself */
async function isUpInMetrics(
  t: Test,
  { hers, roots }: { hers: Place; roots: Place },
): Promise<number | undefined> {
  const unit = await unitText('s3jail-metrics.service');
  const [, names = ''] = /^CapabilityBoundingSet=(.+)$/m.exec(unit) ?? [];
  const kept = names.split(' ').map((name) => `+${name.replace(/^CAP_/, '').toLowerCase()}`);
  const rights = [`--bounding-set=${['-all', ...kept].join(',')}`, '--no-new-privs'];
  const scrape = spawn('setpriv', [...rights, process.execPath, s3jail, 'metrics'], {
    env: environment({}),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { status, stdout: page, stderr } = await endingOf(scrape);
  t.strictSame([status, stderr], [0, '']);
  checkByPromtool(t, 'the metrics', ['check', 'metrics'], page);
  const upOf = ({ mountPoint }: Place): number | undefined => {
    const lines = [...page.matchAll(/^s3jail_up\{mount="([^"]+)",source="[^"]*"\} ([01])$/gm)];
    const values = lines.flatMap(([, mount, value]) => (mount === mountPoint ? Number(value) : []));
    t.ok(values.length <= 1, 'a mount counts once');
    return values[0];
  };
  t.equal(upOf(roots), 1, 'the mount of root is there');
  t.match(page, new RegExp(`^s3jail_open_handles\\{mount="${roots.mountPoint}"\\} 0$`, 'm'));
  return upOf(hers);
}

void t.test('a mount of another user is found, asked and ended', async (t) => {
  const mounts = await makeMounts(t);
  const { hers } = mounts;
  t.equal(await isUpInMetrics(t, mounts), 1);
  t.match((await statusOf(t, mounts)).theirs, { state: 'mounted', report: { handles: 0 } });
  t.match(await run(s3jail, ['unmount', hers.mountPoint]), { status: 0, stderr: '' });
  t.notOk(existsSync(recordOf(alice.uid, hers.mountPoint)));
});

void t.test('whatever a user puts in the place of a record, it hides no other mount', async (t) => {
  const mounts = await makeMounts(t);
  const path = recordOf(alice.uid, mounts.hers.mountPoint);
  const good = readFileSync(path, 'utf8');
  const state = JSON.parse(good) as Record<string, unknown>;
  const put = 'printf %s "$2" >"$1"';
  const evil = 'x\x1b[2J\x9b2J\u202e\n';
  const traps: readonly (readonly [name: string, script: string, content?: string])[] = [
    ['nothing', 'rm "$1"'],
    ['3 GB', 'truncate -s 3G "$1"'],
    ['a link', 'ln -sf /etc/shadow "$1"'],
    ['a device', 'ln -sf /dev/zero "$1"'],
    ['a pipe', 'rm "$1" && mkfifo "$1"'],
    ['a directory', 'rm "$1" && mkdir "$1"'],
    ['no JSON', put, '{'],
    ['null', put, 'null'],
    ['depth', put, '['.repeat(100_000)],
    ['missing fields', put, JSON.stringify({ pid: state['pid'], startTime: state['startTime'] })],
    ['wrong kinds', put, JSON.stringify({ ...state, notStored: [{ a: 1 }], progress: 'x' })],
    ['letters', put, JSON.stringify({ ...state, source: evil, progress: evil, share: 0.5 })],
    ['a file for the directory', 'rm -r "${1%/*}"; touch "${1%/*}"'],
    ['a link for the directory', 'd=${1%/*}; rm -r "$d"; ln -s /root "$d"'],
  ];
  for (const [name, script, content = ''] of traps) {
    t.comment(name);
    const restored = `d=\${1%/*}; [ -d "$d" ] && [ ! -L "$d" ] || { rm -f "$d"; mkdir -m 700 "$d"; }`;
    const trap = `${restored}; rm -rf "$1"; printf %s "$3" >"$1"; ${script}`;
    t.match(await shell(t, alice, trap, path, content, good), { status: 0, stderr: '' });
    await statusOf(t, mounts);
    await isUpInMetrics(t, mounts);
  }
});

void t.test('whatever answers in the place of a mount, it hides no other', async (t) => {
  const mounts = await makeMounts(t);
  const { hers } = mounts;
  const record = findRecord(hers.mountPoint, alice.uid);
  const socket = record?.socketPath ?? '';
  const report = (await statusOf(t, mounts)).theirs?.report;
  const evil = 'x\x1b[2J\x9b2J\u202e\n';
  const without = ['driver', 'uploads', 'problems', 'since'].map((key) => ({
    ...report,
    [key]: undefined,
  }));
  const bodies: readonly unknown[] = [
    ...without.map((each) => JSON.stringify(each)),
    JSON.stringify({ ...report, version: evil, driver: { ...report?.driver, limits: [evil] } }),
    JSON.stringify({
      ...report,
      problems: [{ time: evil, level: evil, message: evil, fields: 1 }],
    }),
    JSON.stringify({ ...report, uploads: {} }),
    `{"mountPoint":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
    'no JSON',
    `s3jail_open_handles{mount="${mounts.roots.mountPoint}"} 7\n`,
    `s3jail_open_handles 7"\n# TYPE s3jail_open_handles histogram\n`,
    '',
    undefined,
  ];
  for (const body of bodies) {
    // Without a body: one that does not end.
    const server = node(
      t,
      alice,
      `const [socket, body] = process.argv.slice(1);
       const fs = require('fs');
       fs.rmSync(socket, { force: true });
       require('http').createServer((request, response) => {
         if (body !== undefined) return response.end(body);
         const more = () => { while (response.write('x'.repeat(1e6))); };
         response.on('drain', more);
         more();
       }).listen(socket, () => console.log('ready'));`,
      socket,
      ...(typeof body === 'string' ? [body] : []),
    );
    await new Promise((ready) => server.stdout?.once('data', ready));
    const { theirs } = await statusOf(t, mounts);
    t.equal(theirs?.mountPoint, hers.mountPoint, String(body).slice(0, 60));
    t.equal(await isUpInMetrics(t, mounts), 0);
    server.kill('SIGKILL');
  }
  // A socket of root's, which alice may not ask.
  const roots = findRecord(mounts.roots.mountPoint, undefined)?.socketPath ?? '';
  t.match(await shell(t, alice, 'rm -f "$1"; ln -s "$2" "$1"', socket, roots), { status: 0 });
  const { theirs } = await statusOf(t, mounts);
  t.match(theirs, { state: 'silent', hint: /EACCES/ });
});

void t.test('no record makes root end a process that its user could not end', async (t) => {
  const victim = await sleeper(t);
  const bobs = await sleeper(t, bob);
  const own = await sleeper(t, alice);
  const mountPoint = '/srv/none';
  const path = recordOf(alice.uid, mountPoint);
  const state = { mountPoint, source: 's3://bucket/', phase: 'mounted' };
  const record = (identity: object) => JSON.stringify({ ...state, ...identity });
  const put = 'mkdir -pm 700 "${1%/*}"; printf %s "$2" >"$1"';
  t.match(await shell(t, alice, put, path, record(victim)), { status: 0, stderr: '' });
  t.equal(findRecord(mountPoint, alice.uid), undefined, 'a process of root');
  await shell(t, alice, 'printf %s "$2" >"$1"', path, record(bobs));
  t.equal(findRecord(mountPoint, alice.uid), undefined, 'a process of a third user');
  t.throws(() => terminate(victim, alice), { code: 'EPERM' }, 'should it be believed yet');
  t.throws(() => terminate(bobs, alice), { code: 'EPERM' });

  // Named in turn, as quick as can be: what was checked is what is used.
  const flipping = node(
    t,
    alice,
    `const [path, ...texts] = process.argv.slice(1);
     const fs = require('fs');
     texts.forEach((text, index) => fs.writeFileSync(path + index, text));
     for (let round = 0; ; round++) {
       fs.copyFileSync(path + (round % 2), path + '.new');
       fs.renameSync(path + '.new', path);
       if (round === 10) console.log('ready');
     }`,
    path,
    record(own),
    record(victim),
  );
  await new Promise((ready) => flipping.stdout?.once('data', ready));
  let found = 0;
  for (let round = 0; round < 5000; round++) {
    const one = findRecord(mountPoint, alice.uid);
    if (one === undefined) continue;
    found += 1;
    if (one.state.pid !== own.pid || one.read()?.pid === victim.pid) t.fail('another process');
    if (userOf(one.state) !== alice.uid) t.fail('a process of another user');
  }
  flipping.kill('SIGKILL');
  t.ok(found > 100, `${found} times it named her own`);
  t.notOk(hasEnded(victim.pid));
  t.notOk(hasEnded(bobs.pid));

  await shell(t, alice, 'printf %s "$2" >"$1"', path, record(own));
  const last = findRecord(mountPoint, alice.uid);
  if (last !== undefined) terminate(last.state, last.namedBy);
  await until(() => hasEnded(own.pid));
  t.pass('her own is ended');
});

void t.test(
  'a directory that a third user made in /tmp is not hers, and hinders nobody',
  async (t) => {
    const own = await sleeper(t, alice);
    const mountPoint = '/srv/none';
    await rm(directoryOf(alice.uid), { recursive: true, force: true });
    const state = { ...own, mountPoint, source: 's3://bucket/', phase: 'mounted' };
    const script = 'mkdir -m 755 "${1%/*}" && printf %s "$2" >"$1" && chmod 644 "$1"';
    const path = recordOf(alice.uid, mountPoint);
    t.match(await shell(t, bob, script, path, JSON.stringify(state)), { status: 0, stderr: '' });
    t.equal(findRecord(mountPoint, alice.uid), undefined);
    const mounts = await makeMounts(t);
    t.match((await statusOf(t, mounts)).theirs, { state: 'mounted', report: { handles: 0 } });
    t.match(await run(s3jail, ['unmount', mounts.hers.mountPoint]), { status: 0, stderr: '' });
    t.ok(existsSync(path), 'what is not hers is left');
    await rm(directoryOf(alice.uid), { recursive: true });
    const others = readdirSync('/tmp').filter((name) => name.startsWith(`s3jail-${alice.uid}.`));
    t.equal(others.length, 1);
    for (const name of others) await rm(join('/tmp', name), { recursive: true });
  },
);

void t.test(
  'the user of a --run-as mount has no word in which process it is, nor in others',
  async (t) => {
    const place = await Place.make(t);
    const temp = join(place.base, 'temp');
    await mkdir(temp, { mode: 0o777 });
    await chown(temp, alice.uid, alice.gid);
    const runAs = ['--run-as', alice.name];
    const mount = ['mount', 'bucket', place.mountPoint, ...place.options, '--log-file', place.log];
    t.teardown(() => rm(`/run/s3jail-${alice.uid}`, { recursive: true, force: true }));
    await chmod(place.base, 0o755);
    const more = [...runAs, '--access', 'any'];
    t.match(await run(s3jail, [...mount, ...more]), { status: 0, stderr: '' });
    const { pid } = place;
    const own = await sleeper(t, alice);
    const path = join(`/run/s3jail-${alice.uid}/mounts`, `${mountName(place.mountPoint)}.json`);
    const forged = JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...own });
    const other = await Place.make(t);
    // For her own mount another process of hers; and for the mount of somebody else.
    for (const name of [place.mountPoint, other.mountPoint]) {
      const target = join(`/run/s3jail-${alice.uid}/mounts`, `${mountName(name)}.json`);
      const text = forged.replace(place.mountPoint, name);
      t.match(await shell(t, alice, 'printf %s "$2" >"$1"', target, text), { status: 0 });
    }
    t.equal(findRecord(place.mountPoint, undefined)?.state.pid, pid);
    await other.mount(t);
    t.not(other.pid, own.pid, 'a new mount is not refused, and is found');
    t.match(await run(s3jail, ['unmount', other.mountPoint]), { status: 0, stderr: '' });
    t.match(await run(s3jail, ['unmount', place.mountPoint]), { status: 0, stderr: '' });
    t.ok(hasEnded(pid ?? 0));
    t.notOk(hasEnded(own.pid), 'the process named there lives');
    t.equal(findRecord(place.mountPoint, undefined), undefined);
  },
);
