/** `s3jail demo`, as a stranger meets it: one command, a line to type, and nothing left afterwards. */
import { existsSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { Child, runCommand, sendSignal, type Ending } from '../../lib/demo/child.js';
import { program } from '../../lib/demo/mount-process.js';
import { readMountTable } from '../../lib/host/mount-table.js';
import { failed, succeeded } from '../support/expect.js';
import { sha256OfFile, writeRandomFile } from '../support/local-files.js';
import { makePlace } from '../support/place.js';

t.setTimeout(600_000);

void t.test('demo --script runs the batch where it was called and gives its status', async (t) => {
  const cwd = await makePlace(t);
  const hash = await writeRandomFile(join(cwd, 'here.bin'), 9_000_000);
  await writeFile(join(cwd, 'batch'), 'put here.bin there.bin\nls -l\nget there.bin back.bin\n');
  const ending = await demo(cwd, '--script', 'batch');
  succeeded(t, ending, 'the demo');
  t.match(ending.stdout, /^sftp> put here\.bin there\.bin$/m);
  t.match(ending.stdout, / 9000000 .* there\.bin$/m);
  t.equal(await sha256OfFile(join(cwd, 'back.bin')), hash);
  nothingLeft(t, ending);
});

void t.test('demo --script fails as sftp does', async (t) => {
  const cwd = await makePlace(t);
  await writeFile(join(cwd, 'batch'), 'get absent\nput batch\n');
  const ending = await demo(cwd, '--script', 'batch');
  t.equal(ending.status, 1);
  t.match(ending.stderr, /not found/);
  nothingLeft(t, ending);
});

void t.test('demo --script says what is missing before it makes anything', async (t) => {
  const ending = await demo(await makePlace(t), '--script', 'absent');
  t.equal(ending.status, 2);
  failed(t, ending, /^s3jail: demo: there is no sftp batch .*\/absent$/m, 'the demo');
  t.notMatch(ending.stderr, /Taking everything down/);
});

void t.test('demo prints an sftp line that works as it is, and Ctrl-C ends it', async (t) => {
  const cwd = await makePlace(t);
  const output = join(cwd, 'output');
  const child = await Child.start('sh', ['-c', 'exec "$@" >output', 'sh', ...command()], { cwd });
  t.teardown(() => child.stop());
  const line = await untilPrinted(child, output, /^ *(sftp -P .*)$/m);
  await writeFile(join(cwd, 'greeting'), 'hello');
  const batch = { text: 'put greeting\nls -1\n' };
  const options = { cwd, input: batch };
  const session = await runCommand('sh', ['-c', line.replace(/^sftp/, 'sftp -b -')], options);
  succeeded(t, session, 'the line');
  t.match(session.stdout, /^greeting$/m);
  const ending = await child.stop({ signal: 'SIGINT', graceMs: 60_000 });
  t.equal(ending.status, 0);
  nothingLeft(t, ending);
});

for (const milestone of [/S3 endpoint at/, / mounted on /]) {
  void t.test(`demo stopped after "${milestone.source}" leaves nothing`, async (t) => {
    const [node = '', ...args] = command();
    const child = await Child.start(node, args, { cwd: await makePlace(t) });
    t.teardown(() => child.stop());
    await child.untilSaid(milestone);
    sendSignal(child.pid, 'SIGTERM');
    const ending = await child.ended;
    t.ok([0, 143].includes(ending.status), 'it ends as one that was told to');
    nothingLeft(t, ending);
  });
}

void t.test('what a killed demo left is cleared by the next one', async (t) => {
  const cwd = await makePlace(t);
  const [node = '', ...args] = command();
  const child = await Child.start(node, args, { cwd });
  await child.untilSaid(/sshd on port/);
  const user = userOf(child.stderr);
  sendSignal(child.pid, 'SIGKILL');
  await child.ended;
  t.ok(userExists(user), 'the user is left over');
  await writeFile(join(cwd, 'batch'), 'pwd\n');
  const ending = await demo(cwd, '--script', 'batch');
  succeeded(t, ending, 'the next demo');
  t.equal(userOf(ending.stderr), user, 'it takes the same user over');
  nothingLeft(t, ending);
});

function command(...args: string[]): string[] {
  return [process.execPath, program, 'demo', ...args];
}

function demo(cwd: string, ...args: string[]): Promise<Ending> {
  const [node = '', ...rest] = command(...args);
  return runCommand(node, rest, { cwd });
}

/** What the child printed last that matches, once it has. */
async function untilPrinted(child: Child, file: string, pattern: RegExp): Promise<string> {
  for (;;) {
    const printed = existsSync(file) ? pattern.exec(await readFile(file, 'utf8'))?.[1] : undefined;
    if (printed !== undefined) return printed;
    if (!child.isRunning) throw new Error(child.stderr);
    await sleep(50);
  }
}

function userOf(stderr: string): string {
  return /user (s3jail-demo[-\d]*)/.exec(stderr)?.[1] ?? '';
}

function userExists(name: string): boolean {
  return readFileSync('/etc/passwd', 'utf8').includes(`\n${name}:`);
}

/** No user, no directory, no mount, nobody listening. */
function nothingLeft(t: Test, { stderr }: Pick<Ending, 'stderr'>): void {
  const mounted = / mounted on (\S+)\/mnt/.exec(stderr)?.[1];
  const user = userOf(stderr) || (mounted?.replace('/var/lib/', '') ?? 's3jail-demo-none');
  t.notOk(userExists(user), 'no user is left');
  t.notOk(existsSync(`/var/lib/${user}`), 'no directory is left');
  const mounts = readMountTable().map((entry) => entry.mountPoint);
  t.notOk(mounts.includes(`/var/lib/${user}/mnt`), 'no mount is left');
  for (const [, port] of stderr.matchAll(/(?:port |127\.0\.0\.1:)(\d+)/g)) {
    t.notOk(isListening(Number(port)), `nobody listens on port ${port ?? ''}`);
  }
}

/** State 0A of proc(5) net/tcp is LISTEN; addresses are in hexadecimal, bytes reversed. */
function isListening(port: number): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return readFileSync('/proc/net/tcp', 'latin1').includes(`0100007F:${hex} 00000000:0000 0A`);
}
