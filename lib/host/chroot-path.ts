/**
 * The path of a ChrootDirectory, looked at as sshd looks at it when a user logs in.
 *
 * sshd says only "bad ownership or modes for chroot directory", into a log that the user never sees;
 * this says which component is wrong and what to type. It changes nothing.
 */
import { stat } from 'node:fs/promises';
import { systemErrorCode } from '../errors.js';

/** A component that sshd would refuse the login for. */
export interface ChrootFault {
  /** as sshd walks it: from `/` down */
  readonly component: string;
  /** what is wrong with it, following its name in a sentence */
  readonly reason: string;
  /** what to do about it */
  readonly cure: string;
}

/** sshd refuses longer ones: its buffer has PATH_MAX bytes (session.c, safely_chroot). */
const longest = 4096;

/**
 * Checks every component; sshd itself stops at the first that is wrong.
 *
 * The rules are those of safely_chroot in OpenSSH's session.c: each prefix of the path that ends at a
 * slash, as written, and at last the whole, has to be a directory of root's that group and others
 * cannot write to. stat(2) is used, so what a symbolic link leads to counts, and not the link.
 * @param path as in sshd_config, with %u and %h already replaced
 * @returns the faults from `/` down; none where sshd would accept the path
 */
export async function findChrootFaults(path: string): Promise<ChrootFault[]> {
  if (!path.startsWith('/')) {
    return [
      { component: path, reason: 'does not begin at /', cure: 'write ChrootDirectory absolute' },
    ];
  }
  if (Buffer.byteLength(path) >= longest) {
    return [{ component: path, reason: 'is too long a path', cure: 'choose a shorter one' }];
  }
  const faults: ChrootFault[] = [];
  for (const component of componentsOf(path)) {
    const fault = await faultOf(component);
    if (fault !== undefined) faults.push({ component, ...fault });
    // Nothing below can be looked at.
    if (fault?.isEnd === true) break;
  }
  return faults.map(({ component, reason, cure }) => ({ component, reason, cure }));
}

/** `/srv/sftp` → `/`, `/srv`, `/srv/sftp` */
export function componentsOf(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '');
  return ['/', ...names.map((_, index) => `/${names.slice(0, index + 1).join('/')}`)];
}

interface Found {
  readonly reason: string;
  readonly cure: string;
  readonly isEnd?: boolean;
}

async function faultOf(component: string): Promise<Found | undefined> {
  let stats;
  try {
    stats = await stat(component);
  } catch (error) {
    return unreachable(component, systemErrorCode(error));
  }
  if (!stats.isDirectory()) {
    return { reason: 'is not a directory', cure: 'name a directory', isEnd: true };
  }
  const reasons: string[] = [];
  const cures: string[] = [];
  if (stats.uid !== 0) {
    reasons.push(`belongs to user ${stats.uid} instead of root`);
    cures.push(`chown root ${component}`);
  }
  if ((stats.mode & 0o022) !== 0) {
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0');
    reasons.push(`can be written to by group or others (mode ${mode})`);
    cures.push(`chmod go-w ${component}`);
  }
  if (reasons.length === 0) return undefined;
  return { reason: reasons.join(' and '), cure: cures.join(' && ') };
}

function unreachable(component: string, code: string | undefined): Found {
  const known: Readonly<Record<string, Omit<Found, 'isEnd'>>> = {
    ENOENT: { reason: 'does not exist', cure: `mkdir -p ${component}` },
    ENOTCONN: {
      reason: 'is a mount whose process is gone',
      cure: `mount it again, or s3jail unmount ${component}`,
    },
    EACCES: { reason: 'cannot be looked at by this user', cure: 'check again as root' },
    ELOOP: { reason: 'is a circle of symbolic links', cure: 'make it a directory' },
  };
  const found = known[code ?? ''] ?? {
    reason: `cannot be looked at (${code ?? 'unknown error'})`,
    cure: 'see whether its disk or mount works',
  };
  return { ...found, isEnd: true };
}
