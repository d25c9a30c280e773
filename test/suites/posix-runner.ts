/**
 * Runs the POSIX cases in a process of their own, and says of each how it went.
 *
 * Whoever takes part in serving a mount, be it as its S3 server, must not wait for it: its own threads
 * would be the ones that the answer needs. Arguments of the program: directory, names to leave out.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { posixCases } from './posix/index.js';

const program = fileURLToPath(import.meta.url);

interface Outcome {
  readonly name: string;
  /** what went wrong, if anything did */
  readonly error?: string | undefined;
}

/**
 * Runs every case in a directory of its own below `directory`.
 * @param options.without names of cases that this file system is documented not to fulfil
 */
export async function runPosixSuite(
  t: Test,
  directory: string,
  options: { without?: readonly string[] } = {},
): Promise<void> {
  const { without = [] } = options;
  for (const name of without) t.ok(name in posixCases, `there is a case "${name}"`);
  const child = spawn(process.execPath, [program, directory, ...without], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const ended = once(child, 'close');
  const ran: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const { name, error } = JSON.parse(line) as Outcome;
    ran.push(name);
    t.equal(error, undefined, name);
  }
  await ended;
  t.strictSame(ran, namesWithout(without), 'every case was run');
}

function namesWithout(without: readonly string[]): string[] {
  return Object.keys(posixCases).filter((name) => !without.includes(name));
}

async function runAll(directory: string, without: readonly string[]): Promise<void> {
  for (const [index, name] of namesWithout(without).entries()) {
    const place = join(directory, `case ${index}`);
    const outcome: Outcome = { name, error: await failureOf(name, place) };
    console.log(JSON.stringify(outcome));
  }
}

async function failureOf(name: string, place: string): Promise<string | undefined> {
  try {
    await mkdir(place);
    await posixCases[name]?.(place);
    return undefined;
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}

if (process.argv[1] === program) {
  const [directory = '', ...without] = process.argv.slice(2);
  await runAll(directory, without);
}
