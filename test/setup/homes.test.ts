/**
 * `s3jail setup --homes` on this machine: users that useradd(8) makes and nothing else, in homes of one
 * mount, through an sshd that reads what setup wrote. Everything is as before when the test ends.
 */
import { existsSync, statSync } from 'node:fs';
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { mustRun, runCommand } from '../../lib/demo/child.js';
import { findMount } from '../../lib/host/mount-table.js';
import { homesBlockText } from '../../lib/setup/homes-sshd.js';
import { readSystem, setup, stage, stageWithBucket } from '../support/setup-command.js';
import { startSshd } from '../support/system-sshd.js';

t.setTimeout(300_000);

const keys = '/etc/ssh/authorized_keys';

void t.test('users of a group log in to homes of one mount', async (t) => {
  const { place: base, users, server, keyFile, options } = await stageWithBucket(t);
  // Its keys are found whatever the place is called.
  const mountPoint = join(base, 'sftp', 'all');
  const group = `${users[0]}-g`;
  await mustRun('groupadd', ['--system', group]);
  t.teardown(() => mustRun('groupdel', [group]));
  const before = await readSystem();
  const { bucket } = server;
  const args = [
    ...['--homes', `s3://${bucket.name}/users/`, '--homes-group', group],
    ...['--mount-point', mountPoint, '--init', 'fstab', '-o', options],
    ...['--credentials', 'environment'],
  ];
  const planned = await setup([...args, '--dry-run'], server);
  t.equal(planned.status, 0, planned.stderr);
  t.match(planned.stdout, /^would tell sshd of group /m);
  t.strictSame(await readSystem(), before, 'a dry run changes nothing');

  t.teardown(() => setup(['--homes', '--remove', '--mount-point', mountPoint]));
  const made = await setup(args, server);
  t.equal(made.status, 0, made.stderr || made.stdout);
  const again = await setup(args, server);
  t.equal(again.status, 0, again.stderr);
  t.notMatch(again.stdout, /^(make|write|mount|tell|told|close)/m, 'done again it changes nothing');
  const line = (await readFile('/etc/fstab', 'utf8'))
    .split('\n')
    .find((each) => each.includes(base));
  t.match(line, `${mountPoint} s3jail _netdev,nofail,homes,homes-group=${group},`);
  t.match(statSync(join(base, 'sftp')), { uid: 0, mode: 0o40700 }, 'only root may enter');

  const sftp = await startSshd(t, base, keyFile);
  const [alice, bob] = users;
  for (const user of users) {
    await mustRun('useradd', ['--no-create-home', '--groups', group, user]);
    t.teardown(() => runCommand('userdel', [user]));
    await copyFile(`${keyFile}.pub`, join(keys, user));
    t.teardown(() => rm(join(keys, user), { force: true }));
    const ending = await sftp(user, ['put /etc/hostname mine', 'ls -1 /', `-ls ../${bob}`]);
    t.equal(ending.status, 0, ending.stderr);
    t.match(ending.stdout, /^\/?mine$/m);
  }
  t.strictSame(await bucket.keys(), [`users/${alice}/mine`, `users/${bob}/mine`].sort());
  const stranger = ['-u', bob, '--', 'ls', join(mountPoint, alice)];
  t.match(await runCommand('runuser', stranger), { status: 2, stderr: /Permission denied/ });

  for (const user of users) {
    await mustRun('userdel', [user]);
    await rm(join(keys, user));
  }
  const removed = await setup(['--homes', '--remove', '--mount-point', mountPoint]);
  t.equal(removed.status, 0, removed.stderr);
  t.equal(findMount(mountPoint), undefined);
  t.notOk(existsSync(mountPoint));
  t.notOk(existsSync('/etc/ssh/sshd_config.d/s3jail.homes.conf'));
  t.strictSame(await readSystem(), before, 'the machine is as it was');
  t.equal((await bucket.keys()).length, 2, 'the objects stay');
});

