/** The commands, as processes of their own: what they print, and how they end. */
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { optionRows } from '../../lib/options/table.js';
import { helper, run as runProgram, s3jail, type Ending, type Env } from '../support/command.js';

// Several dozen processes: quick on an idle machine, but what they say does not depend on that.
t.setTimeout(600_000);

/** Runs a command that finds no credentials but those of `env`. */
function run(program: string, args: readonly string[], env: Env = {}): Promise<Ending> {
  const none = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined };
  return runProgram(program, args, { ...none, AWS_EC2_METADATA_DISABLED: 'true', ...env });
}

/** Every line on stderr is ours, and none is a line of a stack trace. */
function checkMessages(t: Test, { stderr }: Ending): void {
  const lines = stderr.split('\n').filter((line) => line !== '');
  t.ok(lines.length > 0, 'it says something');
  for (const line of lines) t.match(line, /^s3jail: \S/);
  t.notMatch(stderr, /^\s+at .*:\d+:\d+/m);
  t.notMatch(stderr, /Warning/);
}

void t.test('--help shows every option of the table, by group, on stdout', async (t) => {
  const { status, stdout, stderr } = await run(s3jail, ['mount', '--help']);
  t.equal(status, 0);
  t.equal(stderr, '');
  for (const row of optionRows) {
    t.match(stdout, new RegExp(`^ +--${row.name}( ${row.value ?? ''})? `, 'm'), row.name);
  }
  for (const group of [
    'S3:',
    'Ownership and access:',
    'Semantics:',
    'Transfer:',
    'Process and logging:',
  ]) {
    t.match(stdout, new RegExp(`^${group}$`, 'm'));
  }
  t.match(stdout, /S3JAIL_NAME/);
  t.notMatch(stdout, /--no-allow-other|\[URL\]/);
});

void t.test('--help of the program names its commands', async (t) => {
  const { status, stdout } = await run(s3jail, ['--help']);
  t.equal(status, 0);
  t.match(stdout, /mount SOURCE MOUNTPOINT/);
  t.match(stdout, /unmount MOUNTPOINT/);
  t.match(stdout, /demo \[--script FILE\]/);
  t.match(stdout, /check SOURCE \[MOUNTPOINT\] \[options\]/);
  t.match(stdout, /policy SOURCE \[options\]/);
});

void t.test('help is an option, a letter and a command', async (t) => {
  const asked = await run(s3jail, ['status', '--help']);
  t.match(asked, { status: 0, stdout: /MOUNTPOINT/, stderr: '' });
  t.strictSame(await run(s3jail, ['status', '-h']), asked);
  t.strictSame(await run(s3jail, ['help', 'status']), asked);
  const all = await run(s3jail, ['--help']);
  t.match(all.stdout, /^Examples:$/m);
  t.strictSame(await run(s3jail, ['help']), all);
  t.strictSame(await run(s3jail, ['-h']), all);
  t.match(await run(s3jail, ['help', 'statu']), { status: 1, stderr: /did you mean status\?/ });
});

void t.test('--version prints the version of the package, in both programs', async (t) => {
  for (const program of [s3jail, helper]) {
    const { status, stdout } = await run(program, ['--version']);
    t.equal(status, 0);
    t.match(stdout, /^\d+\.\d+\.\d+\n$/);
  }
});

