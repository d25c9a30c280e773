/**
 * mount(8), umount(8) and FUSE's own helper for users other than root: the one place that starts them,
 * with the bare environment, and with words that no shell reads.
 *
 * mount(2) has no binding in Node, and mount(8) brings SELinux and namespace care with it. `-i` keeps it
 * from calling a helper for the type, which is this program, `-n` from writing /etc/mtab. The source is
 * an argument of its own, so no character of it can become an option; the kernel escapes it where it is
 * listed.
 */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { systemErrorCode } from '../errors.js';
import { bareEnvironment } from './bare-environment.js';
import { Failure, messageOf } from './failure.js';

export interface Mounting {
  readonly source: string;
  readonly mountPoint: string;
  /** as after -o; with source and place given mount(8) adds nothing from fstab */
  readonly options: string;
  /** of the file system; undefined for a remount */
  readonly type?: string;
  /** what it gets as its descriptor 3 */
  readonly descriptor?: number;
}

/** Runs mount(8). @throws Error a sentence for the operator with what mount(8) said */
export async function attach(mounting: Mounting): Promise<void> {
  const { source, mountPoint, options, type, descriptor } = mounting;
  const ofType = type === undefined ? [] : ['-t', type];
  const child = spawn('mount', ['-i', '-n', ...ofType, '-o', options, '--', source, mountPoint], {
    stdio: ['ignore', 'ignore', 'pipe', descriptor ?? 'ignore'],
    env: bareEnvironment,
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(0, 2000);
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  }).catch((error: unknown) => {
    throw new Error(`mount(8) did not start: ${messageOf(error)}`, { cause: error });
  });
  if (status === 0) return;
  throw new Error(`mount(8) on ${mountPoint} failed: ${said.trim() || 'no reason given'}`);
}

export interface Detaching {
  /** also while it is in use: it disappears now and ends when the last user leaves */
  readonly lazy: boolean;
  /** with `lazy`: those users are cut off now (root only; umount2(2), MNT_FORCE) */
  readonly cut?: boolean;
  /** by a process that is no child of this one when it unmounts */
  readonly orphaned?: boolean;
}

/**
 * Takes a mount out of the table, by umount(8) or, without root, by FUSE's own helper.
 * @throws Failure with exit code 32
 */
export async function detach(mountPoint: string, options: Detaching): Promise<void> {
  const failures: string[] = [];
  for (const [program, args] of detachCommands(mountPoint, options)) {
    try {
      if (options.orphaned === true) await runOrphaned(program, args);
      else await promisify(execFile)(program, args, { env: bareEnvironment });
      return;
    } catch (error) {
      // Each helper may be missing or may not be allowed to; the next one is tried.
      const missing = systemErrorCode(error) === 'ENOENT';
      failures.push(missing ? `${program} is not installed` : lastLine(error));
    }
  }
  throw new Failure(32, `cannot unmount ${mountPoint}: ${failures.join('; ')}`);
}

/** Its parent has ended, and been waited for, when it is told to begin. */
const orphanScript = '{ read -r go <&3 && "$@" 2>&1; echo "status $?"; } &';

/** @throws what execFile rejects with */
async function runOrphaned(program: string, args: readonly string[]): Promise<void> {
  const child = spawn('sh', ['-c', orphanScript, 'sh', program, ...args], {
    stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
    env: bareEnvironment,
  });
  // Not its standard input, which is closed here when it exits.
  const start = child.stdio[3] as Writable;
  let said = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  // EPIPE: it was killed; it has said no status then.
  start.on('error', () => undefined);
  child.once('exit', () => start.end('go\n'));
  await once(child, 'close');
  const [, stderr = said, status] = /^([^]*)status (\d+)\n$/.exec(said) ?? [];
  if (status === '0') return;
  const code = status === '127' ? 'ENOENT' : undefined;
  throw Object.assign(new Error(`${program} failed`), { stderr, code });
}

function detachCommands(
  mountPoint: string,
  options: Detaching,
): [program: string, args: string[]][] {
  if (process.geteuid?.() === 0) return [['umount', umountArguments(mountPoint, options)]];
  const { lazy } = options;
  const args = ['-u', ...(lazy ? ['-z'] : []), '--', mountPoint];
  return [
    ['fusermount3', args],
    ['fusermount', args],
  ];
}

/** The same for the last moment of a process that is root. @returns whether it went */
export function detachAtExit(mountPoint: string, options: Detaching): boolean {
  const settings = { timeout: 10_000, stdio: 'ignore' as const, env: bareEnvironment };
  return spawnSync('umount', umountArguments(mountPoint, options), settings).status === 0;
}

/**
 * Ends the connection of a FUSE mount for all who see it, also where no path of this namespace leads to it:
 * through its file of the control file system (fusectl), which is often not mounted and is here for this
 * alone, in a namespace of its own.
 */
export const abortScript = `
mount -i -n -t fusectl fusectl /sys/fs/fuse/connections && echo 1 >"/sys/fs/fuse/connections/$1/abort"`;

/**
 * @param device of the mount, as the mount table has it
 * @throws Error a sentence for the operator
 */
export async function abortConnection(device: string): Promise<void> {
  const script = ['sh', '-c', abortScript, 'sh', minorOf(device)];
  try {
    await promisify(execFile)('unshare', ['--mount', ...script], { env: bareEnvironment });
  } catch (error) {
    throw new Error(`cannot end the connection of ${device}: ${lastLine(error)}`, { cause: error });
  }
}

/** What fusectl calls a connection. */
function minorOf(device: string): string {
  return device.slice(device.indexOf(':') + 1);
}

function umountArguments(mountPoint: string, { lazy, cut }: Detaching): string[] {
  // -i: no helper of the type is asked; -n: there is no /etc/mtab to be kept; -c: the path is not
  // looked at, which a mount would answer.
  const flags = ['-i', '-n', '-c', ...(lazy ? ['-l'] : []), ...(cut === true ? ['-f'] : [])];
  return [...flags, '--', mountPoint];
}

function lastLine(error: unknown): string {
  const text = error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
  return text.trim().split('\n').at(-1) ?? '';
}
