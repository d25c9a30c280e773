/**
 * `s3jail unmount`: asks the process behind a mount point to finish, and watches it do so.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { systemErrorCode } from '../errors.js';
import { Failure, type ExitCode } from '../host/failure.js';
import { isDead, knownMountPoint } from '../host/mount-point.js';
import { cutOff, viewsOf } from '../host/mount-views.js';
import { detach } from '../host/mount-programs.js';
import { findMount, isOurs, ownerOf, type MountEntry } from '../host/mount-table.js';
import { isAlive, terminate } from '../host/process-identity.js';
import { ProgressBar } from '../host/terminal.js';
import { findRecord, type FoundRecord } from '../host/runtime-record.js';

/** Short enough to follow an upload by eye, long enough to cost nothing. */
const pollMs = 100;

/**
 * @param path mount point as written
 * @param print takes lines for the operator
 * @param options.ifDead take away only the mount of a process that is gone; leave any other alone
 * @returns 0 when everything was stored and the mount is gone
 * @throws Failure
 */
export async function runUnmount(
  path: string,
  print: (line: string) => void,
  options: { ifDead?: boolean } = {},
): Promise<ExitCode> {
  const mountPoint = await knownMountPoint(path);
  const entry = findMount(mountPoint);
  if (options.ifDead === true) {
    const isOursAndDead = entry !== undefined && isOurs(entry) && (await isDead(mountPoint));
    return isOursAndDead ? removeMount(mountPoint, entry, print) : 0;
  }
  const record = findRecord(mountPoint, entry === undefined ? undefined : ownerOf(entry));
  if (record !== undefined && isAlive(record.state)) {
    const views = entry === undefined ? [] : viewsOf(entry.device, mountPoint);
    askToStop(record);
    const exitCode = await watch(record, print);
    if (views.length > 0) print(cutOff(mountPoint, views));
    return exitCode;
  }
  // It ended before, with a loss that nobody was told of yet.
  if (record?.state.phase === 'ended') return verdict(record, print);
  if (entry === undefined) {
    record?.remove();
    throw new Failure(32, `${mountPoint} is not mounted`);
  }
  const exitCode = await removeMount(mountPoint, entry, print);
  record?.remove();
  return exitCode;
}

/** SIGTERM, on which a mount stores what is open, unmounts and ends. */
export function askToStop({ state, namedBy }: FoundRecord): void {
  // A second signal would cut short the draining that the first one began.
  if (state.phase === 'draining' || state.phase === 'ended') return;
  try {
    terminate(state, namedBy);
  } catch (error) {
    if (systemErrorCode(error) !== 'EPERM') throw error;
    throw new Failure(
      32,
      `${state.mountPoint} is served by process ${state.pid} of another user; unmount it as that user or as root`,
      { cause: error },
    );
  }
}

async function watch(record: FoundRecord, print: (line: string) => void): Promise<ExitCode> {
  let last = record.state;
  let printed: string | undefined;
  const bar = process.stderr.isTTY ? new ProgressBar(process.stderr) : undefined;
  while (isAlive(record.state)) {
    await sleep(pollMs);
    last = record.read() ?? last;
    const { progress: text, share = 0 } = last;
    if (text === undefined || text === printed) continue;
    printed = text;
    if (bar === undefined) print(text);
    else bar.show({ text, share });
  }
  bar?.clear();
  return verdict(record, print);
}

function verdict(record: FoundRecord, print: (line: string) => void): ExitCode {
  const left = record.read();
  // It ended well; somebody may have mounted again since.
  if (left === undefined) return 0;
  record.remove();
  if (left.phase !== 'ended') {
    throw new Failure(
      2,
      `the process behind ${left.mountPoint} died before it had stored everything; see its log`,
    );
  }
  const lost = left.notStored ?? [];
  for (const path of lost) print(`not stored: ${path}`);
  return lost.length === 0 ? 0 : 2;
}

/** A mount without a process that could be asked. */
async function removeMount(
  mountPoint: string,
  entry: MountEntry,
  print: (line: string) => void,
): Promise<ExitCode> {
  if (!isOurs(entry)) {
    throw new Failure(
      32,
      `${mountPoint} is a mount point of ${entry.source} (${entry.type}), not of s3jail; use umount`,
    );
  }
  const wasDead = await isDead(mountPoint);
  await detach(mountPoint, { lazy: wasDead });
  if (wasDead) print(`the process behind ${mountPoint} was gone; removed its dead mount`);
  return 0;
}
