/**
 * Which process: its id and the instant it started. An id alone is given to another process soon.
 */
import { readFileSync, statSync } from 'node:fs';
import { systemErrorCode } from './errors.js';

export interface ProcessIdentity {
  readonly pid: number;
  /** field 22 of /proc/PID/stat: clock ticks since boot */
  readonly startTime: string;
}

/** This process. */
export function ownIdentity(): ProcessIdentity {
  return { pid: process.pid, startTime: startTimeOf(process.pid) ?? '' };
}

/** Whether the process still runs; a zombie does not. */
export function isAlive({ pid, startTime }: ProcessIdentity): boolean {
  return startTimeOf(pid) === startTime;
}

/** The user a living process belongs to; undefined once it is gone. */
export function userOf(identity: ProcessIdentity): number | undefined {
  if (!isAlive(identity)) return undefined;
  return statSync(`/proc/${identity.pid}`, { throwIfNoEntry: false })?.uid;
}

function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The program name before may hold spaces and parentheses: count from the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch (error) {
    // ENOENT or ESRCH: no such process.
    if (['ENOENT', 'ESRCH'].includes(systemErrorCode(error) ?? '')) return undefined;
    throw error;
  }
}
