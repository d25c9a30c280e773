/**
 * The composition root: wires store, file system and driver, and takes them down again.
 *
 * Order of the end: no new opens, what is open is stored (up to `--drain-timeout`), the mount goes,
 * temporary files and runtime record go. What could not be stored is named, and the exit code says so.
 */
import { isFsError } from './errors.js';
import { Failure, messageOf, type ExitCode } from './failure.js';
import { Filesystem, type FilesystemSettings } from './filesystem.js';
import { chooseDriver } from './fuse/choose.js';
import type { Mounted } from './fuse/driver.js';
import { createLog, type Log } from './log.js';
import { prepareMountPoint, realMountPoint } from './mount-point.js';
import type { MountPlan } from './mount-request.js';
import { detach, findMount, isOurs } from './mount-table.js';
import type { MountOptions } from './option-table.js';
import { showSize } from './option-values.js';
import { hasParent, reportToParent } from './parent-channel.js';
import { RuntimeRecord } from './runtime-record.js';
import type { StoreOptions } from './s3/client.js';
import { openStore, type S3Store } from './s3/s3-store.js';
import { showSource, type Source } from './source.js';
import { StopSignals } from './stop-signals.js';
import { makeTempDirectory } from './temp-directory.js';

/** What has to be undone, newest first. */
type Undo = (() => void | Promise<void>)[];

/**
 * Mounts and stays until the mount is gone.
 * @returns 0 when everything acknowledged is stored, 2 when not
 * @throws Failure when the mount cannot be made
 */
