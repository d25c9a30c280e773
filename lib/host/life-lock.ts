/**
 * A file that says whether its process lives, to processes of other PID namespaces too, as in another
 * container that shares the directory: it is locked for as long as the process runs, however that ends.
 *
 * Node.js has no flock(2). A lock belongs to what was opened and not to who asked for it: flock(1), given
 * our descriptor, takes it and ends, and it goes when the descriptor does.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync, openSync, rmSync, statSync } from 'node:fs';
import { systemErrorCode } from '../errors.js';
import { bareEnvironment } from './bare-environment.js';

/** Ends with `close`, or with this process. */
export interface LifeLock {
  /** of the open file */
  readonly file: number;
  close(): void;
}

/**
 * Locks a file, which is made if it is not there. Where this machine cannot lock, no file is left: it would
 * say that we are gone.
 * @returns 'taken' where another process has it, undefined where this machine cannot lock
 * @throws Error (system error)
 */
export function takeLifeLock(path: string): LifeLock | 'taken' | undefined {
  for (;;) {
    const file = openSync(path, 'a+', 0o600);
    const outcome = lock(file);
    if (outcome === 'locked' && isAt(path, file)) return { file, close: () => closeSync(file) };
    closeSync(file);
    if (outcome === 'taken') return outcome;
    if (outcome === undefined) {
      rmSync(path, { force: true });
      return undefined;
    }
  }
}

/**
 * The lock of a process that is gone.
 * @returns undefined where it lives, where nothing says so, or where somebody else was quicker
 * @throws Error (system error)
 */
export function lockOfGone(path: string): LifeLock | undefined {
  let file: number;
  try {
    file = openSync(path, 'r+');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  if (lock(file) === 'locked' && isAt(path, file)) return { file, close: () => closeSync(file) };
  closeSync(file);
  return undefined;
}

function lock(file: number): 'locked' | 'taken' | undefined {
  const { status, stderr } = spawnSync('flock', ['-n', '3'], {
    stdio: ['ignore', 'ignore', 'pipe', file],
    env: bareEnvironment,
  });
  if (status === 0) return 'locked';
  // Of errors BusyBox says the same, but not in silence.
  return status === 1 && stderr.length === 0 ? 'taken' : undefined;
}

/** Whoever had it before may have removed it since it was opened. */
function isAt(path: string, file: number): boolean {
  const at = statSync(path, { throwIfNoEntry: false });
  const own = fstatSync(file);
  return at?.ino === own.ino && at.dev === own.dev;
}
