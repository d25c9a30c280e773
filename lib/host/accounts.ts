/** Users of this machine itself: those of a directory service are not ours to make or remove. */
import { readFileSync } from 'node:fs';

export interface LocalUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly comment: string;
}

/** The user's line of passwd(5), read from the file and not from NSS. */
export function findLocalUser(name: string): LocalUser | undefined {
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [user, , uid, gid, comment = ''] = line.split(':');
    if (user === name) return { name, uid: Number(uid), gid: Number(gid), comment };
  }
  return undefined;
}
