/**
 * What is written down of one staged file whose upload was interrupted, and where its local bytes are.
 *
 * While nobody has the file open they are in the record's data file alone, and the file takes neither
 * memory nor a descriptor: it is asleep. Who needs them wakes it. The record stays until the file is
 * published or given up, or written down anew, so that what was held once is not lost to a kill -9
 * while somebody goes on with it.
 */
import { FsError } from '../errors.js';
import type { HeldFiles } from './held-files.js';
import { bytesLocal } from './held-record.js';
import type { HeldRecord } from './held-record.js';
import { pathOfKey } from '../path.js';
import type { Publication } from './publication.js';
import type { Holder } from '../limits/shares.js';
import type { StagedContent } from './staged-content.js';
import type { WriteContext } from './write-context.js';

/** What only the file itself knows. */
export type HeldFacts = Pick<
  HeldRecord,
  'key' | 'condition' | 'mtimeMs' | 'givenTime' | 'heldAtMs'
>;

export class HeldCopy {
  readonly #context: WriteContext;
  readonly #content: StagedContent;
  readonly #publication: Publication;
  #record: HeldRecord | undefined;
  #isCurrent = false;
  #isAsleep = false;

  constructor(context: WriteContext, content: StagedContent, publication: Publication) {
    this.#context = context;
    this.#content = content;
    this.#publication = publication;
  }

  get record(): HeldRecord | undefined {
    return this.#record;
  }

  /** Whether the record says all of the file. */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  get isAsleep(): boolean {
    return this.#isAsleep;
  }

  noteChange(): void {
    this.#isCurrent = false;
  }

  /** Goes on with what an earlier process wrote down. */
  resume(record: HeldRecord): void {
    this.#content.resume(record);
    if (record.stream !== undefined) this.#publication.resume(record.stream);
    this.#become(record);
    this.sleep();
  }

  /**
   * Writes down what arrived.
   * @param signal does not wait for the parts on their way
   * @throws FsError where bytes are missing, ENOSPC; Error (system error)
   */
  async save(facts: HeldFacts, signal?: AbortSignal): Promise<HeldRecord> {
    const content = this.#content;
    const stream = await this.#publication.settle(signal);
    const sent = this.#publication.sentRanges;
    if (content.lacks(sent)) {
      throw new FsError('EIO', `the beginning of /${facts.key} has changed since it was sent`);
    }
    const { size, baseEnd, changed, base } = content;
    const kept = base && { key: base.key, etag: base.etag, size: base.size, mtimeMs: base.mtimeMs };
    const record = await this.#files.save(
      { ...facts, size, baseEnd, changed, base: kept, stream },
      content.localOutside(sent),
      (into, offset) => content.fill(into, offset),
      this.#record,
    );
    this.#become(record);
    return record;
  }

  /** The local bytes go from where they can be written; for who knows that nobody reads them. */
  sleep(): void {
    if (this.#record === undefined || !this.#isCurrent) return;
    this.#content.sleep(this.#record.pieces, this.#publication.sentRanges);
    this.#isAsleep = true;
  }

  /** Takes the local bytes back. @throws FsError ENOSPC, EIO; Error (system error) */
  async wake(): Promise<void> {
    const record = this.#record;
    if (!this.#isAsleep || record === undefined) return;
    try {
      await this.#files.load(record, (start, bytes) => this.#content.wake(start, bytes));
      this.#isAsleep = false;
    } catch (error) {
      this.sleep();
      throw error;
    }
  }

  /** @throws FsError EBUSY where bytes of [start, end) are only in parts of an upload */
  refuseInParts(start: number, end: number, what: string): void {
    if (this.#record === undefined || !this.#content.isReleased(start, end)) return;
    throw new FsError(
      'EBUSY',
      `/${this.#record.key} is an upload that was interrupted: what has arrived of it cannot be ${what} before it is complete`,
    );
  }

  /** It is about to be published: until `published` or `notPublished` only S3 can tell. */
  publishing(): void {
    if (this.#record !== undefined) this.#files.markPublishing(this.#record);
  }

  notPublished(): void {
    if (this.#record !== undefined) this.#files.unmarkPublishing(this.#record);
  }

  /** The record and its bytes go. */
  remove(): void {
    const record = this.#record;
    if (record === undefined) return;
    this.#record = undefined;
    this.#isAsleep = false;
    this.#files.remove(record);
    this.#context.space.letGo(bytesLocal(record), this.#holderOf(record));
  }

  #holderOf({ key }: HeldRecord): Holder {
    return this.#context.holderOf(pathOfKey(key));
  }

  #become(record: HeldRecord): void {
    const before = this.#record;
    this.#record = record;
    this.#isCurrent = true;
    const { space } = this.#context;
    space.keep(bytesLocal(record), this.#holderOf(record));
    if (before !== undefined) space.letGo(bytesLocal(before), this.#holderOf(before));
  }

  get #files(): HeldFiles {
    const { held } = this.#context;
    if (held === undefined) throw new Error('uploads that are interrupted are not held here');
    return held;
  }
}
