/**
 * Lookups that follow each other in a directory, answered by a page of it from the name on: one LIST
 * tells what is at the name, and the names that will be asked for next.
 */
import { LRUCache } from 'lru-cache';
import type { DirectoryLister } from './directory-lister.js';
import type { DirectoryPage } from './directory-page.js';
import type { Entry, Listing } from './listing.js';
import { childPath, isWithin, parentOf, sortsAfter } from './path.js';
import type { Path } from './path.js';
import { QuestionTrace } from './question-trace.js';
import { Walk } from './underway.js';
import type { Underway } from './underway.js';

export interface PageLookupsParts {
  readonly lister: DirectoryLister;
  readonly underway: Underway;
  /** lookups further apart than this do not belong together */
  readonly memoryMs: number;
  readonly now: () => number;
  /** told what a page shows, beside what was asked for */
  readonly onEntry: (path: Path, entry: Entry, fetchedAt: number) => void;
}

const maxRecentPages = 8;

interface PageUnderway {
  readonly from: Path;
  readonly walk: Walk;
  /** undefined for who may not list */
  readonly page: Promise<DirectoryPage | undefined>;
}

export class PageLookups {
  readonly #parts: PageLookupsParts;
  /** directories whose children are looked up */
  readonly #trace: QuestionTrace;
  /** under way, by directory */
  readonly #pages = new Map<Path, PageUnderway>();
  /** the last of each directory */
  readonly #recent = new LRUCache<Path, Listing>({ max: maxRecentPages });

  constructor(parts: PageLookupsParts) {
    this.#parts = parts;
    this.#trace = new QuestionTrace(parts.memoryMs);
  }

  /** Some entries of a directory in a row, as a page showed them, which may be long ago. */
  recent(directory: Path): Listing | undefined {
    return this.#recent.get(directory);
  }

  forget(path: Path): void {
    for (const known of [...this.#recent.keys()]) {
      if (isWithin(known, path)) this.#recent.delete(known);
    }
  }

  /**
   * What is at `path`, which may be nothing, where another name in its directory was asked for just before.
   * @returns undefined where it has to be asked for by name
   * @throws StoreError
   */
  async ask(path: Path): Promise<{ entry: Entry | undefined } | undefined> {
    const directory = parentOf(path);
    const { now } = this.#parts;
    if (!this.#trace.note(directory, path, now())) return undefined;
    const page = await this.#page(directory, path);
    const told = page?.tell(path);
    // Who asks for what is not there, to create it, is not helped by what is there.
    if (told?.entry === undefined) this.#trace.noteUseless(directory, path, now());
    return told;
  }

  /** One from `child` or a name before it on, begun after `child` was last changed here. */
  #page(directory: Path, child: Path): Promise<DirectoryPage | undefined> {
    const known = this.#pages.get(directory);
    const isFit = known !== undefined && !sortsAfter(known.from, child);
    if (isFit && !known.walk.hasChanged(child)) return known.page;
    const walk = new Walk();
    const page = this.#parts.underway
      .during(walk, () => this.#fetch(directory, { child, walk }))
      .finally(() => {
        if (this.#pages.get(directory)?.walk === walk) this.#pages.delete(directory);
      });
    this.#pages.set(directory, { from: child, walk, page });
    return page;
  }

  async #fetch(
    directory: Path,
    { child, walk }: { child: Path; walk: Walk },
  ): Promise<DirectoryPage> {
    const page = await this.#parts.lister.page(directory, child);
    const { listing } = page;
    this.#recent.set(directory, listing);
    // Not what is missing: a name that nobody asked for yet is looked up afresh.
    for (const [name, entry] of listing.entries) {
      const path = childPath(directory, name);
      if (walk.hasChanged(path) || walk.hasForgotten(path)) continue;
      this.#parts.onEntry(path, entry, listing.fetchedAt);
    }
    return page;
  }
}
