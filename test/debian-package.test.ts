/** The Debian package: what is in it, and that what is in it mounts without anything beside it. */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { runCommand, type Ending } from '../lib/demo/child.js';
import { keyVariables, testBucket, useClient, useEndpoint } from './support/embedded.js';
import { useMachine } from './support/machine.js';

const top = fileURLToPath(new URL('../..', import.meta.url));

const isOffline = /ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ENETUNREACH|ENOTCACHED/;

t.setTimeout(600_000);

/** @returns where its files are, or why there is none here */
async function unpackedPackage(t: Test): Promise<string | Error> {
  if (!existsSync('/usr/bin/dpkg-deb')) return new Error('dpkg-deb is not here');
  const place = await mkdtemp('/var/tmp/s3jail-deb-');
  t.teardown(() => rm(place, { recursive: true, force: true }));
  const script = join(top, 'scripts/package');
  const made = await runCommand(script, ['--as-built', '--output', place, '--version', '1.2.3']);
  if (made.status !== 0 && isOffline.test(made.stderr)) {
    return new Error('the Node.js for the package cannot be fetched here');
  }
  t.equal(made.status, 0, made.stderr);
  const file = made.stdout.trim();
  const fields = await runCommand('dpkg-deb', ['--field', file, 'Package', 'Version', 'Depends']);
  t.match(fields.stdout, /^Package: s3jail\nVersion: 1\.2\.3\nDepends: libc6/);
  const root = join(place, 'root');
  const unpacked = await runCommand('dpkg-deb', ['--extract', file, root]);
  t.equal(unpacked.status, 0, unpacked.stderr);
  return root;
}

void t.test('a mount works from the Debian package alone', async (t): Promise<void> => {
  const root = await unpackedPackage(t);
  if (root instanceof Error) {
    t.pass(`the package is not built: ${root.message}`, { skip: root.message });
    return;
  }

  for (const path of [
    'usr/bin/s3jail',
    'usr/lib/systemd/system/s3jail-metrics.service',
    'usr/sbin/mount.s3jail',
    'usr/sbin/mount.fuse.s3jail',
    'usr/share/man/man8/s3jail.8.gz',
    'usr/share/bash-completion/completions/s3jail',
    'usr/share/zsh/vendor-completions/_s3jail',
    'usr/share/fish/vendor_completions.d/s3jail.fish',
    'usr/share/doc/s3jail/copyright',
    'etc/logrotate.d/s3jail',
  ]) {
    t.ok((await stat(join(root, path))).size > 0, path);
  }
  const copyright = await readFile(join(root, 'usr/share/doc/s3jail/copyright'), 'utf8');
  for (const name of ['s3jail authors', '@aws-sdk/client-s3', 'pino', 'fuse-native', 'Node.js']) {
    t.ok(copyright.includes(name), `the licence of ${name}`);
  }
  const unit = await readFile(join(root, 'usr/lib/systemd/system/s3jail@.service'), 'utf8');
  const [, node = '', program = ''] = /^ExecStart=(\S+) (\S+) mount /m.exec(unit) ?? [];
  t.match(await readFile(join(root, program), 'utf8'), new RegExp(`^#!${node}\n`));

  await useMachine(t);
  const endpoint = await useEndpoint(t);
  const s3jail = (...args: string[]): Promise<Ending> =>
    runCommand(join(root, node), [join(root, program), ...args], {
      cwd: '/',
      env: { PATH: process.env['PATH'] ?? '', ...keyVariables },
    });
  t.match(await s3jail('--version'), { status: 0, stdout: '1.2.3\n', stderr: '' });
  const planned = await s3jail('setup', 's3jail-x', 'bucket/x', '--init', 'systemd', '--dry-run');
  t.match(planned, { status: 0 }, planned.stderr);

  const client = useClient(t, endpoint.url);
  for (const driver of ['kernel', 'fuse-native']) {
    const place = await mkdtemp('/var/tmp/s3jail-deb-mount-');
    t.teardown(() => rm(place, { recursive: true, force: true }));
    const options = ['--endpoint-url', endpoint.url, '--region', 'us-east-1', '--driver', driver];
    const source = `s3://${testBucket}/${driver}/`;
    const checked = await s3jail('check', source, ...options);
    t.equal(checked.status, 0, checked.stdout + checked.stderr);
    const mounted = await s3jail('mount', source, place, ...options);
    t.match(mounted, { status: 0 }, mounted.stderr);
    const used = await runCommand('/bin/sh', ['-c', `echo hello > ${place}/a && cat ${place}/a`]);
    t.match(used, { status: 0, stdout: 'hello\n' }, driver);
    const unmounted = await s3jail('unmount', place);
    t.match(unmounted, { status: 0 }, unmounted.stderr);
    t.notOk(existsSync(join(place, 'a')));
    const stored = await client.send(
      new GetObjectCommand({ Bucket: testBucket, Key: `${driver}/a` }),
    );
    t.equal(await stored.Body?.transformToString(), 'hello\n', driver);
  }
});