void t.test('done again it changes what is asked, and keeps what was edited', async (t) => {
  const { place: base, users, server, options } = await stageWithBucket(t);
  const [alice, bob] = users;
  const mountPoint = join(base, 'sftp', 'all');
  const group = `${alice}-g`;
  await mustRun('groupadd', ['--system', group]);
  t.teardown(() => mustRun('groupdel', [group]));
  const source = `s3://${server.bucket.name}/users/`;
  const place = ['--homes-group', group, '--mount-point', mountPoint, '--init', 'fstab'];
  t.teardown(() => setup(['--homes', '--remove', '--mount-point', mountPoint]));
  const keep = ['--credentials', 'environment'];
  const made = await setup(['--homes', source, ...place, '-o', options, ...keep], server);
  t.equal(made.status, 0, made.stderr);
  const block = '/etc/ssh/sshd_config.d/s3jail.homes.conf';
  await writeFile(block, `${await readFile(block, 'utf8')}    MaxSessions 3\n`);
  const again = (...words: string[]) => setup(['--homes', source, ...words], server);

  // The first member has a mount of their own still, of which sshd says something else.
  for (const user of users) {
    await mustRun('useradd', ['--no-create-home', '--groups', group, user]);
    t.teardown(() => runCommand('userdel', [user]));
  }
  const own = `/etc/ssh/sshd_config.d/s3jail-${alice}.conf`;
  await writeFile(own, `Match User ${alice}\n    ChrootDirectory /srv/${alice}\n`);
  t.teardown(() => rm(own, { force: true }));
  const others = await readFile('/etc/fstab', 'utf8');
  const changed = await again('-o', 'ro');
  t.equal(changed.status, 0, changed.stderr);
  const words = `${mountPoint} s3jail _netdev,nofail,homes,homes-group=${group},${options}`;
  t.equal(await readFile('/etc/fstab', 'utf8'), others.replace(words, `${words},ro`));
  t.match(
    await readFile(block, 'utf8'),
    new RegExp(`^Match Group ${group}$[^]*MaxSessions 3$`, 'm'),
  );
  const effective = await mustRun('/usr/sbin/sshd', ['-T', '-C', `user=${bob},host=h,addr=::1`]);
  t.match(effective.stdout, /^maxsessions 3$/m);

  const wrong = { ...server, credentials: { accessKeyId: 'X', secretAccessKey: 'wrong' } };
  const rotated = await setup(['--homes', source, ...keep], wrong);
  t.match(rotated, { status: 32, stderr: /the mount cannot be made: .*access key/ });
  t.not(findMount(mountPoint), undefined, 'the one that is in use goes on');
  await mustRun('umount', [mountPoint]);
  const busy = await again('-o', `metrics=${new URL(server.url).port}`);
  t.match(busy, { status: 2, stderr: /--metrics: .*name another port/ });
  const started = await again();
  t.match(started, { status: 0, stdout: /^try the mount/m }, started.stderr);
  t.not(findMount(mountPoint), undefined);
  await rm(own);
  t.match(await setup(['--homes', '--remove']), { status: 0 });
  t.equal(findMount(mountPoint), undefined);
  t.notOk(existsSync(block));
});

void t.test('what cannot be is refused before anything is made', async (t) => {
  await stage(t);
  const before = await readSystem();
  const faults: [string[], RegExp][] = [
    [['--homes'], /takes SOURCE, or --remove/],
    [['--homes', 's3://bucket/', '--remove'], /takes SOURCE, or --remove/],
    [['--homes', 's3://bucket/', '--homes-group', 'nobody-has-it'], /groupadd --system/],
    [['--homes', 's3://bucket/', '--homes-group', 'daemon', '-o', 'uid=1'], /uid.*contradicts/],
    [['--homes', 's3://bucket/', '--homes-group', 'daemon', '-o', 'homes-min-uid=1'], /says that/],
    [['--homes', 's3://bucket/', '--on-demand'], /mount of one user/],
    [['alice', 's3://bucket/', '--homes-group', 'daemon'], /goes with --homes/],
  ];
  for (const [args, said] of faults) {
    const refused = await setup([...args, '--init', 'fstab']);
    t.equal(refused.status, 1, args.join(' '));
    t.match(refused.stderr, said);
  }
  t.strictSame(await readSystem(), before);
});

void t.test('the block is for a group, and percent signs are what they are', (t) => {
  const text = homesBlockText({ group: 'sftp', mountPoint: '/srv/50%/homes' });
  t.match(text, /^Match Group sftp\n {4}ChrootDirectory \/srv\/50%%\/homes\/%u$/m);
  t.match(text, /^ {4}AuthorizedKeysFile \/etc\/ssh\/authorized_keys\/%u$/m);
  t.end();
});
