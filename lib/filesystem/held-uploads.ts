/**
 * Uploads that were interrupted, with `--interrupted resume`: they wait, written down on disk
 * (write/held-files.ts), for somebody to open the file and go on. This file decides which of them
 * there are: it writes them down, finds those of earlier processes, compares them with what S3 has, and
 * gives them up when their time is over or their room is needed.
 *
 * What an earlier process left is shown from the record at once, but nobody is told of it, by name or
 * in a listing, before it was compared: a client goes on at the size it is told. What S3 does not let
 * be asked is believed, since S3 itself compares the parts when the upload is completed.
 */
import type { Clock } from '../clock.js';
import { FsError, isStoreError, toFsError } from '../errors.js';
import type { Log } from '../log.js';
import type { Change } from '../operations.js';
import { parentOf, pathOfKey } from '../path.js';
import type { Path } from '../path.js';
import { Budget } from '../limits/budget.js';
import type { ObjectStore } from '../store.js';
import type { SpaceHolder } from '../limits/temp-space.js';
import type { DirectoryTimes } from '../tree/directory-times.js';
import { HeldFiles } from '../write/held-files.js';
import type { FoundRecord } from '../write/held-files.js';
import { bytesInParts, bytesLocal } from '../write/held-record.js';
import type { HeldRecord } from '../write/held-record.js';
import { StagedFile } from '../write/staged-file.js';
import type { StagedFiles } from '../write/staged-files.js';
import type { WriteContext } from '../write/write-context.js';
import type { FileAudit } from './audit-trail.js';
import { useOf } from './handles.js';
import type { FilesystemSettings, HeldUpload } from './settings.js';

export interface HeldUploadsParts {
  readonly files: HeldFiles;
  readonly forMs: number;
  readonly store: ObjectStore;
  readonly staged: StagedFiles;
  readonly writing: WriteContext;
  readonly audit: FileAudit;
  readonly directoryTimes: DirectoryTimes;
  readonly clock: Clock;
  readonly log: Log;
  readonly onChange: (change: Change) => void;
}

/** Records that are compared with S3 at a time. */
const comparedAtOnce = 4;
const longestTimerMs = 60_000;

