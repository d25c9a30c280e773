/**
 * The steps of `s3jail setup`. Each knows whether it is done already, so that doing all of them again
 * changes nothing, and can be named without being done.
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
}

export interface RunMode {
  /** say what would be done, and do nothing */
  readonly dryRun: boolean;
  readonly print: (line: string) => void;
}

/** @returns whether anything was (or, in a dry run, would be) changed */
export async function perform(step: Step, { dryRun, print }: RunMode): Promise<boolean> {
  if (await step.isDone()) {
    print(`nothing to do: ${step.what}`);
    return false;
  }
  print(dryRun ? `would ${step.what}` : step.what);
  if (!dryRun) await step.run();
  return true;
}

/** sd_booted(3) */
export function isSystemdRunning(): boolean {
  return existsSync('/run/systemd/system');
}

/** Runs a program that has to succeed. @throws Failure with exit code 2 and its last words */
export async function mustRun(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = bareEnvironment,
): Promise<void> {
  await outputOf(program, args, env);
}

/** What a program prints that has to succeed. @throws Failure as mustRun */
export async function outputOf(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = bareEnvironment,
): Promise<string> {
  try {
    return (await promisify(execFile)(program, args, { env })).stdout;
  } catch (error) {
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
  return {
    what,
    isDone: async () => {
      const stats = await unlessAbsent(stat(path));
      return (
        stats !== undefined &&
        (stats.mode & 0o7777) === mode &&
        (await readIfThere(path)) === content
      );
    },
    run: () => replaceFile({ path, content, mode }),
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
  return {
    what: `make the directory ${path}`,
    isDone: async () => (await unlessAbsent(stat(path))) !== undefined,
    run: async () => {
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      await mkdir(path, { mode });
      await chmod(path, mode);
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
    run: async () => {
      try {
        await rmdir(path);
      } catch (error) {
        // It holds what is not ours.
        if (systemErrorCode(error) !== 'ENOTEMPTY') throw error;
      }
    },
  };
}
