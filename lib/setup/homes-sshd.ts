/** What sshd is told of all users that have a home in one mount. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  blockPath,
  checkedBlockStep,
  directory,
  filesAlone,
  keptBlock,
  validate,
  validateSyntax,
} from './sshd.js';
import { readIfThere, type Step } from './steps.js';

/** Public keys, a file for each user: nothing below a directory closed to users can be read by them. */
export const homesKeysDirectory = '/etc/ssh/authorized_keys';

/** Read after those of single mounts (`s3jail-USER.conf`), which go before it. */
export const homesBlockPath = join(directory, 's3jail.homes.conf');

export interface HomesBlock {
  readonly group: string;
  readonly mountPoint: string;
  /** those that the group names */
  readonly members: readonly string[];
}

export function homesBlockText({ group, mountPoint }: Omit<HomesBlock, 'members'>): string {
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

export async function homesBlockStep(block: HomesBlock): Promise<Step> {
  const { group, mountPoint, members } = block;
  const content = keptBlock(await readIfThere(homesBlockPath), homesBlockText(block));
  const file = { path: homesBlockPath, content };
  // One whom sshd can be asked about: what a single mount says of its user goes before this.
  const member = members.find((each) => !existsSync(blockPath(each)));
  return checkedBlockStep(`group ${group}`, file, () =>
    member === undefined ? validateSyntax() : validate(member, chrootOf(mountPoint)),
  );
}

function chrootOf(mountPoint: string): string {
  return `${mountPoint.replaceAll('%', '%%')}/%u`;
}
