/**
 * The steps of `s3jail setup`. Each knows whether it is done already, so that doing all of them again
 * changes nothing, can be named without being done, and taken back where a later one fails.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { bareEnvironment } from '../host/bare-environment.js';
import { systemErrorCode } from '../errors.js';
import { Failure, messageOf } from '../host/failure.js';

export interface Step {
  /** what it does, as in "make the user alice" */
  readonly what: string;
  readonly isDone: () => Promise<boolean>;
  readonly run: () => Promise<void>;
  /** takes back what `run` did, be it the half of it */
  readonly undo?: () => Promise<void>;
}

export interface RunMode {
  /** say what would be done, and do nothing */
  readonly dryRun: boolean;
  readonly print: (line: string) => void;
  /** what has been done, for `takeBack` */
  readonly done: Pick<Step, 'what' | 'undo'>[];
  /** the operator wants no more; its reason says how they said so */
  readonly stop: AbortSignal;
}

/** @returns whether anything was (or, in a dry run, would be) changed */
export async function perform(step: Step, runMode: RunMode): Promise<boolean> {
  const { dryRun, print, done, stop } = runMode;
  refuseIfStopped(stop);
  if (await step.isDone()) {
    print(`nothing to do: ${step.what}`);
    return false;
  }
  print(dryRun ? `would ${step.what}` : step.what);
  if (dryRun) return true;
  done.push(step);
  await step.run();
  return true;
}

/** Undoes what was done, the newest first; what cannot be undone is said, and the rest goes on. */
export async function takeBack({ done, print }: RunMode): Promise<void> {
  for (const { what, undo } of done.splice(0).reverse()) {
    if (undo === undefined) continue;
    print(`undo: ${what}`);
    try {
      await undo();
    } catch (error) {
      print(`that could not be undone: ${messageOf(error)}`);
    }
  }
}

/** @throws Failure once the operator asked to stop */
export function refuseIfStopped(stop: AbortSignal): void {
  if (stop.aborted) throw new Failure(2, `stopped by ${String(stop.reason)}`);
}

/** sd_booted(3) */
export function isSystemdRunning(): boolean {
  return existsSync('/run/systemd/system');
}

/** Runs a program that has to succeed. @throws Failure with exit code 2 and its last words */
export async function mustRun(
  program: string,
  args: readonly string[],
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  await outputOf(program, args, options);
}

/** What a program prints that has to succeed. @throws Failure as mustRun */
export async function outputOf(
  program: string,
  args: readonly string[],
  { signal }: { signal?: AbortSignal } = {},
): Promise<string> {
  try {
    // In a session of its own: Ctrl-C is for this process to hear, which then undoes things in order.
    const words = [program, ...args];
    return (await promisify(execFile)('setsid', words, { env: bareEnvironment, signal })).stdout;
  } catch (error) {
    if (signal !== undefined) refuseIfStopped(signal);
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    const reason = said === '' ? messageOf(error) : said.replace(/\s*\n\s*/g, ' ');
    throw new Failure(2, `${program} ${args.join(' ')}: ${reason}`, { cause: error });
  }
}

export async function succeeds(program: string, args: readonly string[]): Promise<boolean> {
  try {
    await promisify(execFile)(program, args, { env: bareEnvironment });
    return true;
  } catch (error) {
    // A status other than 0 is an answer here; a program that cannot be started is not.
    if (error instanceof Error && 'code' in error && typeof error.code === 'number') return false;
    throw new Failure(2, `${program}: ${messageOf(error)}`, { cause: error });
  }
}

/** The text of a file; undefined where there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  return unlessAbsent(readFile(path, 'utf8'));
}

/** What the work gives; undefined where the file it is about is not there. */
export async function unlessAbsent<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

export interface FileContent {
  readonly path: string;
  readonly content: string;
  readonly mode: number;
}

/** Puts a file there, whole or not at all. */
export function fileStep(what: string, { path, content, mode }: FileContent): Step {
  const read = async (): Promise<FileContent | undefined> => {
    const stats = await unlessAbsent(stat(path));
    if (stats === undefined) return undefined;
    return { path, content: await readFile(path, 'utf8'), mode: stats.mode & 0o7777 };
  };
  let before: FileContent | undefined;
  return {
    what,
    isDone: async () => {
      before = await read();
      return before?.mode === mode && before.content === content;
    },
    run: () => replaceFile({ path, content, mode }),
    undo: () => (before === undefined ? rm(path, { force: true }) : replaceFile(before)),
  };
}

export async function replaceFile({ path, content, mode }: FileContent): Promise<void> {
  const draft = `${path}.s3jail-${process.pid}`;
  try {
    await writeFile(draft, content, { mode, flag: 'wx' });
    // The umask does not count for files whose mode is said.
    await chmod(draft, mode);
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw new Failure(2, `cannot write ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Makes a directory of root's and those above it; one that is there is left as it is. */
export function directoryStep(path: string, mode: number): Step {
  const made: string[] = [];
  return {
    what: `make the directory ${path}`,
    isDone: async () => (await unlessAbsent(stat(path))) !== undefined,
    run: async () => {
      const first = await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      for (let each = dirname(path); first !== undefined; each = dirname(each)) {
        made.push(each);
        if (each === first) break;
      }
      await mkdir(path, { mode });
      made.unshift(path);
      await chmod(path, mode);
    },
    undo: async () => {
      for (const each of made) await removeEmptyDirectory(each);
    },
  };
}

export function removalStep(path: string): Step {
  return {
    what: `remove ${path}`,
    isDone: async () => (await readIfThere(path)) === undefined,
    run: () => rm(path),
  };
}

/** Removes a directory if it is empty. */
export function directoryRemovalStep(path: string): Step {
  return {
    what: `remove the directory ${path}, if it is empty`,
    isDone: async () => (await unlessAbsent(stat(path))) === undefined,
    run: () => removeEmptyDirectory(path),
  };
}

/** One that is not empty holds what is not ours. */
export async function removeEmptyDirectory(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY'].includes(systemErrorCode(error) ?? '')) throw error;
  }
}
