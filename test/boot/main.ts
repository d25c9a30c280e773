/**
 * s3jail under systemd as process 1, from `s3jail setup` to `--remove`: readiness, watchdog, restart,
 * reload, secrets, shutdown and boot, with stock sshd in front. scripts/boot-test runs this.
 */
import t from 'tap';
import { Machine, secret } from './machine.js';

t.setTimeout(1_800_000);

const unit = 's3jail@alice.service';
const place = '/srv/sftp/alice';

void t.test('a machine with systemd', async (t) => {
  const machine = await Machine.boot(t);
  const status = () => machine.property(unit, 'StatusText');
  const isActive = async () => (await machine.property(unit, 'ActiveState')) === 'active';
  const mainPid = () => machine.property(unit, 'MainPID');
  /** The unit has started its process again, and that one is ready. */
  const isReplaced = async (pid: string) =>
    !['0', pid].includes(await mainPid()) && (await isActive());
  const journal = (...more: string[]) => machine.must('journalctl', '-q', '-u', unit, ...more);
  const keys = () => machine.list('alice');

  await t.test('setup starts the mount, which says that it is ready', async (t) => {
    const made = await machine.setUp('alice');
    t.match(made, { status: 0, stdout: /^start s3jail@alice\.service$/m }, made.stderr);
    t.ok(await isActive());
    t.equal(await status(), `s3://bucket/alice/ on ${place}`);
    t.match(await machine.must('findmnt', '-no', 'FSTYPE', place), /^fuse\.s3jail$/);
    t.match(
      await journal('-o', 'cat', '-p', '6..6'),
      /^s3jail: s3:\/\/bucket\/alice\/ is mounted on/m,
    );
    t.equal(await journal('-p', '4'), '', 'no warning');
    const again = await machine.setUp('alice');
    t.notMatch(again.stdout, /^(make|write|start|tell)/m, 'the second time nothing is done');
  });

  await t.test('sftp works, and the unit sees a client vanish', async (t) => {
    const ending = await machine.sftp('alice', 'put key.pub', 'get key.pub copy', 'ls -l');
    t.equal(ending.status, 0, ending.stderr);
    t.equal(await machine.read('/root/copy'), await machine.read('/root/key.pub'));
    await machine.must('dd', 'if=/dev/urandom', 'of=/root/large', 'bs=1M', 'count=30');
    await machine.startUpload('alice');
    await machine.killUpload();
    await machine.until(async () => !(await keys()).includes('large'));
    t.strictSame(await keys(), ['key.pub']);
  });

  await t.test('secrets reach it as a credential, and are nowhere else', async (t) => {
    const pid = await mainPid();
    const environment = await machine.must('cat', `/proc/${pid}/environ`, `/proc/${pid}/cmdline`);
    t.notOk(environment.includes(secret));
    t.notOk((await journal()).includes(secret));
    t.notOk((await machine.must('systemctl', 'show', unit)).includes(secret));
    const credential = `/run/credentials/${unit}/aws-credentials`;
    t.match(await machine.must('cat', credential), secret, 'root can read it');
    const stranger = await machine.run('runuser', '-u', 'alice', '--', 'cat', credential);
    t.not(stranger.status, 0, 'and nobody else');
  });

  await t.test('reload opens moved logs again, a signal changes the level', async (t) => {
    const pid = await mainPid();
    await machine.must('sh', '-c', 'echo S3JAIL_AUDIT_LOG=/var/log/audit >> /etc/s3jail/alice.env');
    await machine.must('systemctl', 'restart', unit);
    t.not(await mainPid(), pid);
    await machine.sftp('alice', 'put key.pub before');
    await machine.must('mv', '/var/log/audit', '/var/log/audit.1');
    await machine.must('systemctl', 'reload', unit);
    await machine.until(async () => (await journal()).includes('opened the log files again'));
    await machine.sftp('alice', 'put key.pub after');
    t.match(await machine.read('/var/log/audit.1'), /"path":"\/before"/);
    t.match(await machine.read('/var/log/audit'), /"path":"\/after"/);
    await machine.must('systemctl', 'kill', '--kill-whom=main', '--signal=USR1', unit);
    await machine.until(async () => (await journal()).includes('log level is debug now'));
    await machine.sftp('alice', '-ls absent', 'rm before', 'rm after');
    t.match(await journal('-p', '7..7'), /getattr failed/);
    await machine.must('systemctl', 'kill', '--kill-whom=main', '--signal=USR1', unit);
  });

  await t.test('a killed process is replaced, and its dead mount cleared away', async (t) => {
    const pid = await mainPid();
    await machine.startUpload('alice');
    await machine.must('kill', '-KILL', pid);
    await machine.until(() => isReplaced(pid));
    t.strictSame(await keys(), ['key.pub'], 'the next session works');
    t.equal(await machine.must('findmnt', '-no', 'TARGET', place), place, 'one mount');
    t.match(await journal(), /removed its dead mount/);
    await machine.killUpload();
  });

  await t.test('a process that hangs is noticed by the watchdog', async (t) => {
    await machine.must('mkdir', '-p', `/run/systemd/system/${unit}.d`);
    const drop = `printf '[Service]\\nWatchdogSec=4s\\n' > /run/systemd/system/${unit}.d/short.conf`;
    await machine.must('sh', '-c', drop);
    await machine.must('systemctl', 'daemon-reload');
    await machine.must('systemctl', 'restart', unit);
    const pid = await mainPid();
    const restarts = Number(await machine.property(unit, 'NRestarts'));
    await machine.must('sleep', '9');
    t.equal(await mainPid(), pid, 'a mount that answers is left alone');
    await machine.must('kill', '-STOP', pid);
    await machine.until(() => isReplaced(pid));
    t.equal(Number(await machine.property(unit, 'NRestarts')), restarts + 1);
    t.match(await journal(), /Watchdog timeout/);
    t.strictSame(await keys(), ['key.pub']);
    await machine.must('systemctl', 'revert', unit);
  });

  await t.test('stop stores what is open', async (t) => {
    await machine.startUpload('alice');
    await machine.must('systemctl', 'stop', unit);
    await machine.killUpload();
    t.equal(await machine.property(unit, 'Result'), 'success');
    t.match(await journal(), /storing 1 file.*\(\/large\)/);
    t.match(await journal(), /everything is stored/);
    t.not((await machine.run('findmnt', place)).status, 0, 'nothing is mounted');
    t.strictSame(await keys(), [], 'users find an empty directory');
    t.not((await machine.sftp('alice', 'put key.pub lost')).status, 0, 'that they cannot write in');
    await machine.must('systemctl', 'start', unit);
    t.strictSame(await keys(), ['key.pub', 'large']);
    await machine.sftp('alice', 'rm large');
  });

  await t.test('at boot the mount is there before sshd; at shutdown it is stored', async (t) => {
    await machine.startUpload('alice');
    const since = `@${await machine.must('date', '+%s')}`;
    await machine.reboot();
    t.ok(await isActive());
    const activeSince = (name: string) => machine.property(name, 'ActiveEnterTimestampMonotonic');
    t.ok(Number(await activeSince(unit)) < Number(await activeSince('ssh.service')), 'before sshd');
    t.equal(await machine.must('systemctl', '--failed', '--no-legend'), '');
    const lines = await journal('--since', since);
    t.match(lines, /ending the mount[^]*everything is stored[^]*is mounted on/);
    // Which ends first, the client or the mount, is systemd's to choose; nothing is there by half.
    const there = await keys();
    t.strictSame(there, there.includes('large') ? ['key.pub', 'large'] : ['key.pub']);
  });

  await t.test('S3 gone at boot keeps sshd from nothing, and is waited for', async (t) => {
    await machine.must('systemctl', 'disable', 's3.service');
    await machine.reboot();
    t.equal(await machine.property('ssh.service', 'ActiveState'), 'active');
    t.equal(await isActive(), false);
    await machine.must('systemctl', 'start', 's3.service');
    await machine.until(isActive);
    t.ok((await keys()).includes('key.pub'));
  });

  await t.test('fstab mounts when somebody looks, for systemd too', async (t) => {
    await machine.must('mkdir', '-p', '/srv/auto', '/root/.aws');
    const keyFile = `/root/.aws/credentials`;
    await machine.must('cp', '/etc/credstore/s3jail.alice', keyFile);
    const options =
      'noauto,x-systemd.automount,_netdev,uid=alice,endpoint-url=http://127.0.0.1:9000';
    await machine.write('/etc/fstab', `s3://bucket/alice/ /srv/auto s3jail ${options} 0 0\n`);
    await machine.must('systemctl', 'daemon-reload');
    await machine.must('systemctl', 'start', 'srv-auto.automount');
    t.equal(await machine.property('srv-auto.mount', 'ActiveState'), 'inactive');
    t.match(await machine.must('ls', '/srv/auto'), /^key\.pub$/m);
    t.equal(await machine.property('srv-auto.mount', 'ActiveState'), 'active');
    await machine.must('systemctl', 'stop', 'srv-auto.mount');
    await machine.must('test', '-e', '/srv/auto/key.pub');
    await machine.must('systemctl', 'stop', 'srv-auto.automount');
    t.not((await machine.run('findmnt', '/srv/auto')).status, 0);
    t.equal(await machine.must('systemctl', '--failed', '--no-legend'), '');
    await machine.write('/etc/fstab', '');
  });

  await t.test('setup --remove leaves nothing but the objects', async (t) => {
    const removed = await machine.run('s3jail', 'setup', 'alice', '--remove');
    t.equal(removed.status, 0, removed.stderr);
    const left =
      'find /etc /srv /usr/sbin -xdev -path /etc/credstore -prune -o -name "*s3jail*" -print';
    t.equal(await machine.must('sh', '-c', `${left} -o -name "alice*" -print`), '');
    t.not((await machine.run('id', 'alice')).status, 0);
    t.equal(await machine.property(unit, 'LoadState'), 'not-found');
    t.equal(await machine.must('systemctl', 'is-active', 'ssh.service'), 'active');
  });
});
