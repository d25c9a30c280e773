/**
 * `s3jail setup` that fails, is interrupted, or is done again, with mounts of fstab on this machine: what
 * it made is gone, what was asked has changed, and all else is as it was.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mustRun, runCommand } from '../../lib/demo/child.js';
import { findMount } from '../../lib/host/mount-table.js';
import {
  environment,
  leftovers,
  program,
  readSystem,
  remove,
  setup,
  stage,
} from '../support/setup-command.js';
import { useServer, type TestServer } from '../support/servers.js';

/** A user's words for setup, with a mount of fstab. */
async function wordsFor(
  t: Test,
  server: TestServer,
): Promise<{ user: string; place: string; mountPoint: string; words: string[]; base: string }> {
  const { place, users } = await stage(t);
  const [user] = users;
  const base = join(place, 'sftp');
  const mountPoint = join(base, user);
  await mkdir(join(place, 'temp'));
  const options = `endpoint-url=${server.url},region=us-east-1,temp-dir=${place}/temp`;
  t.teardown(() => remove(user, mountPoint));
  const words = [user, `s3://${server.bucket.name}/${user}/`, '--mount-point', mountPoint];
  words.push('--init', 'fstab', '-o', options);
  return { user, place, base, mountPoint, words };
}

const keep = ['--credentials', 'environment'];

void t.test('what fails is undone, and what the mount said is told', async (t) => {
  const server = await useServer(t, 'embedded');
  const { user, base, words } = await wordsFor(t, server);
  const [before, found] = [await readSystem(), await leftovers(user)];
  const wrong = { ...server.credentials, secretAccessKey: 'wrong' };
  const stranger = { ...server, credentials: { ...wrong, accessKeyId: 'STRANGER' } };
  const cases: [words: string[], as: TestServer | undefined, status: number, said: RegExp][] = [
    [keep, { ...server, credentials: wrong }, 32, /secret key does not belong to the access key/],
    [keep, stranger, 32, /access key is not known/],
    // At boot nobody has the keys of this terminal.
    [[], server, 32, /no credentials found.* --credentials environment keeps them/],
    [[], undefined, 32, /keys for this mount belong in \/etc\/credstore\/s3jail\./],
    [['-o', 'region=eu-north-1'], server, 32, /\S/],
    [keep, undefined, 1, /AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set/],
    [['--credentials', '/etc/hostname'], server, 1, /not the form of ~\/\.aws\/credentials/],
    [['--credentials', '/absent'], server, 1, /--credentials: ENOENT/],
    [['-o', 'log-file=/absent/log'], server, 2, /--log-file: .*make its directory/],
    [['-o', 'temp-dir=/absent/temp/dir'], server, 2, /temporary files: .*--temp-dir/],
    [['-o', `metrics=${new URL(server.url).port}`], server, 2, /--metrics: .*name another port/],
    [
      ['--mount-point', '/tmp/x/y'],
      server,
      2,
      /sshd will refuse .*\/tmp can be written to by group/,
    ],
    [['--mount-point', '/etc/ssh'], server, 2, /\/etc\/ssh.* is not empty/],
    [['--mount-point', '/etc/hostname/x'], server, 2, /\/etc\/hostname/],
    [['--on-demand'], server, 1, /--on-demand: systemd mounts on demand/],
    [['--idle-time', '1min'], server, 1, /--idle-time is for mounts that are made --on-demand/],
  ];
  for (const [more, as, status, said] of cases) {
    const ending = await setup([...words, ...more], as);
    t.equal(ending.status, status, `${more.join(' ')}: ${ending.stderr}`);
    t.match(ending.stderr, said);
    t.notMatch(ending.stderr, /\n {4}at |unexpected failure/);
    t.notOk(ending.stderr.includes(server.credentials.secretAccessKey));
    t.strictSame(await readSystem(), before, 'the machine is as it was');
    t.strictSame(await leftovers(user), found, 'nothing is left');
    t.notOk(existsIn(base), 'nor its directories');
  }
});

function existsIn(path: string): boolean {
  return execFileSync('sh', ['-c', 'test -e "$0" && echo yes || true', path]).length > 0;
}

