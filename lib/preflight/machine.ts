/** What this machine has to offer for a mount: a driver, and room for files on their way. */
import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { keepFree } from '../limits/temp-space.js';
import { messageOf } from '../host/failure.js';
import { driverReadiness } from '../fuse/choose.js';
import type { MountOptions } from '../options/mount-options.js';
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
    if (free < keepFree) {
      findings.fail(
        what,
        `${tempDir} has only ${showSize(free)} free, and ${showSize(keepFree)} are left to others: nothing ` +
          'could be written; make room, or name a larger --temp-dir',
      );
    } else if (free >= tempLimit) findings.ok(what, `${tempDir} has ${showSize(free)} free`);
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

/** What the mount opens beside: files of its log and audit trail, and the address of its metrics. */
export async function checkOutputs(options: MountOptions, findings: Findings): Promise<void> {
  const { logFile, auditLog, metrics } = options;
  for (const [what, path] of [
    ['--log-file', logFile],
    ['--audit-log', auditLog],
  ] as const) {
    if (path !== undefined) checkFile(what, path, findings);
  }
  if (metrics === undefined) return;
  const server = createServer();
  try {
    await once(server.listen(metrics.port, metrics.host), 'listening');
    findings.ok('--metrics', `${metrics.host}:${metrics.port} is free`);
  } catch (error) {
    findings.fail('--metrics', `${messageOf(error)}; name another port`);
  } finally {
    server.close();
  }
}

/** It need not be there, but it has to be possible to make it. */
function checkFile(what: string, path: string, findings: Findings): void {
  try {
    if (existsSync(path)) accessSync(path, constants.W_OK);
    else accessSync(dirname(path), constants.W_OK | constants.X_OK);
    findings.ok(what, `${path} can be written`);
  } catch (error) {
    findings.fail(what, `${messageOf(error)}; make its directory, or name another file`);
  }
}
