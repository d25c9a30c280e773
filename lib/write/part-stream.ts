/**
 * Parts of a staged file that leave while the client still writes.
 *
 * The stream covers the file from `start` on, cut by the ladder of `streamPartEnd`. A part goes out
 * once it is full and bytes behind it prove that it is not the last one. Rewriting a part that left
 * makes it stale; `finish` sends it again under the same number, which replaces it (S3 API,
 * UploadPart). lib-storage cannot be used for this: it wants the whole body in order and parts of one
 * size, and sends no part twice.
 */
import { Budget } from '../limits/budget.js';
import { streamPartEnd } from './part-plan.js';
import type { StreamCut, StreamedPart } from './part-plan.js';
import type { PartSender } from './part-sender.js';
import type { ByteRange, MultipartUpload, ObjectStore, UploadedPart } from '../store.js';

export interface PartStreamOptions extends StreamCut {
  readonly store: ObjectStore;
  /** parts in flight at a time */
  readonly concurrency: number;
  readonly sender: PartSender;
  readonly create: () => Promise<MultipartUpload>;
  /** a part arrived: its local bytes can be given back */
  readonly onSent: () => void;
  /** a part failed for good, after all retries */
  readonly onFailure: (error: unknown) => void;
  /** what an interrupted upload has in S3 already */
  readonly before?: StreamedBefore | undefined;
}

export interface StreamedBefore {
  readonly upload: MultipartUpload;
  readonly parts: readonly StreamedPart[];
}

interface Part extends ByteRange {
  readonly number: number;
  readonly abort: AbortController;
  state: 'sending' | 'sent' | 'stale' | 'failed';
  sent?: UploadedPart;
  /** settles when the request did; never rejects */
  work: Promise<void>;
}

function isStale(part: Part): boolean {
  return part.state === 'stale';
}

export class PartStream {
  readonly #options: PartStreamOptions;
  readonly #slots: Budget;
  readonly #parts = new Map<number, Part>();
  #upload: Promise<MultipartUpload> | undefined;
  #next = 0;
  #failure: { error: unknown } | undefined;
  /** nobody is to hear of what fails: it is sent again by whoever goes on */
  #isSettling = false;

  constructor(options: PartStreamOptions) {
    this.#options = options;
    this.#slots = new Budget(options.concurrency);
    const { before } = options;
    if (before === undefined) return;
    this.#upload = Promise.resolve(before.upload);
    for (const { index, ...sent } of before.parts) {
      const known = {
        abort: new AbortController(),
        state: 'sent',
        work: Promise.resolve(),
      } as const;
      this.#parts.set(index, { ...this.#rangeOf(index), number: sent.number, ...known, sent });
    }
  }

  get start(): number {
    return this.#options.start;
  }

  get cut(): StreamCut {
    const { start, firstNumber, partSize, equalParts } = this.#options;
    return { start, firstNumber, partSize, equalParts };
  }

  /** Where its first part ends: a shorter file has none of it. */
  get firstEnd(): number {
    return this.#rangeOf(0).end;
  }

