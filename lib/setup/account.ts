/** The user that sshd lets in, with no password, no home and no shell: only SFTP is theirs. */
import { Failure } from '../host/failure.js';
import { findLocalUser } from '../host/accounts.js';
import { mustRun, type Step } from './steps.js';

/** Comment field of users that setup made; only those are removed again. */
const mark = 's3jail SFTP user';

/** As useradd(8) takes it. @throws Failure with exit code 1 */
export function checkUserName(name: string): void {
  if (!/^[a-z_][a-z0-9_-]{0,31}$/.test(name)) {
    throw new Failure(1, `USER ${JSON.stringify(name)} is no name that useradd(8) takes`);
  }
}

/** Whether the user is, or would be, one that setup makes. @throws Failure for root */
export function isUserOurs(name: string): boolean {
  const user = findLocalUser(name);
  if (user?.uid === 0) throw new Failure(1, `${name} is root, whom no chroot holds; name a user`);
  return user === undefined || user.comment === mark;
}

export function userStep(name: string): Step {
  // The password `*` matches nothing, yet unlike `!` it is no lock, which sshd would refuse.
  const args = ['--user-group', '--no-create-home', '--home-dir', '/', '--password', '*'];
  args.push('--shell', '/usr/sbin/nologin', '--comment', mark, name);
  return {
    what: `make the user ${name}`,
    isDone: () => Promise.resolve(findLocalUser(name) !== undefined),
    run: () => mustRun('useradd', args),
  };
}

export function userRemovalStep(name: string): Step {
  return {
    what: `remove the user ${name}`,
    isDone: () => Promise.resolve(findLocalUser(name)?.comment !== mark),
    run: () => mustRun('userdel', [name]),
  };
}
