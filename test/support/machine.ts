/** The machine itself, for tests that change what it has only one of. */
import type { Test } from 'tap';
import { Child } from '../../lib/demo/child.js';

/**
 * Until the test ends no other test changes /etc/fstab, sshd's configuration, the helpers in /sbin or
 * the mode of /dev/fuse: test files run side by side.
 */
export async function useMachine(t: Test): Promise<void> {
  const held = ['sh', '-c', 'echo held >&2; exec sleep infinity'];
  const child = await Child.start('flock', ['--no-fork', '/run/lock/s3jail-test', ...held]);
  t.teardown(() => child.stop());
  await child.untilSaid(/^held$/m);
}
