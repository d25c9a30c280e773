/** What sshd is told of all users that have a home in one mount. */
import { join } from 'node:path';
import { checkedBlockStep, directory, filesAlone, validate, validateSyntax } from './sshd.js';
import type { Step } from './steps.js';

/** Public keys, a file for each user: nothing below a directory closed to users can be read by them. */
export const homesKeysDirectory = '/etc/ssh/authorized_keys';

/** Read after those of single mounts (`s3jail-USER.conf`), which go before it. */
export const homesBlockPath = join(directory, 's3jail.homes.conf');

export interface HomesBlock {
  readonly group: string;
  readonly mountPoint: string;
  /** one of the group, to ask sshd about; undefined where it names none */
  readonly member: string | undefined;
}

export function homesBlockText({ group, mountPoint }: HomesBlock): string {
  return [
    '# Made by s3jail setup; s3jail setup --homes --remove takes it away.',
    `Match Group ${group}`,
    `    ChrootDirectory ${chrootOf(mountPoint)}`,
    '    ForceCommand internal-sftp',
    `    AuthorizedKeysFile ${homesKeysDirectory}/%u`,
    ...filesAlone,
    '',
  ].join('\n');
}

export function homesBlockStep(block: HomesBlock): Step {
  const { group, mountPoint, member } = block;
  const file = { path: homesBlockPath, content: homesBlockText(block) };
  return checkedBlockStep(`group ${group}`, file, () =>
    member === undefined ? validateSyntax() : validate(member, chrootOf(mountPoint)),
  );
}

function chrootOf(mountPoint: string): string {
  return `${mountPoint.replaceAll('%', '%%')}/%u`;
}
