/**
 * A program that puts files, interrupts that at random by kill -9 of who writes, goes on with what is held,
 * and removes it, over and over, several at a time. It prints a line of JSON for each thing it begins, and
 * one of what it may have come to: `{name, doing}`, `{name, states}`, `{name, failed}` where it was refused,
 * and `{name, problem}` for what may not be. It ends when the mount does.
 *
 * DIRECTORY is below the mount, so that it is gone with it.
 *
 * usage: node held-load.js DIRECTORY DATA ROUND STATES
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemErrorCode } from '../../lib/errors.js';
import { offsetOf, shownSize, sizeOf, statesAfter } from './held-generations.js';
import type { Doing, State } from './held-generations.js';
import { seededRandom } from './seeded-random.js';

const [, , directory = '.', data = '', round = '0', known = '{}'] = process.argv;
const states = new Map(Object.entries(JSON.parse(known) as Record<string, State[]>));
const pick = seededRandom(Number(round));
let generation = Number(round) * 1000;

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function sizeOfFile(name: string): Promise<number | undefined> {
  let size: number | undefined;
  try {
    ({ size } = await stat(join(directory, name)));
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error;
  }
  // The kernel may have said so from memory, of a mount that is gone.
  await statfs(directory);
  return size;
}

const writer = `
  const fs = require('fs');
  const [path, flags, data, from, to] = process.argv.slice(1);
  const source = fs.openSync(data, 'r');
  const file = fs.openSync(path, flags);
  const bytes = Buffer.alloc(60000);
  for (let at = Number(from); at < Number(to); ) {
    const length = fs.readSync(source, bytes, 0, Math.min(bytes.length, to - at), at);
    fs.writeSync(file, bytes, 0, length);
    at += length;
  }
  fs.closeSync(file);`;

/** As an SFTP session does: by a process that opens, writes in pieces and closes, or is killed before. */
async function write(name: string, doing: Doing, from: number, killAt?: number): Promise<Ending> {
  const path = join(directory, name);
  if (doing.kind === 'remove') return await endOf('rm', [path]);
  const { kind, generation } = doing;
  const start = offsetOf(generation);
  const range = [start + from, start + sizeOf(generation)].map(String);
  const args = ['-e', writer, path, kind === 'resume' ? 'a' : 'w', data, ...range];
  return await endOf(process.execPath, args, async (isOver) => {
    if (killAt === undefined) return false;
    while (!isOver() && ((await sizeOfFile(name)) ?? 0) < killAt) await sleep(1);
    return true;
  });
}

const killed = -1;

interface Ending {
  readonly status: number;
  readonly stderr: string;
}

async function endOf(
  command: string,
  args: readonly string[],
  isToDie: (isOver: () => boolean) => Promise<boolean> = () => Promise.resolve(false),
): Promise<Ending> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = once(child, 'close') as Promise<[number | null]>;
  const isOver = (): boolean => child.exitCode !== null || child.signalCode !== null;
  try {
    if (await isToDie(isOver)) child.kill('SIGKILL');
  } finally {
    await ended;
  }
  return { status: (await ended)[0] ?? killed, stderr };
}

async function step(name: string): Promise<void> {
  const before = states.get(name) ?? [{}];
  const shown = await sizeOfFile(name);
  const now = before.filter((state) => shownSize(state) === shown);
  const [first] = now;
  if (first === undefined) {
    print({ name, problem: `shows ${shown}`, states: before });
    throw new Error('nothing more is known');
  }
  const held = now.every((state) => state.held !== undefined) ? first.held : undefined;
  const doing = choose(held?.generation, shown !== undefined);
  const from = doing.kind === 'resume' ? (held?.size ?? 0) : 0;
  const whole = doing.kind === 'remove' ? 0 : sizeOf(doing.generation);
  const killAt = pick(3) === 0 ? undefined : from + 1 + pick(whole - from + 1);
  print({ name, doing });
  const { status, stderr } = await write(name, doing, from, killAt);
  const after = await sizeOfFile(name);
  const isDone = status === 0;
  if (!isDone && status !== killed)
    print({ name, failed: `${doing.kind}: ${/E[A-Z]+:.*/.exec(stderr)?.[0] ?? stderr}` });
  let found = statesAfter(now, doing, after);
  if (isDone) found = doing.kind === 'remove' ? [{}] : [{ published: doing.generation }];
  if (found.length === 0)
    print({ name, problem: `shows ${after} after ${doing.kind}`, states: now });
  states.set(name, found);
  print({ name, states: found });
}

function choose(held: number | undefined, isThere: boolean): Doing {
  const choice = pick(8);
  if (isThere && choice === 0) return { kind: 'remove' };
  if (held !== undefined && choice < 6) return { kind: 'resume', generation: held };
  return { kind: 'put', generation: ++generation };
}

// The mount is killed under it: that is what it is for.
await Promise.allSettled(
  [...states.keys()].map(async (name) => {
    for (;;) await step(name);
  }),
);
