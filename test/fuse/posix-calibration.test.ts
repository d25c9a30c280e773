/** The suite of POSIX behaviours on a local file system, which has them all. */
import t from 'tap';
import { scratch } from '../support/memory-mount.js';
import { runPosixSuite } from '../suites/posix-runner.js';

void t.test('the local file system', async (t) => {
  await runPosixSuite(t, await scratch(t));
});
