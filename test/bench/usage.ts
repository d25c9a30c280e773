/**
 * What processes use, from /proc: processor time and peak memory. Both survive a busy machine, where
 * seconds do not.
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { descendantsOf } from '../../lib/demo/child.js';
import { systemErrorCode } from '../../lib/errors.js';
import { peakMemory } from '../support/peak-memory.js';

/** Linux tells processor time in these whatever the kernel's own are (USER_HZ, times(2)). */
const ticksPerSecond = 100;
/** Whoever is busy for more of the time than this has none left to give. */
export const limitShare = 0.85;

/** Of one measurement; a process counts with its children. */
export interface Usage {
  /** user and system seconds of the contestant's own processes */
  readonly cpuSeconds: number;
  /** the most memory they had meanwhile, each for itself, added up */
  readonly peakBytes: number;
  /** of the S3 server, where its processes are known */
  readonly serverCpuSeconds?: number;
  /** who had no time left: then the seconds are not the contestant's */
  readonly limit?: 'endpoint' | 'link';
}

/** Counts the processor time of processes and of all below them from its construction on. */
export class CpuMeter {
  readonly #pids: readonly number[];
  readonly #before: number;
  readonly #threadsBefore: ReadonlyMap<string, number>;
  readonly #beganMs = performance.now();

  constructor(pids: readonly number[]) {
    this.#pids = pids;
    this.#before = cpuOf(pids);
    this.#threadsBefore = threadsOf(pids);
  }

  seconds(): number {
    return cpuOf(this.#pids) - this.#before;
  }

  /** Whether one thread, or all that the machine has, was busy nearly all the time. */
  isLimit(): boolean {
    const before = this.#threadsBefore;
    return isAtWork({
      wall: (performance.now() - this.#beganMs) / 1000,
      all: this.seconds(),
      threads: [...threadsOf(this.#pids)].map(([id, seconds]) => seconds - (before.get(id) ?? 0)),
      processors: availableParallelism(),
    });
  }
}

/** Whether seconds of processor time leave no time for more. */
export function isAtWork(time: {
  readonly wall: number;
  readonly all: number;
  readonly threads: readonly number[];
  readonly processors: number;
}): boolean {
  const most = Math.max(time.all / time.processors, ...time.threads);
  return most > limitShare * time.wall;
}

function treeOf(pids: readonly number[]): number[] {
  return [...pids, ...pids.flatMap(descendantsOf)];
}

/** Children that ended are in the figures of who waited for them. */
function cpuOf(pids: readonly number[]): number {
  return treeOf(pids).reduce((sum, pid) => {
    const [user = 0, system = 0, ended = 0, endedSystem = 0] = ticksOf(`/proc/${pid}/stat`);
    return sum + (user + system + ended + endedSystem) / ticksPerSecond;
  }, 0);
}

function threadsOf(pids: readonly number[]): Map<string, number> {
  const threads = new Map<string, number>();
  for (const pid of treeOf(pids)) {
    for (const thread of namesIn(`/proc/${pid}/task`)) {
      const [user = 0, system = 0] = ticksOf(`/proc/${pid}/task/${thread}/stat`);
      threads.set(thread, (user + system) / ticksPerSecond);
    }
  }
  return threads;
}

/** utime, stime, cutime, cstime (proc(5)): the fields after the name, which may hold anything. */
function ticksOf(path: string): number[] {
  const text = unlessGone(() => readFileSync(path, 'latin1')) ?? '';
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).map(Number);
}

function namesIn(path: string): string[] {
  return unlessGone(() => readdirSync(path)) ?? [];
}

/** Lets peaks begin anew (proc(5), clear_refs). */
export function forgetPeak(pid: number): void {
  for (const each of treeOf([pid])) {
    unlessGone(() => writeFileSync(`/proc/${each}/clear_refs`, '5'));
  }
}

export async function peakOf(pid: number): Promise<number> {
  const peaks = await Promise.all(treeOf([pid]).map(peakMemory));
  return peaks.reduce((sum, peak) => sum + peak, 0);
}

/** undefined where the process has ended meanwhile */
function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}
