/** A user's mount as a line of /etc/fstab, for machines that systemd does not run. */
import { Failure } from '../host/failure.js';
import { isDead } from '../host/mount-point.js';
import { findMount } from '../host/mount-table.js';
import { fstab } from './neighbours.js';
import { mustRun, readIfThere, replaceFile, take, type Conduct, type Step } from './steps.js';
import { withFstabLine, withoutFstabLine } from './tables.js';
import { sourceText, type Wanted } from './wanted.js';

export async function makeFstab(wanted: Wanted, conduct: Conduct): Promise<void> {
  const { user, mountPoint } = wanted;
  const options = ['_netdev', 'nofail', `uid=${user}`, ...wanted.options].map(quotedItem);
  const line = { source: sourceText(wanted), mountPoint, options: options.join(',') };
  const isChanged = await take(
    fstabStep(`write a line for ${mountPoint} into ${fstab}`, (text) => withFstabLine(text, line)),
    conduct,
  );
  await take(
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
    conduct,
  );
}

export async function removeFstab(mountPoint: string, conduct: Conduct): Promise<void> {
  await take(unmountStep(mountPoint), conduct);
  await take(
    fstabStep(`remove the line for ${mountPoint} from ${fstab}`, (text) =>
      withoutFstabLine(text, mountPoint),
    ),
    conduct,
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
