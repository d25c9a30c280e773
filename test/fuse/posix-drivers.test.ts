/** The suite of POSIX behaviours on the drivers alone, over a core that keeps a tree in memory. */
import t from 'tap';
import { MemoryMount } from '../support/memory-mount.js';
import { runPosixSuite } from '../suites/posix-runner.js';

for (const driver of ['kernel', 'fuse-native'] as const) {
  void t.test(`the ${driver} driver`, async (t) => {
    const mount = await MemoryMount.start(t, { driver });
    await runPosixSuite(t, mount.mountPoint);
    await mount.unmount();
    await mount.unmounted;
  });
}
