/**
 * How the content of a staged file becomes an object, in the way that moves the fewest bytes:
 *
 * - up to a part: one PutObject;
 * - written front to back, or appended to a base: the parts that left meanwhile (part-stream.ts), with
 *   the base copied in front of them;
 * - changed here and there: untouched ranges copied on the server, the others uploaded;
 * - nothing of the base left: @aws-sdk/lib-storage uploads it all. It fixes how many parts are in
 *   memory when it begins and knows no budget, so only where that many fit; it neither copies parts
 *   nor begins before the end of the file, so the other ways have loops of their own.
 *
 * The commit carries the file's condition; until it succeeds nothing is visible. The caller holds the
 * file's lock, and ends a failed publication with `drop`.
 */
import { unlessAborted } from '../concurrency/abort.js';
import { copyPartSize, planEqualParts, planParts } from './part-plan.js';
import type { PlannedPart, StreamCut } from './part-plan.js';
import { FsError, toFsError } from '../errors.js';
import type { HeldStream } from './held-record.js';
import { inParallel } from '../concurrency/in-parallel.js';
import { withPartRemedies } from './part-remedies.js';
import { PartSender } from './part-sender.js';
import { PartStream } from './part-stream.js';
import type { StreamedBefore } from './part-stream.js';
import { keyOf } from '../path.js';
import type { Path } from '../path.js';
import type { StagedContent } from './staged-content.js';
import type { WriteContext } from './write-context.js';
import type { Holder } from '../limits/shares.js';
import { multipartLimits } from '../store.js';
import type {
  ByteRange,
  Condition,
  CopySource,
  MultipartUpload,
  Stored,
  UploadedPart,
  WriteOptions,
} from '../store.js';

/** What the staged file says about the object to be. */
export interface Terms {
  readonly condition: Condition | undefined;
  /** beyond what is kept of the base */
  readonly metadata: Readonly<Record<string, string>>;
}

/** Part numbers kept free in front of an appending stream for the copied parts of the base. */
const prefixNumbers = 2000;

export class Publication {
  readonly #context: WriteContext;
  readonly #content: StagedContent;
  readonly #path: () => Path;
  readonly #terms: () => Terms;
  readonly #onFailure: (error: unknown) => void;
  readonly #sender: PartSender;
  readonly #holder: Holder;
  #stream: PartStream | undefined;
  /** the metadata that the stream's upload was created with */
  #streamMetadata: string | undefined;

  constructor(
    context: WriteContext,
    content: StagedContent,
    file: {
      readonly path: () => Path;
      readonly terms: () => Terms;
      /** a part failed for good while nobody waits for it */
      readonly onFailure: (error: unknown) => void;
    },
  ) {
    this.#context = context;
    this.#content = content;
    this.#path = file.path;
    this.#terms = file.terms;
    this.#onFailure = file.onFailure;
    const { store, memory } = context;
    this.#holder = context.holderOf(file.path());
    this.#sender = new PartSender({ store, memory, content, holder: this.#holder });
  }

  /** Ranges in parts that S3 acknowledged and that were not rewritten since. */
  get sentRanges(): readonly ByteRange[] {
    return this.#stream?.sentRanges ?? [];
  }

  get isSending(): boolean {
    return this.#stream?.isSending === true;
  }

  /** Bytes of [start, end) changed. */
  touch(start: number, end: number): void {
    this.#stream?.touch(start, end);
  }

  /** Whether `advanceNow` does what `advance` does, once the file is `size` bytes long. */
  mayAdvanceNow(size: number): boolean {
    return this.#stream !== undefined || size <= this.#streamStart + this.#context.partSize;
  }

  /** Sends every further part that is full, if any has been sent. */
  advanceNow(): void {
    this.#stream?.advance(this.#content.size, (range) => this.#content.isLocal(range));
  }

  /** Sends every further part that is full. @throws what reading a short base throws */
  async advance(): Promise<void> {
    this.#stream ??= await this.#startStream();
    this.advanceNow();
  }