void t.test('Ctrl-C while the mount is tried undoes what was made', async (t) => {
  const server = await useServer(t, 'embedded');
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const { port } = silent.address() as AddressInfo;
  const { user, words } = await wordsFor(t, server);
  const [before, found] = [await readSystem(), await leftovers(user)];
  const args = [...words, ...keep, '-o', `endpoint-url=http://127.0.0.1:${port}`];
  // As on a terminal: the signal comes to the whole group.
  const child = spawn(process.execPath, [program, 'setup', ...args], {
    env: environment(server),
    detached: true,
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  await Promise.race([once(silent, 'connection'), once(child, 'exit')]);
  t.match(stdout, /^try the mount/m);
  process.kill(-(child.pid ?? 0), 'SIGINT');
  const [status] = (await once(child, 'close')) as [number];
  t.equal(status, 2, stderr);
  t.match(stderr, /^s3jail: stopped by SIGINT$/m);
  t.match(stdout, new RegExp(`^undo: make the user ${user}$`, 'm'));
  t.strictSame(await readSystem(), before);
  t.strictSame(await leftovers(user), found);
});

void t.test('done again it changes what is asked, and keeps what was edited', async (t) => {
  const server = await useServer(t, 'embedded');
  const { user, place, mountPoint, words } = await wordsFor(t, server);
  const made = await setup([...words, ...keep], server);
  t.equal(made.status, 0, made.stderr);
  t.match(made.stdout, new RegExp(`^S3 keys: from /etc/credstore/s3jail.${user}$`, 'm'));
  const block = `/etc/ssh/sshd_config.d/s3jail-${user}.conf`;
  await writeFile(block, `${await readFile(block, 'utf8')}    MaxSessions 3\n`);
  const fstab = await readFile('/etc/fstab', 'utf8');
  const edited = fstab.replace(
    /(_netdev,nofail,uid=s3jail-\S+) 0 0\n$/,
    '$1,x-mine=1 0 2 # hers\n',
  );
  t.not(edited, fstab);
  await writeFile('/etc/fstab', edited);
  const present = async () => {
    const pattern = `^s3jail mount .* ${mountPoint}$`;
    return (await runCommand('pgrep', ['-f', pattern])).stdout.trim();
  };
  const pid = await present();
  t.match(pid, /^\d+$/);

  await mustRun('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(place, 'key')]);
  // Neither the place of the mount nor what makes it has to be said again.
  const brief = [user, `s3://${server.bucket.name}/${user}/`];
  const keyed = await setup([...brief, '--authorized-keys', join(place, 'key.pub')]);
  t.equal(keyed.status, 0, keyed.stderr);
  t.equal(await readFile('/etc/fstab', 'utf8'), edited, 'the line is as she left it');
  t.equal(await present(), pid, 'the mount goes on');
  t.match(await readFile(block, 'utf8'), /^ {4}MaxSessions 3$/m);

  const refused: [string[], number][] = [
    [['-o', 'regoin=x'], 1],
    [['-o', 'endpoint-url=http://127.0.0.1:1'], 32],
    [['-o', 'log-file=/absent/log'], 2],
    [['--mount-point', join(place, 'elsewhere')], 1],
    [['--init', 'systemd'], 1],
  ];
  for (const [more, status] of refused) {
    const ending = await setup([...brief, ...more], server);
    t.equal(ending.status, status, `${more.join(' ')}: ${ending.stderr}`);
    t.equal(await readFile('/etc/fstab', 'utf8'), edited, 'nothing has changed');
    t.equal(await present(), pid, 'and the mount goes on');
  }
  const wrong = { ...server, credentials: { accessKeyId: 'X', secretAccessKey: 'wrong' } };
  const rotated = await setup([...brief, ...keep], wrong);
  t.equal(rotated.status, 32, 'keys that do not work');
  t.equal(await present(), pid);

  const changed = await setup([...brief, '-o', 'metadata-ttl=1s,ro']);
  t.equal(changed.status, 0, changed.stderr);
  const after = edited.replace('x-mine=1', 'x-mine=1,metadata-ttl=1s,ro');
  t.equal(await readFile('/etc/fstab', 'utf8'), after, 'two options more');
  t.not(await present(), pid, 'which needs another mount');
  const { superOptions = [] } = findMount(mountPoint) ?? {};
  t.ok(superOptions.includes('ro') || findMount(mountPoint)?.options.includes('ro'));
  const { status, stderr } = await setup([...brief, '-o', 'rw']);
  t.equal(status, 0, stderr);
  t.equal(await readFile('/etc/fstab', 'utf8'), after.replace(',ro ', ',rw '));
  await writeFile(join(mountPoint, 'file'), 'x');
  t.strictSame(await server.bucket.keys(), [`${user}/file`]);
});

/** A file of this machine's as it is to be, until the test ends. */
async function place(t: Test, path: string, content: string): Promise<void> {
  const before = await readFile(path, 'utf8').catch(() => undefined);
  t.teardown(() => (before === undefined ? rm(path) : writeFile(path, before)));
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
  await writeFile(path, content, { mode: 0o600 });
}

void t.test('defaults and one set of keys serve every mount', async (t) => {
  const server = await useServer(t, 'embedded');
  const { user, mountPoint } = await wordsFor(t, server);
  const { accessKeyId, secretAccessKey } = server.credentials;
  const shared = `[default]\naws_access_key_id=${accessKeyId}\naws_secret_access_key=${secretAccessKey}\n`;
  await place(t, '/etc/credstore/s3jail', shared);
  const defaults = `S3JAIL_ENDPOINT_URL=${server.url}\nS3JAIL_REGION=us-east-1\nS3JAIL_METADATA_TTL=7s\n`;
  await place(t, '/etc/s3jail/defaults', defaults);
  const words = [user, `s3://${server.bucket.name}/${user}/`, '--mount-point', mountPoint];
  const made = await setup([...words, '--init', 'fstab']);
  t.equal(made.status, 0, made.stderr);
  t.match(made.stdout, /^S3 keys: from \/etc\/credstore\/s3jail$/m);
  t.match(await readFile('/etc/fstab', 'utf8'), `s3jail _netdev,nofail,uid=${user} 0 0`);
  await writeFile(join(mountPoint, 'file'), 'x');
  t.strictSame(await server.bucket.keys(), [`${user}/file`]);
  await place(t, '/etc/s3jail/defaults', `${defaults}S3JAIL_REGOIN=x\n`);
  const wrong = await setup([...words, '-o', 'ro']);
  t.match(wrong, { status: 1, stderr: /S3JAIL_REGOIN.*did you mean S3JAIL_REGION/ });
});

void t.test('a user that only NSS knows is taken as it is, and stays', async (t) => {
  const server = await useServer(t, 'embedded');
  const { user, mountPoint, words } = await wordsFor(t, server);
  const uid = 61_000 + (Number.parseInt(user.slice(-3), 16) % 500);
  const record = { userName: user, uid, gid: uid, homeDirectory: '/nonexistent' };
  await mkdir('/run/userdb', { recursive: true });
  await chmod('/run/userdb', 0o755);
  // nss-systemd(8) reads such records; LDAP and SSSD answer the same questions.
  const paths = [`/run/userdb/${user}.user`, `/run/userdb/${uid}.user`] as const;
  await writeFile(paths[0], JSON.stringify(record), { mode: 0o644 });
  await symlink(`${user}.user`, paths[1]);
  t.teardown(() => Promise.all(paths.map((path) => rm(path))));
  t.match(await readlink(paths[1]), user);
  const known = await runCommand('getent', ['passwd', user]);
  if (known.status !== 0) {
    t.comment('nsswitch.conf of this machine does not name nss-systemd');
    return;
  }
  const { '/etc/passwd': passwd } = await readSystem();
  const made = await setup([...words, ...keep], server);
  t.equal(made.status, 0, made.stderr);
  t.match(made.stdout, new RegExp(`^nothing to do: make the user ${user}$`, 'm'));
  t.equal((await readSystem())['/etc/passwd'], passwd);
  const line = await mustRun('stat', ['-fc', '%T', mountPoint]);
  t.match(line.stdout, /fuse/);
  const written = await runCommand('setpriv', [
    ...[`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--inh-caps=-all', '--'],
    ...['sh', '-c', `id -un`],
  ]);
  t.equal(written.stdout.trim(), user);
  await writeFile(join(mountPoint, 'file'), 'x');
  t.equal(
    (await mustRun('stat', ['-c', '%U %u', join(mountPoint, 'file')])).stdout.trim(),
    `${user} ${uid}`,
  );
  const effective = await mustRun('/usr/sbin/sshd', ['-T', '-C', `user=${user},host=h,addr=::1`]);
  t.match(effective.stdout, `chrootdirectory ${mountPoint}\n`);
  t.match(await remove(user, mountPoint), { status: 0 });
  t.equal((await runCommand('getent', ['passwd', user])).status, 0);
});

void t.test('many mounts go together and come back at once', async (t) => {
  const server = await useServer(t, 'embedded');
  const { users, place: base } = await stage(t);
  const count = Number(process.env['TEST_MOUNTS'] ?? '4');
  const names = Array.from({ length: count }, (_, index) => `${users[0]}${index}`);
  const [before, found] = [await readSystem(), await leftovers(users[0])];
  await mkdir(join(base, 'temp'));
  const at = (user: string) => join(base, 'sftp', user);
  const options = `endpoint-url=${server.url},region=us-east-1,temp-dir=${base}/temp`;
  const words = (user: string) => [user, `s3://${server.bucket.name}/${user}/`];
  for (const user of names) {
    t.teardown(() => remove(user, at(user)));
    const more = ['--mount-point', at(user), '--init', 'fstab', '-o', options, ...keep];
    const made = await setup([...words(user), ...more], server);
    t.equal(made.status, 0, made.stderr);
  }
  const mounted = () => names.filter((user) => findMount(at(user)) !== undefined);
  for (const user of names) await writeFile(join(at(user), 'file'), user);
  await mustRun('umount', names.map(at));
  t.strictSame(mounted(), []);
  const { PATH } = process.env;
  const all = await runCommand('mount', ['-a', '-t', 's3jail'], { env: { PATH } });
  t.match(all, { status: 0, stderr: '' });
  t.strictSame(mounted(), names, 'mount -a right after umount mounts all of them');
  for (const user of names) t.equal(await readFile(join(at(user), 'file'), 'utf8'), user);
  // Two at once do not lose each other's line.
  await Promise.all(
    names.map(async (user) => {
      const changed = await setup([...words(user), '-o', 'metadata-ttl=2s']);
      t.equal(changed.status, 0, changed.stderr);
    }),
  );
  const fstab = await readFile('/etc/fstab', 'utf8');
  t.equal(fstab.split('metadata-ttl=2s').length, count + 1);
  for (const user of names) t.match(await remove(user, at(user)), { status: 0 });
  t.strictSame(await readSystem(), before);
  t.strictSame(await leftovers(users[0]), found);
});
