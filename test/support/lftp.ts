/** lftp(1), which speaks SFTP through ssh(1) and pipelines its requests further than others. */
import { runCommand, type Ending } from '../../lib/demo/child.js';
import { clientOptions, type Sshd } from '../../lib/demo/sshd.js';

export interface LftpCaller {
  readonly sshd: Pick<Sshd, 'port' | 'identityFile' | 'knownHostsFile'>;
  readonly account: { readonly name: string };
  /** where it runs: its local directory */
  readonly local: string;
}

/** Runs commands; the first that fails ends it. */
export function lftp({ sshd, account, local }: LftpCaller, ...commands: string[]): Promise<Ending> {
  const ssh = ['ssh', '-a', '-x', ...clientOptions(sshd)].join(' ');
  const lines = [
    'set cmd:fail-exit yes',
    'set net:max-retries 1',
    `set sftp:connect-program "${ssh}"`,
    `open -u ${account.name},none sftp://127.0.0.1:${sshd.port}`,
    ...commands,
  ];
  return runCommand('lftp', ['--norc', '-c', lines.join('; ')], { cwd: local });
}
