/**
 * The runtime record of a mount: a small file that says which process serves a mount point and what
 * it is doing. `s3jail unmount` finds the process through it and shows its progress, `s3jail status`
 * the socket beside it; a second mount on the same place is refused through it.
 *
 * It lies in /run/s3jail for root, in $XDG_RUNTIME_DIR/s3jail for others (without that variable in
 * /tmp/s3jail-UID), mode 0600 in 0700. A process that ended well removes its record; one that could
 * not store everything leaves it behind with what was lost.
 */
import { linkSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { systemErrorCode } from './errors.js';
import { Failure } from './failure.js';
import { mountName } from './mount-name.js';
import { makePrivateDirectory } from './private-directory.js';
import { isAlive, ownIdentity, userOf, type ProcessIdentity } from './process-identity.js';

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
   * @throws Failure with exit code 32 if another living process has it
   */
  static claim(mountPoint: string, source: string): RuntimeRecord {
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
  const paths = runtimeDirectories(process.geteuid?.() ?? 0).flatMap((directory) =>
    namesIn(directory)
      .filter((name) => name.endsWith('.json'))
      .map((name) => join(directory, name)),
  );
  return paths.flatMap((path) => {
    const state = readRecord(path);
    return state === undefined ? [] : [foundRecord(path, state)];
  });
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
  const self = process.geteuid?.() ?? 0;
  const users = owner === undefined || owner === self ? [self] : [self, owner];
  const places = users.flatMap((user) =>
    runtimeDirectories(user).map((directory) => ({ user, directory })),
  );
  for (const { user, directory } of places) {
    const path = recordPath(directory, mountPoint);
    const state = readRecord(path);
    // What another user wrote may name any process; only one of that user's own is believed.
    if (state === undefined || (user !== self && userOf(state) !== user)) continue;
    const found = foundRecord(path, state);
    return user === self ? found : { ...found, remove: () => undefined };
  }
  return undefined;
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
  const usual: [string, string] = [`/run/user/${uid}/s3jail`, `/tmp/s3jail-${uid}`];
  if (uid !== process.geteuid?.()) return usual;
  const own = process.env['XDG_RUNTIME_DIR'];
  return own === undefined || own === '' ? [usual[1], usual[0]] : [join(own, 's3jail'), ...usual];
}

/** A record as it stands on disk; undefined where there is none or it is not one. */
function readRecord(path: string): RuntimeState | undefined {
  let found: unknown;
  try {
    found = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    // ENOENT: no record. EACCES: another user's. SyntaxError: the disk was full when it was made.
    const isExpected = ['ENOENT', 'EACCES'].includes(systemErrorCode(error) ?? '');
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
