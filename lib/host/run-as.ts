/**
 * Giving up root (`--run-as`): for one piece of work, and for good.
 *
 * For good it happens before anything of the user's is read: what `~/.aws` names may be programs.
 */
import { accessSync, constants, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Failure, messageOf } from './failure.js';
import type { UserAccount } from './accounts.js';

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- as @types/node has it
  namespace NodeJS {
    interface Process {
      /** in Node.js since 0.9.4, not in its types */
      initgroups?(user: string, extraGroup: number): void;
    }
  }
}

/** A user in numbers. */
export type UserIds = Pick<UserAccount, 'uid' | 'gid'>;

/**
 * Does `work` with the rights of `user` where this process is root still, so that nothing the user has
 * put in its way leads root astray, and what it makes is the user's.
 */
export function asUser<T>(user: UserIds | undefined, work: () => T): T {
  const gid = process.getegid?.();
  if (user === undefined || gid === undefined || process.geteuid?.() !== 0) return work();
  const groups = process.getgroups?.() ?? [];
  process.setgroups?.([]);
  process.setegid?.(user.gid);
  process.seteuid?.(user.uid);
  try {
    return work();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(gid);
    process.setgroups?.(groups);
  }
}

/**
 * Makes this process, with all its threads, one of `user`, without a way back.
 * @throws Failure with exit code 2
 */
export function giveUpRoot(user: UserAccount): void {
  try {
    process.initgroups?.(user.name, user.gid);
    process.setgid?.(user.gid);
    process.setuid?.(user.uid);
  } catch (error) {
    throw new Failure(2, `cannot run as ${user.name}: ${messageOf(error)}`, { cause: error });
  }
  const status = readFileSync('/proc/self/status', 'utf8');
  // Securebits (capabilities(7)) can have them survive the change of the user.
  if (!/^CapPrm:\s*0+$/m.test(status) || process.getuid?.() !== user.uid) {
    throw new Failure(2, `cannot run as ${user.name}: rights of root are left`);
  }
  Object.assign(process.env, { HOME: user.home, USER: user.name, LOGNAME: user.name });
  const program = fileURLToPath(import.meta.url);
  try {
    // Parts of it are loaded when they are needed first.
    accessSync(program, constants.R_OK);
  } catch (error) {
    throw new Failure(2, `cannot run as ${user.name}, who may not read ${program}`, {
      cause: error,
    });
  }
}