export async function runMount(plan: MountPlan): Promise<ExitCode> {
  process.title = `s3jail mount ${plan.sourceText} ${plan.mountPoint}`;
  const isBackground = hasParent();
  const log = openLog(plan.options);
  const stop = new StopSignals({ ignoreHangup: isBackground });
  process.once('disconnect', () => stop.request('the end of the command that started it'));
  process.on('unhandledRejection', (error) => logBug(log, error));
  process.on('uncaughtException', (error) => {
    logBug(log, error);
    stop.request('an internal error');
  });
  const undo: Undo = [() => stop.close()];
  try {
    const mount = await bringUp(plan, log, stop, undo);
    process.removeAllListeners('disconnect');
    await reportToParent({ kind: 'mounted' });
    if (process.connected) process.disconnect();
    return await serve(mount, stop);
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

function openLog(options: MountOptions): Log {
  const { logLevel, logFormat, logFile } = options;
  try {
    return createLog({ level: logLevel, format: logFormat, file: logFile });
  } catch (error) {
    throw new Failure(2, `cannot open the log file ${logFile ?? ''}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function logBug(log: Log, error: unknown): void {
  const stack = error instanceof Error ? error.stack : undefined;
  log.error({ stack }, `internal error: ${messageOf(error)}`);
}

/** A mount that works. */
interface LiveMount {
  readonly plan: MountPlan;
  readonly mountPoint: string;
  readonly filesystem: Filesystem;
  readonly mounted: Mounted;
  readonly record: RuntimeRecord;
  readonly log: Log;
}

async function bringUp(
  plan: MountPlan,
  log: Log,
  stop: StopSignals,
  undo: Undo,
): Promise<LiveMount> {
  const { options, source } = plan;
  const mountPoint = await realMountPoint(plan.mountPoint);
  const record = RuntimeRecord.claim(mountPoint, showSource(source));
  undo.push(() => {
    if (!record.tellsOfLoss) record.remove();
  });
  await prepareMountPoint(mountPoint, { isPrivate: options.private, log });
  const store = await stop.unlessStopped(reachStore(source, options, log), refusal);
  undo.push(() => store.close());
  const temp = makeTempDirectory(options.tempDir, mountPoint);
  undo.push(() => temp.remove());
  // Every path of the options is absolute by now, and a busy directory could not be unmounted.
  process.chdir('/');
  const filesystem = new Filesystem({ store, settings: settingsOf(options, temp.path), log });
  const mounted = await attach(plan, mountPoint, filesystem, log);
  record.update({ phase: 'mounted' });
  return { plan, mountPoint, filesystem, mounted, record, log };
}

function refusal(reason: string): Failure {
  return new Failure(2, `stopped by ${reason} before the mount was usable`);
}

async function reachStore(source: Source, options: MountOptions, log: Log): Promise<S3Store> {
  try {
    const store = await openStore(storeOptionsOf(source, options), log);
    if (!options.noCheckBucket) await store.verifyBucket();
    return store;
  } catch (error) {
    throw new Failure(32, messageOf(error), { cause: error });
  }
}

function storeOptionsOf(source: Source, options: MountOptions): StoreOptions {
  const { bucket, prefix, credentials } = source;
  return { ...options, bucket, prefix, credentials };
}

function settingsOf(options: MountOptions, tempDir: string): FilesystemSettings {
  return { ...options, tempDir };
}

async function attach(
  plan: MountPlan,
  mountPoint: string,
  filesystem: Filesystem,
  log: Log,
): Promise<Mounted> {
  const { options } = plan;
  const source = showSource(plan.source);
  try {
    const { driver, why } = await chooseDriver(options.driver, log);
    if (options.private && driver.name !== 'kernel') {
      throw new Error(`--private needs the kernel driver, which cannot be used here: ${why}`);
    }
    const mounted = await driver.mount(filesystem, {
      mountPoint,
      source,
      allowOther: options.allowOther,
      allowUids: options.access === 'owner' ? [options.uid] : undefined,
      owner: options.private ? { uid: options.uid, gid: options.gid } : undefined,
      readOnly: options.readOnly,
      metadataTtlMs: options.metadataTtlMs,
      log,
    });
    if (options.chroot && options.access === 'owner' && options.uid === 0) {
      log.warn({}, 'only root can use this mount; name its user with --uid, or add --access any');
    }
    log.info(
      { source, mountPoint, driver: driver.name, why },
      `${source} is mounted on ${mountPoint}`,
    );
    for (const limit of mounted.limits) log.warn({ driver: driver.name }, limit);
    return mounted;
  } catch (error) {
    throw new Failure(32, `cannot mount on ${mountPoint}: ${messageOf(error)}`, { cause: error });
  }
}

/** Waits for the end, by signal or by umount(8), and sees to it that nothing is lost. */
async function serve(mount: LiveMount, stop: StopSignals): Promise<ExitCode> {
  const { mounted, mountPoint, log } = mount;
  const ended = mounted.unmounted.then(() => 'umount');
  const reason = await Promise.race([ended, stop.first]);
  log.info({ reason }, `ending the mount on ${mountPoint}`);
  const notStored = await drain(mount, stop);
  await release(mount);
  for (const path of notStored) log.error({ path }, `not stored: ${path}`);
  if (notStored.length === 0) {
    log.info({}, `unmounted ${mountPoint}, everything is stored`);
    return 0;
  }
  mount.record.update({ phase: 'ended', notStored });
  return 2;
}

async function drain(mount: LiveMount, stop: StopSignals): Promise<string[]> {
  const { filesystem, record, log, plan } = mount;
  let last: string | undefined;
  record.update({ phase: 'draining' });
  const limit = AbortSignal.timeout(plan.options.drainTimeoutMs);
  const signal = AbortSignal.any([limit, stop.givenUp]);
  const notStored = await filesystem.drain(signal, ({ uploads }) => {
    const progress = describeUploads(uploads);
    if (progress === last) return;
    last = progress;
    log.info({}, progress);
    record.update({ phase: 'draining', progress });
  });
  if (limit.aborted) log.error({}, 'gave up storing at --drain-timeout');
  else if (stop.givenUp.aborted) log.error({}, 'gave up storing at the second signal');
  return notStored;
}

function describeUploads(uploads: readonly { path: string; size: number }[]): string {
  const bytes = uploads.reduce((sum, { size }) => sum + size, 0);
  const names = uploads.slice(0, 3).map(({ path }) => path);
  const more = uploads.length > names.length ? ', …' : '';
  const files = uploads.length === 1 ? '1 file' : `${uploads.length} files`;
  return `storing ${files}, ${showSize(bytes)} (${names.join(', ')}${more})`;
}

/** All is stored or given up; whoever still has something open cannot hold the process. */
async function release({ mounted, mountPoint, log }: LiveMount): Promise<void> {
  try {
    await mounted.unmount({ lazy: false });
  } catch (error) {
    if (!isFsError(error, 'EBUSY')) log.warn({}, `unmounting failed: ${messageOf(error)}`);
    else log.info({}, `${mountPoint} is still in use; detaching it from there`);
    await mounted.unmount({ lazy: true });
  }
  const entry = findMount(mountPoint);
  if (entry !== undefined && isOurs(entry)) await detach(mountPoint, { lazy: true });
}
