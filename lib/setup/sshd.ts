/** What sshd is told of a user, and whether it understood. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, messageOf } from '../host/failure.js';
import {
  fileStep,
  isSystemdRunning,
  mustRun,
  outputOf,
  readIfThere,
  succeeds,
  type Step,
} from './steps.js';

const sshd = '/usr/sbin/sshd';
export const directory = '/etc/ssh/sshd_config.d';

/** Public keys of users that have no home on this machine. */
export const keysDirectory = '/etc/ssh/s3jail-keys';

export function blockPath(user: string): string {
  return `${directory}/s3jail-${user}.conf`;
}

export function hasKeysFile(user: string): boolean {
  return existsSync(join(keysDirectory, user));
}

export interface SshdUser {
  readonly name: string;
  readonly mountPoint: string;
  /** their keys are in keysDirectory, not in a home */
  readonly hasOwnKeys: boolean;
}

/** What is left to those who are chrooted. */
export const filesAlone = ['    DisableForwarding yes', '    PermitTTY no', '    PermitUserRC no'];

/** A Match block of an included file ends with that file (sshd_config(5), Include). */
export function blockText({ name, mountPoint, hasOwnKeys }: SshdUser): string {
  return [
    `# Made by s3jail setup; s3jail setup ${name} --remove takes it away.`,
    `Match User ${name}`,
    `    ChrootDirectory ${mountPoint.replaceAll('%', '%%')}`,
    '    ForceCommand internal-sftp',
    ...(hasOwnKeys ? [`    AuthorizedKeysFile ${keysDirectory}/${name}`] : []),
    ...filesAlone,
    '',
  ].join('\n');
}

/** @throws Failure where sshd, or its configuration directory, is not here */
export function requireSshd(): void {
  if (existsSync(sshd) && existsSync(directory)) return;
  throw new Failure(2, `${sshd} or ${directory} is not here: install OpenSSH's server first`);
}

/** A block that is there, with what has to be so; what the administrator added stays. */
export function keptBlock(text: string | undefined, wanted: string): string {
  if (text === undefined) return wanted;
  for (const line of wanted
    .split('\n')
    .filter((each) => /^ *(Match|Chroot|Authorized)/.test(each))) {
    const [keyword = ''] = line.trim().split(' ');
    const present = new RegExp(`^[ \\t]*${keyword}[ \\t].*$`, 'mi');
    if (!present.test(text)) return wanted;
    text = text.replace(present, () => line);
  }
  return text;
}

export async function blockStep(user: SshdUser): Promise<Step> {
  const { name, mountPoint } = user;
  const path = blockPath(name);
  const content = keptBlock(await readIfThere(path), blockText(user));
  return checkedBlockStep(name, { path, content }, () =>
    validate(name, mountPoint.replaceAll('%', '%%')),
  );
}

/**
 * Writes a block; one that sshd does not take is taken away again, as with all that fails.
 * @param whom it is for, as the operator reads it
 * @param check rejects where sshd does not take it
 */
export function checkedBlockStep(
  whom: string,
  { path, content }: { path: string; content: string },
  check: () => Promise<void>,
): Step {
  const step = fileStep(`tell sshd of ${whom}, in ${path}`, { path, content, mode: 0o644 });
  const run = async (): Promise<void> => {
    await step.run();
    try {
      await check();
    } catch (error) {
      throw new Failure(2, `sshd does not take ${path}: ${messageOf(error)}`, { cause: error });
    }
  };
  const undo = async (): Promise<void> => {
    await step.undo?.();
    await reloadSshd(isSystemdRunning());
  };
  return { ...step, run, undo };
}

/** sshd's own word for it: the configuration is valid. */
export async function validateSyntax(): Promise<void> {
  await mustRun(sshd, ['-t']);
}

/**
 * The same, and that it says this of this user.
 * @param chroot as the configuration has it
 */
export async function validate(name: string, chroot: string): Promise<void> {
  // sshd checks nothing without it; where its service has never run, nobody has made it yet.
  await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
  await validateSyntax();
  const client = `user=${name},host=localhost,addr=127.0.0.1`;
  const effective = await outputOf(sshd, ['-T', '-C', client]);
  if (effective.split('\n').includes(`chrootdirectory ${chroot}`)) return;
  throw new Error(
    `/etc/ssh/sshd_config has no "Include ${directory}/*.conf" at its top, or says otherwise before`,
  );
}

/** New connections go by the new configuration; those that are there stay. */
export async function reloadSshd(isSystemdRunning: boolean): Promise<boolean> {
  if (!isSystemdRunning) return false;
  // Debian's name, then everybody else's.
  for (const unit of ['ssh.service', 'sshd.service']) {
    if (await succeeds('systemctl', ['is-active', '--quiet', unit])) {
      await mustRun('systemctl', ['reload', unit]);
      return true;
    }
  }
  // Started anew for each connection: it reads its configuration then.
  return succeeds('systemctl', ['is-active', '--quiet', 'ssh.socket']);
}
