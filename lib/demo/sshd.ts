/**
 * An OpenSSH server of our own on loopback for one user, SFTP only, with keys made for it: what an
 * administrator would write into sshd_config for such a user, and nothing of the machine's own sshd.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Child, descendantsOf, endProcesses, mustRun } from './child.js';

/** sshd starts itself again for every connection, so it wants to be called by its absolute path. */
const sshdProgram = '/usr/sbin/sshd';
const sftpServerProgram = '/usr/lib/openssh/sftp-server';
/** Where sshd puts its unprivileged half; a service file makes it where the service is used. */
const privilegeSeparationDirectory = '/run/sshd';

export interface SshdSettings {
  /** for configuration and keys; root's own, and so is all above it (sshd's StrictModes) */
  readonly directory: string;
  readonly user: string;
  /** absent: no chroot */
  readonly chrootDirectory?: string;
  /** `internal`: in sshd's own process; `external`: the program sftp-server, not for a chroot */
  readonly server: 'internal' | 'external';
  /** a session whose client is silent for so long ends; none does if absent */
  readonly clientAliveSeconds?: number;
  /** where a session begins, as seen inside the chroot */
  readonly startDirectory?: string;
}

export interface Sshd {
  readonly port: number;
  /** private key of the user */
  readonly identityFile: string;
  readonly knownHostsFile: string;
  readonly pid: number;
  /** what it logged */
  readonly log: () => string;
  /** ends its sessions too */
  stop(): Promise<void>;
}

/** Starts it and waits until it listens. @throws Error with what sshd said */
export async function startSshd(settings: SshdSettings, signal?: AbortSignal): Promise<Sshd> {
  const { directory } = settings;
  await mkdir(privilegeSeparationDirectory, { recursive: true, mode: 0o755 });
  const hostKey = join(directory, 'host_key');
  const identityFile = join(directory, 'user_key');
  for (const file of [hostKey, identityFile]) {
    await mustRun('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 's3jail', '-f', file]);
  }
  await writeFile(join(directory, 'authorized_keys'), await readFile(`${identityFile}.pub`));
  const configuration = join(directory, 'sshd_config');
  const knownHostsFile = join(directory, 'known_hosts');

  const { child, port } = await listen(configuration, settings, signal);
  const [type = '', key = ''] = (await readFile(`${hostKey}.pub`, 'utf8')).split(' ');
  await writeFile(knownHostsFile, `[127.0.0.1]:${port} ${type} ${key}\n`);
  return {
    port,
    identityFile,
    knownHostsFile,
    pid: child.pid,
    log: () => child.stderr,
    stop: () => stopWithSessions(child),
  };
}

/** Arguments that make sftp(1) and scp(1) use this server and nothing of the caller's own set-up. */
export function clientOptions(sshd: Pick<Sshd, 'identityFile' | 'knownHostsFile'>): string[] {
  const options = [`UserKnownHostsFile=${sshd.knownHostsFile}`, 'IdentitiesOnly=yes'];
  return ['-F', 'none', '-i', sshd.identityFile, ...options.flatMap((option) => ['-o', option])];
}

/** sshd does not tell which port it took, so it gets one that is free now; another may be quicker. */
async function listen(
  configuration: string,
  settings: SshdSettings,
  signal?: AbortSignal,
): Promise<{ child: Child; port: number }> {
  for (let tries = 5; ; tries--) {
    const port = await freePort();
    await writeFile(configuration, configurationText(settings, port));
    const child = await Child.start(sshdProgram, ['-D', '-e', '-f', configuration]);
    try {
      await child.untilSaid(/^Server listening on /m, signal);
      return { child, port };
    } catch (error) {
      await child.stop();
      if (tries === 0 || !child.stderr.includes('Address already in use')) throw error;
    }
  }
}

function configurationText(settings: SshdSettings, port: number): string {
  const { directory, chrootDirectory, startDirectory, clientAliveSeconds } = settings;
  const program = settings.server === 'internal' ? 'internal-sftp' : sftpServerProgram;
  const server = startDirectory === undefined ? program : `${program} -d ${startDirectory}`;
  return [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${directory}/host_key`,
    'PidFile none',
    'UsePAM no',
    `AllowUsers ${settings.user}`,
    'AuthenticationMethods publickey',
    `AuthorizedKeysFile ${directory}/authorized_keys`,
    'DisableForwarding yes',
    'PermitTTY no',
    'PermitUserRC no',
    'MaxStartups 100',
    `Subsystem sftp ${server}`,
    `ForceCommand ${server}`,
    ...(clientAliveSeconds === undefined
      ? []
      : [`ClientAliveInterval ${clientAliveSeconds}`, 'ClientAliveCountMax 1']),
    ...(chrootDirectory === undefined ? [] : [`ChrootDirectory ${chrootDirectory}`]),
    '',
  ].join('\n');
}

async function stopWithSessions(child: Child): Promise<void> {
  const sessions = descendantsOf(child.pid);
  await child.stop();
  await endProcesses(sessions);
}

/** A TCP port of loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  return address.port;
}

/** Programs of Debian's openssh-server and openssh-client that are not here. */
export function missingSshPrograms(): string[] {
  const programs = [sshdProgram, sftpServerProgram, '/usr/bin/sftp', '/usr/bin/ssh-keygen'];
  return programs.filter((program) => !existsSync(program));
}
