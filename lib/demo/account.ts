/**
 * A system user for one demo, or one test, made and removed by us.
 *
 * Whose it is stands in its comment field, as the pid and start time of the process that made it, a
 * number of its own, for a name that is given again, and the PID namespace: a user left over from a killed
 * process is taken over, one in use by a live process is never touched, nor one of whose process nothing can
 * be known from here.
 */
import { mkdirSync, rmdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemErrorCode } from '../errors.js';
import { findLocalUser, type LocalUser } from '../host/accounts.js';
import { isAlive, ownIdentity, ownPidNamespace } from '../host/process-identity.js';
import { runCommand } from './child.js';

export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  remove(): Promise<void>;
}

const mark = 's3jail process ';

let made = 0;

/** useradd(8), userdel(8): another program holds the lock on passwd (1) or group (10). */
const lockedStatuses: readonly number[] = [1, 10];
/** useradd(8): the name is taken. */
const takenStatus = 9;

/**
 * Makes the user `name`, or `name-2`, `name-3` … where that is somebody else's.
 * @throws Error with the words of useradd(8)
 */
export async function makeAccount(name: string): Promise<Account> {
  for (let number = 1; number < 100; number++) {
    const candidate = number === 1 ? name : `${name}-${number}`;
    const user = await alone(candidate, () => tryName(candidate));
    if (user !== undefined) return { ...user, remove: () => removeUser(user) };
  }
  throw new Error(`all of the users ${name}, ${name}-2 … are taken`);
}

/**
 * One process at a time is at a name: useradd(8) looks whether it is taken before it locks passwd, so that
 * two make one user and each believes it theirs; and what is left over may be made anew between the look and
 * the removal. A lock left by a killed process only keeps that one name from being used.
 * @returns undefined where another process is at it
 */
async function alone<T>(name: string, work: () => Promise<T>): Promise<T | undefined> {
  const lock = `/run/lock/s3jail-account-${name}`;
  try {
    mkdirSync(lock);
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return undefined;
    throw error;
  }
  try {
    return await work();
  } finally {
    rmdirSync(lock);
  }
}

/** @returns undefined where the name is somebody else's */
async function tryName(name: string): Promise<LocalUser | undefined> {
  const existing = findLocalUser(name);
  if (existing !== undefined && !isAbandoned(existing.comment)) return undefined;
  if (existing !== undefined) await removeUser(existing);
  if (!(await addUser(name))) return undefined;
  const user = findLocalUser(name);
  if (user === undefined) throw new Error(`useradd made ${name}, but it is not in passwd`);
  return user;
}

/** @returns false if the name was taken meanwhile */
async function addUser(name: string): Promise<boolean> {
  const { pid, startTime } = ownIdentity();
  // The password `*` matches nothing, yet unlike `!` it is no lock, which sshd would refuse.
  const args = ['--system', '--user-group', '--no-create-home', '--home-dir', '/'];
  args.push(
    '--shell',
    '/bin/sh',
    '--password',
    '*',
    '--comment',
    `${mark}${pid} ${startTime} ${++made} ${ownPidNamespace()}`,
    name,
  );
  const ending = await retryWhileLocked('useradd', args);
  if (ending.status === takenStatus) return false;
  if (ending.status !== 0) throw new Error(`useradd ${name} failed: ${ending.stderr.trim()}`);
  return true;
}

async function removeUser({ name, comment }: LocalUser): Promise<void> {
  // Between two tries it may be gone, and the name somebody else's.
  const isThere = (): boolean => findLocalUser(name)?.comment === comment;
  const ending = await retryWhileLocked('userdel', ['--force', name], isThere);
  if (ending.status === 0 || !isThere()) return;
  throw new Error(`userdel ${name} failed: ${ending.stderr.trim()}`);
}

async function retryWhileLocked(
  command: string,
  args: readonly string[],
  isDue: () => boolean = () => true,
): Promise<{ status: number; stderr: string }> {
  for (let tries = 50; ; tries--) {
    const ending = await runCommand(command, args);
    if (tries === 0 || !lockedStatuses.includes(ending.status)) return ending;
    await sleep(100);
    if (!isDue()) return ending;
  }
}

function isAbandoned(comment: string): boolean {
  if (!comment.startsWith(mark)) return false;
  const [pid, startTime = '', , namespace] = comment.slice(mark.length).split(' ');
  return namespace === ownPidNamespace() && !isAlive({ pid: Number(pid), startTime });
}
