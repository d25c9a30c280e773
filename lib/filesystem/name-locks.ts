/**
 * Who may touch a name while a commit, a copy or a release of it is under way.
 *
 * Two kinds of lock, always taken in this order:
 *
 * 1. **Names.** Whatever makes a name mean something else holds the name, first come, first served:
 *    open and create (until the handle is there), unlink, mkdir, rename (both names), the removal of
 *    what a former name still holds. rmdir and rename hold all that lies below as well. They are held
 *    for as long as S3 takes.
 * 2. **Files.** What changes a staged file or sends it away holds the file: write, truncate, commit
 *    (flush, fsync, a drain, the end of a truncate by name) and the release of its last handle.
 *
 * A commit holds no name, so that a file can be opened while its gigabytes leave. Therefore whoever
 * moves, replaces or removes a name holds the files at it too (`alone`), and looks at them only then:
 * - a commit under way is waited for, and what it has stored, or that it failed, is what counts; unlink
 *   and truncate have it make way, and it begins anew behind them with what they have left;
 * - one that comes meanwhile waits, and then stores under the new name, or nothing if the file was
 *   replaced or removed, as on a disk where it was closed just before;
 * - a last handle that is closed meanwhile takes the file out of the tables (staged-files.ts) at once,
 *   and a rename that is under way puts none back that nobody has open.
 * open and truncate by name share the file under way and join its queue. A handle that made or cut
 * its file stores it at close(2), also one for reading only: nothing is left for release, whose
 * failures nobody hears.
 *
 * Nobody who holds a file waits for a name, and who holds several files holds all names that lead to
 * them, so none of this can lock up. A former name is therefore locked when all others have been let
 * go of.
 */
import { Locks } from '../concurrency/locks.js';
import type { Path } from '../path.js';
import type { StagedFile } from '../write/staged-file.js';
import type { StagedFiles } from '../write/staged-files.js';

export class NameLocks {
  readonly #names = new Locks();
  readonly #staged: StagedFiles;

  constructor(staged: StagedFiles) {
    this.#staged = staged;
  }

  /** Whether nobody makes `path` mean something else: what is done with it in this turn needs no lock. */
  isFree(path: Path): boolean {
    return this.#names.isFree(path);
  }

  /** Runs `work` while nobody else makes `path` mean something else. @throws FsError EINTR by `signal` */
  async hold<T>(path: Path, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return await this.#names.hold([path], work, signal);
  }

  /** The same for paths with all that lies below them. */
  async holdTrees<T>(
    paths: readonly Path[],
    work: () => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    return await this.#names.holdTrees(paths, work, signal);
  }

  /** The same, and nobody writes to a file there, stores it or gives it up meanwhile. */
  async alone<T>(paths: readonly Path[], work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return await this.#alone(paths, work, { signal, makesWay: false });
  }

  /** The same for removing: what is being stored there need not be waited for. */
  async removing<T>(path: Path, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return await this.#alone([path], work, { signal, makesWay: true });
  }

  async #alone<T>(paths: readonly Path[], work: () => Promise<T>, how: Waiting): Promise<T> {
    // What lasts is waited for before the names are taken: they can be opened meanwhile.
    await holdFiles(this.#staged.atOrBelow(paths), () => Promise.resolve(), how);
    const withFiles = (): Promise<T> => holdFiles(this.#staged.atOrBelow(paths), work, how);
    return await this.holdTrees(paths, withFiles, how.signal);
  }
}

interface Waiting {
  readonly signal: AbortSignal | undefined;
  /** commits under way are broken off, and begin anew behind */
  readonly makesWay: boolean;
}

async function holdFiles<T>(
  files: readonly StagedFile[],
  work: () => Promise<T>,
  how: Waiting,
): Promise<T> {
  const [first, ...others] = files;
  if (first === undefined) return await work();
  const withFirst = (): Promise<T> => holdFiles(others, work, how);
  if (how.makesWay) return await first.holdAhead(withFirst, how.signal);
  return await first.hold(withFirst, how.signal);
}
