/**
 * `s3jail setup --homes` where systemd runs: users that useradd(8) makes, a restart under a session, another
 * option, a unit that is merely stopped, a boot, and the removal. scripts/boot-test runs this.
 */
import t from 'tap';
import { endpoint, keys, Machine } from './machine.js';

t.setTimeout(1_800_000);

const unit = 's3jail@homes.service';
const credentials = '/etc/credstore/s3jail.homes';

void t.test('a machine with homes', async (t) => {
  const machine = await Machine.boot(t);
  await machine.write('/etc/updatedb.conf', 'PRUNEFS="nfs autofs"\n');
  await machine.must('groupadd', '--system', 'customers');
  const setup = (...words: string[]) =>
    machine.run('s3jail', 'setup', '--homes', 's3://bucket/users/', ...words);
  const isActive = async () => (await machine.property(unit, 'ActiveState')) === 'active';
  const mainPid = () => machine.property(unit, 'MainPID');
  const environment = () => machine.read('/etc/s3jail/homes.env');
  const clean = await machine.look();

  await t.test('setup starts the unit, and sshd knows the group', async (t) => {
    await machine.write(credentials, keys.replace('test', 'stranger'));
    const refused = await setup('--homes-group', 'customers', '-o', endpoint);
    t.match(refused, { status: 32, stderr: /the mount cannot be made: .*access key is not known/ });
    await machine.must('rm', credentials);
    t.equal(await machine.look(), clean, 'nothing is left');
    await machine.write(credentials, keys);
    const made = await setup('--homes-group', 'customers', '-o', endpoint);
    t.equal(made.status, 0, made.stderr);
    t.match(made.stdout, /^S3 keys: from \/etc\/credstore\/s3jail\.homes$/m);
    t.ok(await isActive());
    t.equal(await machine.must('systemctl', 'is-enabled', unit), 'enabled');
    t.equal(await machine.property(unit, 'WatchdogUSec'), '2min');
    t.match(await machine.must('findmnt', '-no', 'FSTYPE', '/srv/sftp/homes'), /^fuse\.s3jail$/);
  });

  await t.test('a user works from useradd on, and is out with userdel', async (t) => {
    for (const user of ['alice', 'bob']) {
      await machine.must('useradd', '--no-create-home', '--groups', 'customers', user);
      await machine.must(
        'install',
        '-m',
        '644',
        '/root/key.pub',
        `/etc/ssh/authorized_keys/${user}`,
      );
      const ending = await machine.sftp(user, 'put key.pub', 'ls -l', '-ls ../alice', '-ls ../bob');
      t.equal(ending.status, 0, ending.stderr);
      t.strictSame(await machine.list(user), ['key.pub']);
    }
    t.match(await machine.run('runuser', '-u', 'bob', '--', 'ls', '/srv/sftp/homes/alice'), {
      status: 2,
      stderr: /Permission denied/,
    });
    await machine.must('userdel', 'bob');
    t.not((await machine.sftp('bob', 'ls')).status, 0);
  });

  await t.test('a restart under a session that idles', async (t) => {
    await machine.startSession('alice', ['put key.pub after']);
    const pid = await mainPid();
    await machine.must('systemctl', 'restart', unit);
    t.not(await mainPid(), pid);
    t.strictSame(await machine.list('alice'), ['before', 'key.pub'], 'new sessions work at once');
    const { status, said } = await machine.endSession();
    t.not(status, '0', `the old one hears that it is over: ${said}`);
    t.strictSame(await machine.list('alice'), ['before', 'key.pub']);
  });

  await t.test('done again it changes what is asked, and tries what is stopped', async (t) => {
    const before = await environment();
    const [pid, block] = [await mainPid(), '/etc/ssh/sshd_config.d/s3jail.homes.conf'];
    await machine.must('sh', '-c', `echo '    MaxSessions 3' >> ${block}`);
    const same = await setup();
    t.notMatch(same.stdout, /^(try|make|write|start|restart|tell)/m, 'nothing to do');
    t.equal(await mainPid(), pid);
    const changed = await setup('-o', 'metadata-ttl=2s');
    t.match(changed, { status: 0, stdout: /^restart s3jail@homes\.service/m }, changed.stderr);
    t.equal(await environment(), `${before}S3JAIL_METADATA_TTL=2s\n`, 'the group is as it was');
    t.match(await machine.read(block), /^Match Group customers$[^]*MaxSessions 3$/m);

    await machine.must('systemctl', 'stop', unit);
    await machine.write(credentials, keys.replace('test', 'stranger'));
    const refused = await setup();
    t.match(refused, { status: 32, stderr: /the mount cannot be made: .*access key is not known/ });
    t.equal(await machine.property(unit, 'ActiveState'), 'inactive', 'it was not even started');
    await machine.write(credentials, keys);
    const started = await setup();
    t.match(
      started,
      { status: 0, stdout: /^try the mount[^]*^start s3jail@homes/m },
      started.stderr,
    );
    await machine.write(credentials, `${keys}# new\n`);
    t.match(await setup(), { status: 0, stdout: /^restart s3jail@homes/m }, 'other keys count');
    t.strictSame(await machine.list('alice'), ['before', 'key.pub']);
  });

  await t.test('at boot it is there before sshd', async (t) => {
    await machine.reboot();
    t.equal(await machine.must('systemctl', '--failed', '--no-legend'), '');
    const since = (name: string) => machine.property(name, 'ActiveEnterTimestampMonotonic');
    t.ok(Number(await since(unit)) < Number(await since('ssh.service')));
    t.strictSame(await machine.list('alice'), ['before', 'key.pub']);
  });

  await t.test('the removal leaves nothing but users, their keys and objects', async (t) => {
    const removed = await machine.run('s3jail', 'setup', '--homes', '--remove');
    t.equal(removed.status, 0, removed.stderr);
    t.match(removed.stdout, /s3jail\.homes stays: setup did not write it/);
    await machine.must('userdel', 'alice');
    await machine.must('rm', '-r', credentials, '/etc/ssh/authorized_keys');
    t.equal(await machine.look(), clean);
    await machine.must('grep', '-rqF', 'users/alice/key.pub', '/var/lib/s3');
  });
});
