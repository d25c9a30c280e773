/**
 * Whether a mount answers, asked from outside: through the kernel, by a process of its own, so that a
 * mount that hangs takes neither a thread nor the event loop of its own process with it.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { bareEnvironment } from './bare-environment.js';
import { Failure, messageOf } from './failure.js';

/** FUSE_SUPER_MAGIC (linux/magic.h), as stat(1) prints it. */
const fuseMagic = '65735546';

export interface ProbeSettings {
  readonly mountPoint: string;
  /** whom the kernel lets in, where that is not this process */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
}

/**
 * Asks for statfs(2): unlike the attributes of the root, the kernel never answers it from memory. S3
 * is not asked, so a mount whose S3 is away still counts as alive: starting it again would only lose
 * what waits to be stored.
 * @throws Failure with exit code 32 where no answer comes in time, or nothing is mounted
 */
export async function probeMount(settings: ProbeSettings, timeoutMs: number): Promise<void> {
  const { mountPoint, owner = {} } = settings;
  const args = ['--file-system', '--format=%t', '--', mountPoint];
  const options = {
    ...owner,
    cwd: '/',
    // A process of the owner's can be looked into by the owner.
    env: bareEnvironment,
    timeout: timeoutMs,
    killSignal: 'SIGKILL' as const,
  };
  let magic: string;
  try {
    magic = (await promisify(execFile)('stat', args, options)).stdout.trim();
  } catch (error) {
    const isLate = error instanceof Error && 'killed' in error && error.killed === true;
    const reason = isLate ? `no answer in ${timeoutMs} ms` : messageOf(error).split('\n').at(-2);
    throw new Failure(32, `${mountPoint}: ${reason ?? messageOf(error)}`, { cause: error });
  }
  if (magic !== fuseMagic) throw new Failure(32, `nothing is mounted on ${mountPoint}`);
}
