/** The kernel's mount table. */
import { readFileSync } from 'node:fs';
import type { UserIds } from './run-as.js';

/** A line of /proc/self/mountinfo (proc(5)). */
export interface MountEntry {
  /** MAJOR:MINOR of the file system, the same wherever it is to be seen */
  readonly device: string;
  readonly mountPoint: string;
  /** of the mount alone, such as `nosuid`; those of the file system are `superOptions` */
  readonly options: readonly string[];
  /** `ext4`, `fuse.s3jail`, … */
  readonly type: string;
  /** what was mounted, as mount(8) shows it */
  readonly source: string;
  readonly superOptions: readonly string[];
}

/** @throws Error (system error) where /proc is not mounted */
export function readMountTable(): MountEntry[] {
  return parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** The lines of mountinfo; the optional fields before ` - ` are skipped. */
export function parseMountInfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const [left = '', right = ''] = line.split(' - ', 2);
    const [, , device = '', , mountPoint, options = ''] = left.split(' ');
    const [type, source, superOptions] = right.split(' ');
    if (mountPoint === undefined || type === undefined || source === undefined) continue;
    entries.push({
      device,
      mountPoint: unescapeOctal(mountPoint),
      options: options.split(','),
      type: unescapeOctal(type),
      source: unescapeOctal(source),
      superOptions: superOptions?.split(',') ?? [],
    });
  }
  return entries;
}

/** The kernel writes blanks, newline, backslash and `#` as `\` and three octal digits (seq_escape). */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_all, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** What is mounted at exactly this place; the topmost where mounts are stacked. */
export function findMount(mountPoint: string): MountEntry | undefined {
  return readMountTable().findLast((entry) => entry.mountPoint === mountPoint);
}

/** Whether a mount was made by this program, alive or not. */
export function isOurs(entry: MountEntry): boolean {
  return /^fuse(\.s3jail)?$/.test(entry.type) && entry.source.startsWith('s3://');
}

/** Whether it only waits for somebody to look, to be mounted on then (x-systemd.automount). */
export function isAutomount(entry: MountEntry | undefined): boolean {
  return entry?.type === 'autofs';
}

/** The user that a FUSE mount was made for, from its `user_id` option. */
export function ownerOf(entry: MountEntry): number | undefined {
  return superNumber(entry, 'user_id');
}

/** Whom alone the kernel lets in, not even root; undefined where it leaves that to the mount. */
export function soleUserOf(entry: MountEntry): UserIds | undefined {
  const [uid, gid] = [superNumber(entry, 'user_id'), superNumber(entry, 'group_id')];
  const isOpen = entry.superOptions.includes('allow_other');
  return isOpen || uid === undefined || gid === undefined ? undefined : { uid, gid };
}

function superNumber(entry: MountEntry, name: string): number | undefined {
  const option = entry.superOptions.find((each) => each.startsWith(`${name}=`));
  return option === undefined ? undefined : Number(option.slice(name.length + 1));
}
