/**
 * The mount that was on a mount point before: taken away by umount(8), it may still have its process, which
 * stores what is open, or does not know yet because another namespace shows the mount. Until that has ended,
 * its record, its journal of uploads and its temporary files are in use. It is waited for, so that
 * `mount -a` can follow `umount` at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../log.js';
import { isOurs, type MountEntry } from '../host/mount-table.js';
import { mountsOf } from '../host/mount-views.js';
import { isAlive } from '../host/process-identity.js';
import { findRecord, type RuntimeState } from '../host/runtime-record.js';
import { askToStop } from './unmount.js';

const pollMs = 50;
/** What takes longer to store is better told than waited for. */
const patienceMs = 30_000;

/**
 * Waits for the end of a process whose mount is gone from here, and asks for it where that process goes on.
 * One that still has its mount, or takes too long, is left to the claim of the mount point, which says so.
 */
export async function untilPredecessorEnded(mountPoint: string, log: Log): Promise<void> {
  const deadline = performance.now() + patienceMs;
  let asked: number | undefined;
  while (performance.now() < deadline) {
    const record = findRecord(mountPoint, undefined);
    if (record === undefined || !isEnding(record.state)) return;
    const { pid } = record.state;
    if (asked !== pid) {
      log.info({ pid }, `waiting for process ${pid}, whose mount on ${mountPoint} is ending`);
      askToStop(record);
    }
    // A second signal would make it give up storing.
    asked = pid;
    await sleep(pollMs);
  }
}

function isEnding(state: RuntimeState): boolean {
  if (state.phase === 'mounting' || !isAlive(state)) return false;
  if (state.phase !== 'mounted') return true;
  // In its own namespace, which may be another than ours.
  const mounts = mountsOf(state.pid);
  const isThere = (entry: MountEntry) => entry.mountPoint === state.mountPoint && isOurs(entry);
  return mounts !== undefined && !mounts.some(isThere);
}