const slips: readonly (readonly [args: string[], env: Record<string, string>, said: RegExp[]])[] = [
  [[], {}, [/a command is missing: mount, unmount, /]],
  [['umount', '/mnt'], {}, [/no command umount; did you mean unmount\?/]],
  [['mont', 'b', '/mnt'], {}, [/did you mean mount\?/]],
  [['check'], {}, [/SOURCE is missing: s3jail check SOURCE \[MOUNTPOINT\]/]],
  [['policy', 'bucket', '/mnt'], {}, [/2 arguments where one is taken: s3jail policy/]],
  [['check', 'a/b', '/mnt', 'c', '--rgion', 'x'], {}, [/--rgion.*did you mean --region/]],
  [['s3://bucket/', '/mnt'], {}, [/s3jail mount SOURCE MOUNTPOINT/]],
  [['--region', 'x'], {}, [/no option --region before the command/]],
  [['mount'], {}, [/SOURCE and MOUNTPOINT are missing/]],
  [['mount', 'bucket'], {}, [/MOUNTPOINT is missing: s3jail mount SOURCE MOUNTPOINT/]],
  [['mount', '/mnt'], {}, [/SOURCE is missing: s3jail mount SOURCE MOUNTPOINT/]],
  [['mount', 'bucket', '/mnt', '/mnt2'], {}, [/3 arguments where two are taken/]],
  [
    ['mount', 'bucket', '/mnt', '--retion', 'eu'],
    {},
    [/no option --retion; did you mean --region\?/],
  ],
  [['mount', 'bucket', '/mnt', '-x'], {}, [/no option -x/]],
  [['mount', 'bucket', '/mnt', '--region'], {}, [/--region needs a value/]],
  [['mount', 'bucket', '/mnt', '-o'], {}, [/'-o <LIST>' argument missing/]],
  [['mount', 'bucket', '/mnt', '--chroot=no'], {}, [/write --chroot or --no-chroot/]],
  [['mount', 'bucket', '/mnt', '-o', 'chrot'], {}, [/did you mean -o chroot\?/]],
  [['mount', 'bucket', '/mnt'], { S3JAIL_REGOIN: 'x' }, [/did you mean S3JAIL_REGION\?/]],
  [
    ['mount', 'B', '/mnt', '--part-size', '1', '-o', 'sse=x', '--role-external-id', 'i'],
    { S3JAIL_TIMEOUT: 'soon' },
    [/no valid bucket/, /--part-size: "1" is below 5MiB/, /-o sse/, /S3JAIL_TIMEOUT/, /--role-arn/],
  ],
  [['unmount'], {}, [/mountpoint/]],
  [['unmount', '/mnt', '--froce'], {}, [/unknown option '--froce'/]],
  [['demo', '--scrip', 'x'], {}, [/did you mean --script\?/]],
];

void t.test('a wrong call ends with 1, told in full and with the cure', async (t) => {
  const calls = slips.map(async ([args, env, said]) => {
    const ending = await run(s3jail, args, env);
    await t.test(['s3jail', ...args, ...Object.keys(env)].join(' '), (t) => {
      t.equal(ending.status, 1);
      t.equal(ending.stdout, '');
      checkMessages(t, ending);
      for (const pattern of said) t.match(ending.stderr, pattern);
      t.equal(ending.stderr.trim().split('\n').length, said.length, ending.stderr);
      t.end();
    });
  });
  await Promise.all(calls);
});

void t.test('keys in SOURCE are refused with the reason and never repeated', async (t) => {
  const secret = 'wJalrXUtnFEMIK7MDENG';
  for (const program of [s3jail, helper]) {
    const args = [`s3://AKIA:${secret}@s3.example.com/bucket/`, '/mnt'];
    const ending = await run(program, program === s3jail ? ['mount', ...args] : args);
    t.equal(ending.status, 1);
    checkMessages(t, ending);
    t.match(ending.stderr, /every user of this machine can read.*S3JAIL_SOURCE/);
    t.notOk(ending.stderr.includes(secret));
  }
});

void t.test('mount.s3jail takes the flags and words that mount(8) gives its helpers', async (t) => {
  const list = 'rw,noexec,nosuid,nodev,_netdev,x-systemd.automount,uid=root,part-size=8MiB';
  const fake = await run(helper, ['bucket/alice', '/nowhere', '-fnv', '-t', 's3jail', '-o', list]);
  t.match(fake, { status: 0, stdout: '', stderr: '' });
  const unknown = await run(helper, ['bucket', '/nowhere', '-f', '-o', 'rw,uidd=root']);
  t.equal(unknown.status, 1);
  t.match(unknown.stderr, /did you mean -o uid\?/);
  const sloppy = await run(helper, ['bucket', '/nowhere', '-sf', '-o', 'rw,uidd=root']);
  t.equal(sloppy.status, 0);
  const namespace = await run(helper, ['bucket', '/nowhere', '-f', '-N', '1']);
  t.equal(namespace.status, 1);
  t.match(namespace.stderr, /nsenter/);
});

