/** What this machine has to offer for a mount: a driver, and room for files on their way. */
import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { messageOf } from '../host/failure.js';
import { driverReadiness } from '../fuse/choose.js';
import type { MountOptions } from '../options/table.js';
import { showSize } from '../options/values.js';
import type { Findings } from './findings.js';

export async function checkMachine(options: MountOptions, findings: Findings): Promise<void> {
  const { runAs, driver } = options;
  const { name, able, reason } = await driverReadiness(runAs === undefined ? driver : 'kernel');
  const what = `driver ${name}`;
  if (able) findings.ok(what, reason);
  else findings.fail(what, reason);
}

export function checkTempDirectory({ tempDir, tempLimit }: MountOptions, findings: Findings): void {
  const what = 'temporary files';
  try {
    // A mount makes the last component of the path where it is missing.
    const directory = existsSync(tempDir) ? tempDir : dirname(tempDir);
    accessSync(directory, constants.W_OK | constants.X_OK);
    const { bavail, bsize } = statfsSync(directory);
    const free = bavail * bsize;
    if (free >= tempLimit) findings.ok(what, `${tempDir} has ${showSize(free)} free`);
    else {
      findings.warn(
        what,
        `${tempDir} has only ${showSize(free)} free, less than --temp-limit ${showSize(tempLimit)}; ` +
          'lower that, or name a larger --temp-dir',
      );
    }
  } catch (error) {
    findings.fail(what, `${messageOf(error)}; name a directory to write in with --temp-dir`);
  }
}