export class HeldUploads implements SpaceHolder {
  readonly #parts: HeldUploadsParts;
  readonly #comparing = new Budget(comparedAtOnce);
  /** of an earlier process, and not compared yet */
  readonly #checks = new Map<StagedFile, Promise<void>>();
  /** when the record's time is over, as Clock.nowMs */
  readonly #ends = new WeakMap<HeldRecord, number>();
  #isMakingRoom = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: HeldUploadsParts) {
    this.#parts = parts;
    parts.writing.space.join(this);
  }

  /** Ids of the multipart uploads that are to stay open. */
  get uploadIds(): ReadonlySet<string> {
    const ids = this.#parts.staged.held.map(({ record }) => record.stream?.upload.uploadId);
    return new Set(ids.filter((id) => id !== undefined));
  }

  get status(): HeldUpload[] {
    this.#giveUpExpired();
    const { clock, staged } = this.#parts;
    return staged.held.map(({ file, record }) => ({
      path: file.path,
      inParts: bytesInParts(record),
      local: bytesLocal(record),
      since: new Date(record.heldAtMs).toISOString(),
      until: new Date(clock.dateMs() + this.#endOf(record) - clock.nowMs()).toISOString(),
    }));
  }

  /**
   * Writes down what arrived of a file whose writer is gone.
   * @throws FsError; Error (system error): nothing has changed then
   */
  async setAside(file: StagedFile, signal?: AbortSignal): Promise<void> {
    const { log } = this.#parts;
    const wasHeld = file.isSetAside;
    await file.setAside(signal);
    const record = file.heldRecord;
    if (record === undefined || wasHeld) return;
    const facts = { path: file.path, inParts: bytesInParts(record), local: bytesLocal(record) };
    log.warn(
      facts,
      'an upload was interrupted; what arrived is held until somebody goes on with it',
    );
    this.#endOf(record);
    this.#setTimer();
  }

  /** Takes over what earlier processes left. What has to be asked of S3 is asked afterwards. */
  async restore(): Promise<void> {
    const { clock, files, forMs, staged, writing } = this.#parts;
    for (const found of await files.readAll()) {
      const { record } = found;
      const problem = (await files.hasData(record))
        ? record.heldAtMs + forMs <= clock.dateMs() && 'its time is over'
        : 'its bytes are gone';
      const file = this.#resumed(record);
      if (file === undefined) continue;
      writing.space.join(file);
      staged.attach(file.path, file);
      const check = problem === false ? this.#compare(file, found) : this.#giveUp(file, problem);
      this.#checks.set(
        file,
        check.finally(() => this.#checks.delete(file)),
      );
    }
    this.#setTimer();
  }

  /** Resolves once it is certain whether a path means what is held there. */
  async settle(file: StagedFile): Promise<void> {
    await this.#checks.get(file);
    const record = file.heldRecord;
    if (record !== undefined && this.#isOver(file, record)) await this.#giveUp(file, overText);
  }

  /** For the operator. @returns whether anything was held there @throws FsError EBUSY */
  async discard(path: Path): Promise<boolean> {
    const file = this.#parts.staged.at(path);
    if (file?.heldRecord === undefined) return false;
    if (!this.#isUnused(file)) throw new FsError('EBUSY', `${path} is being gone on with`);
    await this.#giveUp(file, 'the operator says so');
    return true;
  }

  /** Gives up the oldest, as many as make room for a writer. */
  reclaim(how: 'spare' | 'all', bytes: number): void {
    if (how === 'spare') {
      void this.#moveIntoParts();
      return;
    }
    let freed = 0;
    for (const { file, record } of this.#parts.staged.held) {
      if (freed >= bytes) return;
      if (bytesLocal(record) === 0 || !this.#isUnused(file)) continue;
      freed += bytesLocal(record);
      void this.#giveUp(file, 'the temp directory is full');
    }
  }

  get expectsRelease(): boolean {
    return this.#isMakingRoom;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#parts.writing.space.leave(this);
  }

  #resumed(record: HeldRecord): StagedFile | undefined {
    const { files, log, writing } = this.#parts;
    try {
      return StagedFile.resumed(writing, record);
    } catch (error) {
      if (!isStoreError(error)) throw error;
      log.warn({ path: pathOfKey(record.key), error: error.message }, givenUp);
      files.remove(record);
      return undefined;
    }
  }

  async #compare(file: StagedFile, { record, wasPublishing }: FoundRecord): Promise<void> {
    const { log } = this.#parts;
    try {
      const problem = await this.#comparing.hold(1, async () => {
        const isOut = wasPublishing && (await this.#isPublished(record));
        return isOut ? 'it was being published' : await this.#differs(record);
      });
      if (problem !== undefined) await this.#giveUp(file, problem);
    } catch (error) {
      if (!isStoreError(error)) throw error;
      // S3 itself compares, at the latest when the upload is completed.
      log.info({ path: file.path, error: error.message }, 'what is held could not be compared yet');
    }
  }

  /** Whether the name holds something else than when the upload began. */
  async #isPublished({ key, condition }: HeldRecord): Promise<boolean> {
    try {
      const { etag } = await this.#parts.store.head(key);
      return !('etag' in condition) || condition.etag !== etag;
    } catch (error) {
      if (isStoreError(error, 'notFound')) return false;
      throw error;
    }
  }

  /** What S3 has in place of what the record says; undefined where they agree. */
  async #differs({ stream }: HeldRecord): Promise<string | undefined> {
    if (stream === undefined) return undefined;
    try {
      const listed = await this.#parts.store.listParts(stream.upload);
      if (listed === undefined) return undefined;
      const there = new Map(listed.map((part) => [part.number, part]));
      const other = stream.parts.find(({ number, etag, size }) => {
        const part = there.get(number);
        return part?.etag !== etag || part.size !== size;
      });
      return other && `S3 does not have its part ${other.number} as it was sent`;
    } catch (error) {
      if (isStoreError(error, 'noUpload')) return 'S3 does not have its parts any more';
      throw error;
    }
  }

  /** The file is no more: what is at the name in S3 shows again. */
  async #giveUp(file: StagedFile, why: string): Promise<void> {
    const { audit, clock, directoryTimes, log, onChange, staged } = this.#parts;
    const { path, size: bytes, heldRecord } = file;
    if (heldRecord === undefined || !this.#isUnused(file)) return;
    log.warn({ path, bytes, why }, givenUp);
    // In this turn of the event loop: nobody can open it any more.
    staged.detach(path, file);
    const ageMs = clock.dateMs() - heldRecord.heldAtMs;
    await audit.discard(file, useOf({}, clock.nowMs() - ageMs));
    directoryTimes.move(parentOf(path));
    onChange({ path, what: 'entry' });
  }

  async #moveIntoParts(): Promise<void> {
    const { log, staged, writing } = this.#parts;
    if (this.#isMakingRoom) return;
    const { partSize, space } = writing;
    // While they leave, their bytes are on the disk twice.
    const full = staged.held.filter(({ record }) => {
      const local = bytesLocal(record);
      return local > partSize && local <= space.limit - space.used;
    });
    if (full.length === 0) return;
    this.#isMakingRoom = true;
    try {
      for (const { file } of full) await file.moveIntoParts();
    } catch (error) {
      log.info({ error: toFsError(error).message }, 'what is held stays on the local disk');
    } finally {
      this.#isMakingRoom = false;
      writing.space.nudge();
    }
  }

  #isUnused(file: StagedFile): boolean {
    return this.#parts.staged.handlesOf(file) === 0;
  }

  #isOver(file: StagedFile, record: HeldRecord): boolean {
    return this.#isUnused(file) && this.#parts.clock.nowMs() >= this.#endOf(record);
  }

  /** By the clock that only goes on; the date says how old a record was when it was first seen. */
  #endOf(record: HeldRecord): number {
    const { clock, forMs } = this.#parts;
    const known = this.#ends.get(record);
    if (known !== undefined) return known;
    const left = record.heldAtMs + forMs - clock.dateMs();
    const end = clock.nowMs() + Math.min(forMs, Math.max(0, left));
    this.#ends.set(record, end);
    return end;
  }

  #giveUpExpired(): void {
    for (const { file, record } of this.#parts.staged.held) {
      if (this.#isOver(file, record)) void this.#giveUp(file, overText);
    }
  }

  /** Runs only while anything is held. */
  #setTimer(): void {
    const { clock, staged } = this.#parts;
    clearTimeout(this.#timer);
    const ends = staged.held.map(({ record }) => this.#endOf(record));
    if (ends.length === 0) return;
    const nextMs = Math.max(1000, Math.min(...ends) - clock.nowMs());
    this.#timer = setTimeout(
      () => {
        this.#giveUpExpired();
        this.#setTimer();
      },
      Math.min(longestTimerMs, nextMs),
    );
    this.#timer.unref();
  }
}

const givenUp = 'what was held of an interrupted upload is given up';
const overText = 'its time is over';

/** Where the uploads of a store are held; undefined where nothing says it. */
export function heldFilesOf(
  { held }: Pick<FilesystemSettings, 'held'>,
  store: ObjectStore,
): HeldFiles | undefined {
  return held && new HeldFiles(held.place, `${held.scope} ${store.url}`);
}

/** With another `--interrupted` than the process before: what that held is given up. */
export async function forgetHeld(
  settings: FilesystemSettings,
  store: ObjectStore,
  log: Log,
): Promise<void> {
  const files = heldFilesOf(settings, store);
  for (const { record } of (await files?.readAll()) ?? []) {
    const why = `--interrupted is ${settings.interrupted} now`;
    log.warn({ path: pathOfKey(record.key), bytes: record.size, why }, givenUp);
    files?.remove(record);
  }
}
