/**
 * Whether a mount answers, asked from outside: through the kernel, by a process of its own, so that a
 * mount that hangs takes neither a thread nor the event loop of its own process with it.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { bareEnvironment } from './bare-environment.js';
import { Failure, messageOf } from './failure.js';
import type { UserIds } from './run-as.js';

/** FUSE_SUPER_MAGIC (linux/magic.h), as stat(1) prints it. */
const fuseMagic = '65735546';

/** O_PATH (include/uapi/asm-generic/fcntl.h), which Node does not name. */
const pathOnly = 0o10000000;

export interface ProbeSettings {
  readonly mountPoint: string;
  /** whom the kernel lets in, where that is not this process */
  readonly owner?: UserIds | undefined;
}

/**
 * Asks for statfs(2): unlike the attributes of the root, the kernel never answers it from memory. S3
 * is not asked, so a mount whose S3 is away still counts as alive: starting it again would only lose
 * what waits to be stored.
 * @throws Failure with exit code 32 where no answer comes in time, or nothing is mounted
 */
export async function probeMount(settings: ProbeSettings, timeoutMs: number): Promise<void> {
  const { mountPoint, owner } = settings;
  // Walking to the mount point may be root's alone where asking is the owner's. The walk ends in a
  // descriptor that is good for nothing but being named (open(2), O_PATH), and asks the mount nothing.
  const place = owner === undefined ? undefined : openPlace(mountPoint);
  try {
    const magic = await fileSystemType(place ?? mountPoint, owner, timeoutMs);
    if (magic === fuseMagic) return;
  } catch (error) {
    throw new Failure(32, `${mountPoint}: ${messageOf(error)}`, { cause: error });
  } finally {
    if (place !== undefined) closeSync(place);
  }
  throw new Failure(32, `nothing is mounted on ${mountPoint}`);
}

/** @throws Failure with exit code 32 */
function openPlace(mountPoint: string): number {
  try {
    return openSync(mountPoint, pathOnly);
  } catch (error) {
    throw new Failure(32, `${mountPoint}: ${messageOf(error)}`, { cause: error });
  }
}

/** @param place a path, or a descriptor. @throws Error with what was said */
async function fileSystemType(
  place: string | number,
  user: UserIds | undefined,
  timeoutMs: number,
): Promise<string> {
  const path = typeof place === 'string' ? place : '/proc/self/fd/3';
  const child = spawn('stat', ['--file-system', '--format=%t', '--', path], {
    ...user,
    cwd: '/',
    // A process of the owner's can be looked into by the owner.
    env: bareEnvironment,
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    stdio: ['ignore', 'pipe', 'pipe', typeof place === 'number' ? place : 'ignore'],
  }) as ChildProcessByStdio<null, Readable, Readable>;
  const [magic, said, [status]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[status: number | null]>,
  ]);
  if (child.killed) throw new Error(`no answer in ${timeoutMs} ms`);
  if (status !== 0) throw new Error(said.trim() || `stat ended with ${status}`);
  return magic.trim();
}
