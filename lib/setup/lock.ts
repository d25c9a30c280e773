/** One setup at a time: two that run at once would each write /etc/fstab without the other's line. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { bareEnvironment } from '../host/bare-environment.js';
import { Failure } from '../host/failure.js';

const path = '/run/lock/s3jail-setup';

/**
 * Waits for its turn. flock(1) holds the lock for as long as it can read from this process, so that it goes
 * with it, however it ends.
 * @returns gives the turn to the next
 */
export async function takeTurn(stop: AbortSignal): Promise<() => void> {
  const hold = ['sh', '-c', 'echo held; exec cat'];
  const child = spawn('flock', ['--no-fork', path, ...hold], {
    env: bareEnvironment,
    stdio: ['pipe', 'pipe', 'ignore'],
    // Ctrl-C is for this process to hear: what is undone then is undone with the lock held.
    detached: true,
  });
  const failed = once(child, 'exit').then(() => {
    throw new Failure(2, `another s3jail setup runs, or ${path} cannot be locked`);
  });
  const stopped = once(stop, 'abort').then(() => {
    throw new Failure(2, `stopped by ${String(stop.reason)} while another s3jail setup runs`);
  });
  try {
    if (!stop.aborted) await Promise.race([once(child.stdout, 'data'), failed, stopped]);
  } catch (error) {
    child.kill();
    throw error;
  } finally {
    // Those that come too late have nobody to hear them.
    failed.catch(() => undefined);
    stopped.catch(() => undefined);
  }
  return () => child.stdin.end();
}
