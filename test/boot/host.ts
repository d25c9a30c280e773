/**
 * A host of many mounts where systemd runs, with the Debian package: installed, set up in a loop, changed,
 * rotated, upgraded with all mounts in use, unmounted and mounted at once, removed, purged. scripts/boot-test
 * runs this; BOOT_TEST_MOUNTS says how many.
 */
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { mustRun } from '../../lib/demo/child.js';
import { keys, Machine } from './machine.js';

t.setTimeout(3_600_000);

const count = Number(process.env['BOOT_TEST_MOUNTS'] ?? '50');
const users = Array.from({ length: count }, (_, index) => `user${index}`);
const lines = Array.from({ length: count }, (_, index) => `line${index}`);
const script = fileURLToPath(new URL('../../../scripts/package', import.meta.url));
const defaults = 'S3JAIL_ENDPOINT_URL=http://127.0.0.1:9000\nS3JAIL_REGION=us-east-1\n';

/** Puts two versions of the package into the machine. @returns their paths there */
async function makePackages(t: Test, machine: Machine): Promise<[string, string]> {
  const place = await mkdtemp('/var/tmp/s3jail-boot-deb-');
  t.teardown(() => rm(place, { recursive: true }));
  const paths: string[] = [];
  for (const version of ['1.0.0', '1.0.1']) {
    const { stdout } = await mustRun(script, [
      '--as-built',
      '--output',
      place,
      '--version',
      version,
    ]);
    const path = `/root/s3jail_${version}.deb`;
    await copyFile(stdout.trim(), machine.path(path));
    paths.push(path);
  }
  return paths as [string, string];
}

