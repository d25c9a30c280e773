/**
 * A mount point as one file name, for its log, runtime record and temporary files.
 */
import { createHash } from 'node:crypto';

/** Leaves room below the 255 bytes of a file name for what callers add. */
const maxLength = 180;

/**
 * `/srv/sftp/alice` → `srv-sftp-alice`, as `systemd-escape --path` has it: `/` becomes `-`, and what
 * is neither letter, digit, `_`, `.` nor `:` becomes `\xNN`, so that no two mount points share a name.
 * @param mountPoint absolute and normalised
 */
export function mountName(mountPoint: string): string {
  const path = mountPoint.replace(/^\/+/, '');
  if (path === '') return '-';
  let name = '';
  for (const byte of Buffer.from(path)) {
    const letter = String.fromCharCode(byte);
    if (letter === '/') name += '-';
    else if (/[A-Za-z0-9_:]/.test(letter) || (letter === '.' && name !== '')) name += letter;
    else name += `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  if (name.length <= maxLength) return name;
  const digest = createHash('sha256').update(mountPoint).digest('hex').slice(0, 32);
  return `${name.slice(0, maxLength - digest.length - 1)}~${digest}`;
}