void t.test('a mount that cannot be made ends with 32 and says why', async (t) => {
  const base = mkdtempSync('/var/tmp/s3jail-cli-');
  t.teardown(() => rmSync(base, { recursive: true }));
  const file = join(base, 'file');
  writeFileSync(file, '');
  const full = join(base, 'full');
  mkdirSync(join(full, 'entry'), { recursive: true });
  const empty = join(base, 'empty');
  mkdirSync(empty);
  const cases: readonly (readonly [mountPoint: string, said: RegExp])[] = [
    [join(base, 'none'), /mount point .*\/none does not exist; make it with mkdir -p/],
    [join(base, 'none', 'deeper'), /does not exist/],
    [file, /is not a directory/],
    [join(file, 'below'), /not a directory/],
    [full, /is not empty/],
    ['/proc', /is a mount point of proc \(proc\) already/],
  ];
  const log = join(base, 'log');
  const endpoint = ['--endpoint-url', 'http://127.0.0.1:1'];
  const calls = cases.map(async ([mountPoint, said], index) => {
    // Half of them as the background form, which passes on what its process says.
    const mode = index % 2 === 0 ? ['--foreground'] : ['--log-file', log];
    const ending = await run(s3jail, ['mount', 'bucket', mountPoint, ...endpoint, ...mode]);
    t.equal(ending.status, 32, mountPoint);
    checkMessages(t, ending);
    t.match(ending.stderr, said);
    t.equal(ending.stderr.trim().split('\n').length, 1, ending.stderr);
  });
  await Promise.all(calls);
});

void t.test('a mount whose S3 is out of reach or unknown says so within seconds', async (t) => {
  const base = mkdtempSync('/var/tmp/s3jail-cli-');
  t.teardown(() => rmSync(base, { recursive: true }));
  const mountPoint = join(base, 'mnt');
  mkdirSync(mountPoint);
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  const keys = { AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE', AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMIK7MDENG' };
  const endpoint = ['--endpoint-url', `http://127.0.0.1:${port}`];
  const temp = ['--temp-dir', join(base, 'tmp')];
  for (const mode of [['--foreground'], ['--log-file', join(base, 'log')]]) {
    const args = ['mount', 'my-bucket', mountPoint, ...endpoint, ...temp, ...mode];
    const refused = await run(s3jail, args, keys);
    t.equal(refused.status, 32);
    checkMessages(t, refused);
    t.match(refused.stderr, /my-bucket/);
    t.match(refused.stderr, new RegExp(`127.0.0.1:${port}`));
    t.notOk(refused.stderr.includes(keys.AWS_SECRET_ACCESS_KEY));
    const keyless = await run(s3jail, args);
    t.equal(keyless.status, 32);
    t.match(keyless.stderr, /my-bucket/);
    t.match(keyless.stderr, /credentials/i);
  }
});

void t.test('unmount of what is not mounted, or not ours, ends with 32', async (t) => {
  const base = mkdtempSync('/var/tmp/s3jail-cli-');
  t.teardown(() => rmSync(base, { recursive: true }));
  const idle = await run(s3jail, ['unmount', base]);
  t.equal(idle.status, 32);
  checkMessages(t, idle);
  t.match(idle.stderr, /is not mounted/);
  const proc = await run(s3jail, ['unmount', '/proc']);
  t.equal(proc.status, 32);
  t.match(proc.stderr, /proc.*not of s3jail/);
});

void t.test('a log file that cannot be opened is a system failure', async (t) => {
  const ending = await run(s3jail, ['mount', 'bucket', '/mnt', '--log-file', '/proc/none/x.log']);
  t.equal(ending.status, 2);
  checkMessages(t, ending);
  t.match(ending.stderr, /cannot open the log file \/proc\/none\/x.log/);
});

void t.test('a Node.js that cannot change users is named at the start', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 's3jail-node-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  // As the Node.js of Debian 13 answers.
  const refusal = join(directory, 'refusal.cjs');
  writeFileSync(refusal, "process.seteuid = () => { throw new Error('seteuid() disabled'); };");
  const ending = await run(s3jail, ['status'], { NODE_OPTIONS: `--require ${refusal}` });
  t.match(ending, { status: 2, stderr: /^s3jail: this Node\.js .*cannot change users.*npm/ });
  checkMessages(t, ending);
});
