/**
 * The kernel driver: /dev/fuse spoken in TypeScript, without native code.
 *
 * Needs the right to mount (root, in practice). Owns the device, the session on it and the mount; the
 * file system itself is the core's. Large replies and notices go through libuv's pool, and where a
 * request cannot be read otherwise each of several reads blocks a thread of it: a process that mounts
 * should start with a larger UV_THREADPOOL_SIZE (16 or more) than the default 4.
 */
import { accessSync, constants, openSync, readFileSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { endianness } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { isDead } from '../../host/mount-point.js';
import { abortConnection, attach, detachAtExit } from '../../host/mount-programs.js';
import { findMount } from '../../host/mount-table.js';
import { systemErrorCode } from '../../errors.js';
import type { Operations } from '../../operations.js';
import type { Driver, Mounted, MountSettings, RootHelper } from '../driver.js';
import { HomeAccess, MountAccess } from './access.js';
import { deviceOn } from './device.js';
import {
  clearDeadMount,
  mountOptions,
  mountType,
  raiseReadAhead,
  runUnmount,
} from './mount-point.js';
import { MountState } from './mount-state.js';
import { NodeTable } from './node-table.js';
import { Notices } from './notices.js';
import { spawnRootHelper } from './root-helper.js';
import { Session } from './session.js';

const devicePath = '/dev/fuse';
/** CAP_SYS_ADMIN, include/uapi/linux/capability.h */
const sysAdminBit = 1n << 21n;
/** libuv's default number of threads. */
const defaultPoolSize = 4;
/** More reads outstanding than this bring no more requests per second; see scripts/bench-drivers. */
const readersMax = 4;
/** Four of the largest reads. */
const readAheadKib = 4096;
/** How often a descriptor that is not mounted yet is tried. */
const untilMountedMs = 5;

/** Whether this process may use the kernel driver, and why (not). Asks nothing that could wait. */
export function mayMount(): { able: boolean; reason: string } {
  if (endianness() !== 'LE') return { able: false, reason: 'this machine is big-endian' };
  try {
    accessSync(devicePath, constants.R_OK | constants.W_OK);
  } catch (error) {
    return { able: false, reason: `${devicePath}: ${systemErrorCode(error) ?? 'not usable'}` };
  }
  const status = readFileSync('/proc/self/status', 'utf8');
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
  if ((BigInt(`0x${effective}`) & sysAdminBit) === 0n) {
    return { able: false, reason: 'mounting needs root (CAP_SYS_ADMIN)' };
  }
  return { able: true, reason: `${devicePath} is there and this process may mount` };
}

/** How many pool threads may wait in reads of the device, if any: a quarter, the rest has work to do. */
function readersFor(threads: number): number {
  return Math.max(1, Math.min(readersMax, Math.floor(threads / 4)));
}

function poolSize(): number {
  const size = Number.parseInt(process.env['UV_THREADPOOL_SIZE'] ?? '', 10);
  return Number.isInteger(size) && size > 0 ? size : defaultPoolSize;
}

function sessionFor(operations: Operations, settings: MountSettings, descriptor: number): Session {
  const { log } = settings;
  const device = deviceOn(descriptor, readersFor(poolSize()));
  // Without allow_other the kernel itself refuses everybody but the owner.
  const allowUids = settings.allowOther ? settings.allowUids : undefined;
  const { owners, closedAncestor } = settings;
  const nodes = new NodeTable();
  const access =
    owners === undefined
      ? new MountAccess(nodes, allowUids, closedAncestor)
      : new HomeAccess(nodes, owners, closedAncestor);
  const state = new MountState({
    operations,
    nodes,
    access,
    notices: new Notices(device, log),
    log,
    metadataTtlMs: settings.metadataTtlMs,
  });
  closedAncestor?.onOpened(() => state.forgetFirstSteps());
  return new Session({ device, state, log });
}

/** Answers INIT as soon as mount(8) has made the connection, while it may still be running. */
async function connect(session: Session, mounting: Promise<void>): Promise<void> {
  const over = new AbortController();
  const ended = mounting.finally(() => over.abort());
  const [mounted, negotiated] = await Promise.allSettled([ended, negotiate(session, over.signal)]);
  if (mounted.status === 'rejected') throw mounted.reason;
  if (negotiated.status === 'rejected') throw negotiated.reason;
}

async function negotiate(session: Session, over: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await session.negotiate();
      return;
    } catch (error) {
      // EPERM: the descriptor belongs to no mount yet.
      if (systemErrorCode(error) !== 'EPERM' || over.aborted) throw error;
      await delay(untilMountedMs);
    }
  }
}

