/**
 * `s3jail setup` as an operator uses it where systemd runs: wrong keys, another option, other keys, mounts on
 * demand, S3 away. scripts/boot-test runs this.
 */
import t from 'tap';
import { endpoint, exportedKeys, Machine, secret } from './machine.js';

t.setTimeout(3_600_000);

const unit = 's3jail@alice.service';
const retry = 's3jail-retry@alice.service';
const place = '/srv/sftp/alice';
const metrics = 'http://127.0.0.1:9465/metrics';
const alice = ['alice', 's3://bucket/alice/'];

void t.test('a machine that an operator sets up', async (t) => {
  const machine = await Machine.boot(t);
  await machine.write('/etc/updatedb.conf', 'PRUNEFS="nfs autofs"\n');
  const look = () => machine.look();
  const setup = (...words: string[]) => machine.run('s3jail', 'setup', ...words);
  const withKeys = (...words: string[]) =>
    machine.run('env', ...exportedKeys, 's3jail', 'setup', ...words);
  const state = (name: string) => machine.property(name, 'ActiveState');
  const isActive = async () => (await state(unit)) === 'active';
  const mainPid = () => machine.property(unit, 'MainPID');
  const environment = () => machine.read('/etc/s3jail/alice.env');
  const clean = await look();

  await t.test('keys of the terminal are not those of the unit', async (t) => {
    const failed = await withKeys(...alice, '-o', endpoint);
    t.equal(failed.status, 32);
    t.match(failed.stderr, /no credentials found.*--credentials environment keeps them for it/);
    t.match(failed.stdout, /^S3 keys: from the role of this instance, as none are kept$/m);
    t.equal(await look(), clean, 'nothing is left');
    const wrong = ['env', 'AWS_ACCESS_KEY_ID=test', 'AWS_SECRET_ACCESS_KEY=no', 's3jail', 'setup'];
    const keep = ['--credentials', 'environment'];
    const refused = await machine.run(...wrong, ...alice, '-o', endpoint, ...keep);
    t.match(refused, { status: 32, stderr: /the secret key does not belong to the access key/ });
    t.equal(await look(), clean);
    // Nobody takes what comes to this socket.
    const listen = ['--unit=silent', '--socket-property=ListenStream=127.0.0.1:9009'];
    await machine.must('systemd-run', '--quiet', ...listen, 'sleep', 'infinity');
    const silent = ['-o', 'endpoint-url=http://127.0.0.1:9009', ...keep];
    const asAdmin = ['env', ...exportedKeys, 's3jail', 'setup', ...alice];
    const interrupt =
      '"$@" >/root/said 2>&1 & until grep -q "^start s3jail@alice" /root/said; do sleep 0.1; done; ' +
      'kill -INT $!; wait $!';
    const interrupted = await machine.run('sh', '-c', interrupt, 'sh', ...asAdmin, ...silent);
    t.equal(interrupted.status, 2);
    t.match(await machine.read('/root/said'), /^s3jail: stopped by SIGINT$/m);
    await machine.must('systemctl', 'stop', 'silent.socket');
    t.equal(await look(), clean, 'Ctrl-C leaves nothing');
    const made = await withKeys(
      ...[...alice, '-o', endpoint, ...keep, '--authorized-keys', '/root/key.pub'],
    );
    t.equal(made.status, 0, made.stderr);
    t.match(made.stdout, /^S3 keys: from \/etc\/credstore\/s3jail\.alice$/m);
    t.ok(await isActive());
    t.equal(await machine.must('systemctl', 'is-enabled', unit), 'enabled');
    t.notOk((await environment()).includes(secret));
    t.match(await machine.read('/etc/updatedb.conf'), 'PRUNEFS="nfs autofs fuse.s3jail"');
  });

  await t.test('done again it changes what is asked, and the mount goes on', async (t) => {
    const dropIn = `/etc/systemd/system/${unit}.d`;
    await machine.must('mkdir', '-p', dropIn);
    await machine.write(`${dropIn}/mine.conf`, '[Service]\nEnvironment=S3JAIL_METADATA_TTL=3s\n');
    await machine.must('systemctl', 'daemon-reload');
    await machine.write('/etc/s3jail/alice.env', `${await environment()}# hers\n`);
    const pid = await mainPid();
    const before = await environment();
    await machine.must('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', '/root/other');
    const keyed = await setup(...alice, '--authorized-keys', '/root/other.pub');
    t.equal(keyed.status, 0, keyed.stderr);
    await machine.must('cp', '/root/key.pub', '/etc/ssh/s3jail-keys/alice');
    const refused: [words: string[], status: number, said: RegExp][] = [
      [['-o', 'regoin=x'], 1, /did you mean -o region/],
      [['-o', 'endpoint-url=http://127.0.0.1:1'], 32, /nothing answers there/],
      [['-o', 'metrics=9000'], 2, /--metrics: .*in use/],
      [['-o', 'audit-log=/absent/log'], 2, /--audit-log/],
      [['--authorized-keys', '/root/key'], 1, /private key/],
      [['--init', 'fstab'], 1, /--remove takes it away first/],
      [['--mount-point', '/srv/sftp/other'], 1, /--remove takes it away first/],
    ];
    for (const [words, status, said] of refused) {
      const ending = await setup(...alice, ...words);
      t.match(ending, { status, stderr: said }, words.join(' '));
      t.equal(await environment(), before);
    }
    await machine.must('cp', '-p', '/etc/credstore/s3jail.alice', '/root/keys');
    await machine.must('sed', '-i', 's/= test/= stranger/', '/etc/credstore/s3jail.alice');
    t.match(await setup(...alice), { status: 32, stderr: /access key is not known/ }, 'rotated');
    await machine.must('cp', '-p', '/root/keys', '/etc/credstore/s3jail.alice');
    const template = '/etc/systemd/system/s3jail@.service';
    await machine.must('sed', '-i', 's/^UMask=.*/UMask=0022/', template);
    const upgraded = await setup(...alice);
    t.match(upgraded, { status: 0, stdout: /^write .*s3jail@\.service$/m }, 'a new template');
    t.equal(await mainPid(), pid, 'the mount in use has gone on all the while');

    const changed = await setup(...alice, '-o', 'ro');
    t.equal(changed.status, 0, changed.stderr);
    t.equal(await environment(), `${before}S3JAIL_READ_ONLY=yes\n`);
    t.match(await machine.must('findmnt', '-no', 'OPTIONS', place), /^ro,/);
    t.equal((await setup(...alice, '-o', 'rw')).status, 0);
    t.equal(await environment(), `${before}S3JAIL_NO_READ_ONLY=yes\n`);
    t.match(await machine.read(`${dropIn}/mine.conf`), 'METADATA_TTL');
    t.not(await mainPid(), pid);
    await machine.must('cp', '-p', '/etc/credstore/s3jail.alice', '/root/keys');
    await machine.must('sh', '-c', 'echo "# new" >> /etc/credstore/s3jail.alice');
    const rotated = await setup(...alice);
    t.match(rotated, { status: 0, stdout: /^restart s3jail@alice\.service/m }, 'other keys count');
    await machine.must('rm', '-r', dropIn);
    await machine.must('systemctl', 'daemon-reload');
  });

  await t.test('S3 that refuses is asked less and less often', async (t) => {
    await machine.must('systemctl', 'stop', 's3.service');
    t.not((await machine.run('systemctl', 'restart', unit)).status, 0);
    await machine.until(async () => (await state(retry)) === 'active');
    t.equal(await state(unit), 'failed');
    // A start job that waited would hold up that of SSH.
    await machine.must('systemctl', 'restart', 'ssh.service');
    const tries = ['journalctl', '-q', '-u', unit, '-o', 'short-unix', '--grep', 'nothing answers'];
    const times = async () => {
      const { stdout } = await machine.run(...tries);
      return stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => Number(line.split(' ')[0]))
        .slice(-3);
    };
    const known = (await machine.run(...tries)).stdout.split('\n').length;
    await machine.until(
      async () => (await machine.run(...tries)).stdout.split('\n').length >= known + 2,
    );
    const [first = 0, second = 0, third = 0] = await times();
    t.ok(third - second > second - first + 3, `${second - first} s, then ${third - second} s`);
    // A stop at the moment at which it fails is taken for one before that.
    await machine.until(async () => (await state(unit)) === 'failed');
    await machine.must('systemctl', 'stop', unit);
    await machine.until(async () => (await state(retry)) === 'inactive');
    t.not(await state(unit), 'active', 'a stop ends it');
    t.not((await machine.run('systemctl', 'start', unit)).status, 0);
    await machine.must('systemctl', 'start', 's3.service');
    await machine.until(isActive);
  });

  await t.test('the metrics of all mounts are a service, which goes with the last', async (t) => {
    await machine.must('systemctl', 'enable', '--now', 's3jail-metrics');
    const page = () => machine.must('curl', '-sf', '--retry', '9', '--retry-connrefused', metrics);
    const isUp = async () => /^s3jail_up\{mount="\/srv\/sftp\/alice".*\} 1$/m.test(await page());
    t.ok(await isUp());
    await machine.must('kill', '-KILL', await mainPid());
    await machine.until(isUp);
    t.equal(await state('s3jail-metrics.service'), 'active');
  });

  await t.test('on demand it is there while somebody looks', async (t) => {
    const made = await setup(...alice, '--on-demand', '--idle-time', '2s');
    t.equal(made.status, 0, made.stderr);
    t.equal((await setup(...alice)).status, 0, 'and stays so');
    t.equal(await machine.property('srv-sftp-alice.automount', 'TimeoutIdleUSec'), '2s');
    const isGone = async () => (await state(unit)) === 'inactive';
    await machine.until(isGone);
    t.equal((await machine.sftp('alice', 'put key.pub')).status, 0);
    t.ok(await isActive());
    t.equal(await machine.property(unit, 'WatchdogUSec'), '2min');
    t.equal(await machine.must('stat', '-c', '%U %a', place), 'root 755');
    await machine.must('dd', 'if=/dev/urandom', 'of=/root/large', 'bs=1M', 'count=30');
    await machine.startUpload('alice');
    await machine.must('sleep', '5');
    t.ok(await isActive(), 'not gone under a session');
    await machine.must('kill', '-KILL', await mainPid());
    await machine.until(async () => (await machine.list('alice')).includes('key.pub'));
    await machine.killUpload();
    await machine.until(isGone);
    await machine.must('systemctl', 'stop', 's3.service');
    for (let tries = 0; tries < 7; tries += 1) {
      t.not((await machine.sftp('alice', 'ls')).status, 0, 'no file lands on this machine');
    }
    t.equal(await state(retry), 'inactive', 'nobody tries for nobody');
    await machine.must('systemctl', 'start', 's3.service');
    t.strictSame(await machine.list('alice'), ['key.pub']);
    await machine.reboot();
    t.equal(await machine.must('systemctl', '--failed', '--no-legend'), '');
    t.equal(await state(unit), 'inactive');
    t.strictSame(await machine.list('alice'), ['key.pub']);
    await machine.startUpload('alice');
    await machine.reboot();
    const there = await machine.list('alice');
    t.strictSame(there, there.includes('large') ? ['key.pub', 'large'] : ['key.pub']);
    const always = await setup(...alice, '--no-on-demand');
    t.equal(always.status, 0, always.stderr);
    t.ok(await isActive());
    t.strictSame(await machine.list('alice'), there);
    await setup(...alice, '--on-demand');
    t.match(await setup('alice', '--remove'), { status: 0 });
    t.equal(await look(), clean, 'removed while on demand');
  });
});
