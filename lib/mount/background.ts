/**
 * `mount` without `--foreground`: starts the foreground form as a process of its own and waits until
 * it says that the mount is usable, or why not.
 *
 * The child is detached (its own session, so that closing the terminal does not reach it; but see
 * `start`) and logs to a file. Its arguments are those of this process: they hold no secret.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, fstatSync, mkdirSync, openSync, readSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defaultLogFile } from '../host/default-log-file.js';
import { Failure, messageOf, type ExitCode } from '../host/failure.js';
import { argumentsOf, type MountPlan, type MountRequest } from '../options/mount-plan.js';
import { findMount, isAutomount } from '../host/mount-table.js';
import { parseChildMessage, type ChildMessage } from './parent-channel.js';
import childEnvironment from '../host/mount-environment.cjs';

/** How much of what a child wrote before it died is shown. */
const lastWords = { bytes: 4096, lines: 5 };

/**
 * @param print takes lines for the operator
 * @returns 0 when the mount is usable, else what the child failed with
 */
export async function mountInBackground(
  request: MountRequest,
  plan: MountPlan,
  print: (line: string) => void,
): Promise<ExitCode> {
  const logFile = plan.options.logFile ?? defaultLogFile(plan.mountPoint);
  const log = openLog(logFile, plan.options.logFile === undefined);
  try {
    const begin = fstatSync(log).size;
    const child = start(['mount', ...argumentsOf(request, plan)], log, {
      detached: !isAutomount(findMount(plan.mountPoint)),
    });
    const outcome = await firstWord(child);
    if (outcome.kind === 'mounted') {
      for (const notice of outcome.notices) print(notice);
      return 0;
    }
    if (outcome.kind === 'failed') {
      for (const line of outcome.lines) print(line);
      return outcome.exitCode;
    }
    print(
      `the mount process ended ${outcome.how} before the mount was usable; its log is ${logFile}`,
    );
    for (const line of readLastLines(log, begin)) print(line);
    return 32;
  } finally {
    closeSync(log);
  }
}

function openLog(path: string, isDefault: boolean): number {
  try {
    if (isDefault) mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
    return openSync(path, 'a+', 0o640);
  } catch (error) {
    const cure = 'name another one with --log-file';
    throw new Failure(2, `cannot open the log file ${path}: ${messageOf(error)}; ${cure}`, {
      cause: error,
    });
  }
}

/**
 * Whoever looks at an automount point waits until it is mounted, except for the automounter's process
 * group (autofs(5)): so the mount process stays in it, as we do. There is no terminal then.
 */
function start(
  args: readonly string[],
  log: number,
  { detached }: { detached: boolean },
): ChildProcess {
  const launcher = fileURLToPath(new URL('../../bin/s3jail.cjs', import.meta.url));
  return spawn(process.execPath, [launcher, ...args], {
    argv0: 's3jail',
    detached,
    env: childEnvironment.mountEnvironment(process.env),
    stdio: ['ignore', log, log, 'ipc'],
  });
}

type Outcome = ChildMessage | { readonly kind: 'died'; readonly how: string };

/** The child's message, or its end. Being told to stop meanwhile stops the child too. */
async function firstWord(child: ChildProcess): Promise<Outcome> {
  const stop = () => void child.kill('SIGTERM');
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, stop);
  try {
    return await new Promise<Outcome>((done, fail) => {
      let failed: ChildMessage | undefined;
      child.on('message', (value) => {
        const message = parseChildMessage(value);
        if (message?.kind === 'mounted') done(message);
        // Until it has ended, the mount point is its.
        else failed = message;
      });
      // `close` comes after the channel is read to its end, `exit` may come before.
      child.on('close', (code, signal) =>
        done(
          failed ?? {
            kind: 'died',
            how: signal === null ? `with exit code ${code ?? '?'}` : `by ${signal}`,
          },
        ),
      );
      child.on('error', (error) =>
        fail(new Failure(2, `cannot start the mount process: ${error.message}`, { cause: error })),
      );
    });
  } finally {
    for (const signal of signals) process.off(signal, stop);
    if (child.connected) child.disconnect();
    child.unref();
  }
}

function readLastLines(log: number, begin: number): string[] {
  const { size } = fstatSync(log);
  const from = Math.max(begin, size - lastWords.bytes);
  const buffer = Buffer.alloc(Math.max(0, size - from));
  const length = readSync(log, buffer, 0, buffer.length, from);
  const lines = buffer.toString('utf8', 0, length).split('\n');
  return lines
    .filter((line) => line.trim() !== '')
    .slice(-lastWords.lines)
    .map((line) => line.replace(/^s3jail: /, ''));
}
