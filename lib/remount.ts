/**
 * `mount -o remount,ro` and `remount,rw`: the only thing about a living mount that can be changed, and
 * the kernel does it alone. All else is decided when a mount is made.
 */
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { Failure, messageOf } from './failure.js';
import { realMountPoint } from './mount-point.js';
import { findMount, isOurs } from './mount-table.js';
import { isMountWord, splitOptionList, UsageError } from './options.js';

/** Whether mount(8) asks for it. */
export function asksForRemount(lists: readonly string[]): boolean {
  return wordsOf(lists).includes('remount');
}

function wordsOf(lists: readonly string[]): string[] {
  return lists.flatMap((list) => splitOptionList(list) ?? []);
}

/**
 * mount(8) puts what stands in fstab or in its table before what was asked for, so only what follows
 * `remount` is known to be asked for; the last of `ro` and `rw` counts.
 * @throws UsageError for what cannot be changed; Failure with exit code 32
 */
export async function runRemount(mountPoint: string, lists: readonly string[]): Promise<void> {
  const words = wordsOf(lists);
  const how = words.findLast((word) => word === 'ro' || word === 'rw');
  const asked = words.slice(words.indexOf('remount') + 1);
  const fixed = asked.filter((word) => !['ro', 'rw'].includes(word) && !isMountWord(word));
  if (how === undefined || fixed.length > 0) {
    const what = fixed.length > 0 ? fixed.join(', ') : 'nothing but ro and rw';
    throw new UsageError([
      `remount: ${what} can${fixed.length > 0 ? 'not' : ''} be changed while a mount lives; ` +
        'unmount and mount again',
    ]);
  }
  const place = await realMountPoint(resolve(mountPoint));
  const entry = findMount(place);
  if (entry === undefined || !isOurs(entry)) throw new Failure(32, `${place} is not mounted`);
  // With source and place given, mount(8) adds nothing from fstab; -i keeps it from calling us.
  const args = ['-i', '-n', '-o', `remount,${how}`, '--', entry.source, place];
  try {
    await promisify(execFile)('mount', args);
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    throw new Failure(32, `remount: ${said || messageOf(error)}`, { cause: error });
  }
}
