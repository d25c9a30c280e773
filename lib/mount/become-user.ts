/** A mount's process gives up root (`--run-as`), and leaves behind what mounts and unmounts for it. */
import { Failure, messageOf } from '../host/failure.js';
import type { MountSettings, RootHelper } from '../fuse/driver.js';
import type { UserAccount } from '../host/accounts.js';
import { giveUpRoot } from '../host/run-as.js';

/** What a process without rights of its own can have done. */
export interface UserRights {
  readonly rootHelper: RootHelper;
  /** Takes the mount from whoever still uses it. @throws Failure with exit code 32 */
  cut(): Promise<void>;
}

/** @throws Failure with exit code 32 where the kernel driver cannot be had, 2 where the user cannot */
export async function becomeUser(user: UserAccount, settings: MountSettings): Promise<UserRights> {
  const { startRootHelper } = await import('../fuse/kernel/index.js');
  const { mountPoint, log } = settings;
  const failed = (what: string) => (error: unknown) => {
    throw new Failure(32, `cannot ${what} ${mountPoint}: ${messageOf(error)}`, { cause: error });
  };
  let rootHelper: RootHelper;
  try {
    rootHelper = startRootHelper(settings);
  } catch (error) {
    return failed('mount on')(error);
  }
  giveUpRoot(user);
  log.info({ uid: user.uid, gid: user.gid }, `running as ${user.name}`);
  const cut = () => rootHelper.unmount({ lazy: true, cut: true }).catch(failed('unmount'));
  return { rootHelper, cut };
}
