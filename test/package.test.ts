/** The package as npm makes, installs and removes it, and the documents that are made from the options. */
import { existsSync, readdirSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HeadObjectCommand } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { runCommand, type Ending } from '../lib/demo/child.js';
import { optionRows } from '../lib/options/table.js';
import { keyVariables, testBucket, useClient, useEndpoint } from './support/embedded.js';
import { useMachine } from './support/machine.js';

const top = fileURLToPath(new URL('../..', import.meta.url));
const program = join(top, 'dist/bin/s3jail.cjs');
const manual = join(top, 'dist/man/s3jail.8');

async function pack(t: Test): Promise<{ place: string; tarball: string; files: string[] }> {
  const place = await mkdtemp('/var/tmp/s3jail-package-');
  t.teardown(() => rm(place, { recursive: true, force: true }));
  // What is built is what is tested.
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', place];
  const packed = await runCommand('npm', args, { cwd: top });
  t.equal(packed.status, 0, packed.stderr);
  const [found] = JSON.parse(packed.stdout) as { filename: string; files: { path: string }[] }[];
  const files = (found?.files ?? []).map(({ path }) => path);
  return { place, tarball: join(place, found?.filename ?? ''), files };
}

void t.test('the package installs, runs, and goes without a trace', async (t) => {
  const { place, tarball, files } = await pack(t);
  for (const path of [
    'package.json',
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
    'docs/semantics.md',
    'dist/bin/s3jail.cjs',
    'dist/bin/mount.s3jail.cjs',
    'dist/lib/cli/main.js',
    'dist/man/s3jail.8',
    'lib/systemd/s3jail@.service',
  ]) {
    t.ok(files.includes(path), path);
  }
  t.strictSame(
    files.filter((path) => /^(?!node_modules\/).*(test|(?<!\.d)\.c?ts$)|^scripts|^\./.test(path)),
    [],
    'neither tests nor sources',
  );

  const prefix = join(place, 'prefix');
  const options = ['-g', '--prefix', prefix, '--prefer-offline', '--no-audit', '--no-fund'];
  const installed = await runCommand('npm', ['install', ...options, tarball], { cwd: place });
  // npm 11 warns of install scripts, except of what comes in the package itself.
  t.match(installed, { status: 0, stderr: /^(?!.*warn)/s });
  for (const name of ['s3jail', 'mount.s3jail']) {
    const { version } = JSON.parse(await readFile(join(top, 'package.json'), 'utf8')) as {
      version: string;
    };
    const ending = await runCommand(join(prefix, 'bin', name), ['--version']);
    t.match(ending, { status: 0, stdout: `${version}\n`, stderr: '' }, name);
  }
  t.ok(existsSync(join(prefix, 'share/man/man8/s3jail.8')), 'man(1) finds the page');
  const planned = await runCommand(join(prefix, 'bin/s3jail'), [
    ...['setup', 's3jail-x', 'bucket/x', '--init', 'systemd', '--dry-run'],
  ]);
  t.match(planned, { status: 0, stdout: /^would write .*s3jail@\.service$/m }, 'it has its unit');

  await t.test('a plain user mounts with it', (t) => mountAsPlainUser(t, place));

  const removed = await runCommand('npm', ['uninstall', ...options, 's3jail'], { cwd: place });
  t.equal(removed.status, 0, removed.stderr);
  for (const directory of ['bin', 'lib/node_modules', 'share/man/man8']) {
    const left = existsSync(join(prefix, directory)) ? readdirSync(join(prefix, directory)) : [];
    t.strictSame(
      left.filter((name) => name !== '.package-lock.json'),
      [],
      directory,
    );
  }
});

const nobody = 65_534;

/** @param place where the package is installed, in `prefix` */
async function mountAsPlainUser(t: Test, place: string): Promise<void> {
  await useMachine(t);
  const endpoint = await useEndpoint(t);
  const { mode } = await stat('/dev/fuse');
  t.teardown(() => chmod('/dev/fuse', mode & 0o777));
  // As udev leaves it; machines without udev keep it for root.
  await chmod('/dev/fuse', 0o666);
  await chmod(place, 0o755);
  const home = join(place, 'home');
  const files = join(home, 'files');
  await mkdir(files, { recursive: true });
  for (const directory of [home, files]) await chown(directory, nobody, nobody);
  // Without PATH, as mount(8) calls its helpers for a line with `user` in fstab.
  const env = { ...keyVariables, HOME: home, TMPDIR: home };
  const asNobody = (...command: string[]): Promise<Ending> => {
    const identity = [`--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'];
    return runCommand('/usr/bin/setpriv', [...identity, ...command], { cwd: '/', env });
  };
  const s3jail = [process.execPath, join(place, 'prefix/bin/s3jail')];
  const options = ['--endpoint-url', endpoint.url, '--region', 'us-east-1'];
  const mounted = await asNobody(...s3jail, 'mount', `s3://${testBucket}/u/`, files, ...options);
  t.match(mounted, { status: 0 }, mounted.stderr);
  t.match(await asNobody('/bin/sh', '-c', `echo hello > ${files}/a && cat ${files}/a`), {
    status: 0,
    stdout: 'hello\n',
  });
  const unmounted = await asNobody(...s3jail, 'unmount', files);
  t.match(unmounted, { status: 0 }, unmounted.stderr);
  t.strictSame(readdirSync(files), []);
  const client = useClient(t, endpoint.url);
  const { ContentLength } = await client.send(
    new HeadObjectCommand({ Bucket: testBucket, Key: 'u/a' }),
  );
  t.equal(ContentLength, 6);
}

void t.test('the manual page tells of every option and every command', async (t) => {
  const text = (await readFile(manual, 'utf8')).replaceAll('\\-', '-');
  for (const { name } of optionRows) t.ok(text.includes(`.B --${name}`), name);
  const help = await runCommand(process.execPath, [program, '--help']);
  const commands = [...help.stdout.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name ?? '');
  t.ok(commands.length > 5);
  for (const name of commands) t.match(text, new RegExp(`^\\.B ${name}\\b`, 'm'));
  t.notMatch(text, /^'|^\.(?!TH|SH|SS|TP|PP|RS|RE|br|B |I )/m, 'no line is a request by accident');
});

void t.test('bash completes commands, and the options of a command', async (t) => {
  const complete = async (...words: string[]): Promise<string[]> => {
    const script = `
      eval "$("$1" "$2" completion bash)"
      shift 2
      COMP_WORDS=(s3jail "$@") COMP_CWORD=$#
      _s3jail
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const args = ['-c', script, 'bash', process.execPath, program, ...words];
    return (await runCommand('bash', args)).stdout.trim().split('\n');
  };
  t.strictSame(await complete('un'), ['unmount']);
  t.strictSame(await complete('mount', '--endpoint'), ['--endpoint-url']);
  t.strictSame(await complete('setup', '--dry'), ['--dry-run']);
  t.strictSame(await complete('mount', `${top}LICENS`), [`${top}LICENSE`]);
  t.strictSame(await complete('mount', '--utimens', 's'), ['store']);
  t.ok((await complete('mount', '--uid', 'ro')).includes('root'));
  t.ok((await complete('setup', 'ro')).includes('root'));
  t.strictSame(await complete('help', 'x'), ['']);
  const fish = await runCommand(process.execPath, [program, 'completion', 'fish']);
  t.match(fish.stdout, /__fish_seen_subcommand_from mount' -l region -r -d 'region of/);
  const none = await runCommand(process.execPath, [program, 'completion', 'csh']);
  t.match(none, { status: 1, stderr: /^s3jail: .*bash, zsh, fish/ });
});
