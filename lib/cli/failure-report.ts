/**
 * What an operator reads where a command fails: a line or two that begin with `s3jail: `, and a stack
 * trace at `--log-level debug` alone.
 */
import { CommanderError } from 'commander';
import { systemErrorCode } from '../errors.js';
import { Failure, messageOf, type ExitCode } from '../host/failure.js';
import { createLog, type LogSettings } from '../observability/process-log.js';
import { UsageError } from '../options/options.js';
import type { MountOptions } from '../options/mount-options.js';
import { hasParent, reportToParent } from '../mount/parent-channel.js';
import { printable, printableLines } from '../host/printable.js';

/** Set once options are read: at debug level failures show where they arose. */
let showsStacks = false;
/** Where stderr is the log of a mount in the background, failures are records of it. */
let logFormat: LogSettings['format'] = 'text';

export function reportAs(options: Pick<MountOptions, 'logLevel' | 'logFormat'>): void {
  showsStacks = options.logLevel === 'debug' || options.logLevel === 'trace';
  logFormat = options.logFormat;
}

/** @returns the exit code */
export async function reportFailure(error: unknown): Promise<number> {
  // Help and version come as such an error too.
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  const { lines, exitCode } = explain(error);
  if (hasParent()) {
    const log = createLog({ level: 'error', format: logFormat });
    for (const line of lines) log.error({}, line);
  } else for (const line of lines) complain(line);
  if (showsStacks && error instanceof Error)
    process.stderr.write(`${printableLines(withCauses(error))}\n`);
  await reportToParent({ kind: 'failed', lines, exitCode });
  return exitCode;
}

function explain(error: unknown): { lines: readonly string[]; exitCode: Exclude<ExitCode, 0> } {
  if (error instanceof UsageError) return { lines: error.faults, exitCode: 1 };
  if (error instanceof Failure) return { lines: [error.message], exitCode: error.exitCode };
  if (error instanceof CommanderError) {
    const [fault = '', hint] = error.message.replace(/^error: /, '').split('\n');
    const cure = hint === undefined ? '' : `; ${hint.replace(/^\(D(.*)\)$/, 'd$1')}`;
    return { lines: [fault + cure], exitCode: 1 };
  }
  if (systemErrorCode(error) === 'ERR_MODULE_NOT_FOUND') {
    const missing = messageOf(error).split('\n', 1).join();
    const line = `the installation is incomplete: ${missing}; run npm ci && npm run build`;
    return { lines: [line], exitCode: 2 };
  }
  const cure = showsStacks ? '' : '; --log-level debug shows where it arose';
  return { lines: [`unexpected failure: ${messageOf(error)}${cure}`], exitCode: 2 };
}

function withCauses(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${withCauses(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}

/** A line for the operator. */
export function complain(line: string): void {
  process.stderr.write(`s3jail: ${printable(line)}\n`);
}
