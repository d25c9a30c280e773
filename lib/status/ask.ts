/**
 * What is known of the mounts on this machine: from the mount table, from runtime records, and from
 * the processes themselves.
 */
import { request, type IncomingMessage } from 'node:http';
import { systemErrorCode } from '../errors.js';
import { Failure, messageOf } from '../host/failure.js';
import { isDead } from '../host/mount-point.js';
import { isOurs, ownerOf, readMountTable, type MountEntry } from '../host/mount-table.js';
import { isAlive } from '../host/process-identity.js';
import { asUser } from '../host/run-as.js';
import {
  findRecord,
  ownRecords,
  type FoundRecord,
  type RuntimeState,
} from '../host/runtime-record.js';
import { parseReport } from './parse-report.js';
import type { StatusReport } from '../observability/status-report.js';

/**
 * - `mounting`, `mounted`, `draining`: the process says so, and has answered
 * - `silent`: the process lives and does not answer
 * - `dead`: there is a mount, or the record of one, without its process
 * - `ended`: the process is gone and left behind what it could not store
 * - `unknown`: the mount of another user, who alone may ask
 * - `view`: it lives, and its process is known under another place or in another namespace
 */
export type MountState =
  'mounting' | 'mounted' | 'draining' | 'silent' | 'dead' | 'ended' | 'unknown' | 'view';

/** Whether nobody has to see to it. */
export function isWell(state: MountState): boolean {
  return !['silent', 'dead', 'ended'].includes(state);
}

/** One mount, as far as it can be known. */
export interface MountStatus<Report = StatusReport> {
  readonly mountPoint: string;
  readonly source: string;
  readonly state: MountState;
  readonly pid?: number;
  /** why it did not answer, and what to do */
  readonly hint?: string;
  /** the latest word about draining */
  readonly progress?: string;
  readonly notStored?: readonly string[];
  /** what its process answered */
  readonly report?: Report;
}

/** What the process of a mount is asked. @throws Error where nobody answers in time, or nothing fit */
export type Question<Report> = (record: FoundRecord) => Promise<Report>;

const answerLimitMs = 3000;
/** Some ten thousand open uploads. */
const answerLimitBytes = 16 * 1024 * 1024;

/** All mounts that this user can find, in the order of their mount points. */
export async function askAll<Report>(question: Question<Report>): Promise<MountStatus<Report>[]> {
  const entries = new Map(
    readMountTable()
      .filter(isOurs)
      .map((entry) => [entry.mountPoint, entry]),
  );
  const records = new Map(ownRecords().map((record) => [record.state.mountPoint, record]));
  const mountPoints = new Set([...entries.keys(), ...records.keys()]);
  const statuses = await Promise.all(
    [...mountPoints].map(async (mountPoint) => {
      const entry = entries.get(mountPoint);
      try {
        const record = entry && findRecord(mountPoint, ownerOf(entry));
        return await ask(mountPoint, entry, record ?? records.get(mountPoint), question);
      } catch (error) {
        // Whatever its user has put in the way keeps nobody from the others.
        const source = entry?.source ?? records.get(mountPoint)?.state.source ?? '';
        return { mountPoint, source, state: 'silent', hint: messageOf(error) } as const;
      }
    }),
  );
  return statuses
    .flatMap((status) => status ?? [])
    .sort((one, other) => (one.mountPoint < other.mountPoint ? -1 : 1));
}

/** The mount at one place; undefined where there is none. @param mountPoint real path */
export async function askOne(mountPoint: string): Promise<MountStatus | undefined> {
  const entry = readMountTable().findLast((each) => each.mountPoint === mountPoint && isOurs(each));
  const owner = entry === undefined ? undefined : ownerOf(entry);
  return await ask(mountPoint, entry, findRecord(mountPoint, owner), askReport);
}

/**
 * Has the mount at one place give up what it holds of an interrupted upload.
 * @param path as its users see it
 * @throws Failure with exit code 32 where that was not done
 */