void t.test('a host of many mounts', async (t) => {
  const machine = await Machine.boot(t, { hasProgram: false });
  const [first, second] = await makePackages(t, machine);
  await machine.write('/etc/updatedb.conf', 'PRUNEFS="nfs autofs"\n');
  const apt = (...words: string[]) =>
    machine.run('env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '--yes', '--quiet', ...words);
  const setup = (...words: string[]) => machine.run('s3jail', 'setup', ...words);
  const sourceOf = (name: string) => `s3://bucket/${name}/`;
  const place = (name: string) => join('/srv/sftp', name);
  const unitOf = (name: string) => `s3jail@${name}.service`;

  /** One after the other, as an operator's loop does it; the time that it takes is said. */
  const each = async (
    t: Test,
    names: readonly string[],
    wordsFor: (name: string) => string[],
  ): Promise<void> => {
    const begin = Date.now();
    for (const name of names) {
      const ending = await setup(name, ...wordsFor(name));
      if (ending.status !== 0) t.fail(`${name}: ${ending.stdout}${ending.stderr}`);
    }
    const seconds = (Date.now() - begin) / 1000;
    t.comment(`${(seconds / names.length).toFixed(2)} s for each of ${names.length}`);
  };
  const active = async () =>
    (
      await machine.must('systemctl', 'list-units', '--no-legend', '--state=active', 's3jail@*')
    ).split('\n').length;
  const mounted = async () => {
    const shown = await machine.run('findmnt', '-rno', 'TARGET', '-t', 'fuse.s3jail');
    return shown.stdout.split('\n').filter(Boolean).length;
  };
  const pids = () =>
    machine.must('systemctl', 'show', '--value', '--property=MainPID', ...users.map(unitOf));
  const version = async (name: string): Promise<unknown> => {
    const status = await machine.must('s3jail', 'status', '--json', place(name));
    return (JSON.parse(status) as [{ report: { version: unknown } }])[0].report.version;
  };

  await t.test('the package installs', async (t) => {
    const installed = await apt('install', first);
    t.equal(installed.status, 0, installed.stdout + installed.stderr);
    t.match(await machine.must('s3jail', '--version'), /^1\.0\.0$/);
    t.equal(await machine.must('sh', '-c', 'command -v s3jail'), '/usr/bin/s3jail');
  });
  const clean = await machine.look();
  await machine.must('mkdir', '-p', '/etc/s3jail', '/etc/credstore');
  await machine.write('/etc/s3jail/defaults', defaults);
  await machine.write('/etc/credstore/s3jail', keys);

  await t.test(`setup makes ${count} in a loop, with the package's own units`, async (t) => {
    await each(t, users, (name) => [sourceOf(name), '--authorized-keys', '/root/key.pub']);
    t.equal(await active(), count);
    const fragment = await machine.property(unitOf('user0'), 'FragmentPath');
    t.equal(fragment, '/lib/systemd/system/s3jail@.service');
    t.equal((await machine.run('ls', '/etc/systemd/system/s3jail@.service')).status, 2);
    for (const user of users.slice(0, 3)) {
      t.equal((await machine.sftp(user, 'put key.pub')).status, 0, user);
    }
  });

  await t.test('an option is changed, and keys are rotated', async (t) => {
    await each(t, users, (name) => [sourceOf(name), '-o', 'metadata-ttl=2s']);
    const before = await pids();
    await machine.write('/etc/credstore/s3jail', `${keys}# new\n`);
    const [one = ''] = users;
    const rotated = await setup(one, sourceOf(one));
    t.match(rotated, { status: 0, stdout: /^restart s3jail@/m }, rotated.stderr);
    await machine.must('systemctl', 'restart', 's3jail@*.service');
    t.equal(await active(), count);
    const left = before.split('\n').filter((pid) => pid !== '');
    const after = new Set((await pids()).split('\n'));
    t.strictSame(
      left.filter((pid) => after.has(pid)),
      [],
      'each has the new ones',
    );
  });

  await t.test('logrotate moves logs of units and of lines of fstab', async (t) => {
    await machine.must('mkdir', '-p', '-m', '0750', '/var/log/s3jail');
    const audit = '/var/log/s3jail/user0.audit.log';
    t.match(await setup('user0', sourceOf('user0'), '-o', `audit-log=${audit}`), { status: 0 });
    const line = ['--init', 'fstab', '--authorized-keys', '/root/key.pub'];
    t.match(await setup('line', sourceOf('line'), ...line), { status: 0 });
    const log = '/var/log/s3jail/srv-sftp-line.log';
    const rotate = () => machine.must('logrotate', '--force', '/etc/logrotate.d/s3jail');
    const before = await pids();
    await machine.startSession('user0', ['put key.pub after', 'rm after', 'rm before']);
    await rotate();
    const old = await machine.read(`${audit}.1`);
    t.match(old, /"path":"\/before"/);
    const { status, said } = await machine.endSession();
    t.equal(status, '0', said);
    await machine.until(async () => (await machine.read(audit)).split('"delete"').length === 3);
    t.match(await machine.read(audit), /"action":"store".*"path":"\/after"/);
    t.equal(await machine.read(`${audit}.1`), old, 'nothing more comes into the old file');
    t.match(await machine.read(log), /opened the log files again/);
    for (const path of [audit, `${audit}.1`, log, `${log}.1`]) {
      t.equal(await machine.must('stat', '-c', '%a %U', path), '640 root', path);
    }
    await rotate();
    t.match(await machine.must('ls', '/var/log/s3jail'), /^user0\.audit\.log\.2\.gz$/m);
    t.equal(await pids(), before, 'every mount goes on');
    t.match(await setup('line', '--remove'), { status: 0 });
  });

  await t.test('an upgrade leaves mounts and sessions alone', async (t) => {
    await machine.must('dd', 'if=/dev/urandom', 'of=/root/large', 'bs=1M', 'count=3');
    await machine.startUpload('user1');
    await machine.startSession('user2', ['put key.pub after', 'get after again']);
    const before = await pids();
    const upgraded = await apt('install', second);
    t.equal(upgraded.status, 0, upgraded.stderr);
    t.match(upgraded.stdout, /mounts go on with version 1\.0\.0 until they are restarted/);
    t.equal(await machine.must('s3jail', '--version'), '1.0.1');
    t.equal(await pids(), before);
    t.equal(await version('user0'), '1.0.0');
    const { status, said } = await machine.endSession();
    t.equal(status, '0', said);
    t.equal(await machine.read('/root/again'), await machine.read('/root/key.pub'));
    await machine.uploadEnds();
    t.equal((await machine.sftp('user1', 'get large back')).status, 0);
    await machine.must('cmp', '/root/large', '/root/back');
    t.equal((await machine.sftp('user0', 'put key.pub')).status, 0, 'new sessions too');
  });

  await t.test('what the upgrade advises brings all to the new version', async (t) => {
    await machine.must('dd', 'if=/dev/urandom', 'of=/root/large', 'bs=1M', 'count=30');
    await machine.startUpload('user1');
    await machine.startSession('user2', ['put key.pub later']);
    const begin = Date.now();
    await machine.must('systemctl', 'restart', 's3jail@*.service');
    t.comment(`all restarted in ${((Date.now() - begin) / 1000).toFixed(1)} s`);
    t.equal(await active(), count);
    t.equal(await version('user0'), '1.0.1');
    const { status, said } = await machine.endSession();
    t.not(status, '0', `the session hears that its mount is gone: ${said}`);
    await machine.killUpload();
    t.strictSame(await machine.list('user1'), ['key.pub', 'large'], 'what was open is stored');
    t.strictSame(await machine.list('user2'), ['after', 'before', 'key.pub']);
  });

  await t.test('a boot brings all of them, before sshd', async (t) => {
    await machine.reboot();
    t.equal(await active(), count);
    t.equal(await machine.must('systemctl', '--failed', '--no-legend'), '');
    t.strictSame(await machine.list('user0'), ['key.pub']);
    const since = (name: string) => machine.property(name, 'ActiveEnterTimestampMonotonic');
    const last = Math.max(
      ...(await Promise.all(users.map(async (name) => Number(await since(unitOf(name)))))),
    );
    t.ok(last < Number(await since('ssh.service')));
  });

  await t.test('units are removed in a loop', async (t) => {
    await each(t, users, () => ['--remove']);
    t.equal(await mounted(), 0);
  });

  await t.test(`${count} lines of fstab go together and come back at once`, async (t) => {
    const more = ['--init', 'fstab', '--authorized-keys', '/root/key.pub'];
    await each(t, lines, (name) => [sourceOf(name), ...more]);
    t.equal(await mounted(), count);
    t.equal((await machine.sftp('line0', 'put key.pub')).status, 0);
    const begin = Date.now();
    await machine.must('umount', ...lines.map(place));
    t.equal(await mounted(), 0);
    await machine.must('mount', '-a');
    t.equal(await mounted(), count, 'mount -a right after umount');
    t.comment(`umount and mount -a: ${((Date.now() - begin) / 1000).toFixed(1)} s`);
    t.strictSame(await machine.list('line0'), ['key.pub']);
    await machine.reboot();
    t.equal(await mounted(), count);
    t.equal(await machine.must('systemctl', '--failed', '--no-legend'), '');
    t.strictSame(await machine.list('line0'), ['key.pub']);
    await each(t, lines, () => ['--remove']);
  });

  await t.test('nothing of it is left', async (t) => {
    await machine.must('rm', '-r', '/etc/s3jail', '/etc/credstore', '/var/log/s3jail');
    t.equal(await machine.look(), clean);
  });

  await t.test('purging leaves objects and what the operator has', async (t) => {
    await machine.must('mkdir', '-p', '/etc/s3jail', '/etc/credstore');
    await machine.write('/etc/s3jail/defaults', defaults);
    await machine.write('/etc/credstore/s3jail', keys);
    const words = [sourceOf('user0'), '--authorized-keys', '/root/key.pub'];
    t.match(await setup('user0', ...words), { status: 0 });
    const environment = await machine.read('/etc/s3jail/user0.env');
    await machine.startUpload('user0');
    const purged = await apt('purge', 's3jail');
    t.equal(purged.status, 0, purged.stderr);
    await machine.killUpload();
    t.equal(await mounted(), 0, 'what systemd started is stopped');
    t.equal(await machine.read('/etc/s3jail/user0.env'), environment);
    t.equal(await machine.read('/etc/credstore/s3jail'), keys);
    for (const path of ['/usr/lib/s3jail', '/usr/bin/s3jail', '/etc/logrotate.d/s3jail']) {
      t.not((await machine.run('test', '-e', path)).status, 0, path);
    }
    t.not((await machine.sftp('user0', 'put key.pub lost')).status, 0, 'nothing lands here');
    t.match(await apt('install', second), { status: 0 });
    await machine.must('systemctl', 'start', unitOf('user0'));
    t.strictSame(await machine.list('user0'), ['key.pub', 'large'], 'as before, and what was open');
    t.match(await setup('user0', '--remove'), { status: 0 });
  });
});
