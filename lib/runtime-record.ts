/**
 * The runtime record of a mount: a small file that says which process serves a mount point and what
 * it is doing. `s3jail unmount` finds the process through it and shows its progress, `s3jail status`
 * the socket beside it; a second mount on the same place is refused through it.
 *
 * It lies in /run/s3jail for root, in /run/s3jail-UID/mounts for those that root gave up its rights
 * for (`--run-as`), in $XDG_RUNTIME_DIR/s3jail for others (without that variable in /tmp/s3jail-UID), mode
 * 0600 in 0700. A process that ended well removes its record; one that could
 * not store everything leaves it behind with what was lost.
 */
import {
  closeSync,
  constants,
  existsSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { systemErrorCode } from './errors.js';
import { Failure } from './failure.js';
import { mountName } from './mount-name.js';
import type { UserAccount } from './option-values.js';
import { makePrivateDirectory, makePrivateDirectoryFor } from './private-directory.js';
import { isAlive, ownIdentity, userOf, type ProcessIdentity } from './process-identity.js';
import { asUser } from './run-as.js';

export interface RuntimeState extends ProcessIdentity {
  readonly mountPoint: string;
  /** `s3://bucket/prefix/` */
  readonly source: string;
  readonly phase: 'mounting' | 'mounted' | 'draining' | 'ended';
  /** the latest word about draining, for people */
  readonly progress?: string;
  /** 0 to 1: how much of it is done */
  readonly share?: number;
  /** paths that could not be stored, once ended */
  readonly notStored?: readonly string[];
}

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
      const state = other.read();
      if (state !== undefined && isAlive(state)) throw claimed(state);
      other.remove();
    }
    if (user !== undefined) makePrivateDirectoryFor(user, handedOverTo(user.uid));
    return asUser(user, () => RuntimeRecord.#claimAsSelf(mountPoint, source));
  }

  static #claimAsSelf(mountPoint: string, source: string): RuntimeRecord {
    const [directory] = runtimeDirectories(process.geteuid?.() ?? 0);
    makePrivateDirectory(directory);
    const path = recordPath(directory, mountPoint);
    const state: RuntimeState = { ...ownIdentity(), mountPoint, source, phase: 'mounting' };
    for (;;) {
      const before = readRecord(path);
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

  update(change: Pick<RuntimeState, 'phase'> & Partial<RuntimeState>): void {
    this.#state = { ...this.#state, ...change };
    const draft = draftPath(this.#path);
    writeFileSync(draft, JSON.stringify(this.#state), { mode: 0o600 });
    renameSync(draft, this.#path);
  }

  remove(): void {
    removeFiles(this.#path, this.#state);
  }
}

/**
 * Beside the record, and short: the path of a socket has 107 bytes (unix(7)), fewer than a record's
 * may need.
 */
function socketPath(recordPath: string, { pid, startTime }: ProcessIdentity): string {
  return join(dirname(recordPath), `${pid}.${startTime}.sock`);
}

function removeFiles(recordPath: string, state: ProcessIdentity | undefined): void {
  rmSync(recordPath, { force: true });
  if (state !== undefined) rmSync(socketPath(recordPath, state), { force: true });
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
  /** as it stands now; undefined once it is removed */
  read(): RuntimeState | undefined;
  /** where the process answers questions while it lives */
  readonly socketPath: string;
  remove(): void;
}

/** The records of this user's mounts, whether their processes live or not. */
export function ownRecords(): FoundRecord[] {
  return ownPlaces().flatMap((place) =>
    namesIn(place.directory)
      .filter((name) => name.endsWith('.json'))
      .flatMap((name) => believable(join(place.directory, name), place) ?? []),
  );
}

function foundRecord(path: string, state: RuntimeState): FoundRecord {
  return {
    read: () => readRecord(path),
    socketPath: socketPath(path, state),
    remove: () => removeFiles(path, state),
  };
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    // ENOENT: nothing was ever mounted. EACCES: the place of another user.
    if (['ENOENT', 'EACCES'].includes(systemErrorCode(error) ?? '')) return [];
    throw error;
  }
}

/**
 * The record of a mount point, whether its process lives or not.
 * @param owner user the mount was made for, if known: root finds the mounts of others so
 */
export function findRecord(mountPoint: string, owner: number | undefined): FoundRecord | undefined {
  const places = [...ownPlaces(), ...(owner === undefined ? [] : placesOf(owner))];
  for (const place of places) {
    const found = believable(recordPath(place.directory, mountPoint), place);
    if (found === undefined) continue;
    return place.isOurs ? found : { ...found, remove: () => undefined };
  }
  return undefined;
}

/** Where records may be. */
interface Place {
  readonly directory: string;
  /** who writes there */
  readonly user: number;
  /** ours to clean, be it as root who made it for that user */
  readonly isOurs: boolean;
}

function placesOf(user: number): Place[] {
  const isOurs = user === process.geteuid?.();
  return runtimeDirectories(user).map((directory) => ({ directory, user, isOurs }));
}

/** The places of this user; for root also those that were handed over to others. */
function ownPlaces(): Place[] {
  const self = process.geteuid?.() ?? 0;
  const handedOver = self === 0 ? namesIn('/run') : [];
  return [
    ...placesOf(self),
    ...handedOver.flatMap((name) => {
      const user = /^s3jail-(\d+)$/.exec(name)?.[1];
      return user === undefined
        ? []
        : [{ directory: handedOverTo(Number(user)), user: Number(user), isOurs: true }];
    }),
  ];
}

/**
 * The record at a path, as far as it is to be believed. What another user wrote may name any process:
 * only one of that user's own is taken for a mount's, or, where root chose the user, one that is gone.
 */
function believable(path: string, { user, isOurs }: Place): FoundRecord | undefined {
  const state = readRecord(path);
  if (state === undefined) return undefined;
  if (user !== process.geteuid?.()) {
    const actual = userOf(state);
    if (actual === undefined ? !isOurs : actual !== user) return undefined;
  }
  return foundRecord(path, state);
}

function recordPath(directory: string, mountPoint: string): string {
  return join(directory, `${mountName(mountPoint)}.json`);
}

/**
 * Where records of a user's mounts may be, the place for new ones first. Several, because a login
 * has XDG_RUNTIME_DIR and a cron job of the same user has not.
 */
function runtimeDirectories(uid: number): [string, ...string[]] {
  if (uid === 0) return ['/run/s3jail'];
  const places = usualDirectories(uid);
  const handedOver = handedOverTo(uid);
  return existsSync(handedOver) ? [handedOver, ...places] : places;
}

function usualDirectories(uid: number): [string, ...string[]] {
  const usual: [string, string] = [`/run/user/${uid}/s3jail`, `/tmp/s3jail-${uid}`];
  if (uid !== process.geteuid?.()) return usual;
  const own = process.env['XDG_RUNTIME_DIR'];
  return own === undefined || own === '' ? [usual[1], usual[0]] : [join(own, 's3jail'), ...usual];
}

/** Only root can have made it there. */
function handedOverTo(uid: number): string {
  return `/run/s3jail-${uid}/mounts`;
}

/**
 * A record as it stands on disk; undefined where there is none or it is not one. It may be another
 * user's, so no link is followed and no pipe waited for.
 */
function readRecord(path: string): RuntimeState | undefined {
  let found: unknown;
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      found = JSON.parse(readFileSync(file, 'utf8'));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    // ENOENT: no record. EACCES: another user's. ELOOP, EISDIR, ENXIO: something else of that name.
    const isExpected = ['ENOENT', 'EACCES', 'ELOOP', 'EISDIR', 'ENXIO'].includes(
      systemErrorCode(error) ?? '',
    );
    // SyntaxError: the disk was full when it was made.
    if (isExpected || error instanceof SyntaxError) return undefined;
    throw error;
  }
  return isState(found) ? found : undefined;
}

function isState(value: unknown): value is RuntimeState {
  if (typeof value !== 'object' || value === null) return false;
  const state = value as Partial<Record<keyof RuntimeState, unknown>>;
  const { notStored, progress, share } = state;
  return (
    Number.isSafeInteger(state.pid) &&
    Number(state.pid) > 1 &&
    /^\d*$/.test(String(state.startTime)) &&
    typeof state.mountPoint === 'string' &&
    typeof state.source === 'string' &&
    ['mounting', 'mounted', 'draining', 'ended'].includes(String(state.phase)) &&
    (progress === undefined || typeof progress === 'string') &&
    (share === undefined || (typeof share === 'number' && share >= 0 && share <= 1)) &&
    (notStored === undefined || Array.isArray(notStored))
  );
}
