/** A mount for a test: the built program as a child process, between an S3 server and a directory. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { startMount, type MountProcess } from '../../lib/demo/mount-process.js';
import { makeDirectory } from './place.js';
import type { Credentials, TestServer } from './servers.js';

export type DriverName = 'kernel' | 'fuse-native';

export interface MountForTest {
  readonly server: TestServer;
  /** the server's own if absent */
  readonly credentials?: Credentials;
  /** where the mount sends its requests, if not straight to the server: a proxy in between */
  readonly url?: string;
  /** with `/` at its end; empty for the whole bucket */
  readonly prefix?: string;
  readonly driver: DriverName;
  /** further options of `s3jail mount` */
  readonly options?: readonly string[];
  /** directory of the test; temporary files of the mount go there too */
  readonly place: string;
  /** default `mnt` in `place` */
  readonly mountPoint?: string;
}

export interface Mounted extends MountProcess {
  readonly mountPoint: string;
  readonly tempDirectory: string;
  /** what the mount logged so far */
  readonly log: () => string;
}

const driverNames: readonly DriverName[] = ['kernel', 'fuse-native'];

/** Mounts, and unmounts when the test ends. @throws Error with what the program said */
export async function mountForTest(t: Test, wanted: MountForTest): Promise<Mounted> {
  const { server, place, prefix = '', driver } = wanted;
  const mountPoint = wanted.mountPoint ?? (await makeDirectory(place, 'mnt'));
  const tempDirectory = join(place, 'temp');
  await mkdir(tempDirectory, { recursive: true, mode: 0o700 });
  const mount = await startMount({
    source: `s3://${server.bucket.name}/${prefix}`,
    mountPoint,
    endpointUrl: wanted.url ?? server.url,
    credentials: wanted.credentials ?? server.credentials,
    options: ['--driver', driver, '--temp-dir', tempDirectory, ...(wanted.options ?? [])],
    output: 'keep',
  });
  t.teardown(() => mount.stop());
  return { ...mount, mountPoint, tempDirectory, log: () => mount.child.stderr };
}

/** Runs `cases` once for each server and driver at hand, each a subtest of its own. */
export function forEachDriver(
  t: Test,
  servers: readonly TestServer['name'][],
  cases: (t: Test, setting: Setting) => Promise<void>,
): void {
  // A file of cases is run several times over, on a machine that may be slow.
  t.setTimeout(900_000);
  for (const server of servers) {
    for (const driver of driverNames) {
      void t.test(`on ${server} by ${driver}`, (t) => cases(t, { server, driver }));
    }
  }
}

export interface Setting {
  readonly server: TestServer['name'];
  readonly driver: DriverName;
}
