/**
 * Imported first, this runs the test file again in a mount namespace with an /etc of its own: users come
 * and go there, and the user database can be made to fail, while nobody else on the machine sees it.
 * All that the file starts is in it too, mounts among them, and is gone with it.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { letOthersGo } from './mount-namespace.js';

const marker = 'TEST_HAS_OWN_USERS';

if (process.env[marker] === undefined) {
  const etc = mkdtempSync('/var/tmp/s3jail-etc-');
  const script = `${letOthersGo}
cp -a /etc/. "$2" && mount --bind "$2" /etc && shift 2 && exec "$@"`;
  const program = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const args = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', '', etc];
  const { status } = spawnSync('unshare', [...args, ...program], {
    stdio: 'inherit',
    env: { ...process.env, [marker]: 'yes' },
  });
  rmSync(etc, { recursive: true, force: true });
  process.exit(status ?? 1);
}
