/** An sshd that reads the configuration of the machine, for tests of what setup writes there. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { Child, mustRun, runCommand, type Ending } from '../../lib/demo/child.js';
import { clientOptions, freePort } from '../../lib/demo/sshd.js';

/** An sshd with the machine's configuration, so that what setup wrote is what counts. */
export async function startSshd(
  t: Test,
  place: string,
  identityFile: string,
): Promise<(user: string, lines: readonly string[]) => Promise<Ending>> {
  const port = await freePort();
  await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
  const hostKey = join(place, 'host_key');
  await mustRun('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', hostKey]);
  const [type = '', key = ''] = (await readFile(`${hostKey}.pub`, 'utf8')).split(' ');
  const knownHostsFile = join(place, 'known_hosts');
  await writeFile(knownHostsFile, `[127.0.0.1]:${port} ${type} ${key}\n`);
  const options = [`Port=${port}`, 'ListenAddress=127.0.0.1', `HostKey=${hostKey}`, 'PidFile=none'];
  const flags = ['-D', '-e', ...options.flatMap((option) => ['-o', option])];
  const sshd = await Child.start('/usr/sbin/sshd', flags);
  t.teardown(() => sshd.stop());
  await sshd.untilSaid(/^Server listening on /m);
  const client = ['-P', String(port), ...clientOptions({ identityFile, knownHostsFile })];
  return (user, lines) =>
    runCommand('sftp', ['-b', '-', ...client, `${user}@127.0.0.1`], {
      input: { text: `${lines.join('\n')}\n` },
    });
}