  /**
   * Makes the object.
   * @param signal ends the sending of parts, of which a huge hole has thousands; what makes the object
   *   is never broken off, because nobody could tell whether it was made
   * @throws StoreError, FsError
   */
  async publish(signal?: AbortSignal): Promise<Stored> {
    const { log, store } = this.#context;
    const drop = (): Promise<void> => this.drop();
    const remedies = { partRules: store.partRules, log, path: this.#path, drop };
    const stored = await withPartRemedies(remedies, () => this.#choose(this.#content.size, signal));
    this.#stream = undefined;
    return stored;
  }

  /**
   * Waits for the parts on their way, and tells what S3 has.
   * @param signal does not wait: they are broken off
   */
  async settle(signal?: AbortSignal): Promise<HeldStream | undefined> {
    const stream = this.#stream;
    const sent = await stream?.settle(signal);
    if (stream === undefined || sent === undefined) {
      await this.drop();
      return undefined;
    }
    const { upload, parts } = sent;
    const memory = this.#context.store.memoryOf(upload);
    return { ...stream.cut, upload: memory, parts, metadata: this.#streamMetadata ?? '' };
  }

  /** Goes on with what another process has sent. No request is made. */
  resume({ upload: memory, parts, metadata, ...cut }: HeldStream): void {
    const upload = this.#context.store.recall(memory);
    this.#streamMetadata = metadata;
    this.#stream = this.#newStream(cut, { upload, parts });
  }

  /** Gives up what has left: the multipart upload is aborted, awaited and not forgotten. */
  async drop(): Promise<void> {
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream !== undefined) await this.#logAbort(stream.abort());
  }

  async #logAbort(aborting: Promise<void>): Promise<void> {
    try {
      await aborting;
    } catch (error) {
      // The upload is recorded and will be aborted at the next start; the file's fate is settled.
      this.#context.log.warn(
        { path: this.#path(), error: toFsError(error).message },
        'a multipart upload could not be aborted',
      );
    }
  }

  /** A stream, once the file is a run of new bytes longer than a part, alone or behind its base. */
  async #startStream(): Promise<PartStream | undefined> {
    const { partSize, equalStreams } = this.#context;
    const content = this.#content;
    const { baseEnd } = content;
    const start = this.#streamStart;
    if (content.size <= start + partSize) return undefined;
    // Parts of one size do not begin where a base happens to end: composed at the commit.
    if (start > 0 && equalStreams) return undefined;
    if (start > 0) {
      // Appending to a base long enough to be copied as it is.
      if (content.isChanged({ start: 0, end: start })) return undefined;
    } else if (!content.isLocal({ start: 0, end: baseEnd })) {
      // A base too short to be a part of its own travels with the new bytes.
      if (content.isChanged({ start: 0, end: baseEnd })) return undefined;
      await content.fetchBase();
    }
    if (!content.isLocal({ start, end: start + partSize })) return undefined;
    const firstNumber = start === 0 ? 1 : prefixNumbers + 1;
    return this.#newStream({ start, firstNumber, partSize, equalParts: equalStreams });
  }

