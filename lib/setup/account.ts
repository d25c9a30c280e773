/** The user that sshd lets in, with no password, no home and no shell: only SFTP is theirs. */
import { Failure } from '../host/failure.js';
import { findAccount, findLocalUser } from '../host/accounts.js';
import { mustRun, type Step } from './steps.js';

/** Comment field of users that setup made; only those are removed again. */
const mark = 's3jail SFTP user';

/**
 * As useradd(8) takes it with --badname, of what can be part of a file name, a unit and a Match line:
 * `a.smith`, `Alice`, `1and1`, `user@corp.com`. Digits alone would be read as a uid.
 * @throws Failure with exit code 1
 */
export function checkUserName(name: string): void {
  if (!/^\w[\w.@-]{0,31}$/.test(name) || /^\d+$/.test(name)) {
    throw new Failure(1, `USER ${JSON.stringify(name)} is no name that useradd(8) takes`);
  }
}

/**
 * Whether the user is, or would be, one that setup makes: no other of this machine, nor of a directory
 * service (LDAP, SSSD).
 * @throws Failure for root
 */
export function isUserOurs(name: string): boolean {
  const user = findLocalUser(name);
  const uid = user?.uid ?? findAccount(name)?.uid;
  if (uid === 0) throw new Failure(1, `${name} is root, whom no chroot holds; name a user`);
  return user === undefined ? uid === undefined : user.comment === mark;
}

export function userStep(name: string): Step {
  // The password `*` matches nothing, yet unlike `!` it is no lock, which sshd would refuse.
  const args = ['--user-group', '--no-create-home', '--home-dir', '/', '--password', '*'];
  // The rules for names are those of checkUserName; distributions differ in what they call bad.
  args.push('--badname', '--shell', '/usr/sbin/nologin', '--comment', mark, name);
  return {
    what: `make the user ${name}`,
    isDone: () => Promise.resolve(findAccount(name) !== undefined),
    run: () => mustRun('useradd', args),
    undo: async () => {
      if (isMadeBySetup(name)) await mustRun('userdel', [name]);
    },
  };
}

export function userRemovalStep(name: string): Step {
  return {
    what: `remove the user ${name}`,
    isDone: () => Promise.resolve(!isMadeBySetup(name)),
    run: () => mustRun('userdel', [name]),
  };
}

function isMadeBySetup(name: string): boolean {
  return findLocalUser(name)?.comment === mark;
}
