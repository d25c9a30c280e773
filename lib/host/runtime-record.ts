/**
 * The runtime record of a mount: a small file that says which process serves a mount point and what
 * it is doing. `s3jail unmount` finds the process through it and shows its progress, `s3jail status`
 * the socket beside it; a second mount on the same place is refused through it.
 *
 * It lies in /run/s3jail for root, in $XDG_RUNTIME_DIR/s3jail for others (without that variable in
 * /tmp/s3jail-UID), mode 0600 in 0700. A mount that gives up root (`--run-as`) has two: one of root's,
 * which says whose the mount is and which process, once and for all, and one of its user's in
 * /run/s3jail-UID/mounts, which is believed for the rest alone. A process that ended well removes its
 * record; one that could not store everything leaves it behind with what was lost.
 *
 * Containers may share the directory. Whether a process of another PID namespace lives cannot be known, so
 * each namespace has records of its own: their names say whose they are, but those of the host's.
 *
 * What other users wrote is hostile until shown otherwise: see `foreignRecord`.
 */
import {
  existsSync,
  linkSync,
  lstatSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { systemErrorCode } from '../errors.js';
import { Failure } from './failure.js';
import { mountName } from './mount-name.js';
import type { UserAccount } from './accounts.js';
import {
  isPrivateDirectory,
  makePrivateDirectory,
  makePrivateDirectoryFor,
  ownDirectoryIn,
  privateDirectoriesIn,
} from './private-directory.js';
import {
  isAlive,
  ownIdentity,
  ownPidNamespace,
  userOf,
  type ProcessIdentity,
} from './process-identity.js';
import { asUser, type UserIds } from './run-as.js';
import { fittingList, readState, type RuntimeState } from './runtime-state.js';

export type { RuntimeState } from './runtime-state.js';

/** The record of this process. */
export class RuntimeRecord {
  readonly #path: string;
  #state: RuntimeState;

  private constructor(path: string, state: RuntimeState) {
    this.#path = path;
    this.#state = state;
  }

  /**
   * Claims a mount point for this process.
   * @param user who this process, now root, is going to be
   * @throws Failure with exit code 32 if another living process has it
   */
  static claim(mountPoint: string, source: string, user?: UserAccount): RuntimeRecord {
    // One of another place would not stand in the way, but would be found instead of the new one.
    let other: FoundRecord | undefined;
    while ((other = findRecord(mountPoint, undefined)) !== undefined) {
      if (isAlive(other.state)) throw claimed(other.state);
      other.remove();
    }
    const state = { ...ownIdentity(), mountPoint, source, phase: 'mounting' as const };
    const self = process.geteuid?.() ?? 0;
    if (user === undefined) return claimIn(ownDirectory(self), state);
    const { uid, gid } = user;
    makePrivateDirectoryFor(user, handedOverTo(uid));
    claimIn(ownDirectory(self), { ...state, handedTo: { uid, gid } });
    return asUser(user, () => claimIn(handedOverTo(uid), state));
  }

  /** @throws Failure as `claim` */
  static in(directory: string, state: RuntimeState): RuntimeRecord {
    const path = recordPath(directory, state.mountPoint);
    for (;;) {
      const before = readState(path);
      if (before !== undefined && isAlive(before)) throw claimed(before);
      removeFiles(path, before);
      if (createRecord(path, state)) return new RuntimeRecord(path, state);
    }
  }

  /** Whether it has to stay, for whoever asks what became of the mount. */
  get tellsOfLoss(): boolean {
    return (this.#state.notStored?.length ?? 0) > 0;
  }

  /** Where this process answers questions; nothing is there yet. */
  get socketPath(): string {
    return socketPath(this.#path, this.#state);
  }

  /** @throws Error (system error) or Failure where it cannot be written, or is another's now */
  update(change: Pick<RuntimeState, 'phase'> & Partial<RuntimeState>): void {
    const other = this.#successor;
    if (other !== undefined) throw claimed(other);
    const { notStored } = change;
    const told = notStored === undefined ? {} : { notStored: fittingList(notStored) };
    this.#state = { ...this.#state, ...change, ...told };
    const draft = draftPath(this.#path);
    // One in /tmp may have been cleaned away meanwhile.
    makePrivateDirectory(dirname(draft));
    writeFileSync(draft, JSON.stringify(this.#state), { mode: 0o600 });
    renameSync(draft, this.#path);
  }

  remove(): void {
    if (this.#successor === undefined) removeFiles(this.#path, this.#state);
  }

  /** Who has claimed the mount point since, where a cleaner had taken the record away. */
  get #successor(): RuntimeState | undefined {
    const now = readState(this.#path);
    return sameProcess(this.#state, now) === undefined ? now : undefined;
  }
}

function claimIn(directory: string, state: RuntimeState): RuntimeRecord {
  makePrivateDirectory(directory);
  return RuntimeRecord.in(directory, state);
}

/**
 * Beside the record, and short: the path of a socket has 107 bytes (unix(7)), fewer than a record's
 * may need.
 */
function socketPath(recordPath: string, { pid, startTime }: ProcessIdentity): string {
  return join(dirname(recordPath), `${pid}.${startTime}${ofNamespace()}.sock`);
}

function removeFiles(recordPath: string, state: ProcessIdentity | undefined): void {
  rmSync(recordPath, { force: true, recursive: true });
  if (state !== undefined) rmSync(socketPath(recordPath, state), { force: true, recursive: true });
}

/** Makes the record appear whole, or not at all where another process was quicker. */
function createRecord(path: string, state: RuntimeState): boolean {
  const draft = draftPath(path);
  writeFileSync(draft, JSON.stringify(state), { mode: 0o600 });
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

function draftPath(path: string): string {
  return `${path}.${process.pid}`;
}

function claimed(state: RuntimeState): Failure {
  const doing: Readonly<Record<RuntimeState['phase'], string>> = {
    mounting: 'is being mounted',
    mounted: 'is mounted already',
    draining: 'is being unmounted and still stores files',
    ended: 'is being unmounted',
  };
  return new Failure(
    32,
    `${state.mountPoint} ${doing[state.phase]} with ${state.source} by process ${state.pid}`,
  );
}

/** The record of a mount point as others read it. */
export interface FoundRecord {
  /** As it stood when it was found: what was checked is what is to be used. */
  readonly state: RuntimeState;
  /** as it stands now, of the same process; undefined once it is removed */
  read(): RuntimeState | undefined;
  /** where the process answers questions while it lives */
  readonly socketPath: string;
  /** who wrote the socket's place, where that is somebody else: to be asked with their rights */
  readonly user?: UserIds | undefined;
  /** whose word it is which process that is, if it is neither ours nor root's */
  readonly namedBy?: UserIds | undefined;
  remove(): void;
}

/** The records of this user's mounts, whether their processes live or not. */
export function ownRecords(): FoundRecord[] {
  return ownDirectories(process.geteuid?.() ?? 0).flatMap((directory) =>
    namesIn(directory)
      .filter(isOfOwnNamespace)
      .flatMap((name) => ownRecord(join(directory, name)) ?? []),
  );
}

/**
 * The record of a mount point, whether its process lives or not.
 * @param owner user the mount was made for, if known: root finds the mounts of others so
 */
export function findRecord(mountPoint: string, owner: number | undefined): FoundRecord | undefined {
  const self = process.geteuid?.() ?? 0;
  for (const directory of ownDirectories(self)) {
    const found = ownRecord(recordPath(directory, mountPoint));
    if (found !== undefined) return found;
  }
  if (owner === undefined || owner === self) return undefined;
  for (const directory of ownDirectories(owner)) {
    const found = foreignRecord(recordPath(directory, mountPoint), owner);
    if (found?.state.mountPoint === mountPoint) return found;
  }
  return undefined;
}

/** One that this user wrote, and nobody else could. */
function ownRecord(path: string): FoundRecord | undefined {
  const state = readState(path);
  if (state === undefined) return undefined;
  if (state.handedTo !== undefined) return handedRecord(path, state, state.handedTo);
  return {
    state,
    read: () => sameProcess(state, readState(path)),
    socketPath: socketPath(path, state),
    remove: () => removeFiles(path, state),
  };
}

/** Root's word for mount point, source and process; for what it does, its user's. */
function handedRecord(path: string, state: RuntimeState, user: UserIds): FoundRecord | undefined {
  const { pid, startTime, mountPoint, source } = state;
  const theirs = recordPath(handedOverTo(user.uid), mountPoint);
  const read = (): RuntimeState | undefined => {
    const told = sameProcess(
      state,
      asUser(user, () => readState(theirs)),
    );
    return told && { ...told, pid, startTime, mountPoint, source };
  };
  const remove = (): void => {
    asUser(user, () => removeFiles(theirs, state));
    removeFiles(path, undefined);
  };
  const now = read();
  if (now === undefined && !isAlive(state)) {
    // It ended well, when it was root no more.
    remove();
    return undefined;
  }
  return { state: now ?? state, read, socketPath: socketPath(theirs, state), user, remove };
}

/**
 * One that another user wrote: it may name any process, be a link or a pipe, or lie in a directory that
 * a third user made in /tmp. Believed only where directory, file and process are that user's own, and
 * then for nothing that this user could not do alone.
 */
function foreignRecord(path: string, uid: number): FoundRecord | undefined {
  const directory = lstatSync(dirname(path), { throwIfNoEntry: false });
  if (directory === undefined || !isPrivateDirectory(dirname(path), uid)) return undefined;
  const user = { uid, gid: directory.gid };
  const state = asUser(user, () => readState(path, uid));
  if (state === undefined || userOf(state) !== uid) return undefined;
  return {
    state,
    read: () =>
      sameProcess(
        state,
        asUser(user, () => readState(path, uid)),
      ),
    socketPath: socketPath(path, state),
    user,
    namedBy: user,
    remove: () => undefined,
  };
}

function sameProcess(
  { pid, startTime }: ProcessIdentity,
  now: RuntimeState | undefined,
): RuntimeState | undefined {
  return now?.pid === pid && now.startTime === startTime ? now : undefined;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    // ENOENT: nothing was ever mounted. ENOTDIR: something else of that name. EACCES: another user's.
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(systemErrorCode(error) ?? '')) return [];
    throw error;
  }
}

function recordPath(directory: string, mountPoint: string): string {
  return join(directory, `${mountName(mountPoint)}${ofNamespace()}.json`);
}

function isOfOwnNamespace(name: string): boolean {
  // The name of a mount point has no `@`.
  const [, namespace = ''] = /^[^@]*(@\d+)?\.json$/.exec(name) ?? [undefined, 'none'];
  return namespace === ofNamespace();
}

/** That the kernel begins with (PROC_PID_INIT_INO of linux/proc_ns.h). */
const initialPidNamespace = '4026531836';

function ofNamespace(): string {
  const namespace = ownPidNamespace();
  return namespace === initialPidNamespace ? '' : `@${namespace}`;
}

/** For new records of this user. */
function ownDirectory(uid: number): string {
  if (uid === 0) return '/run/s3jail';
  const handedOver = handedOverTo(uid);
  if (existsSync(handedOver)) return handedOver;
  const own = process.env['XDG_RUNTIME_DIR'];
  return own === undefined || own === ''
    ? ownDirectoryIn('/tmp', `s3jail-${uid}`)
    : join(own, 's3jail');
}

/**
 * Where records of a user's mounts may be. Several, because a login has XDG_RUNTIME_DIR and a cron job
 * of the same user has not.
 */
function ownDirectories(uid: number): string[] {
  if (uid === 0) return ['/run/s3jail'];
  const own = uid === process.geteuid?.() ? process.env['XDG_RUNTIME_DIR'] : undefined;
  return [
    handedOverTo(uid),
    ...(own === undefined || own === '' ? [] : [join(own, 's3jail')]),
    `/run/user/${uid}/s3jail`,
    ...privateDirectoriesIn('/tmp', `s3jail-${uid}`, uid),
  ];
}

/** Only root can have made it there. */
function handedOverTo(uid: number): string {
  return `/run/s3jail-${uid}/mounts`;
}
