/**
 * Multipart uploads that could not be aborted when they failed, because the endpoint was away: they
 * are tried again until it is back. Parts of an open upload cost money without showing anywhere.
 * What is left when the process ends is the business of whoever records uploads across restarts.
 */
import { isStoreError, mayBeOver } from '../errors.js';
import type { Log } from '../log.js';
import type { MultipartUpload } from '../store.js';

const firstWaitMs = 5_000;
const longestWaitMs = 300_000;

export class AbandonedUploads {
  readonly #abort: (upload: MultipartUpload) => Promise<void>;
  readonly #log: Log;
  readonly #uploads = new Map<string, MultipartUpload>();
  #waitMs = firstWaitMs;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param abort one try; rejects with a StoreError */
  constructor(abort: (upload: MultipartUpload) => Promise<void>, log: Log) {
    this.#abort = abort;
    this.#log = log;
  }

  /** Uploads that wait to be aborted. */
  get count(): number {
    return this.#uploads.size;
  }

  add(upload: MultipartUpload): void {
    if (this.#closed) return;
    this.#uploads.set(upload.uploadId, upload);
    this.#schedule();
  }

  /** Stops trying. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#closed || this.#uploads.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#tryAll().finally(() => this.#schedule());
    }, this.#waitMs);
    this.#timer.unref();
  }

  async #tryAll(): Promise<void> {
    this.#waitMs = Math.min(longestWaitMs, this.#waitMs * 2);
    for (const upload of [...this.#uploads.values()]) {
      try {
        await this.#abort(upload);
        this.#uploads.delete(upload.uploadId);
        this.#waitMs = firstWaitMs;
        this.#log.info({ key: upload.key }, 'a failed upload is cleaned up now');
      } catch (error) {
        if (!isStoreError(error)) throw error;
        this.#log.debug({ key: upload.key, error: error.message }, 'a failed upload stays for now');
        // Still away; the others would fare no better.
        if (mayBeOver(error.kind)) return;
        this.#uploads.delete(upload.uploadId);
        this.#log.warn(
          { key: upload.key, uploadId: upload.uploadId, error: error.message },
          'a failed multipart upload cannot be aborted; a lifecycle rule can remove its parts',
        );
      }
    }
  }
}
