/** Who may use a mount, in words for `status` and `check`. */
import type { MountOptions } from './mount-options.js';

/**
 * @param closedAncestor a directory above the mount point that lets only root through
 */
export function accessOf(
  options: Pick<MountOptions, 'access' | 'allowOther' | 'homes' | 'private' | 'uid'>,
  closedAncestor: string | undefined,
): string {
  if (options.private || !options.allowOther)
    return 'the user of the mount alone, as the kernel sees to it';
  if (options.access === 'any') return 'any user of this host';
  const who = whoOf(options);
  return closedAncestor === undefined
    ? `${who}, asked at each step; a directory above that only root may enter (chmod 0700) makes that cheap`
    : `${who}; ${closedAncestor} lets nobody else through`;
}

function whoOf({ homes, uid }: Pick<MountOptions, 'homes' | 'uid'>): string {
  if (homes) return 'each home its user and root';
  return uid === 0 ? 'root alone' : `uid ${uid} and root`;
}
