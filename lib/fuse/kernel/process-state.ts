/**
 * What /proc tells of the process behind a request.
 *
 * Read while the request waits, so the process cannot have gone: the kernel holds it in the system
 * call. Two questions: is a FLUSH a close(2) that the program made or the kernel tidying up after its
 * end, and is the signal behind an INTERRUPT one that ends the wait. Where /proc does not say (pid 0:
 * a process of another pid namespace; hidepid), the answers are the careful ones.
 *
 * Only /proc/PID/status may be read of a process that may be alive. Reading /proc/PID/stat takes the
 * lock that execve(2) holds while it closes the close-on-exec files, so of a caller in that state it
 * would wait for the FLUSH that waits for it, and the mount with it.
 */
import { readFileSync } from 'node:fs';
import { systemErrorCode } from '../../errors.js';
import type { Closing } from '../../operations.js';

/** include/linux/sched.h */
const PF_EXITING = 0x4;
const PF_SIGNALED = 0x400;

/** How a file came to be closed, and by which program. */
export interface CloserState {
  readonly closing: Closing;
  readonly program?: string;
}

/**
 * Reads /proc/PID/stat (proc_pid_stat(5)). The command stands in parentheses and may hold anything,
 * parentheses and spaces too, so fields are counted from the last `)`.
 * @param options.seesExitCode whether this process may see field 52, exit_code: it holds the signal
 *   that ended the thread group. Without it PF_SIGNALED has to do, which the kernel also sets on the
 *   other threads of a program that simply called exit(3).
 */
export function parseProcessStat(text: string, options: { seesExitCode: boolean }): CloserState {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open) return { closing: 'close' };
  const program = text.slice(open + 1, close);
  const fields = text
    .slice(close + 2)
    .trim()
    .split(' ');
  const flags = Number(fields[6]);
  const signal = Number(fields[49]) & 0x7f;
  if ((flags & PF_EXITING) === 0) return { closing: 'close', program };
  if (signal !== 0) return { closing: 'killed', program };
  const signaled = (flags & PF_SIGNALED) !== 0 && !options.seesExitCode;
  return { closing: signaled ? 'killed' : 'exit', program };
}

/**
 * The name in /proc/PID/status, and whether the process still has memory: at its end it gives that up
 * before its files (do_exit), so without any it is past execve(2) and all else that programs do.
 */
export function parseProcessStatus(text: string): { program?: string; hasMemory: boolean } {
  const program = /^Name:\t(.*)$/m.exec(text)?.[1];
  const hasMemory = /^VmSize:/m.test(text);
  return program === undefined ? { hasMemory } : { program, hasMemory };
}

/** How the process (or thread) `pid` comes to close a file. */
export function closerState(pid: number): CloserState {
  const status = readProc(pid, 'status');
  if (status === undefined) return { closing: 'close' };
  const { program, hasMemory } = parseProcessStatus(status);
  const stat = hasMemory ? undefined : readProc(pid, 'stat');
  if (stat !== undefined) {
    const seesExitCode = process.geteuid?.() === 0;
    const found = parseProcessStat(stat, { seesExitCode });
    const isSure = seesExitCode || found.closing !== 'killed';
    return isSure || parseWasSignalled(status, pid) ? found : { ...found, closing: 'exit' };
  }
  return program === undefined ? { closing: 'close' } : { closing: 'close', program };
}

/**
 * Whether a thread that ended as if by a signal did so, by /proc/PID/status, where the exit code is not
 * to be seen: exit(3) takes the other threads of a program along in the same way. The signal that ended
 * a program is still pending, unless it was one that dumps core.
 */
export function parseWasSignalled(text: string, pid: number): boolean {
  const numberOf = (field: string) =>
    Number(new RegExp(`^${field}:\\s*(\\d+)$`, 'm').exec(text)?.[1]);
  const isOnlyThread = numberOf('Tgid') === pid && numberOf('Threads') === 1;
  return isOnlyThread || parseWantsToStop(text);
}

/** SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGTERM as bits of a signal mask. */
const endingSignals = [1, 2, 3, 9, 15].reduce(
  (mask, signal) => mask | (1n << BigInt(signal - 1)),
  0n,
);

/**
 * Whether the signals pending in /proc/PID/status are of the kind that a user sends to make a program
 * stop waiting. The kernel turns every signal that will end a process into a SIGKILL for its threads;
 * what else is pending (SIGURG of the Go runtime, SIGCHLD, SIGWINCH, a timer) interrupts no call on a
 * local file system, and programs rely on that.
 */
export function parseWantsToStop(text: string): boolean {
  for (const field of ['SigPnd', 'ShdPnd']) {
    const mask = new RegExp(`^${field}:\\s*([0-9a-f]+)$`, 'm').exec(text)?.[1];
    if (mask === undefined) return true;
    if ((BigInt(`0x${mask}`) & endingSignals) !== 0n) return true;
  }
  return false;
}

/** Whether an INTERRUPT of the thread `pid` is to be obeyed; yes where /proc does not say. */
export function wantsToStop(pid: number): boolean {
  const text = readProc(pid, 'status');
  return text === undefined || parseWantsToStop(text);
}

function readProc(pid: number, file: string): string | undefined {
  if (pid === 0) return undefined;
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch (error) {
    // hidepid, another namespace, no /proc at all: every one means "not known".
    if (systemErrorCode(error) !== undefined) return undefined;
    throw error;
  }
}
