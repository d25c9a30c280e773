/**
 * Which process: its id and the instant it started. An id alone is given to another process soon, and
 * outside its PID namespace it means another process or none: what containers may share has to say whose
 * namespace it speaks of.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readlinkSync } from 'node:fs';
import { bareEnvironment } from './bare-environment.js';
import { systemErrorCode } from '../errors.js';
import type { UserIds } from './run-as.js';

export interface ProcessIdentity {
  readonly pid: number;
  /** field 22 of /proc/PID/stat: clock ticks since boot */
  readonly startTime: string;
}

/** This process. */
export function ownIdentity(): ProcessIdentity {
  return { pid: process.pid, startTime: startTimeOf(process.pid) ?? '' };
}

let pidNamespace: string | undefined;

/** Number of the namespace that ids of this process belong to, which no process leaves. */
export function ownPidNamespace(): string {
  pidNamespace ??= /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
  return pidNamespace;
}

/** Whether the process, of this PID namespace, still runs; a zombie does not. */
export function isAlive({ pid, startTime }: ProcessIdentity): boolean {
  return startTimeOf(pid) === startTime;
}

/** The real user of a living process; undefined once it is gone. */
export function userOf({ pid, startTime }: ProcessIdentity): number | undefined {
  return unlessGone(() => {
    // A descriptor of /proc/PID stays with that process, whoever is given its id meanwhile.
    const directory = openSync(`/proc/${pid}`, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      const at = `/proc/self/fd/${directory}`;
      if (startTimeIn(at) !== startTime) return undefined;
      const uid = /^Uid:\s*(\d+)/m.exec(readFileSync(`${at}/status`, 'latin1'))?.[1];
      return uid === undefined ? undefined : Number(uid);
    } finally {
      closeSync(directory);
    }
  });
}

/**
 * Sends SIGTERM, if the process still runs.
 * @param user whose word it is that the process is the right one: the signal is sent with that user's
 *   rights, so that it reaches nothing that the user could not end alone
 * @throws Error (system error) EPERM
 */
export function terminate(identity: ProcessIdentity, user?: UserIds): void {
  if (!isAlive(identity)) return;
  if (user === undefined) {
    try {
      process.kill(identity.pid, 'SIGTERM');
    } catch (error) {
      if (systemErrorCode(error) !== 'ESRCH') throw error;
    }
    return;
  }
  const args = ['-c', 'kill -s TERM "$1"', 'sh', String(identity.pid)];
  const options = { ...user, cwd: '/', env: bareEnvironment, stdio: 'ignore' as const };
  const { status, error } = spawnSync('/bin/sh', args, options);
  if (error !== undefined) throw error;
  if (status === 0 || !isAlive(identity)) return;
  const reason = `process ${identity.pid} is not one of user ${user.uid}`;
  throw Object.assign(new Error(reason), { code: 'EPERM' });
}

function startTimeOf(pid: number): string | undefined {
  return unlessGone(() => startTimeIn(`/proc/${pid}`));
}

function startTimeIn(directory: string): string | undefined {
  const stat = readFileSync(`${directory}/stat`, 'latin1');
  // The program name before may hold spaces and parentheses: count from the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    // ENOENT or ESRCH: no such process.
    if (['ENOENT', 'ESRCH'].includes(systemErrorCode(error) ?? '')) return undefined;
    throw error;
  }
}
