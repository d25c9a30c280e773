/** Homes on a real mount: what is there, whose it is, and who does not get in. */
import '../support/own-users.js';
import { spawn } from 'node:child_process';
import { renameSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { endingOf, run, s3jail } from '../support/command.js';
import { addUser, mountHomes, removeUser, stepsAs, type Step } from '../support/homes.js';
import { until } from '../support/until.js';
import { runPosixSuite } from '../suites/posix-runner.js';

t.setTimeout(900_000);

const [root, alice, alice2, bob] = [0, 5001, 5002, 5003];
addUser('alice', alice, 5050);
addUser('alice2', alice2);
addUser('bob', bob);
addUser('service', 500);

const stepAs = async (uid: number, ...step: Step): Promise<unknown> =>
  (await stepsAs(uid, [step]))[0];

void t.test('a name is a home where a user has it, whatever S3 holds', async (t) => {
  const { server, path, mounted } = await mountHomes(t, { isClosed: false });
  // What that costs is said, once the mount is there.
  await until(() => mounted.log().includes('each step there is asked for'));
  await server.bucket.put('users/alice/kept', 'x');
  await server.bucket.put('users/ghost/file', 'x');
  await server.bucket.put('users/bob', 'an object, and no home');
  const absent = ['ghost', 'service', 'nobody', String(alice), 'ALICE', 'Alice', 'alice ', 'a\nb'];
  for (const name of absent) {
    t.same(
      await stepsAs(root, [
        ['stat', path(name)],
        ['readdir', path(name)],
        ['readFile', path(name, 'file')],
        ['writeFile', path(name, 'new'), 'x'],
      ]),
      ['ENOENT', 'ENOENT', 'ENOENT', 'ENOENT'],
      JSON.stringify(name),
    );
  }
  t.same(await stepsAs(root, [['readdir', path('alice')]]), [['kept']]);
  t.same(await stepsAs(bob, [['readdir', path('bob')]]), [[]], 'it need not be in S3');
  t.same(await stepAs(root, 'readdir', path('')), ['alice', 'bob'], 'those in S3 and in use');
  t.equal(await stepAs(alice, 'readdir', path('')), 'EACCES', 'to root alone');
});

void t.test('the first level is root’s, what is below the user’s', async (t) => {
  const { server, path } = await mountHomes(t, { isClosed: false });
  await stepsAs(alice, [
    ['mkdir', path('alice', 'dir')],
    ['writeFile', path('alice', 'dir', 'file'), 'text'],
  ]);
  const stats = (await stepsAs(root, [
    ['stat', path('')],
    ['stat', path('alice')],
    ['stat', path('alice', 'dir')],
    ['stat', path('alice', 'dir', 'file')],
  ])) as { uid: number; gid: number; mode: number }[];
  t.match(stats, [
    { uid: 0, gid: 0, mode: 0o40755 },
    { uid: 0, gid: 0, mode: 0o40755 },
    { uid: alice, gid: 5050, mode: 0o40755 },
    { uid: alice, gid: 5050, mode: 0o100644 },
  ]);
  t.same(await server.bucket.keys(), ['users/alice/dir/', 'users/alice/dir/file']);
  t.same(
    await stepsAs(alice, [
      ['stat', path('alice', 'etc')],
      ['mkdir', path('alice', 'etc')],
      ['writeFile', path('alice', 'dev'), 'x'],
      ['rename', path('alice', 'dir', 'file'), path('alice', 'lib')],
      ['mkdir', path('alice', 'dir', 'etc')],
    ]),
    ['ENOENT', 'EACCES', 'EACCES', 'EACCES', null],
    'names that sshd looks up in its chroot are reserved in each home',
  );
});

void t.test('nothing is made, removed or renamed in the first level', async (t) => {
  const { path } = await mountHomes(t, { isClosed: false });
  await stepsAs(alice, [['writeFile', path('alice', 'file'), 'x']]);
  for (const uid of [root, alice]) {
    t.same(
      await stepsAs(uid, [
        ['mkdir', path('new')],
        ['writeFile', path('new'), 'x'],
        ['symlink', 'alice', path('new')],
        ['rmdir', path('alice')],
        ['rename', path('alice'), path('bob')],
        ['rename', path('alice'), path('new')],
        ['rename', path('alice', 'file'), path('new')],
        ['link', path('alice', 'file'), path('new')],
      ]),
      Array.from({ length: 8 }, () => 'EPERM'),
      `uid ${uid}`,
    );
  }
  t.same(
    await stepsAs(root, [
      ['rename', path('alice', 'file'), path('bob', 'file')],
      ['rename', path('alice', 'file'), path('alice2', 'file')],
      ['link', path('alice', 'file'), path('bob', 'file')],
      ['readFile', path('alice', 'file')],
    ]),
    ['EXDEV', 'EXDEV', 'EXDEV', 'x'],
  );
});

void t.test('one home’s last file takes nothing with it, and no other home', async (t) => {
  const { server, path } = await mountHomes(t, { isClosed: false });
  await stepsAs(alice, [['writeFile', path('alice', 'file'), 'x']]);
  await stepsAs(alice2, [['writeFile', path('alice2', 'file'), 'y']]);
  await stepsAs(alice, [['unlink', path('alice', 'file')]]);
  t.same(await server.bucket.keys(), ['users/alice2/file'], 'a home needs no marker');
  t.same(await stepsAs(alice, [['readdir', path('alice')]]), [[]]);
  t.same(await stepsAs(alice2, [['readFile', path('alice2', 'file')]]), ['y']);
});

for (const isClosed of [false, true]) {
  const where = isClosed ? 'below a closed directory' : 'in the open';

  void t.test(`${where} nobody gets at what another has just used`, async (t) => {
    const { server, path } = await mountHomes(t, { isClosed, options: ['--metadata-ttl', '1h'] });
    const use = (uid: number) =>
      stepsAs(uid, [
        ['mkdir', path('alice', 'dir')],
        ['writeFile', path('alice', 'dir', 'file'), 'secret'],
        ['readFile', path('alice', 'dir', 'file')],
        ['readdir', path('alice', 'dir')],
        ['stat', path('alice', 'dir', 'file')],
      ]);
    t.match(await use(isClosed ? root : alice), [null, null, 'secret', ['file'], { size: 6 }]);
    await stepsAs(root, [['writeFile', path('bob', 'own'), 'his']]);
    const refused = await stepsAs(bob, [
      ['stat', path('alice')],
      ['readdir', path('alice')],
      ['access', path('alice')],
      ['stat', path('alice', 'dir')],
      ['readdir', path('alice', 'dir')],
      ['stat', path('alice', 'dir', 'file')],
      ['readFile', path('alice', 'dir', 'file')],
      ['open', path('alice', 'dir', 'file'), 'r+'],
      ['writeFile', path('alice', 'dir', 'new'), 'x'],
      ['writeFile', path('alice', 'dir', 'file'), 'x'],
      ['truncate', path('alice', 'dir', 'file')],
      ['unlink', path('alice', 'dir', 'file')],
      ['rename', path('alice', 'dir', 'file'), path('bob', 'file')],
      ['rename', path('bob', 'own'), path('alice', 'own')],
      ['link', path('alice', 'dir', 'file'), path('bob', 'file')],
      ['rmdir', path('alice', 'dir')],
      ['utimes', path('alice', 'dir', 'file'), 0, 0],
      ['chmod', path('alice', 'dir', 'file'), 0o777],
      ['readFile', path('bob', '..', 'alice', 'dir', 'file')],
    ]);
    t.same([...new Set(refused)], ['EACCES']);
    t.same(await server.bucket.keys(), [
      'users/alice/dir/',
      'users/alice/dir/file',
      'users/bob/own',
    ]);
  });

  void t.test(`${where} what was opened is of no use to another`, async (t) => {
    const { path } = await mountHomes(t, { isClosed, options: ['--metadata-ttl', '1h'] });
    await stepsAs(root, [
      ['mkdir', path('alice', 'dir')],
      ['writeFile', path('alice', 'dir', 'file'), 'secret'],
    ]);
    // Opened by root, and kept by one who becomes bob, as a descriptor is that is passed on.
    const handedOn = `
      const fs = require('fs');
      const [dir, home] = process.argv.slice(1);
      const directory = fs.openSync(dir, 'r');
      const file = fs.openSync(dir + '/file', 'r+');
      process.chdir(dir);
      fs.statSync(dir + '/file');
      const list = fs.opendirSync(dir, { bufferSize: 1 });
      process.setgid(${bob}); process.setuid(${bob});
      const tried = (work) => { try { return work() ?? null; } catch (error) { return error.code; } };
      process.stdout.write(JSON.stringify([
        tried(() => fs.readSync(file, Buffer.alloc(10), 0, 10, 0)),
        tried(() => fs.writeSync(file, 'x')),
        tried(() => fs.ftruncateSync(file, 0)),
        tried(() => fs.readFileSync('/proc/self/fd/' + directory + '/file', 'utf8')),
        tried(() => fs.readdirSync('/proc/self/fd/' + directory)),
        tried(() => fs.readFileSync('/proc/self/cwd/file', 'utf8')),
        tried(() => fs.readFileSync('file', 'utf8')),
        tried(() => fs.readdirSync('.')),
        tried(() => fs.readdirSync('..')),
        tried(() => fs.writeFileSync('new', 'x')),
        tried(() => list.readSync()),
      ]));`;
    const child = spawn(process.execPath, ['-e', handedOn, path('alice', 'dir'), path('bob')]);
    const { stdout, stderr } = await endingOf(child);
    t.equal(stderr, '');
    t.same([...new Set(JSON.parse(stdout) as unknown[])], ['EACCES'], stdout);
  });
}

void t.test('a refused look does not take the directory from under its user', async (t) => {
  const { path } = await mountHomes(t, { isClosed: false });
  const inHome = spawn(
    'setpriv',
    [
      ...['--reuid', String(alice), '--regid', String(alice), '--clear-groups', '--'],
      ...['sh', '-c', `cd "$0" && echo in >&2 && read line && exec /bin/pwd -P`, path('alice')],
    ],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  t.teardown(() => inHome.kill('SIGKILL'));
  const ending = endingOf(inHome);
  await new Promise((there) => inHome.stderr.once('data', there));
  t.same(await stepsAs(bob, [['stat', path('alice')]]), ['EACCES']);
  inHome.stdin.end('go\n');
  t.match(await ending, { status: 0, stdout: `${path('alice')}\n` });
});

void t.test('below a closed directory the kernel answers from memory', async (t) => {
  const { path, mounted } = await mountHomes(t, {
    isClosed: true,
    options: ['--metadata-ttl', '1h'],
  });
  const steps: Step[] = Array.from({ length: 30 }, () => ['stat', 'dir/file']);
  await stepsAs(root, [
    ['mkdir', path('alice', 'dir')],
    ['writeFile', path('alice', 'dir', 'file'), 'x'],
  ]);
  const asked = async (): Promise<number> => {
    const { driver } = await reportOf(mounted.mountPoint);
    return (driver.counters['LOOKUP'] ?? 0) + (driver.counters['GETATTR'] ?? 0);
  };
  const before = await asked();
  const script = `process.chdir(process.argv[1]); for (const [, path] of JSON.parse(process.argv[2])) fs.statSync(path)`;
  await endingOf(spawn(process.execPath, ['-e', script, path('alice'), JSON.stringify(steps)]));
  const cost = (await asked()) - before;
  t.ok(cost <= 5, `${cost} requests for ${steps.length} steps`);
});

void t.test('users come, go and change, and what is open ends with them', async (t) => {
  const { path, mounted } = await mountHomes(t, {
    isClosed: true,
    options: ['--metadata-ttl', '1h'],
  });
  t.equal(await stepAs(root, 'stat', path('carol')), 'ENOENT');
  addUser('carol', 5010);
  await until(
    async () => (await stepAs(root, 'writeFile', path('carol', 'file'), 'hers')) === null,
  );

  // She reads what the kernel has in memory, and goes on reading.
  const reader = spawn('node', ['-e', readsOn, path('carol', 'file'), '5010'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => reader.kill('SIGKILL'));
  const mapper = spawn('/usr/bin/python3', ['-c', mapsOn, path('carol', 'file'), '5010'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => mapper.kill('SIGKILL'));
  const ended = new Promise((end) => mapper.once('exit', (_code, signal) => end(signal)));
  const ending = endingOf(reader);
  await new Promise((there) => reader.stdout.once('data', there));
  await new Promise((there) => mapper.stdout.once('data', there));
  removeUser('carol');
  addUser('dave', 5010);
  t.match(await ending, { stdout: 'hers EACCES' });
  t.equal(await ended, 'SIGBUS', 'what is mapped is gone too');
  await until(async () => (await stepAs(root, 'stat', path('carol', 'file'))) === 'ENOENT');
  t.equal(await stepAs(root, 'stat', path('carol')), 'ENOENT', 'nobody has it');
  t.same(await stepAs(root, 'readdir', path('dave')), [], 'his number was hers, his home was not');

  addUser('carol', 5011);
  await until(async () => (await stepAs(root, 'stat', path('carol'))) !== 'ENOENT');
  t.match(await stepAs(root, 'stat', path('carol', 'file')), { uid: 5011 });
  t.match((await reportOf(mounted.mountPoint)).homes.used.map(({ name }) => name).sort(), [
    'carol',
    'dave',
  ]);
  removeUser('carol');
  removeUser('dave');
});

void t.test('a user database that fails holds up nobody who is known', async (t) => {
  const { path } = await mountHomes(t, { isClosed: true });
  await stepsAs(root, [['writeFile', path('alice', 'file'), 'x']]);
  writeFileSync('/etc/nsswitch.conf', 'passwd: files\ngroup: files\n');
  renameSync('/etc/passwd', '/etc/passwd.aside');
  try {
    t.equal(await stepAs(root, 'stat', path('bob')), 'EIO');
    t.equal(await stepAs(root, 'readFile', path('alice', 'file')), 'x');
  } finally {
    renameSync('/etc/passwd.aside', '/etc/passwd');
  }
  await until(async () => (await stepAs(root, 'stat', path('bob'))) !== 'EIO');
});

void t.test('a home is as POSIX as a mount', async (t) => {
  const { path } = await mountHomes(t, { isClosed: true });
  await runPosixSuite(t, path('alice'));
});

/** Reads a file again and again, until that is refused. */
const readsOn = `
  const fs = require('fs');
  const file = fs.openSync(process.argv[1], 'r');
  process.setgid(Number(process.argv[2])); process.setuid(Number(process.argv[2]));
  const bytes = Buffer.alloc(4);
  fs.readSync(file, bytes, 0, 4, 0);
  process.stdout.write(bytes.toString());
  const again = () => {
    try { fs.readSync(file, bytes, 0, 4, 0); setTimeout(again, 20); }
    catch (error) { process.stdout.write(' ' + error.code); }
  };
  again();`;

/** The same of what is mapped into memory, where the kernel asks nobody. */
const mapsOn = `
import mmap, os, sys, time
file = open(sys.argv[1], 'rb')
memory = mmap.mmap(file.fileno(), 4, prot=mmap.PROT_READ)
os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
print(memory[:4], flush=True)
while True:
    memory[:4]
    time.sleep(0.02)
`;

interface Report {
  readonly driver: { readonly counters: Readonly<Record<string, number>> };
  readonly homes: { readonly used: readonly { readonly name: string }[] };
}

async function reportOf(mountPoint: string): Promise<Report> {
  const { stdout } = await run(s3jail, ['status', mountPoint, '--json']);
  const [{ report }] = JSON.parse(stdout) as [{ report: Report }];
  return report;
}
