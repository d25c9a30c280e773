/**
 * The composition root: wires store, file system and driver, and takes them down again.
 *
 * Order of the end: no new opens, what is open is stored (up to `--drain-timeout`), the mount goes,
 * temporary files and runtime record go. What could not be stored is named, and the exit code says so.
 */
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { becomeUser, type UserRights } from './become-user.js';
import { DrainProgress } from './drain-progress.js';
import { isFsError } from '../errors.js';
import { Failure, messageOf, type ExitCode } from '../host/failure.js';
import { Filesystem } from '../filesystem/filesystem.js';
import { Homes } from '../homes/homes.js';
import { UserDatabase } from '../homes/user-database.js';
import type { FilesystemSettings, OpenUpload } from '../filesystem/settings.js';
import { chooseDriver } from '../fuse/choose.js';
import type { Mounted, MountSettings } from '../fuse/driver.js';
import type { Log } from '../log.js';
import type { Key } from '../path.js';
import { accessOf } from '../options/access.js';
import { ClosedAncestor } from '../host/closed-ancestor.js';
import { prepareMountPoint, realMountPoint } from '../host/mount-point.js';
import { probeMount } from '../host/mount-probe.js';
import { journalScopeOf, storeOptionsOf, type MountPlan } from '../options/mount-plan.js';
import { detach } from '../host/mount-programs.js';
import { findMount, isOurs } from '../host/mount-table.js';
import { cutOff, viewsOf } from '../host/mount-views.js';
import { Observation } from '../observability/observation.js';
import type { Operations } from '../operations.js';
import type { MountOptions } from '../options/mount-options.js';
import { hasParent, reportToParent } from './parent-channel.js';
import { ProgressBar } from '../host/terminal.js';
import { RuntimeRecord } from '../host/runtime-record.js';
import type { StoreOptions } from '../s3/connection/client.js';
import { UploadJournal } from '../s3/upload-journal.js';
import { openStore, type S3Store } from '../s3/s3-store.js';
import { untilPredecessorEnded } from './predecessor.js';
import { ServiceManager } from './service-manager.js';
import { showSource } from '../options/source.js';
import { StopSignals } from './stop-signals.js';
import { makeTempDirectory, type TempDirectory } from '../host/temp-directory.js';

/** How long the kernel may take to let go of a mount that nobody sees any more. */
const goneMs = 1000;
/** How long a driver may take to notice that its connection was cut. */
const cutMs = 5000;

/** What has to be undone, newest first. */
type Undo = (() => void | Promise<void>)[];

/** One that was closed is none any more. */
function hasTerminal(): boolean {
  return isatty(0) || isatty(2);
}

/**
 * Mounts and stays until the mount is gone.
 * @returns 0 when everything acknowledged is stored, 2 when not
 * @throws Failure when the mount cannot be made
 */
