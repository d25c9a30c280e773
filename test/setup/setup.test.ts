/**
 * `s3jail setup` on this machine: real users, the real /etc, the machine's own sshd_config with an
 * sshd of the test on top of it. Everything is as before when the test ends.
 */
import { existsSync, statSync } from 'node:fs';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { mustRun, runCommand } from '../../lib/demo/child.js';
import { findMount } from '../../lib/host/mount-table.js';
import { unitText } from '../../lib/setup/unit.js';
import { useMachine } from '../support/machine.js';
import {
  program,
  readSystem,
  remove,
  setup,
  stage,
  stageWithBucket,
} from '../support/setup-command.js';
import { startSshd } from '../support/system-sshd.js';

void t.test('two users of one bucket see their own files alone', async (t) => {
  const { place: base, users, before, server, keyFile, options } = await stageWithBucket(t);
  const place = join(base, 'sftp');
  const { bucket } = server;
  const argsOf = (user: string) => [
    ...[user, `s3://${bucket.name}/${user}/`, '--mount-point', join(place, user)],
    ...['--init', 'fstab', '--authorized-keys', `${keyFile}.pub`, '-o', options],
    ...['--credentials', 'environment'],
  ];

  const [alice, bob] = users;
  const planned = await setup([...argsOf(alice), '--dry-run'], server);
  t.equal(planned.status, 0, planned.stderr);
  t.match(planned.stdout, new RegExp(`^would make the user ${alice}$`, 'm'));
  t.strictSame(await readSystem(), before, 'a dry run changes nothing');
  t.notOk(existsSync(join(place, alice)));

  for (const user of users) {
    const made = await setup(argsOf(user), server);
    t.equal(made.status, 0, made.stderr || made.stdout);
    t.match(made.stdout, new RegExp(`^mount ${join(place, user)}$`, 'm'));
    const again = await setup(argsOf(user), server);
    t.equal(again.status, 0, again.stderr);
    t.notMatch(again.stdout, /^(make|write|mount|tell|told)/m, 'the second time nothing is done');
  }
  t.match(statSync(place), { uid: 0, mode: 0o40700 }, 'only root may enter what setup made');
  const overlap = await setup(['s3jail-c', bucket.name, '-o', `endpoint-url=${server.url}`]);
  t.equal(overlap.status, 1);
  t.match(overlap.stderr, /would see the other's files/);

  const sftp = await startSshd(t, base, keyFile);
  for (const user of users) {
    const ending = await sftp(user, ['put /etc/hostname mine', 'ls -1 /', `-ls ../${bob}`]);
    t.equal(ending.status, 0, ending.stderr);
    t.match(ending.stdout, /^\/?mine$/m);
  }
  t.strictSame(await bucket.keys(), [`${alice}/mine`, `${bob}/mine`].sort());
  const stranger = ['-u', bob, '--', 'ls', join(place, alice)];
  t.match(await runCommand('runuser', stranger), { status: 2, stderr: /Permission denied/ });
  const found = await runCommand('findmnt', ['-no', 'SOURCE,FSTYPE', join(place, alice)]);
  t.match(found.stdout, /^s3:\/\/\S+ +fuse\.s3jail$/m);
  await mustRun('umount', [join(place, alice)]);
  t.equal(findMount(join(place, alice)), undefined);
  const { PATH } = process.env;
  const all = await runCommand('mount', ['-a', '-t', 's3jail'], { env: { PATH } });
  t.match(all, { status: 0, stderr: '' }, 'mount -a');
  const mounted = findMount(join(place, alice));
  const log = mounted === undefined ? await readFile(join(base, 'log'), 'utf8') : '';
  t.ok(mounted, 'mounts what is in fstab', { log: log.slice(-3000), all });

  for (const user of users) {
    const removed = await remove(user, join(place, user));
    t.equal(removed.status, 0, removed.stderr);
    t.equal(findMount(join(place, user)), undefined);
    t.notOk(existsSync(join(place, user)), 'the mount point is gone');
    t.notOk(existsSync(`/etc/ssh/sshd_config.d/s3jail-${user}.conf`));
  }
  t.strictSame(await readSystem(), before, 'the machine is as it was');
  t.equal((await bucket.keys()).length, 2, 'the objects stay');
});

void t.test('for systemd it writes the unit and a private environment file', async (t) => {
  const { place, users } = await stage(t);
  const [user] = users;
  const mountPoint = join(place, user);
  const environment = `/etc/s3jail/${user}.env`;
  const args = [user, 'bucket/x', '--init', 'systemd', '--mount-point', mountPoint];
  const made = await setup([...args, '-o', 'region=us-east-1,read-only']);
  t.equal(made.status, 0, made.stderr);
  const text = await readFile(environment, 'utf8');
  const own = `MOUNTPOINT=${mountPoint}\nS3JAIL_SOURCE=s3://bucket/x/\nS3JAIL_UID=${user}\n`;
  t.ok(text.endsWith(`${own}S3JAIL_REGION=us-east-1\nS3JAIL_READ_ONLY=yes\n`), text);
  t.equal((await stat(environment)).mode & 0o777, 0o600);
  t.ok(existsSync(`/etc/systemd/system/multi-user.target.wants/s3jail@${user}.service`));
  const unit = await readFile('/etc/systemd/system/s3jail@.service', 'utf8');
  t.match(unit, new RegExp(`^ExecStart=${process.execPath} ${program} mount`, 'm'));
  const metrics = await readFile('/etc/systemd/system/s3jail-metrics.service', 'utf8');
  t.match(metrics, new RegExp(`^ExecStart=${process.execPath} ${program} metrics --listen `, 'm'));
  t.notOk(existsSync('/etc/systemd/system/multi-user.target.wants/s3jail-metrics.service'));

  await writeFile(environment, `${text}AWS_PROFILE=mine\n`, { mode: 0o600 });
  const changed = await setup([...args, '-o', 'region=eu-central-1']);
  t.equal(changed.status, 0, changed.stderr);
  const after = await readFile(environment, 'utf8');
  t.match(after, /^S3JAIL_REGION=eu-central-1$/m);
  t.match(after, /^AWS_PROFILE=mine$/m, "the administrator's lines stay");

  t.equal((await remove(user, mountPoint)).status, 0);
  t.notOk(existsSync(environment));
  t.notOk(existsSync(`/etc/systemd/system/multi-user.target.wants/s3jail@${user}.service`));
});

void t.test('the unit that a Debian package brought is left to the package', async (t) => {
  await useMachine(t);
  const packaged = '/usr/lib/systemd/system/s3jail@.service';
  if (existsSync(packaged) || existsSync('/etc/systemd/system/s3jail@.service')) {
    const reason = 'this machine has a unit already';
    t.pass(`a unit of the package: not run, ${reason}`, { skip: reason });
    return;
  }
  const plan = ['s3jail-x', 'bucket/x', '--init', 'systemd', '--dry-run'];
  t.match((await setup(plan)).stdout, /^would write .*s3jail@\.service$/m);
  t.teardown(() => rm(packaged));
  await writeFile(packaged, await unitText());
  const planned = await setup(plan);
  t.match(planned, { status: 0, stdout: /^would write \/etc\/s3jail\/s3jail-x\.env$/m });
  t.notMatch(planned.stdout, /would write .*s3jail@\.service$/m);
});

void t.test('users may have every name that a machine gives them', async (t) => {
  const { place, users } = await stage(t);
  const id = users[0].slice(-6);
  for (const user of [
    `a.s3jail-test${id}`,
    `S3jail-Test${id}`,
    `1s3jail-${id}`,
    `u@s3jail-${id}.x`,
  ]) {
    const mountPoint = join(place, user);
    t.teardown(() => remove(user, mountPoint));
    const args = [user, `bucket/${user}`, '--init', 'systemd', '--mount-point', mountPoint];
    const made = await setup(args);
    t.equal(made.status, 0, made.stderr || made.stdout);
    t.match(await readFile(`/etc/s3jail/${user}.env`, 'utf8'), `S3JAIL_UID=${user}\n`);
    t.match(await runCommand('id', ['-u', user]), { status: 0 });
    t.match(await remove(user, mountPoint), { status: 0 }, user);
    t.not((await runCommand('id', ['-u', user])).status, 0, 'gone again');
    t.notOk(existsSync(`/etc/s3jail/${user}.env`));
  }
});

void t.test('what cannot be is refused before anything is made', async (t) => {
  await useMachine(t);
  const before = await readSystem();
  const cases: [args: string[], status: number, message: RegExp][] = [
    [['root', 'bucket/x'], 1, /is root, whom no chroot holds/],
    [['No Name', 'bucket/x'], 1, /no name that useradd/],
    [['-x', 'bucket/x'], 1, /unknown option/],
    [['a/b', 'bucket/x'], 1, /no name that useradd/],
    [['1234', 'bucket/x'], 1, /no name that useradd/],
    [['s3jail-x'], 1, /takes USER SOURCE, or USER --remove/],
    [['s3jail-x', 'bucket/x', '--remove'], 1, /takes USER SOURCE, or USER --remove/],
    [['s3jail-x', 's3://KEY:secret@host/bucket/x'], 1, /holds an access key/],
    [['s3jail-x', 'bucket/x', '-o', 'regoin=x'], 1, /did you mean -o region/],
    [['s3jail-x', 'bucket/x', '-o', 'uid=0'], 1, /setup makes a chroot for s3jail-x/],
    [['s3jail-x', 'bucket/x', '--mount-point', '/srv/a b'], 1, /sshd takes letters/],
    [['s3jail-x', 'bucket/x', '--init', 'cron'], 1, /systemd, fstab/],
  ];
  for (const [args, status, message] of cases) {
    const ending = await setup(args);
    t.equal(ending.status, status, args.join(' '));
    t.match(ending.stderr, message);
    t.notMatch(ending.stderr, /secret|\n {4}at /);
  }
  t.strictSame(await readSystem(), before);
});

void t.test('--authorized-keys takes public keys alone', async (t) => {
  const { place, users } = await stage(t);
  const [user] = users;
  const before = await readSystem();
  const key = (...kind: string[]) => {
    const path = join(place, kind.join('-'));
    return mustRun('ssh-keygen', ['-q', '-N', '', '-f', path, ...kind]).then(() => path);
  };
  const kinds = ['-ted25519', '-tecdsa', '-trsa', '-trsa -mPEM', '-trsa -mPKCS8'];
  const paths = await Promise.all(kinds.map((kind) => key(...kind.split(' '))));
  const [ed25519 = ''] = paths;
  const write = async (name: string, text: string) => {
    await writeFile(join(place, name), text);
    return join(place, name);
  };
  const encoded = (await readFile(ed25519, 'utf8')).replace(/^-.*\n/gm, '');
  const publicKeys = await Promise.all(paths.map((path) => readFile(`${path}.pub`, 'utf8')));
  const refused = [
    ...paths,
    await write('putty', 'PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\nAAAA\n'),
    await write('without its frame', encoded),
    await write('both', (publicKeys[0] ?? '') + (await readFile(ed25519, 'utf8'))),
    await write('in a comment', `# ${await readFile(ed25519, 'utf8')}`),
    await write('of another type', (publicKeys[0] ?? '').replace('ed25519', 'rsa')),
    '/etc/shadow',
    join(place, 'absent'),
  ];
  const args = [user, 'bucket/x', '--init', 'systemd', '--mount-point', join(place, user)];
  for (const path of refused) {
    const ending = await setup([...args, '--authorized-keys', path]);
    t.match(ending, { status: 1, stderr: /^s3jail: --authorized-keys: / }, path);
    t.notOk(ending.stderr.includes(encoded.slice(0, 20)), 'nothing of it is shown');
  }
  t.strictSame(await readSystem(), before);
  const texts = ['# all of them', '', ...publicKeys.map((line) => line.trim())];
  texts.push(`restrict,from="10.0.0.0/8, ::1" ${publicKeys[0] ?? ''}`);
  const good = await write('good', texts.join('\r\n'));
  const made = await setup([...args, '--authorized-keys', good]);
  t.equal(made.status, 0, made.stderr);
  t.equal(await readFile(`/etc/ssh/s3jail-keys/${user}`, 'utf8'), texts.join('\r\n'));
});