export async function discardHeld(mountPoint: string, path: string): Promise<void> {
  const entry = readMountTable().findLast((each) => each.mountPoint === mountPoint && isOurs(each));
  const record = findRecord(mountPoint, entry && ownerOf(entry));
  if (record === undefined || !isAlive(record.state)) {
    throw new Failure(32, `${mountPoint} is not mounted by a process that can be asked`);
  }
  const query = new URLSearchParams({ path }).toString();
  try {
    await answerOf(record, 'DELETE', `/held?${query}`);
  } catch (error) {
    const why = messageOf(error);
    throw new Failure(32, `${path} on ${mountPoint} is not given up: ${why}`, { cause: error });
  }
}

async function ask<Report>(
  mountPoint: string,
  entry: MountEntry | undefined,
  record: FoundRecord | undefined,
  question: Question<Report>,
): Promise<MountStatus<Report> | undefined> {
  if (record === undefined) {
    return entry === undefined ? undefined : await withoutRecord(mountPoint, entry);
  }
  const { state } = record;
  const { pid, source, phase } = state;
  const known = { mountPoint, source, pid, ...detailsOf(state) };
  if (phase === 'ended') {
    return { ...known, state: 'ended', hint: 's3jail unmount tells of it and removes the record' };
  }
  if (!isAlive(state)) {
    return { ...known, state: 'dead', hint: 'mount again, or s3jail unmount, to clean up' };
  }
  if (phase === 'mounting') return { ...known, state: phase };
  try {
    return { ...known, state: phase, report: await question(record) };
  } catch (error) {
    const code = systemErrorCode(error);
    const hint = code === 'ENOENT' ? 'it has no status socket' : messageOf(error);
    return { ...known, state: 'silent', hint };
  }
}

function detailsOf({
  progress,
  notStored,
}: RuntimeState): Pick<MountStatus, 'progress' | 'notStored'> {
  return {
    ...(progress === undefined ? {} : { progress }),
    ...(notStored === undefined ? {} : { notStored }),
  };
}

async function withoutRecord(mountPoint: string, entry: MountEntry): Promise<MountStatus<never>> {
  const { source } = entry;
  const self = process.geteuid?.();
  if (self !== 0 && ownerOf(entry) !== self) {
    return { mountPoint, source, state: 'unknown', hint: 'only its user and root may ask it' };
  }
  if (await isDead(mountPoint)) {
    return { mountPoint, source, state: 'dead', hint: 's3jail unmount removes it' };
  }
  return { mountPoint, source, state: 'view', hint: viewHint(mountPoint, entry) };
}

function viewHint(mountPoint: string, { device }: MountEntry): string {
  const places = readMountTable()
    .filter((each) => each.device === device && each.mountPoint !== mountPoint)
    .map((each) => each.mountPoint);
  return places.length > 0
    ? `it is the same as ${places.join(', ')}`
    : 'its process was started for another place, or in another namespace';
}

/** What it is and does. */
export async function askReport(record: FoundRecord): Promise<StatusReport> {
  return parseReport(await answerOf(record, 'GET', '/status'));
}

/**
 * Asks the process itself, and takes what comes for what anybody might have sent.
 * @throws Error where nobody answers in time, or with another status than 200
 */
export async function answerOf(
  { socketPath, user }: FoundRecord,
  method: 'GET' | 'DELETE',
  path: string,
): Promise<string> {
  const signal = AbortSignal.timeout(answerLimitMs);
  const late = new Error(`no answer in ${answerLimitMs / 1000} seconds`);
  return await new Promise<string>((done, fail) => {
    const failed = (error: Error): void => fail(signal.aborted ? late : error);
    // A link in that user's directory leads no further than the user could go.
    const asking = asUser(user, () => request({ socketPath, method, path, signal }));
    asking.on('error', failed);
    asking.on('response', (response) => takeBody(response, done, failed));
    asking.end();
  });
}

function takeBody(
  response: IncomingMessage,
  done: (text: string) => void,
  failed: (error: Error) => void,
): void {
  let body = '';
  response.setEncoding('utf8');
  response.on('data', (piece: string) => {
    body += piece;
    if (body.length > answerLimitBytes) response.destroy(new Error('its answer has no end'));
  });
  response.on('end', () => {
    if (response.statusCode === 200) done(body);
    else {
      const said = body === '' ? '' : `: ${body.slice(0, 200)}`;
      failed(new Error(`it answers with status ${response.statusCode ?? '?'}${said}`));
    }
  });
  response.on('error', failed);
}
