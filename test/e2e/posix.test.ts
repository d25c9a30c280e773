/** The suite of POSIX behaviours on whole mounts: every driver on every server at hand. */
import t, { type Test } from 'tap';
import { forEachDriver, mountForTest, type Setting } from '../support/mounted.js';
import { makePlace } from '../support/place.js';
import { serverNames, useServer } from '../support/servers.js';
import { runPosixSuite } from '../suites/posix-runner.js';

forEachDriver(t, serverNames(), posixCases);

async function posixCases(t: Test, { server, driver }: Setting): Promise<void> {
  const s3 = await useServer(t, server);
  const place = await makePlace(t);
  const mounted = await mountForTest(t, { server: s3, driver, place });
  await runPosixSuite(t, mounted.mountPoint);
}
