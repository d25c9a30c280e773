/**
 * Programs that the demo starts and ends: long-running children whose end is awaited by pid, and
 * short commands.
 *
 * Every child gets a session of its own, so that Ctrl-C on the terminal reaches only us and things
 * are taken down in order; and SIGTERM from the kernel should we be killed without that chance.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemErrorCode } from '../errors.js';

/** How a program ended: its exit status, or 128 + signal as a shell tells it. */
export interface Ending {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ChildOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** what to do with its output: keep it (the default), or hand it through to ours */
  readonly output?: 'keep' | 'inherit';
  /** its standard input: a text, or ours; empty if absent */
  readonly input?: { readonly text: string } | 'inherit';
}

/** Output kept of one stream; enough for any message, little enough for a week. */
const keptCharacters = 1 << 20;

/** Exit statuses of shells for a death by signal start here. */
const signalStatusBase = 128;
/** A program that runs until it is stopped. */
export class Child {
  readonly pid: number;
  readonly ended: Promise<Ending>;
  #stdout = '';
  #stderr = '';
  #isRunning = true;
  readonly #lineWaiters = new Set<() => void>();

  private constructor(child: ChildProcess, pid: number) {
    this.pid = pid;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout = (this.#stdout + text).slice(-keptCharacters);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-keptCharacters);
      for (const wake of this.#lineWaiters) wake();
    });
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        this.#isRunning = false;
        const status = code ?? signalStatusBase + (signal === null ? 0 : constants.signals[signal]);
        resolve({ status, stdout: this.#stdout, stderr: this.#stderr });
      });
    });
  }

  /** A program that is not there ends at once with status 127, as a shell tells it. */
  static async start(
    command: string,
    args: readonly string[],
    options: ChildOptions = {},
  ): Promise<Child> {
    const child = spawnDetached(
      'setpriv',
      ['--pdeathsig', 'TERM', '--', command, ...args],
      options,
    );
    return Child.#adopt(child);
  }

  static async #adopt(child: ChildProcess): Promise<Child> {
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve).once('error', reject);
    });
    if (child.pid === undefined) throw new Error('a started program has no pid');
    return new Child(child, child.pid);
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** What it wrote to stderr so far, the end of it. */
  get stderr(): string {
    return this.#stderr;
  }

  /**
   * Waits until stderr has matched `pattern`.
   * @throws Error with what it wrote, if it ends before
   */
  async untilSaid(pattern: RegExp, signal?: AbortSignal): Promise<void> {
    while (!pattern.test(this.#stderr)) {
      signal?.throwIfAborted();
      if (!this.#isRunning) throw new Error(this.#stderr.trim() || 'it ended without a word');
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#lineWaiters.delete(wake);
          signal?.removeEventListener('abort', wake);
          resolve();
        };
        this.#lineWaiters.add(wake);
        signal?.addEventListener('abort', wake);
        void this.ended.then(wake);
      });
    }
  }

  /** Asks it to end, and after `graceMs` makes it. Fine too where it has ended already. */
  async stop(options: { signal?: NodeJS.Signals; graceMs?: number } = {}): Promise<Ending> {
    if (this.#isRunning) sendSignal(this.pid, options.signal ?? 'SIGTERM');
    const timer = setTimeout(() => {
      if (this.#isRunning) sendSignal(this.pid, 'SIGKILL');
    }, options.graceMs ?? 10_000);
    try {
      return await this.ended;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Runs a command to its end. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: ChildOptions = {},
): Promise<Ending> {
  const child = await Child.start(command, args, options);
  return child.ended;
}

/** Runs a command that has to succeed. @throws Error with what it wrote to stderr */
export async function mustRun(command: string, args: readonly string[]): Promise<Ending> {
  const ending = await runCommand(command, args);
  if (ending.status !== 0) {
    throw new Error(
      `${command} failed with status ${ending.status}: ${ending.stderr.trim() || ending.stdout.trim()}`,
    );
  }
  return ending;
}

/** Sends a signal; one that is gone already needs none (ESRCH). */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (systemErrorCode(error) !== 'ESRCH') throw error;
  }
}

/**
 * Pids of the processes below `pid` now. Read from /proc/PID/task/PID/children (proc(5)) and not by
 * looking at every process there is: the stat file of a stranger may block while it starts a program.
 */
export function descendantsOf(pid: number): number[] {
  const found: number[] = [];
  for (let queue = [pid]; queue.length > 0; found.push(...queue)) queue = queue.flatMap(childrenOf);
  return found;
}

function childrenOf(pid: number): number[] {
  const text = readProcessFile(`/proc/${pid}/task/${pid}/children`) ?? '';
  return text
    .split(' ')
    .filter((child) => child !== '')
    .map(Number);
}

/** Ends processes that are not our own children, so that nobody tells us when they are gone. */
export async function endProcesses(pids: readonly number[], graceMs = 2000): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    for (const pid of pids) sendSignal(pid, signal);
    const deadline = performance.now() + graceMs;
    while (pids.some(isAlive)) {
      if (performance.now() > deadline) break;
      await sleep(20);
    }
  }
}

/** Whether the process exists and has not ended; a zombie has. */
function isAlive(pid: number): boolean {
  const status = readProcessFile(`/proc/${pid}/status`);
  return status !== undefined && !/^State:\s+Z/m.test(status);
}

/** undefined where the process has ended meanwhile */
function readProcessFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

function spawnDetached(
  command: string,
  args: readonly string[],
  options: ChildOptions,
): ChildProcess {
  const { input, output } = options;
  const stream = output === 'inherit' ? 'inherit' : 'pipe';
  const stdin = input === undefined ? 'ignore' : input === 'inherit' ? 'inherit' : 'pipe';
  const child = spawn(command, args, {
    detached: true,
    stdio: [stdin, stream, stream],
    env: options.env ?? process.env,
    cwd: options.cwd,
  });
  if (typeof input === 'object') child.stdin?.end(input.text);
  return child;
}
