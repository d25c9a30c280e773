/** A user's mount as a line of /etc/fstab, for machines that systemd does not run. */
import { Failure } from '../host/failure.js';
import { isDead } from '../host/mount-point.js';
import { findMount } from '../host/mount-table.js';
import { fstab } from './existing-mounts.js';
import { mustRun, readIfThere, replaceFile, perform, type RunMode, type Step } from './steps.js';
import { withFstabLine, withoutFstabLine } from './config-files.js';
import { sourceText, type UserMount } from './user-mount.js';

export async function makeFstab(userMount: UserMount, runMode: RunMode): Promise<void> {
  const { user, mountPoint } = userMount;
  const options = ['_netdev', 'nofail', `uid=${user}`, ...userMount.options].map(quotedItem);
  const line = { source: sourceText(userMount), mountPoint, options: options.join(',') };
  const isChanged = await perform(
    fstabStep(`write a line for ${mountPoint} into ${fstab}`, (text) => withFstabLine(text, line)),
    runMode,
  );
  await perform(
    {
      what: `mount ${mountPoint}`,
      isDone: async () =>
        !isChanged && findMount(mountPoint) !== undefined && !(await isDead(mountPoint)),
      run: async () => {
        if (findMount(mountPoint) !== undefined) await mustRun('umount', [mountPoint]);
        // It starts our own helper, which takes credentials from the environment.
        await mustRun('mount', [mountPoint], process.env);
      },
    },
    runMode,
  );
}

export async function removeFstab(mountPoint: string, runMode: RunMode): Promise<void> {
  await perform(unmountStep(mountPoint), runMode);
  await perform(
    fstabStep(`remove the line for ${mountPoint} from ${fstab}`, (text) =>
      withoutFstabLine(text, mountPoint),
    ),
    runMode,
  );
}

function fstabStep(what: string, change: (text: string) => string): Step {
  const read = async () => (await readIfThere(fstab)) ?? '';
  return {
    what,
    isDone: async () => {
      const text = await read();
      return change(text) === text;
    },
    run: async () => replaceFile({ path: fstab, content: change(await read()), mode: 0o644 }),
  };
}

/** umount(8) hands over to nobody for a FUSE mount: the process then stores what is open. */
function unmountStep(mountPoint: string): Step {
  return {
    what: `unmount ${mountPoint}`,
    isDone: () => Promise.resolve(findMount(mountPoint) === undefined),
    run: async () => {
      const { runUnmount } = await import('../mount/unmount.js');
      const lost: string[] = [];
      if ((await runUnmount(mountPoint, (line) => lost.push(line))) === 0) return;
      throw new Failure(2, `${mountPoint}: ${lost.join('; ')}`);
    },
  };
}

/** A comma inside a value stands in quotes (mount(8)). */
function quotedItem(option: string): string {
  const [name = '', ...rest] = option.split('=');
  return option.includes(',') ? `${name}="${rest.join('=')}"` : option;
}
