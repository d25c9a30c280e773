/**
 * SIGUSR1 opens Node's inspector on a port of this machine unless a program listens for it: for root's
 * processes that is code as root for every local user. A preload sends the signal at the worst moments.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { environment, helper, run, s3jail } from './support/command.js';

t.setTimeout(600_000);

const place = mkdtempSync('/var/tmp/s3jail-inspector-');
t.teardown(() => rmSync(place, { recursive: true, force: true }));
const preload = join(place, 'preload.cjs');
const said = join(place, 'said');
/**
 * Signals this process, gives it time to open what it would open, and writes down at its end whether
 * that is open.
 */
writeFileSync(
  preload,
  `const { appendFileSync } = require('node:fs');
   const Module = require('node:module');
   const note = (text) => appendFileSync(${JSON.stringify(said)}, text + '\\n');
   const signal = () => {
     process.kill(process.pid, 'SIGUSR1');
     // Long enough for Node's thread to open the port.
     const until = Date.now() + 300;
     while (Date.now() < until);
     note('signalled');
   };
   if (process.env.SIGNAL_AT === 'start') signal();
   const load = Module._load;
   Module._load = function (name, ...rest) {
     if (name.endsWith(process.env.SIGNAL_AT)) signal();
     return load.call(this, name, ...rest);
   };
   process.on('exit', () => note('at the end: ' + require('node:inspector').url()));`,
);

async function runSignalled(at: string, program: string, args: readonly string[]) {
  rmSync(said, { force: true });
  const { NODE_OPTIONS = '' } = environment({});
  const env = {
    NODE_OPTIONS: `${NODE_OPTIONS} --inspect-port=0 --require ${preload}`,
    SIGNAL_AT: at,
  };
  const ending = await run(program, args, env);
  return { ...ending, said: readFileSync(said, 'utf8') };
}

/** Every command, each in a form that mounts nothing. */
const commands = [
  [s3jail, '--help'],
  [s3jail, 'mount', 'bucket', '/nowhere'],
  [s3jail, 'unmount', '/nowhere'],
  [s3jail, 'check', 'bucket', '--endpoint-url', 'http://127.0.0.1:1', '--timeout', '1s'],
  [s3jail, 'policy', 'bucket'],
  [s3jail, 'setup', 'root', 'bucket', '--dry-run'],
  [s3jail, 'status'],
  [s3jail, 'demo', '--script', '/nowhere'],
  [s3jail, 'manual'],
  [s3jail, 'completion', 'bash'],
  [helper, 'bucket', '/nowhere'],
] as const;

for (const [program, ...args] of commands) {
  void t.test(`${args.join(' ')}: right behind the first statement`, async (t) => {
    const { status, stderr, said } = await runSignalled('mount-environment.cjs', program, args);
    t.not(status, null, 'it has lived through it');
    t.notMatch(stderr, /Debugger listening/);
    t.match(said, /signalled/);
    t.notMatch(said, /at the end: ws:/, 'nor in its child, if it has one');
  });
}

void t.test('what a signal opened before is closed', async (t) => {
  const { status, stderr, said } = await runSignalled('start', s3jail, ['policy', 'bucket']);
  t.equal(status, 0);
  t.match(stderr, /Debugger listening/, 'Node was quicker');
  t.match(said, /at the end: undefined\n$/);
});

void t.test('an inspector that was asked for stays', async (t) => {
  const env = { NODE_OPTIONS: `--inspect=0 --require ${preload}`, SIGNAL_AT: 'never' };
  rmSync(said, { force: true });
  await run(s3jail, ['policy', 'bucket'], env);
  t.match(readFileSync(said, 'utf8'), /at the end: ws:/);
});
