/** The user that sshd lets in, with no password, no home and no shell: only SFTP is theirs. */
import { readFile } from 'node:fs/promises';
import { Failure } from '../failure.js';
import { mustRun, type Step } from './steps.js';

/** Comment field of users that setup made; only those are removed again. */
const mark = 's3jail SFTP user';

/** As useradd(8) takes it. @throws Failure with exit code 1 */
export function checkUserName(name: string): void {
  if (!/^[a-z_][a-z0-9_-]{0,31}$/.test(name)) {
    throw new Failure(1, `USER ${JSON.stringify(name)} is no name that useradd(8) takes`);
  }
}

interface User {
  readonly uid: number;
  readonly isOurs: boolean;
}

/** From the local file: users of a directory service are not ours to make or remove. */
async function findUser(name: string): Promise<User | undefined> {
  for (const line of (await readFile('/etc/passwd', 'utf8')).split('\n')) {
    const [user, , uid, , comment] = line.split(':');
    if (user === name) return { uid: Number(uid), isOurs: comment === mark };
  }
  return undefined;
}

/** Whether the user is, or would be, one that setup makes. @throws Failure for root */
export async function isUserOurs(name: string): Promise<boolean> {
  const user = await findUser(name);
  if (user?.uid === 0) throw new Failure(1, `${name} is root, whom no chroot holds; name a user`);
  return user?.isOurs ?? true;
}

export function userStep(name: string): Step {
  // The password `*` matches nothing, yet unlike `!` it is no lock, which sshd would refuse.
  const args = ['--user-group', '--no-create-home', '--home-dir', '/', '--password', '*'];
  args.push('--shell', '/usr/sbin/nologin', '--comment', mark, name);
  return {
    what: `make the user ${name}`,
    isDone: async () => (await findUser(name)) !== undefined,
    run: () => mustRun('useradd', args),
  };
}

export function userRemovalStep(name: string): Step {
  return {
    what: `remove the user ${name}`,
    isDone: async () => (await findUser(name))?.isOurs !== true,
    run: () => mustRun('userdel', [name]),
  };
}
