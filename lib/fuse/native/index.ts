/**
 * The fuse-native driver: libfuse 2 through the npm package, for those who may not mount themselves.
 *
 * The only file that loads the package, and only when a mount is asked for: it needs a shared library
 * that a machine without this driver need not have. The package answers on the event loop, so a
 * process must never do blocking I/O on a mount that it serves itself.
 *
 * Of the package two things are replaced: its unmount, which runs a shell line with the mount point in
 * it, and its fgetattr, which drops the handle. It does not tell when its thread ends; the descriptor
 * of /dev/fuse does, which libfuse closes when the kernel has let go.
 */
import { accessSync, constants, readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { readlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { FsError, systemErrorCode } from '../../errors.js';
import { detach } from '../../host/mount-programs.js';
import { findMount } from '../../host/mount-table.js';
import type { Operations } from '../../operations.js';
import type { Driver, MountSettings, Mounted } from '../driver.js';
import { nativeOperations } from './handlers.js';
import { libfuseOptions, type LibfuseOptions } from './mount-options.js';
import type { NativeOperations } from './binding.js';

type Done = (error: Error | null | undefined) => void;

/** What is used of the package's class; its own type declarations do not exist. */
interface FusePackage {
  new (
    mountPoint: string,
    operations: NativeOperations,
    options: LibfuseOptions & { timeout: false },
  ): FuseMount;
  unmount(mountPoint: string, done: Done): void;
}

interface FuseMount {
  mount(done: Done): void;
  unmount(done: Done): void;
  _op_getattr(signal: unknown, path: string): void;
  _op_fgetattr(signal: unknown, path: string, handle: number): void;
}

const devicePath = '/dev/fuse';
const descriptors = '/proc/self/fd';
const configurationPath = '/etc/fuse.conf';
/** The binding cuts a longer one, and would mount elsewhere. */
const maxMountPointBytes = 1023;
/** How long an end by somebody else's umount may go unnoticed. */
const watchMs = 500;
/** Where the watch begins again when this process has unmounted. */
const endingMs = 10;

/** What cannot be done or known through libfuse 2 and the binding. */
const limits: readonly string[] = [
  'who asks is not known: --access is not enforced, and an upload cut off by a dying process is stored as far as it came',
  'a signal does not interrupt a request that is under way',
  'O_EXCL is not known: a new file is stored only if nobody else stored one of that name meanwhile',
  'of explicit file times only the access time is known, so --utimens store cannot store one; setting one of the two times alone succeeds and changes nothing',
  'removing a file that is still open is answered before S3 has confirmed it; a failure is logged and the name comes back',
  'a directory below which removed files are still open cannot be removed',
  'names that are not UTF-8, or that hold U+FFFD or libfuse’s .fuse_hidden names, cannot be used',
  'a shared memory mapping is refused (ENODEV), and nothing is cached by the kernel',
  'lookups in one directory are served one after another, and bursts of more than ten callers leave some memory behind',
];

export const fuseNativeDriver: Driver = { name: 'fuse-native', mount };

async function mount(operations: Operations, settings: MountSettings): Promise<Mounted> {
  const { mountPoint, log } = settings;
  const Fuse = loadPackage();
  checkMayMount(settings);
  const handlers = nativeOperations(operations, log);
  const options = { ...libfuseOptions(settings), timeout: false } as const;
  const fuse = new Fuse(mountPoint, handlers, options);
  passHandleToFgetattr(fuse, handlers);
  const before = openDevices();
  await start(fuse, mountPoint);
  const descriptor = openDevices().find((each) => !before.includes(each));
  const device = findMount(mountPoint)?.device;
  const watch = new MountWatch(fuse, mountPoint, descriptor);
  const isThere = () => device !== undefined && findMount(mountPoint)?.device === device;
  return {
    limits,
    unmounted: watch.ended,
    unmount: async ({ lazy }) => {
      if (isThere()) await takeDown(mountPoint, isThere, lazy);
      watch.expectEnd();
    },
  };
}

function loadPackage(): FusePackage {
  const require = createRequire(import.meta.url);
  try {
    const Fuse = require('fuse-native') as FusePackage;
    Fuse.unmount = (_mountPoint, done) => done(null);
    return Fuse;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ERR_DLOPEN_FAILED') {
      throw new Error(
        'the fuse-native driver needs the library libfuse.so.2: install the package libfuse2 ' +
          '(libfuse2t64 on Debian 13 and Ubuntu 24.04) and fuse3, or use --driver kernel as root',
        { cause: error },
      );
    }
    throw new Error(
      `the npm package fuse-native does not load on ${process.platform}-${process.arch} ` +
        `(${code ?? 'no binary for it'}): npm rebuild fuse-native needs a compiler and libfuse-dev; ` +
        'or use --driver kernel as root',
      { cause: error },
    );
  }
}

/** Whether the library, the device and the helper are there. Mounts nothing. */
export function mayUseLibfuse(): { able: boolean; reason: string } {
  try {
    loadPackage();
  } catch (error) {
    return { able: false, reason: error instanceof Error ? error.message : String(error) };
  }
  if (!isAccessible(devicePath, constants.R_OK | constants.W_OK)) {
    const reason = `${devicePath} cannot be used: modprobe fuse, or give it to the container`;
    return { able: false, reason };
  }
  const helper = findProgram('fusermount');
  if (helper === undefined && process.geteuid?.() !== 0) {
    return { able: false, reason: 'the program fusermount is missing: install the package fuse3' };
  }
  return { able: true, reason: `libfuse 2, ${devicePath} and ${helper ?? 'root'} are there` };
}

/** Says in a sentence what libfuse would say in its own way, or not at all. */
function checkMayMount({ mountPoint, allowOther, owner }: MountSettings): void {
  const uid = process.geteuid?.();
  if (owner !== undefined && owner.uid !== uid) {
    throw new Error('mounting for another user needs --driver kernel');
  }
  if (!isAccessible(devicePath, constants.F_OK)) {
    throw new Error(`${devicePath} is missing: modprobe fuse, or give it to the container`);
  }
  if (Buffer.byteLength(mountPoint) > maxMountPointBytes) {
    throw new Error(`${mountPoint} is longer than ${maxMountPointBytes} bytes`);
  }
  if (statSync(mountPoint, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new Error(`${mountPoint} is not a directory`);
  }
  const entry = findMount(mountPoint);
  if (entry !== undefined) throw new Error(`${mountPoint} is in use: ${entry.source} is mounted`);
  if (readdirSync(mountPoint).length > 0) throw new Error(`${mountPoint} is not empty`);
  if (uid !== 0) checkMayMountWithoutRoot(mountPoint, allowOther);
}

function checkMayMountWithoutRoot(mountPoint: string, allowOther: boolean): void {
  if (!isAccessible(devicePath, constants.R_OK | constants.W_OK)) {
    throw new Error(`${devicePath} is closed to this user; where udev runs, its mode is 0666`);
  }
  if (findProgram('fusermount') === undefined) {
    throw new Error('mounting without root needs fusermount: install the package fuse3');
  }
  if (allowOther && !mayAllowOther()) {
    throw new Error(
      `--allow-other without root needs a line user_allow_other in ${configurationPath}`,
    );
  }
  if (!isAccessible(mountPoint, constants.W_OK)) {
    throw new Error(`${mountPoint} must belong to whoever mounts on it without root`);
  }
}

/** Where exec(3) would find it; mount(8) called by a plain user takes PATH away. */
function findProgram(name: string): string | undefined {
  return (process.env['PATH'] ?? '/bin:/usr/bin')
    .split(':')
    .map((directory) => join(directory, name))
    .find((path) => isAccessible(path, constants.X_OK));
}

function isAccessible(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return false;
  }
}

function mayAllowOther(): boolean {
  try {
    return /^\s*user_allow_other\s*$/m.test(readFileSync(configurationPath, 'utf8'));
  } catch (error) {
    // Without a configuration fusermount allows nothing.
    if (systemErrorCode(error) !== 'ENOENT' && systemErrorCode(error) !== 'EACCES') throw error;
    return false;
  }
}

/** Answers fgetattr for the open file; the package asks for the attributes of the path instead. */
function passHandleToFgetattr(fuse: FuseMount, handlers: NativeOperations): void {
  fuse._op_fgetattr = (signal, path, handle) => {
    const getattr: NativeOperations['getattr'] = (name, reply) =>
      handlers.fgetattr(name, handle, reply);
    fuse._op_getattr.call({ ops: { getattr } }, signal, path);
  };
}

async function start(fuse: FuseMount, mountPoint: string): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      fuse.mount((error) => (error ? reject(error) : resolve()));
    });
  } catch (error) {
    // An option that libfuse does not know is found only after it has mounted.
    if (findMount(mountPoint) !== undefined) await detach(mountPoint, { lazy: true });
    throw new Error(`libfuse could not mount on ${mountPoint}; its reason is on stderr`, {
      cause: error,
    });
  }
}