/**
 * A process that ends without unmounting (an uncaught error) would hang in exit(3): its pool threads
 * stay in their reads as long as the mount lives, and all callers with them. So the connection is cut
 * first, which also leaves the mount point free.
 */
function cutAtExit({ mountPoint, device }: OwnMount, helper: RootHelper | undefined): () => void {
  const cut = (): void => {
    // The helper takes the mount away then.
    if (helper !== undefined) process.kill(process.pid, 'SIGKILL');
    const isThere = findMount(mountPoint)?.device === device;
    // Somebody detached it before (umount -l) and it is still in use: no path leads to the connection
    // any more, and nothing but the end of this process cuts it.
    if (!isThere || !detachAtExit(mountPoint, { lazy: true, cut: true })) {
      process.kill(process.pid, 'SIGKILL');
    }
  };
  process.once('exit', cut);
  return () => process.off('exit', cut);
}

/** Another mount may be at its place by the end. */
interface OwnMount {
  readonly mountPoint: string;
  /** of the mount table */
  readonly device: string | undefined;
}

/** After the session: a connection that was cut (umount -f) may leave a dead mount behind. */
async function tidy(
  { mountPoint, device }: OwnMount,
  helper: RootHelper | undefined,
): Promise<void> {
  const left = findMount(mountPoint);
  if (left?.type !== mountType || left.device !== device) return;
  // The number of a device that is gone is given to the next one.
  if (!(await isDead(mountPoint))) return;
  await runUnmount(mountPoint, { lazy: true }, helper);
}

async function abort(device: string | undefined, helper: RootHelper | undefined): Promise<void> {
  if (helper !== undefined) await helper.abort();
  else if (device !== undefined) await abortConnection(device);
}

/**
 * Starts what is to stay root, while this process is; `mount` then needs no rights of its own.
 * @throws Error with a sentence for the operator
 */
export function startRootHelper(settings: Omit<MountSettings, 'rootHelper'>): RootHelper {
  checkMayMount();
  const { mountPoint, source } = settings;
  const options = optionsOf(settings);
  return spawnRootHelper(devicePath, { mountPoint, source, options, readAheadKib });
}

function checkMayMount(): void {
  const { able, reason } = mayMount();
  if (!able) throw new Error(`the kernel driver cannot be used: ${reason}`);
}

function optionsOf(settings: MountSettings): string {
  return mountOptions({ ...settings, owner: settings.owner ?? { uid: 0, gid: 0 } });
}

async function prepare(settings: MountSettings): Promise<string> {
  // The helper was started on a mount point that root had looked at.
  if (settings.rootHelper !== undefined) return settings.mountPoint;
  checkMayMount();
  await clearDeadMount(settings.mountPoint, settings.log);
  const mountPoint = await realpath(settings.mountPoint);
  await clearDeadMount(mountPoint, settings.log);
  if (!(await stat(mountPoint)).isDirectory()) throw new Error(`${mountPoint} is no directory`);
  return mountPoint;
}

async function mount(operations: Operations, settings: MountSettings): Promise<Mounted> {
  const mountPoint = await prepare(settings);
  const { source, log, rootHelper: helper } = settings;
  const descriptor = helper?.device ?? openSync(devicePath, 'r+');
  const session = sessionFor(operations, settings, descriptor);
  const options = optionsOf(settings);
  try {
    const request = { type: mountType, source, mountPoint, options, descriptor };
    const mounting = helper?.mount() ?? attach(request);
    await connect(session, mounting);
  } catch (error) {
    // The kernel ends the connection with its last descriptor; the mount is dead then, if there is one.
    await session.close();
    if (helper === undefined) await clearDeadMount(mountPoint, log);
    throw error;
  }
  const served = session.serve();
  const device = findMount(mountPoint)?.device;
  const raised = await (helper?.raiseReadAhead() ?? raiseReadAhead(device, readAheadKib));
  const keep = cutAtExit({ mountPoint, device }, helper);
  const unmounted = served
    .finally(keep)
    .then(() => tidy({ mountPoint, device }, helper))
    .catch((error: unknown) => log.error({ mountPoint, err: error }, 'the mount did not end well'));
  const limits = ['a shared writable memory mapping is refused (ENODEV)'];
  if (!raised) limits.push('read-ahead stays at 128 KiB: /sys is not writable');
  return {
    limits,
    unmounted,
    counters: () => session.counters,
    kernelRequests: () => session.requestsByName,
    unmount: (how) => runUnmount(mountPoint, how, helper),
    disconnect: () => abort(device, helper),
  };
}

export const kernelDriver: Driver = { name: 'kernel', mount };
