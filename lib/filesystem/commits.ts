/**
 * When a staged file becomes an object: at close(2), fsync(2) and drain; and when it does not, because
 * the process that wrote it died.
 */
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
   * @param context of the caller, whose being told to stop ends it unless what arrived is kept
   */
  async commit(file: StagedFile, use: Use, context: RequestContext = {}): Promise<void> {
    const { audit, names, settings } = this.#parts;
    const signal = settings.interrupted === 'keep' ? undefined : context.signal;
    if (await audit.commit(file, use, signal)) await names.removeObsolete(file);
  }

  /** One close(2) of a handle. */
  async flush(open: OpenFile, context: RequestContext): Promise<void> {
    if (open.kind === 'reader' || !open.stores) return;
    if (this.#isGivenUp(open.file, context)) await this.#discard(open.file, open.use);
    else await this.commit(open.file, open.use, context);
  }

  #isGivenUp(file: StagedFile, context: RequestContext): boolean {
    const { settings, staged } = this.#parts;
    if (settings.interrupted === 'keep' || !file.isDirty) return false;
    // Where somebody else still has it open, their close decides.
    return isInterrupted(context) && staged.handlesOf(file) === 1;
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
