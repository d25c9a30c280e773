/**
 * Listings of directories one after another, as by find(1), answered by a page of all keys from the
 * directory on: one LIST tells what is in it, and in the small directories that will be listed next.
 */
import { markerOf, parentOf } from '../path.js';
import type { Path } from '../path.js';
import type { ObjectStore } from '../store.js';
import type { DirectoryLister } from './directory-lister.js';
import type { Listing } from './listing.js';
import { ListsInFlight } from './lists-in-flight.js';
import { SequentialAccess } from './sequential-access.js';
import { startOf, wholeDirectories } from './subtree-page.js';
import type { PageDirectory } from './subtree-page.js';

export interface SubtreeWalksParts {
  readonly store: ObjectStore;
  readonly lister: DirectoryLister;
  /** a directory of its own: what is in two of them is never asked for together */
  readonly isRoot: (path: Path) => boolean;
  /** listings further apart than this do not belong together */
  readonly memoryMs: number;
  /** as Clock.nowMs */
  readonly now: () => number;
  /** whether a directory that nobody asked for yet is not known as well already */
  readonly isWanted: (path: Path) => boolean;
  readonly onListing: (path: Path, listing: Listing) => void;
}

/** The directories that a page shows whole. */
interface Subtree {
  readonly directories: ReadonlyMap<Path, PageDirectory>;
  readonly fetchedAt: number;
}

export class SubtreeWalks {
  readonly #parts: SubtreeWalksParts;
  /** directories whose children are listed */
  readonly #access: SequentialAccess;
  readonly #lists = new ListsInFlight<Subtree>();

  constructor(parts: SubtreeWalksParts) {
    this.#parts = parts;
    this.#access = new SequentialAccess(parts.memoryMs);
  }

  noteChange(path: Path): void {
    this.#lists.noteChange(path);
  }

  forget(path: Path): void {
    this.#lists.forget(path);
  }

  /**
   * All of `path` where other directories beside it were listed just before. Never dearer than listing
   * each by itself, but for the one request that finds out that a directory is too large for it.
   * @returns undefined where it has to be listed by itself
   * @throws StoreError
   */
  async list(path: Path): Promise<Listing | undefined> {
    const { isRoot, now } = this.#parts;
    const parent = parentOf(path);
    if (isRoot(path) || this.#access.note(parent, path, now()) !== 'next') return undefined;
    // Others may walk here too: theirs may have it.
    const theirs = await this.#lists.join(parent, path, () => Promise.resolve(undefined));
    const shared = listingIn(theirs, path, this.#parts.lister);
    if (shared !== undefined) return shared;
    const own = await this.#lists.fetch(parent, path, async (changes) => {
      const subtree = await this.#fetch(parent, path);
      for (const other of subtree.directories.keys()) {
        if (other === path || changes.has(other) || !this.#parts.isWanted(other)) continue;
        const listing = listingIn(subtree, other, this.#parts.lister);
        if (listing !== undefined) this.#parts.onListing(other, listing);
      }
      return subtree;
    });
    const listing = listingIn(own, path, this.#parts.lister);
    if (listing === undefined) this.#access.suppress(parent, path, now());
    return listing;
  }

  /** One page of all keys from `path` on below `parent`. */
  async #fetch(parent: Path, path: Path): Promise<Subtree> {
    const { lister, now, store } = this.#parts;
    const fetchedAt = now();
    const prefix = markerOf(parent);
    const page = await store.list({ prefix, oneLevel: false, after: startOf(path) });
    const range = { top: parent, from: path };
    return { directories: wholeDirectories(page, range, (key) => lister.hide(key)), fetchedAt };
  }
}

function listingIn(
  subtree: Subtree | undefined,
  path: Path,
  lister: DirectoryLister,
): Listing | undefined {
  const found = subtree?.directories.get(path);
  return subtree === undefined || found === undefined
    ? undefined
    : lister.listingOf(found, subtree.fetchedAt);
}
