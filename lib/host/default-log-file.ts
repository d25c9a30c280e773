/** Where a mount in the background logs to unless `--log-file` says otherwise. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { mountName } from './mount-name.js';

export function defaultLogFile(mountPoint: string): string {
  const isRoot = process.geteuid?.() === 0;
  const state = process.env['XDG_STATE_HOME'];
  const own = state === undefined || state === '' ? join(homedir(), '.local/state') : state;
  return join(isRoot ? '/var/log' : own, 's3jail', `${mountName(mountPoint)}.log`);
}
