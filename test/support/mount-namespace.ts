/** Another mount namespace, as a container has one. */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Test } from 'tap';

/**
 * For sh, in the new namespace: the mounts of tests beside this one are let go, which would not end as long
 * as it lives. What is to stay is $1.
 */
export const letOthersGo = `
findmnt -rno TARGET -t fuse.s3jail | while read -r place; do
  [ "$place" = "$1" ] || umount -i -n -c -l -- "$place"
done
`;

/** A process with a mount namespace of its own, in which the mount on `mountPoint` stays. */
export async function useMountNamespace(t: Test, mountPoint: string): Promise<ChildProcess> {
  const script = `${letOthersGo} echo there; exec sleep infinity`;
  const args = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', mountPoint];
  const child = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  t.teardown(() => child.kill('SIGKILL'));
  await new Promise((there) => child.stdout.once('data', there));
  return child;
}
