/**
 * What a check has in the bucket for a while, written down on this machine before it is made: a check that
 * was killed leaves it to the next one of the same user. Each check has a file of its own beside the
 * temporary files, because several may run at a time.
 */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ownDirectoryIn } from '../host/private-directory.js';
import { isAlive, ownIdentity, ownPidNamespace } from '../host/process-identity.js';
import type { S3Store } from '../s3/s3-store.js';
import { UploadJournal } from '../s3/upload-journal.js';

export class TrialJournal {
  /** for the store and the trial of this check */
  readonly own: UploadJournal;
  /** of checks that were killed */
  readonly #left: readonly UploadJournal[];

  /**
   * @param tempDir `--temp-dir`; made if its last component is missing
   * @param scope endpoint, bucket and prefix
   * @throws Error (system error)
   */
  constructor(tempDir: string, scope: string) {
    if (!existsSync(tempDir)) mkdirSync(tempDir, { mode: 0o700 });
    const directory = ownDirectoryIn(tempDir, `s3jail-${process.geteuid?.() ?? 0}`);
    // In another container, which may share the directory, a living process looks as if it were gone.
    const stem = `.check.${ownPidNamespace()}.`;
    this.#left = readdirSync(directory)
      .filter((name) => name.startsWith(stem) && !isOfLiving(name.slice(stem.length)))
      .map((name) => new UploadJournal(join(directory, name), scope));
    const { pid, startTime } = ownIdentity();
    this.own = new UploadJournal(join(directory, `${stem}${pid}.${startTime}`), scope);
  }

  /** Removes what others left in this place. @throws StoreError */
  async clean(store: S3Store): Promise<void> {
    for (const journal of this.#left) {
      for (const upload of journal.left) {
        await store.abortUpload(upload);
        journal.ended(upload);
      }
      for (const begun of journal.beginnings) {
        await store.removeBegun(begun);
        journal.settled(begun);
      }
    }
  }

  /** Files that say nothing go. */
  close(): void {
    for (const journal of [this.own, ...this.#left]) journal.close();
  }
}

function isOfLiving(name: string): boolean {
  const [pid = '', startTime = ''] = name.split('.');
  return isAlive({ pid: Number(pid), startTime });
}
