/** What sshd is told of all users that have a home in one mount. */
import { join } from 'node:path';
import { Failure, messageOf } from '../host/failure.js';
import { directory, reloadSshd, validate } from './sshd.js';
import { fileStep, isSystemdRunning, mustRun, type Step } from './steps.js';

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
    '    DisableForwarding yes',
    '    PermitTTY no',
    '    PermitUserRC no',
    '',
  ].join('\n');
}

/** Writes the block; one that sshd does not take is taken away again. */
export function homesBlockStep(block: HomesBlock): Step {
  const { group, mountPoint, member } = block;
  const file = { path: homesBlockPath, content: homesBlockText(block), mode: 0o644 };
  const step = fileStep(`tell sshd of group ${group}, in ${homesBlockPath}`, file);
  const run = async (): Promise<void> => {
    await step.run();
    try {
      if (member === undefined) await mustRun('/usr/sbin/sshd', ['-t']);
      else await validate(member, chrootOf(mountPoint));
    } catch (error) {
      const what = `sshd does not take ${homesBlockPath}: ${messageOf(error)}`;
      throw new Failure(2, what, { cause: error });
    }
  };
  const undo = async (): Promise<void> => {
    await step.undo?.();
    await reloadSshd(isSystemdRunning());
  };
  return { ...step, run, undo };
}

function chrootOf(mountPoint: string): string {
  return `${mountPoint.replaceAll('%', '%%')}/%u`;
}
