/**
 * When a staged file becomes an object: at close(2), fsync(2) and drain; and when it does not, because
 * the process that wrote it died: then it is dropped, or held for whoever goes on with it.
 */
import { toFsError } from '../errors.js';
import type { RequestContext } from '../operations.js';
import { parentOf } from '../path.js';
import type { StagedFile } from '../write/staged-file.js';
import type { OpenFile, Use } from './handles.js';
import { isInterrupted } from './interrupted-upload.js';
import type { FilesystemParts } from './parts.js';

export class Commits {
  readonly #parts: FilesystemParts;

  constructor(parts: FilesystemParts) {
    this.#parts = parts;
  }

  /**
   * Stores what has not been stored.
   * @param context of the caller, whose being told to stop ends it where what arrived is discarded
   */
  async commit(file: StagedFile, use: Use, context: RequestContext = {}): Promise<void> {
    const { audit, names, settings } = this.#parts;
    const signal = settings.interrupted === 'discard' ? context.signal : undefined;
    if (await audit.commit(file, use, signal)) await names.removeObsolete(file);
  }

  /** One close(2) of a handle. */
  async flush(open: OpenFile, context: RequestContext): Promise<void> {
    if (open.kind === 'reader' || !open.stores) return;
    const { file, use } = open;
    const { handles, held, settings, staged } = this.#parts;
    const isCutOff = file.isDirty && isInterrupted(context);
    if (isCutOff && held !== undefined) {
      use.isAbandoned = true;
      // Where somebody else still has it open, their close decides.
      if (handles.writersOf(file).every(({ isAbandoned }) => isAbandoned))
        await this.hold(file, use);
    } else if (isCutOff && settings.interrupted === 'discard' && staged.handlesOf(file) === 1) {
      await this.#discard(file, use);
    } else {
      await this.commit(file, use, context);
    }
  }

  /** Whether a close(2) of this handle has nothing to store. */
  isStored(open: OpenFile): boolean {
    return open.kind === 'reader' || !open.stores || open.file.isStored;
  }

  /** The last handle is gone, or the mount is about to go. */
  async end(file: StagedFile, use: Use): Promise<void> {
    const isHeld = use.isAbandoned === true || file.heldRecord !== undefined;
    if (isHeld && this.#parts.held !== undefined) await this.hold(file, use);
    else await this.commit(file, use);
  }

  /**
   * Its writer is gone: what arrived waits for somebody who goes on with it.
   * @param signal does not wait for what is on its way
   * @returns false where that cannot be, and it is dropped
   */
  async hold(file: StagedFile, use: Use, signal?: AbortSignal): Promise<boolean> {
    const { held, log } = this.#parts;
    try {
      await held?.setAside(file, signal);
      return true;
    } catch (error) {
      const { code: errno, message } = toFsError(error);
      log.warn({ path: file.path, errno, error: message }, 'what arrived cannot be held');
      await this.#discard(file, use);
      return false;
    }
  }

  async #discard(file: StagedFile, use: Use): Promise<void> {
    const { audit, directoryTimes, log, onChange, staged } = this.#parts;
    const { path, size: bytes } = file;
    log.warn({ path, bytes }, 'an upload was interrupted and is not published');
    await audit.discard(file, use);
    // A rename that was under way may have moved it.
    staged.detach(file.path, file);
    directoryTimes.move(parentOf(file.path));
    onChange({ path: file.path, what: 'entry' });
  }
}
