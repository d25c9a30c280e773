/**
 * How one part of a staged file leaves, and what of it is in memory meanwhile.
 *
 * A part that is small beside the memory for uploads is read into one buffer, once. A larger one is
 * read from the staged file as the connection takes it, again for each attempt, so that the parts of
 * up to 5 GiB that very large files need leave through little memory too.
 */
import type { Budget } from '../limits/budget.js';
import type { StagedContent } from './staged-content.js';
import type { Holder } from '../limits/shares.js';
import { sourceWindow } from '../store.js';
import type { ByteRange, MultipartUpload, ObjectStore, UploadedPart } from '../store.js';

export interface NumberedRange extends ByteRange {
  readonly number: number;
}

export interface SenderParts {
  readonly store: ObjectStore;
  readonly memory: Budget;
  readonly content: StagedContent;
  readonly holder: Holder;
}

export class PartSender {
  readonly #store: ObjectStore;
  readonly #memory: Budget;
  readonly #content: StagedContent;
  readonly #holder: Holder;

  /** @param parts.memory for bodies, shared by all files of the mount */
  constructor({ store, memory, content, holder }: SenderParts) {
    this.#store = store;
    this.#memory = memory;
    this.#content = content;
    this.#holder = holder;
  }

  /** Runs `work` while holding the memory that sending the range takes. */
  async hold<T>(range: ByteRange, work: () => Promise<T>): Promise<T> {
    const bytes = this.#isStreamed(range) ? sourceWindow : range.end - range.start;
    return await this.#memory.hold(bytes, work, this.#holder);
  }

  /** To be called while holding the memory. @throws StoreError, FsError */
  async send(
    upload: MultipartUpload,
    part: NumberedRange,
    signal: AbortSignal,
  ): Promise<UploadedPart> {
    const { number } = part;
    if (this.#isStreamed(part)) {
      return await this.#store.uploadPart(upload, number, this.#content.source(part), { signal });
    }
    return await this.#content.sendLoaded(part, ({ bytes, crc32 }) =>
      this.#store.uploadPart(upload, number, [bytes], { crc32, signal }),
    );
  }

  /** Four parts at least are to be on their way at a time. */
  #isStreamed({ start, end }: ByteRange): boolean {
    return end - start > this.#memory.capacity / 4;
  }
}
