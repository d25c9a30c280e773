import { spawnSync } from 'node:child_process';
import t from 'tap';
import {
  closerState,
  parseProcessStat,
  parseProcessStatus,
  parseWasSignalled,
  parseWantsToStop,
  wantsToStop,
} from '../../../lib/fuse/kernel/process-state.js';

/** /proc/PID/stat with 52 fields, of which flags (9) and exit_code (52) matter. */
function stat(program: string, flags: number, exitCode = 0): string {
  const rest = Array.from({ length: 50 }, () => '0');
  rest[0] = 'R';
  rest[6] = String(flags);
  rest[49] = String(exitCode);
  return `4242 (${program}) ${rest.join(' ')}\n`;
}

void t.test('a process that runs is closing, one that ends is exiting or killed', (t) => {
  const sees = { seesExitCode: true };
  const program = 'sftp-server';
  t.same(parseProcessStat(stat(program, 0x400040), sees), { closing: 'close', program });
  t.same(parseProcessStat(stat(program, 0x40004c), sees), { closing: 'exit', program });
  t.same(parseProcessStat(stat(program, 0x40044c, 9), sees), { closing: 'killed', program });
  t.same(parseProcessStat(stat(program, 0x4, 15), sees), { closing: 'killed', program });
  t.end();
});

void t.test('a thread that exit(3) of its program took along was not killed', (t) => {
  const text = stat('node', 0x404, 0);
  t.equal(parseProcessStat(text, { seesExitCode: true }).closing, 'exit');
  t.equal(parseProcessStat(text, { seesExitCode: false }).closing, 'killed');
  t.end();
});

void t.test('without the exit code, a signal that is pending tells who was killed', (t) => {
  const status = (fields: { tgid: number; threads: number; pending: string }) =>
    `Name:\tnode\nTgid:\t${fields.tgid}\nThreads:\t${fields.threads}\n` +
    `SigPnd:\t0000000000000000\nShdPnd:\t${fields.pending}\n`;
  const none = '0000000000000000';
  const sigkill = '0000000000000100';
  t.ok(parseWasSignalled(status({ tgid: 7, threads: 1, pending: none }), 7), 'the only thread');
  t.notOk(parseWasSignalled(status({ tgid: 7, threads: 2, pending: none }), 7));
  t.notOk(parseWasSignalled(status({ tgid: 7, threads: 1, pending: none }), 8), 'another thread');
  t.ok(parseWasSignalled(status({ tgid: 7, threads: 2, pending: sigkill }), 8));
  t.end();
});

void t.test('a status of exit(3) is no signal', (t) => {
  t.equal(parseProcessStat(stat('x', 0x4, 1 << 8), { seesExitCode: true }).closing, 'exit');
  t.end();
});

void t.test('a program may be called anything', (t) => {
  const text = stat(') S 1 (x', 0x4);
  t.same(parseProcessStat(text, { seesExitCode: true }), { closing: 'exit', program: ') S 1 (x' });
  t.end();
});

void t.test('what cannot be read is a close', (t) => {
  t.same(parseProcessStat('', { seesExitCode: true }), { closing: 'close' });
  t.same(closerState(0), { closing: 'close' });
  const gone = spawnSync('true').pid;
  t.same(closerState(gone), { closing: 'close' });
  t.match(closerState(process.pid), { closing: 'close', program: /.+/ });
  t.end();
});

void t.test('a process that has given up its memory is at its end', (t) => {
  const alive = 'Name:\tsftp-server\nVmPeak:\t 8 kB\nVmSize:\t 4 kB\n';
  t.same(parseProcessStatus(alive), { program: 'sftp-server', hasMemory: true });
  t.same(parseProcessStatus('Name:\tx y\nThreads:\t1\n'), { program: 'x y', hasMemory: false });
  t.same(parseProcessStatus(''), { hasMemory: false });
  t.end();
});

void t.test('only signals that a user sends to stop a program stop a call', (t) => {
  const status = (pending: bigint, shared: bigint): string =>
    `Name:\tx\nSigPnd:\t${pending.toString(16).padStart(16, '0')}\n` +
    `ShdPnd:\t${shared.toString(16).padStart(16, '0')}\nSigBlk:\t0000000000000000\n`;
  const bit = (signal: number): bigint => 1n << BigInt(signal - 1);
  for (const signal of [1, 2, 3, 9, 15]) {
    t.ok(parseWantsToStop(status(bit(signal), 0n)), `signal ${signal} to the thread`);
    t.ok(parseWantsToStop(status(0n, bit(signal))), `signal ${signal} to the process`);
  }
  for (const signal of [14, 17, 18, 23, 27, 28]) {
    t.notOk(parseWantsToStop(status(bit(signal), bit(signal))), `signal ${signal}`);
  }
  t.notOk(parseWantsToStop(status(0n, 0n)));
  t.ok(parseWantsToStop('no status at all'));
  t.ok(wantsToStop(0), 'a caller that cannot be looked at');
  t.notOk(wantsToStop(process.pid));
  t.end();
});
