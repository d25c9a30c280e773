/**
 * Where a mounted file system is to be seen: a bind mount shows it at another place, and a namespace that
 * was made while it was mounted, such as a container's, has a copy of it that no umount(8) reaches.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { systemErrorCode } from '../errors.js';
import { parseMountInfo, type MountEntry } from './mount-table.js';

/** For people. */
export function cutOff(mountPoint: string, views: readonly string[]): string {
  return `the connection of ${mountPoint} is closed, still to be seen at ${views.join(', ')}`;
}

/**
 * @param device as in the mount table
 * @param mountPoint of its own, left out
 * @returns places in words, as far as this process may look: only root sees other users' namespaces
 */
export function viewsOf(device: string, mountPoint: string): string[] {
  const own = unlessHidden(() => readlinkSync('/proc/self/ns/mnt'));
  const seen = new Set([own]);
  const views = placesIn('self', device).filter((place) => place !== mountPoint);
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const namespace = unlessHidden(() => readlinkSync(`/proc/${pid}/ns/mnt`));
    if (namespace === undefined || seen.has(namespace)) continue;
    seen.add(namespace);
    const program = unlessHidden(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim()) ?? '?';
    const where = `in the mount namespace of process ${pid} (${program})`;
    views.push(...placesIn(pid, device).map((place) => `${place} ${where}`));
  }
  return views;
}

function placesIn(process: string, device: string): string[] {
  const entries = mountsOf(process)?.filter((entry) => entry.device === device) ?? [];
  return entries.map(({ mountPoint }) => mountPoint);
}

/** The mounts that a process sees; undefined where it is gone or may not be looked into. */
export function mountsOf(process: string | number): MountEntry[] | undefined {
  const table = unlessHidden(() => readFileSync(`/proc/${process}/mountinfo`, 'utf8'));
  return table === undefined ? undefined : parseMountInfo(table);
}

function unlessHidden<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    // The process is gone, or is not to be looked into.
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'EINVAL'].includes(systemErrorCode(error) ?? '')) {
      return undefined;
    }
    throw error;
  }
}
