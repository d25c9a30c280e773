/**
 * `s3jail status`: what the mounts of this machine are and do, for people, for programs, or as a page
 * that renews itself on a terminal.
 */
import { Failure, type ExitCode } from '../host/failure.js';
import { knownMountPoint } from '../host/mount-point.js';
import { printableLines } from '../host/printable.js';
import { UsageError } from '../options/options.js';
import { askAll, askOne, askReport, discardHeld, isWell, type MountStatus } from './ask.js';
import { showLive } from './live.js';
import { tableLines } from './table.js';
import { statusLines } from './view.js';

/** Of a line where there is no terminal. */
const wide = 2000;

export interface StatusRequest {
  /** as written; undefined for all mounts */
  readonly mountPoint: string | undefined;
  readonly json: boolean;
  /** an interrupted upload to be given up first, as its user sees it */
  readonly discardHeld?: string | undefined;
}

/**
 * @returns 0 where every mount asked about works, 32 where one does not
 * @throws Failure with exit code 32 if nothing is mounted at the place named; UsageError
 */
export async function runStatus(request: StatusRequest): Promise<ExitCode> {
  const mountPoint =
    request.mountPoint === undefined ? undefined : await knownMountPoint(request.mountPoint);
  if (request.discardHeld !== undefined) {
    if (mountPoint === undefined) {
      throw new UsageError(['--discard-held PATH needs the MOUNTPOINT before it']);
    }
    await discardHeld(mountPoint, pathWithin(mountPoint, request.discardHeld));
  }
  let statuses = await ask(mountPoint);
  if (mountPoint !== undefined && statuses.length === 0) {
    throw new Failure(32, `${mountPoint} is not mounted`);
  }
  if (request.json) {
    process.stdout.write(`${printableLines(JSON.stringify(statuses, undefined, 2))}\n`);
  } else if (process.stdout.isTTY) {
    await showLive(async () => {
      statuses = await ask(mountPoint);
      return linesOf(statuses, mountPoint);
    });
  } else {
    process.stdout.write(`${linesOf(statuses, mountPoint).join('\n')}\n`);
  }
  return statuses.every(({ state }) => isWell(state)) ? 0 : 32;
}

/** Also as root sees it on this machine. */
function pathWithin(mountPoint: string, path: string): string {
  const within = path.startsWith(`${mountPoint}/`) ? path.slice(mountPoint.length) : path;
  return within.startsWith('/') ? within : `/${within}`;
}

async function ask(mountPoint: string | undefined): Promise<MountStatus[]> {
  if (mountPoint === undefined) return await askAll(askReport);
  const status = await askOne(mountPoint);
  return status === undefined ? [] : [status];
}

/** Of one mount all there is to tell, of all of them a line each. */
function linesOf(statuses: readonly MountStatus[], mountPoint: string | undefined): string[] {
  if (statuses.length === 0) return ['nothing is mounted'];
  if (mountPoint === undefined) return tableLines(statuses, process.stdout.columns || wide);
  const now = new Date();
  return statuses.flatMap((status) => statusLines(status, now));
}