/** The descriptors of this process that are connections to FUSE. */
function openDevices(): string[] {
  return readdirSync(descriptors).filter((name) => {
    try {
      return readlinkSync(join(descriptors, name)) === devicePath;
    } catch (error) {
      // Closed since it was listed, as the descriptor of the listing itself.
      if (systemErrorCode(error) !== 'ENOENT') throw error;
      return false;
    }
  });
}

/**
 * By no child of this process: as the mount ends, libfuse cancels its threads, and one that is cancelled
 * while it runs libuv's handler of SIGCHLD keeps the lock of all signal handlers. Nothing ends it then.
 * @throws FsError EBUSY
 */
async function takeDown(mountPoint: string, isThere: () => boolean, lazy: boolean): Promise<void> {
  try {
    await detach(mountPoint, { lazy, orphaned: true });
  } catch (error) {
    if (isThere()) throw new FsError('EBUSY', `${mountPoint} is in use`, { cause: error });
  }
}

/** Notices that a mount has ended, by whoever's hand. */
class MountWatch {
  readonly ended: Promise<void>;
  readonly #fuse: FuseMount;
  readonly #mountPoint: string;
  readonly #descriptor: string | undefined;
  #everyMs = watchMs;
  #wake = new AbortController();

  constructor(fuse: FuseMount, mountPoint: string, descriptor: string | undefined) {
    this.#fuse = fuse;
    this.#mountPoint = mountPoint;
    this.#descriptor = descriptor;
    this.ended = this.#watch();
  }

  /** This process has unmounted. */
  expectEnd(): void {
    this.#everyMs = endingMs;
    this.#wake.abort();
  }

  async #watch(): Promise<void> {
    while (await this.#isMounted()) {
      await this.#pause();
    }
    // Lets go of what keeps the event loop alive; libfuse's thread has ended or is about to.
    await new Promise<void>((resolve) => this.#fuse.unmount(() => resolve()));
  }

  async #pause(): Promise<void> {
    const { signal } = this.#wake;
    try {
      await delay(this.#everyMs, undefined, { signal });
      this.#everyMs = Math.min(2 * this.#everyMs, watchMs);
    } catch (error) {
      if (!signal.aborted) throw error;
      this.#wake = new AbortController();
    }
  }

  /** While the table has no such mount any more, somebody may still use one detached lazily. */
  async #isMounted(): Promise<boolean> {
    if (this.#descriptor === undefined) return findMount(this.#mountPoint) !== undefined;
    try {
      return (await readlink(join(descriptors, this.#descriptor))) === devicePath;
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error;
      return false;
    }
  }
}
