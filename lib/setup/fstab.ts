/** A user's mount as a line of /etc/fstab, for machines that systemd does not run. */
import { splitOptionList } from '../options/options.js';
import { Failure } from '../host/failure.js';
import { isDead } from '../host/mount-point.js';
import { findMount } from '../host/mount-table.js';
import { fstab } from './existing-mounts.js';
import {
  isSystemdRunning,
  mustRun,
  readIfThere,
  replaceFile,
  perform,
  type FileContent,
  type RunMode,
  type Step,
} from './steps.js';
import {
  fstabLines,
  withFstabLine,
  withOptions,
  withoutFstabLine,
  type FstabLine,
} from './config-files.js';
import { sourceText, type UserMount } from './user-mount.js';

/** A line as it will be, and whether that is another. */
export interface PlannedLine {
  readonly line: FstabLine;
  readonly words: readonly string[];
  readonly isChanged: boolean;
}

/** @param own words that are the mount's whatever is asked */
export async function lineOf(mount: UserMount, own: readonly string[]): Promise<PlannedLine> {
  const { mountPoint } = mount;
  const text = (await readIfThere(fstab)) ?? '';
  const present = fstabLines(text).find((line) => line.mountPoint === mountPoint);
  const begin = present?.options ?? '_netdev,nofail';
  const options = withOptions(begin, [...own, ...mount.options]);
  const words = splitOptionList(options) ?? [];
  // The source is in the file that source-file= names.
  const isElsewhere = words.some((word) => word.startsWith('source-file='));
  const source = isElsewhere ? 'none' : sourceText(mount, present?.source);
  const line = { source, mountPoint, options };
  return { line, words, isChanged: present === undefined || withFstabLine(text, line) !== text };
}

/** @param isChanged whether a mount that is there has to be made anew */
export async function makeFstab(
  { line }: PlannedLine,
  isChanged: boolean,
  runMode: RunMode,
): Promise<void> {
  const { mountPoint } = line;
  const isThere = findMount(mountPoint) !== undefined;
  if (isThere && isChanged) {
    const undo = () => mustRun('mount', [mountPoint]);
    runMode.done.push({ what: `mount ${mountPoint} as before`, undo });
  }
  await perform(
    fstabStep(`write a line for ${mountPoint} into ${fstab}`, (text) => withFstabLine(text, line)),
    runMode,
  );
  if (isThere && (isChanged || (await isDead(mountPoint)))) await unmount(mountPoint, runMode);
  await perform(
    {
      what: `mount ${mountPoint}`,
      isDone: () => Promise.resolve(isThere && findMount(mountPoint) !== undefined && !isChanged),
      run: () => mustRun('mount', [mountPoint], { signal: runMode.stop }),
      undo: async () => {
        if (findMount(mountPoint) !== undefined) await unmountNow(mountPoint);
      },
    },
    runMode,
  );
}

export async function removeFstab(mountPoint: string, runMode: RunMode): Promise<void> {
  await unmount(mountPoint, runMode);
  await perform(
    fstabStep(`remove the line for ${mountPoint} from ${fstab}`, (text) =>
      withoutFstabLine(text, mountPoint),
    ),
    runMode,
  );
}

function fstabStep(what: string, change: (text: string) => string): Step {
  const read = async () => (await readIfThere(fstab)) ?? '';
  const write = async (content: string): Promise<void> => {
    await replaceFile({ path: fstab, content, mode: 0o644 });
    // systemd has made units of the lines, and goes on with those.
    if (isSystemdRunning()) await mustRun('systemctl', ['daemon-reload']);
  };
  let before: FileContent['content'] = '';
  return {
    what,
    isDone: async () => {
      before = await read();
      return change(before) === before;
    },
    run: async () => write(change(await read())),
    undo: () => write(before),
  };
}

async function unmount(mountPoint: string, runMode: RunMode): Promise<void> {
  await perform(
    {
      what: `unmount ${mountPoint}, which stores what is open first`,
      isDone: () => Promise.resolve(findMount(mountPoint) === undefined),
      run: () => unmountNow(mountPoint),
    },
    runMode,
  );
}

/** umount(8) hands over to nobody for a FUSE mount: the process then stores what is open. */
async function unmountNow(mountPoint: string): Promise<void> {
  const { runUnmount } = await import('../mount/unmount.js');
  const lost: string[] = [];
  if ((await runUnmount(mountPoint, (line) => lost.push(line))) === 0) return;
  throw new Failure(2, `${mountPoint}: ${lost.join('; ')}`);
}