  /** Where its first part would begin: a base that is too short to be a part is in it. */
  get #streamStart(): number {
    const { baseEnd } = this.#content;
    return baseEnd >= this.#context.minPart ? baseEnd : 0;
  }

  #newStream(cut: StreamCut, before?: StreamedBefore): PartStream {
    const { store, uploadConcurrency, space } = this.#context;
    return new PartStream({
      ...cut,
      store,
      before,
      concurrency: uploadConcurrency,
      sender: this.#sender,
      create: async () => {
        const options = this.#writeOptions(cut.start > 0);
        this.#streamMetadata = JSON.stringify(options.metadata);
        return await store.createUpload(keyOf(this.#path()), options);
      },
      onSent: () => space.nudge(),
      onFailure: this.#onFailure,
    });
  }

  async #choose(size: number, signal: AbortSignal | undefined): Promise<Stored> {
    const { store, partSize, memory } = this.#context;
    const { condition } = this.#terms();
    const key = keyOf(this.#path());
    const stream = this.#stream;
    if (stream !== undefined && size > stream.firstEnd) {
      return await this.#completeStream(stream, size, signal);
    }
    await this.drop();
    const unchanged = this.#content.unchanged(size);
    const options = { ...this.#writeOptions(unchanged.length > 0), condition };
    if (size <= partSize) {
      const put = (): Promise<Stored> =>
        this.#content.sendLoaded({ start: 0, end: size }, ({ bytes, crc32 }) =>
          store.put(key, [bytes], { ...options, crc32 }),
        );
      // A small file is not to wait for all the parts of large ones.
      return await memory.holdFirst(size, put, this.#holder);
    }
    const copied = store.partRules.noCopies.holds ? [] : unchanged;
    if (copied.length === 0 && this.#fitsLibStorage(size)) {
      const source = this.#content.source({ start: 0, end: size });
      const readOn = async (into: Uint8Array, offset: number): Promise<void> => {
        refuseIfAborted(signal);
        await source.read(into, offset);
      };
      return await memory.hold(
        this.#libStorageMemory,
        () => store.upload(key, { size, read: readOn }, options),
        this.#holder,
      );
    }
    const upload = await store.createUpload(key, options);
    return await this.#completeOrAbort(upload, () =>
      this.#composeParts(upload, this.#plan(size, copied), signal),
    );
  }

  /** Parts in flight and the one that is being cut. */
  get #libStorageMemory(): number {
    return (this.#context.uploadConcurrency + 1) * this.#context.partSize;
  }

  #fitsLibStorage(size: number): boolean {
    const { partSize, memory } = this.#context;
    const isNormal = size <= partSize * multipartLimits.maxParts;
    return isNormal && this.#libStorageMemory <= memory.capacity;
  }

  async #completeStream(
    stream: PartStream,
    size: number,
    signal: AbortSignal | undefined,
  ): Promise<Stored> {
    const upload = await stream.upload();
    const stored = await this.#completeOrAbort(upload, async () => {
      const [prefix, streamed] = await Promise.all([
        this.#composeParts(upload, this.#planPrefix(stream.start), signal),
        unlessAborted(stream.finish(size), signal),
      ]);
      return [...prefix, ...streamed.parts];
    });
    return await this.#withLateMetadata(stored, size, stream.start > 0);
  }

  /** What was set after the first part had left, such as a time, is not in the upload. */
  async #withLateMetadata(stored: Stored, size: number, keepsBase: boolean): Promise<Stored> {
    const { metadata } = this.#writeOptions(keepsBase);
    if (JSON.stringify(metadata) === this.#streamMetadata) return stored;
    const key = keyOf(this.#path());
    const made = { key, etag: stored.etag, size };
    return await this.#context.store.copy(made, key, { metadata, like: made });
  }

  #plan(size: number, unchanged: readonly ByteRange[]): PlannedPart[] {
    const { equalParts, partSize } = this.#context;
    if (equalParts) return planEqualParts(size, unchanged, partSize);
    return planParts(size, unchanged, this.#planLimits(multipartLimits.maxParts));
  }

  /** Parts in front of a stream. The last of them is not the file's last, so it needs full size. */
  #planPrefix(start: number): PlannedPart[] {
    if (start === 0) return [];
    const limits = { ...this.#planLimits(prefixNumbers), shortTail: false };
    const copied = this.#context.store.partRules.noCopies.holds
      ? []
      : this.#content.unchanged(start);
    return planParts(start, copied, limits);
  }

  #planLimits(maxParts: number) {
    const { partSize, minPart } = this.#context;
    return { minPart, uploadPart: partSize, copyPart: copyPartSize, maxParts, shortTail: true };
  }

  async #completeOrAbort(
    upload: MultipartUpload,
    makeParts: () => Promise<UploadedPart[]>,
  ): Promise<Stored> {
    const { store } = this.#context;
    const { condition } = this.#terms();
    try {
      return await store.completeUpload(upload, await makeParts(), { condition });
    } catch (error) {
      // A stream is aborted with the file's failure; this upload has no other owner.
      if (this.#stream === undefined) await this.#logAbort(store.abortUpload(upload));
      throw error;
    }
  }

  async #composeParts(
    upload: MultipartUpload,
    plan: readonly PlannedPart[],
    signal: AbortSignal | undefined,
  ): Promise<UploadedPart[]> {
    const { uploadConcurrency } = this.#context;
    return await inParallel(uploadConcurrency, plan, async (part, index, others) => {
      refuseIfAborted(signal);
      return await this.#makePart(upload, { ...part, number: index + 1 }, others);
    });
  }

  async #makePart(
    upload: MultipartUpload,
    part: PlannedPart & { readonly number: number },
    signal: AbortSignal,
  ): Promise<UploadedPart> {
    if (part.source === 'copy') {
      const source = this.#copySource();
      return await this.#context.store.copyPart(upload, part.number, source, part, signal);
    }
    return await this.#sender.hold(part, () => this.#sender.send(upload, part, signal));
  }

  #copySource(): CopySource {
    const { base } = this.#content;
    if (base === undefined) throw new FsError('EIO', `${this.#path()} has no base to copy from`);
    return { key: base.key, etag: base.etag, size: base.size };
  }

  /** @param keepsBase whether bytes of the base live on, and with them its description */
  #writeOptions(keepsBase: boolean): WriteOptions {
    const contentType = this.#context.contentTypeOf(this.#path());
    const { metadata } = this.#terms();
    const { base } = this.#content;
    if (!keepsBase || base === undefined) return { contentType, metadata };
    // A time that rclone stored was the time of the old content.
    return { contentType, metadata: { mtime: undefined, ...metadata }, like: base };
  }
}

/** @throws FsError EINTR */
function refuseIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new FsError('EINTR', 'the storing was interrupted');
}