  get isSending(): boolean {
    return [...this.#parts.values()].some((part) => part.state === 'sending');
  }

  /** Ranges the server has acknowledged and that were not rewritten since. */
  get sentRanges(): ByteRange[] {
    return [...this.#parts.values()].filter((part) => part.state === 'sent');
  }

  /**
   * Sends every further part that is full.
   * @param size bytes of the file now
   * @param isLocal whether all bytes of a range are at hand
   */
  advance(size: number, isLocal: (range: ByteRange) => boolean): void {
    for (;;) {
      const range = this.#rangeOf(this.#next);
      if (size <= range.end) return;
      if (!this.#parts.has(this.#next)) {
        if (!isLocal(range)) return;
        this.#send(this.#next, range);
      }
      this.#next++;
    }
  }

  /** Bytes of [start, end) changed: parts that hold any of them are stale. */
  touch(start: number, end: number): void {
    for (const part of this.#parts.values()) {
      if (part.start < end && part.end > start && part.state !== 'stale') {
        part.state = 'stale';
        part.abort.abort();
      }
    }
  }

  /**
   * Sends what is missing up to `size` and waits for all parts.
   * @returns the parts, in order; the upload to complete
   * @throws what the store threw for a part
   */
  async finish(size: number): Promise<{ upload: MultipartUpload; parts: UploadedPart[] }> {
    const indexes: number[] = [];
    for (let index = 0; this.#rangeOf(index).start < size; index++) {
      indexes.push(index);
      const range = this.#rangeOf(index);
      const wanted = { start: range.start, end: Math.min(range.end, size) };
      const part = this.#parts.get(index);
      if (part !== undefined) {
        if (part.state !== 'stale' && part.end === wanted.end) continue;
        // The old request must be over before the number is used again, or it could land last.
        part.state = 'stale';
        part.abort.abort();
        await part.work;
      }
      this.#send(index, wanted);
    }
    await Promise.all(indexes.flatMap((index) => this.#parts.get(index)?.work ?? []));
    if (this.#failure !== undefined) throw this.#failure.error;
    const parts = indexes.flatMap((index) => this.#parts.get(index)?.sent ?? []);
    return { upload: await this.upload(), parts };
  }

  /**
   * Waits until nothing is on its way. What did not arrive counts as never sent.
   * @param signal does not wait: what is on its way is broken off
   * @returns what S3 has; undefined where that is nothing
   */
  async settle(signal?: AbortSignal): Promise<StreamedBefore | undefined> {
    this.#isSettling = true;
    const breakOff = (): void => this.#breakOff();
    signal?.addEventListener('abort', breakOff, { once: true });
    if (signal?.aborted === true) breakOff();
    await this.#quiet();
    signal?.removeEventListener('abort', breakOff);
    for (const [index, { state }] of this.#parts) if (state !== 'sent') this.#parts.delete(index);
    this.#failure = undefined;
    this.#next = 0;
    this.#isSettling = false;
    const parts = [...this.#parts]
      .flatMap(([index, { sent }]) => (sent === undefined ? [] : [{ index, ...sent }]))
      .sort((one, other) => one.index - other.index);
    return parts.length === 0 ? undefined : { upload: await this.upload(), parts };
  }

  /** The multipart upload, created at the first call. */
  upload(): Promise<MultipartUpload> {
    this.#upload ??= this.#options.create();
    return this.#upload;
  }

  /** Stops all requests and aborts the multipart upload; waits for both. */
  async abort(): Promise<void> {
    this.#breakOff();
    await this.#quiet();
    if (this.#upload === undefined) return;
    const upload = await this.#upload.catch(() => undefined); // never made: nothing to abort
    if (upload !== undefined) await this.#options.store.abortUpload(upload);
  }

  #breakOff(): void {
    for (const part of this.#parts.values()) {
      if (part.state === 'sending') part.state = 'stale';
      part.abort.abort();
    }
  }

  async #quiet(): Promise<void> {
    await Promise.all([...this.#parts.values()].map((part) => part.work));
  }

  #rangeOf(index: number): ByteRange {
    const { start, partSize, equalParts } = this.#options;
    return {
      start: start + (index === 0 ? 0 : streamPartEnd(index - 1, partSize, equalParts)),
      end: start + streamPartEnd(index, partSize, equalParts),
    };
  }

  #send(index: number, range: ByteRange): void {
    const part: Part = {
      ...range,
      number: this.#options.firstNumber + index,
      abort: new AbortController(),
      state: 'sending',
      work: Promise.resolve(),
    };
    this.#parts.set(index, part);
    part.work = this.#transfer(part).catch((error: unknown) => {
      // An aborted request of a stale part is no failure: the part is sent again.
      if (part.state === 'stale') return;
      part.state = 'failed';
      if (this.#failure !== undefined) return;
      this.#failure = { error };
      if (!this.#isSettling) this.#options.onFailure(error);
    });
  }

  async #transfer(part: Part): Promise<void> {
    const { sender, onSent } = this.#options;
    await this.#slots.hold(1, () =>
      sender.hold(part, async () => {
        if (part.state !== 'sending' || this.#failure !== undefined) return;
        const upload = await this.upload();
        const sent = await sender.send(upload, part, part.abort.signal);
        // It may have been rewritten meanwhile.
        if (isStale(part)) return;
        part.sent = sent;
        part.state = 'sent';
        onSent();
      }),
    );
  }
}