export async function runMount(plan: MountPlan): Promise<ExitCode> {
  const isBackground = hasParent();
  const observation = new Observation(plan, { isBackground });
  const { log } = observation;
  const hadTerminal = !isBackground && hasTerminal();
  const onHangup = (): boolean => {
    if (hadTerminal && !hasTerminal()) return false;
    observation.reopenLogs();
    return true;
  };
  const stop = new StopSignals({ onHangup });
  // Not before: logrotate's rule sends SIGHUP to each process of this name.
  process.title = `s3jail mount ${plan.sourceText} ${plan.mountPoint}`;
  process.once('disconnect', () => stop.request('the end of the command that started it'));
  process.on('unhandledRejection', (error) => logBug(log, error));
  process.on('uncaughtException', (error) => {
    logBug(log, error);
    stop.request('an internal error');
  });
  const service = new ServiceManager(process.env, log);
  const undo: Undo = [() => stop.close(), () => observation.close(), () => service.close()];
  try {
    const mount = await bringUp(plan, observation, stop, undo);
    await announce(mount, service);
    process.removeAllListeners('disconnect');
    await reportToParent({ kind: 'mounted', notices: noticesOf(mount) });
    if (process.connected) process.disconnect();
    return await serve(mount, stop, service);
  } finally {
    for (const step of undo.reverse()) await step();
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
  /** of the mount table */
  readonly device: string | undefined;
  readonly rights: UserRights | undefined;
  readonly closedAncestor: ClosedAncestor;
  readonly record: RuntimeRecord;
  readonly log: Log;
}

async function bringUp(
  plan: MountPlan,
  observation: Observation,
  stop: StopSignals,
  undo: Undo,
): Promise<LiveMount> {
  const { options } = plan;
  const { log } = observation;
  const source = showSource(plan.source);
  await observation.openMetrics();
  const mountPoint = await realMountPoint(plan.mountPoint);
  await stop.unlessStopped(untilPredecessorEnded(mountPoint, log), refusal);
  const record = RuntimeRecord.claim(mountPoint, source, options.runAs);
  undo.push(() => {
    if (!record.tellsOfLoss) record.remove();
  });
  await prepareMountPoint(mountPoint, { isPrivate: options.private, log });
  const owner = { mountPoint, scope: journalScopeOf(plan) };
  const temp = makeTempDirectory(options.tempDir, owner, options.runAs);
  undo.push(() => temp.remove());
  // Every path of the options is absolute by now, and a busy directory could not be unmounted.
  process.chdir('/');
  const closedAncestor = new ClosedAncestor(mountPoint, log);
  await closedAncestor.look();
  const users = options.homes ? usersOf(options, log) : undefined;
  const settings = { ...mountSettings(plan, mountPoint, log), closedAncestor, owners: users };
  const rights = options.runAs && (await becomeUser(options.runAs, settings));
  undo.push(() => rights?.rootHelper.close());
  const journal = openJournal(temp, plan);
  undo.push(() => journal.close());
  const { requests: observer } = observation;
  const storeOptions = { ...storeOptionsOf(plan), uploadRecord: journal, observer };
  const reaching = reachStore(storeOptions, options, log);
  const store = await stop.unlessStopped(reaching, refusal);
  undo.push(() => store.close());
  const filesystem = new Filesystem({
    store,
    settings: settingsOf(plan, temp, mountPoint),
    log,
    audit: observation.audit,
  });
  const held = await filesystem.restoreHeld();
  undo.push(() => filesystem.close());
  const homes = users && new Homes(filesystem, users);
  const operations = observation.around(homes ?? filesystem);
  const { mounted, driver } = await attach(plan, operations, {
    ...settings,
    rootHelper: rights?.rootHelper,
  });
  const access = () => accessOf(options, closedAncestor.path);
  const watched = { mountPoint, source, filesystem, homes, store, mounted, driver, access };
  await observation.openStatus(record.socketPath, watched);
  record.update({ phase: 'mounted' });
  void removeLeftovers(store, journal, held, log);
  const device = findMount(mountPoint)?.device;
  return { plan, mountPoint, filesystem, mounted, device, rights, closedAncestor, record, log };
}

/** Tells systemd, if it waits to hear, once the mount answers through the kernel. */
async function announce(mount: LiveMount, service: ServiceManager): Promise<void> {
  const { plan, mountPoint, rights, closedAncestor } = mount;
  const { private: isPrivate, uid, gid, runAs } = plan.options;
  const owner = isPrivate && runAs === undefined ? { uid, gid } : undefined;
  const probe = async (timeoutMs: number): Promise<void> => {
    // This process could not get there any more.
    if (rights !== undefined && closedAncestor.isThere) await rights.rootHelper.probe();
    else await probeMount({ mountPoint, owner }, timeoutMs);
  };
  try {
    await service.ready(`${showSource(plan.source)} on ${mountPoint}`, probe);
  } catch (error) {
    await release(mount);
    throw error;
  }
}

/** What the operator should hear although the mount works; also goes to the log. */
function noticesOf({ plan: { options }, mountPoint, closedAncestor, log }: LiveMount): string[] {
  const notices: string[] = [];
  if (options.homes && closedAncestor.path === undefined) {
    notices.push(
      `others than root may walk to ${mountPoint}, so each step there is asked for and nothing cached; ` +
        'make a directory above it 0700 and of root: sshd gets into homes all the same',
    );
  }
  const isOneUsers = options.chroot && options.access === 'owner' && !options.homes;
  if (isOneUsers && options.uid === 0) {
    notices.push('only root can use this mount; name its user with --uid, or add --access any');
  }
  for (const notice of notices) log.warn({}, notice);
  return notices;
}

function refusal(reason: string): Failure {
  return new Failure(2, `stopped by ${reason} before the mount was usable`);
}

async function reachStore(
  storeOptions: StoreOptions,
  options: MountOptions,
  log: Log,
): Promise<S3Store> {
  try {
    const store = await openStore(storeOptions, log);
    if (!options.noCheckBucket) await store.verifyBucket();
    return store;
  } catch (error) {
    throw new Failure(32, messageOf(error), { cause: error });
  }
}

function openJournal(temp: TempDirectory, plan: MountPlan): UploadJournal {
  const path = temp.journalPath;
  const renewed = (): string => {
    temp.renew();
    return temp.journalPath;
  };
  try {
    return new UploadJournal(path, journalScopeOf(plan), renewed);
  } catch (error) {
    throw new Failure(2, `cannot keep the journal of uploads ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** What a process that was killed had in the bucket; it is removed while the mount works already. */
async function removeLeftovers(
  store: S3Store,
  journal: UploadJournal,
  held: ReadonlySet<string>,
  log: Log,
): Promise<void> {
  const remove = async (key: Key, what: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
      log.info({ key }, `removed ${what} that a killed process had left`);
    } catch (error) {
      log.warn({ key }, `${what} is left: ${messageOf(error)}`);
    }
  };
  for (const upload of journal.left) {
    if (held.has(upload.uploadId)) continue;
    await remove(upload.key, 'a multipart upload', () => store.abortUpload(upload));
  }
  for (const begun of journal.beginnings) {
    const what = begun.kind === 'scratch' ? 'a scratch object' : 'an upload without parts';
    await remove(begun.key, what, async () => {
      await store.removeBegun(begun);
      journal.settled(begun);
    });
  }
}

function usersOf({ homesGroup, homesMinUid }: MountOptions, log: Log): UserDatabase {
  return new UserDatabase({ admission: { group: homesGroup, minUid: homesMinUid }, log });
}

function settingsOf(
  plan: MountPlan,
  tempDir: TempDirectory,
  mountPoint: string,
): FilesystemSettings {
  const { options } = plan;
  const held = { place: tempDir.held, scope: journalScopeOf(plan), forMs: options.resumeForMs };
  return { ...options, tempDir, held, mountId: `${hostname()}:${mountPoint}` };
}

function mountSettings({ source, options }: MountPlan, mountPoint: string, log: Log) {
  return {
    mountPoint,
    source: showSource(source),
    allowOther: options.allowOther,
    allowUids: options.access === 'owner' && !options.homes ? [options.uid] : undefined,
    owner: options.private ? { uid: options.uid, gid: options.gid } : undefined,
    readOnly: options.readOnly,
    metadataTtlMs: options.metadataTtlMs,
    log,
  };
}

async function attach(
  { options }: MountPlan,
  operations: Operations,
  settings: MountSettings,
): Promise<{ mounted: Mounted; driver: { name: string; why: string } }> {
  const { mountPoint, source, log } = settings;
  try {
    const reason = kernelDriverReason(options);
    const choice = await chooseDriver(reason === undefined ? options.driver : 'kernel', log);
    const { driver } = choice;
    const why = reason ?? choice.why;
    if (options.private && driver.name !== 'kernel') {
      throw new Error(`--private needs the kernel driver, which cannot be used here: ${why}`);
    }
    if (options.interrupted === 'resume' && driver.name !== 'kernel') {
      throw new Error(`${onlyKernelResumes}, which cannot be used here: ${why}`);
    }
    const mounted = await driver.mount(operations, settings);
    log.info(
      { source, mountPoint, driver: driver.name, why },
      `${source} is mounted on ${mountPoint}`,
    );
    for (const limit of mounted.limits) log.info({ driver: driver.name }, limit);
    return { mounted, driver: { name: driver.name, why } };
  } catch (error) {
    throw new Failure(32, `cannot mount on ${mountPoint}: ${messageOf(error)}`, { cause: error });
  }
}

const onlyKernelResumes =
  '--interrupted resume needs the kernel driver, because no other can tell a connection that dropped from a close';

/** Why no other driver can do it. */
function kernelDriverReason({ runAs, homes }: MountOptions): string | undefined {
  if (runAs !== undefined) return '--run-as needs it';
  return homes ? '--homes needs it' : undefined;
}

/** Waits for the end, by signal or by umount(8), and sees to it that nothing is lost. */
async function serve(
  mount: LiveMount,
  stop: StopSignals,
  service: ServiceManager,
): Promise<ExitCode> {
  const { mounted, mountPoint, log } = mount;
  const ended = mounted.unmounted.then(() => 'umount');
  const reason = await Promise.race([ended, stop.first]);
  log.info({ reason }, `ending the mount on ${mountPoint}`);
  service.stopping(mount.plan.options.drainTimeoutMs);
  const notStored = await drain(mount, stop, service);
  const { held } = mount.filesystem.status;
  if (held.length > 0)
    log.info({ held: held.length }, 'interrupted uploads wait on for this mount');
  await release(mount);
  for (const path of notStored) log.error({ path }, `not stored: ${path}`);
  if (notStored.length === 0) {
    log.info({}, `unmounted ${mountPoint}, everything is stored`);
    return 0;
  }
  note(mount, { phase: 'ended', notStored });
  return 2;
}

/** Storing goes on where nobody can be told of it. */
function note({ record, log }: LiveMount, change: Parameters<RuntimeRecord['update']>[0]): void {
  try {
    record.update(change);
  } catch (error) {
    log.warn({}, `the runtime record cannot be written: ${messageOf(error)}`);
  }
}

/** Lines of the log about progress come no more often than this. */
const progressLineMs = 5000;

async function drain(
  mount: LiveMount,
  stop: StopSignals,
  service: ServiceManager,
): Promise<string[]> {
  const { filesystem, log, plan } = mount;
  note(mount, { phase: 'draining' });
  const limit = AbortSignal.timeout(plan.options.drainTimeoutMs);
  const signal = AbortSignal.any([limit, stop.givenUp]);
  const shown = showProgress(mount, service);
  const notStored = await filesystem.drain(signal, ({ uploads }) => shown.update(uploads));
  shown.end();
  if (limit.aborted) log.error({}, 'gave up storing at --drain-timeout');
  else if (stop.givenUp.aborted) log.error({}, 'gave up storing at the second signal');
  return notStored;
}

/** For `unmount` and systemd; on a terminal as a bar, else as lines of the log. */
function showProgress(
  mount: LiveMount,
  service: ServiceManager,
): { update: (uploads: readonly OpenUpload[]) => void; end: () => void } {
  const { log, plan } = mount;
  const drained = new DrainProgress(plan.options.partSize);
  const bar =
    process.stderr.isTTY && plan.options.logFile === undefined
      ? new ProgressBar(process.stderr)
      : undefined;
  let last: string | undefined;
  let loggedMs = -Infinity;
  const update = (uploads: readonly OpenUpload[]): void => {
    const progress = drained.of(uploads);
    if (progress.text === last) return;
    last = progress.text;
    note(mount, { phase: 'draining', progress: progress.text, share: progress.share });
    service.status(progress.text);
    bar?.show(progress);
    if (bar !== undefined || performance.now() - loggedMs < progressLineMs) return;
    loggedMs = performance.now();
    log.info({}, progress.text);
  };
  return { update, end: () => bar?.clear() };
}

/**
 * All is stored or given up. Whoever still has something open, or sees the mount elsewhere, is cut off:
 * only a connection that has ended lets this process end.
 */
async function release(mount: LiveMount): Promise<void> {
  const { mounted, mountPoint, device, log } = mount;
  const views = device === undefined ? [] : viewsOf(device, mountPoint);
  if (views.length > 0) log.warn({}, cutOff(mountPoint, views));
  if (isStillMounted(mount)) await takeAway(mount);
  if (await hasEndedWithin(mounted, goneMs)) return;
  if (views.length === 0) {
    log.warn({}, `${mountPoint} is still to be seen where this process may not look`);
  }
  await mounted.disconnect?.().catch((error: unknown) => log.warn({}, messageOf(error)));
  await hasEndedWithin(mounted, cutMs);
}

async function takeAway(mount: LiveMount): Promise<void> {
  const { mounted, mountPoint, rights, log } = mount;
  try {
    await mounted.unmount({ lazy: false });
    return;
  } catch (error) {
    if (isFsError(error, 'EBUSY')) log.info({}, `${mountPoint} is still in use; cutting it off`);
    else log.warn({}, `unmounting ${mountPoint} failed: ${messageOf(error)}; cutting it off`);
  }
  if (!isStillMounted(mount)) return;
  await (rights?.cut() ?? detach(mountPoint, { lazy: true, cut: true }));
}

async function hasEndedWithin({ unmounted }: Mounted, limitMs: number): Promise<boolean> {
  const ended = unmounted.then(() => true);
  return await Promise.race([ended, sleep(limitMs, false, { ref: false })]);
}

/** This very mount: another may have been made at its place. */
function isStillMounted({ mountPoint, device }: LiveMount): boolean {
  const entry = findMount(mountPoint);
  return entry !== undefined && isOurs(entry) && entry.device === device;
}
