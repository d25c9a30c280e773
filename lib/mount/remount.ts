/**
 * `mount -o remount,ro` and `remount,rw`: the only thing about a living mount that can be changed, and
 * the kernel does it alone. All else is decided when a mount is made.
 */
import { resolve } from 'node:path';
import { attach } from '../host/mount-programs.js';
import { Failure, messageOf } from '../host/failure.js';
import { realMountPoint } from '../host/mount-point.js';
import { findMount, isOurs } from '../host/mount-table.js';
import { isMountWord, splitOptionList, UsageError } from '../options/options.js';

/** Whether mount(8) asks for it. */
export function asksForRemount(lists: readonly string[]): boolean {
  return wordsOf(lists).includes('remount');
}

function wordsOf(lists: readonly string[]): string[] {
  return lists.flatMap((list) => splitOptionList(list) ?? []);
}

/**
 * mount(8) hands over what was asked for mixed with what stands in fstab or in its table, so the two
 * cannot be told apart: a word that is no change of ro and rw is refused where it may be what was meant.
 * @throws UsageError for what cannot be changed; Failure with exit code 32
 */
export async function runRemount(mountPoint: string, lists: readonly string[]): Promise<void> {
  const place = await realMountPoint(resolve(mountPoint));
  const entry = findMount(place);
  if (entry === undefined || !isOurs(entry)) throw new Failure(32, `${place} is not mounted`);
  const words = wordsOf(lists);
  const how = words.findLast((word) => word === 'ro' || word === 'rw') ?? 'rw';
  if (entry.superOptions.includes(how)) {
    const fixed = words.filter((word) => !isExpected(word));
    if (fixed.length === 0) return;
    throw new UsageError([
      `remount: only ro and rw can be changed while a mount lives, not ${fixed.join(', ')}; ` +
        'unmount and mount again',
    ]);
  }
  // What is not named again is gone after a remount (mount(2), MS_REMOUNT).
  const kept = entry.options.filter((word) => word !== 'ro' && word !== 'rw');
  const options = ['remount', how, 'nosuid', 'nodev', ...kept].join(',');
  try {
    await attach({ source: entry.source, mountPoint: place, options });
  } catch (error) {
    throw new Failure(32, `remount: ${messageOf(error)}`, { cause: error });
  }
}

/** Words that mount(8) adds by itself: its own, and those of FUSE in the table of mounts. */
function isExpected(word: string): boolean {
  return (
    ['ro', 'rw', 'remount', 'allow_other'].includes(word) ||
    /^(user_id|group_id|max_read)=/.test(word) ||
    isMountWord(word)
  );
}
