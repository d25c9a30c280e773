/**
 * Lookups that follow each other in a directory, answered by a page of it from the name on: one LIST
 * tells what is at the name, and the names that will be asked for next. The first look into a directory
 * asks for such a page beside a HEAD of the name, so that it costs one exchange and the next ones none.
 *
 * Where one file after another is created here, it is absence that is asked for, once for each file. Then
 * a page is a negative cache for as long as a listing is valid: what it does not show is not there.
 */
import { LRUCache } from 'lru-cache';
import type { DirectoryLister } from './directory-lister.js';
import type { DirectoryPage } from './page-range.js';
import type { Entry, Listing } from './listing.js';
import { childPath, isWithin, parentOf } from '../path.js';
import type { Path } from '../path.js';
import { ListsInFlight } from './lists-in-flight.js';
import type { MutationLog } from './lists-in-flight.js';
import { SequentialAccess, suppressedMs } from './sequential-access.js';

export interface PageLookupsParts {
  readonly lister: DirectoryLister;
  /** lookups further apart than this do not belong together */
  readonly memoryMs: number;
  /** as Clock.nowMs */
  readonly now: () => number;
  /** told what a page shows, beside what was asked for */
  readonly onEntry: (path: Path, entry: Entry, fetchedAt: number) => void;
  /** told a name that a directory holds: the last, as who looks at the first may take that away */
  readonly onChild: (directory: Path, name: string) => void;
}

const maxRecentPages = 8;
/** Files created in a row from which on more are expected. */
const bulkFrom = 4;
/** Negative answers a page must have given before it expires to justify fetching another. */
const fewestAnswers = 2;

/** A directory that files are created in. */
interface BulkCreate {
  /** in a row */
  files: number;
  lastMs: number;
  notBeforeMs: number;
  /** it is more than a page */
  isLong: boolean;
  /** the negative cache: what is not there of names that nobody asked for yet */
  page?: { readonly of: DirectoryPage; readonly changes: MutationLog; answers: number } | undefined;
}

/** A page on its way. */
export interface PageLookup {
  /** nobody looked into the directory lately: HEAD of the name is to be asked for beside it */
  readonly isFirst: boolean;
  /** what it says of the name; undefined where it does not tell. Rejects with StoreError */
  readonly answer: Promise<Answer | undefined>;
}

export interface Answer {
  readonly entry: Entry | undefined;
  /** when S3 said so */
  readonly fetchedAt: number;
}

export class PageLookups {
  readonly #parts: PageLookupsParts;
  /** directories whose children are looked up */
  readonly #access: SequentialAccess;
  readonly #lists = new ListsInFlight<DirectoryPage>();
  /** the last of each directory */
  readonly #recent = new LRUCache<Path, Listing>({ max: maxRecentPages });
  readonly #bulks = new LRUCache<Path, BulkCreate>({ max: maxRecentPages });
  /** pages were refused: until then a first look asks for none, which would be a request too many */
  #notFirstBeforeMs = 0;
  /** the last page came in no order: then none tells what is not there */
  #isOrderless = false;

  constructor(parts: PageLookupsParts) {
    this.#parts = parts;
    this.#access = new SequentialAccess(parts.memoryMs);
  }

  /** Some entries of a directory in a row, as a page showed them, which may be long ago. */
  recent(directory: Path): Listing | undefined {
    return this.#recent.get(directory);
  }

  forget(path: Path): void {
    this.#lists.forget(path);
    for (const pages of [this.#recent, this.#bulks]) {
      for (const known of [...pages.keys()]) if (isWithin(known, path)) pages.delete(known);
    }
    for (const { page } of this.#bulks.values()) page?.changes.forget(path);
  }

  /** This mount changed what is at `path`. @param isCreated a file is where nothing was */
  noteChange(path: Path, isCreated: boolean): void {
    this.#lists.noteChange(path);
    const directory = parentOf(path);
    const bulk = this.#bulks.get(directory);
    bulk?.page?.changes.noteChange(path);
    if (!isCreated) return;
    const nowMs = this.#parts.now();
    if (bulk === undefined) {
      this.#bulks.set(directory, { files: 1, lastMs: nowMs, notBeforeMs: 0, isLong: false });
      return;
    }
    bulk.files = nowMs - bulk.lastMs < this.#parts.memoryMs ? bulk.files + 1 : 1;
    bulk.lastMs = nowMs;
  }

  /** That nothing is at `path`, where the page of a directory that files are created in tells. */
  absent(path: Path): Answer | undefined {
    const nowMs = this.#parts.now();
    const page = this.#isOrderless ? undefined : this.#bulkIn(parentOf(path), nowMs)?.page;
    return page && this.#cachedNegative(page, path, nowMs);
  }

  /**
   * What is at `path`, which may be nothing, where no other name in its directory was asked for lately or
   * one was just before, or where files are created one after another.
   * @returns undefined where it has to be asked for by name
   */
  lookup(path: Path): PageLookup | undefined {
    if (this.#isOrderless) return undefined;
    const directory = parentOf(path);
    const nowMs = this.#parts.now();
    const bulk = this.#bulkIn(directory, nowMs);
    if (bulk?.page !== undefined) {
      const known = this.#cachedNegative(bulk.page, path, nowMs);
      if (known !== undefined) return { isFirst: false, answer: Promise.resolve(known) };
      if (bulk.page.answers < fewestAnswers) bulk.notBeforeMs = nowMs + suppressedMs;
      bulk.page = undefined;
    }
    const isBulk = bulk !== undefined && nowMs >= bulk.notBeforeMs;
    const place = this.#access.note(directory, path, nowMs);
    const isUseless = place === undefined || (place === 'first' && nowMs < this.#notFirstBeforeMs);
    if (isUseless && !isBulk) return undefined;
    const isFirst = place === 'first' && !isBulk;
    return { isFirst, answer: this.#ask(path, { bulk, isFirst }) };
  }

  async #ask(
    path: Path,
    { bulk, isFirst }: { bulk: BulkCreate | undefined; isFirst: boolean },
  ): Promise<Answer | undefined> {
    const directory = parentOf(path);
    const nowMs = this.#parts.now();
    const page = await this.#page(directory, path);
    if (page === undefined) this.#notFirstBeforeMs = nowMs + suppressedMs;
    const found = page?.lookup(path);
    // A caller that looks for absent names, one after another, is not served by a page of present ones.
    if (found?.entry === undefined && !isFirst) this.#access.suppress(directory, path, nowMs);
    if (page !== undefined && found !== undefined) {
      return { ...found, fetchedAt: page.listing.fetchedAt };
    }
    if (bulk !== undefined) bulk.notBeforeMs = nowMs + suppressedMs;
    return undefined;
  }

  #bulkIn(directory: Path, nowMs: number): BulkCreate | undefined {
    const bulk = this.#bulks.get(directory);
    if (bulk === undefined || bulk.files < bulkFrom) return undefined;
    return nowMs - bulk.lastMs < this.#parts.memoryMs ? bulk : undefined;
  }

  /** Positive entries are served by the entry cache, or have expired. */
  #cachedNegative(
    page: NonNullable<BulkCreate['page']>,
    path: Path,
    nowMs: number,
  ): Answer | undefined {
    const { of, changes } = page;
    const { fetchedAt } = of.listing;
    if (nowMs - fetchedAt >= this.#parts.memoryMs) return undefined;
    const found = changes.has(path) ? undefined : of.lookup(path);
    if (found === undefined || found.entry !== undefined) return undefined;
    page.answers++;
    return { ...found, fetchedAt };
  }

  async #page(directory: Path, child: Path): Promise<DirectoryPage | undefined> {
    return await this.#lists.join(directory, child, () => {
      // Many look at once, in whatever order: one that begins at the beginning serves all who come now.
      const from = this.#lists.has(directory) ? directory : child;
      return this.#lists.fetch(directory, from, (changes) =>
        this.#fetch(directory, { child, fromStart: from === directory }, changes),
      );
    });
  }

  async #fetch(
    directory: Path,
    { child, fromStart }: { child: Path; fromStart: boolean },
    changes: MutationLog,
  ): Promise<DirectoryPage> {
    const bulk = this.#bulkIn(directory, this.#parts.now());
    const page = await this.#pageFor(bulk, directory, { child, fromStart });
    const { listing } = page;
    this.#isOrderless = !page.isOrdered;
    this.#recent.set(directory, listing);
    if (bulk !== undefined) bulk.page = { of: page, changes, answers: 0 };
    let last: string | undefined;
    // Else not what is missing: a name that nobody asked for yet is looked up afresh.
    for (const [name, entry] of listing.entries) {
      const path = childPath(directory, name);
      if (changes.has(path)) continue;
      this.#parts.onEntry(path, entry, listing.fetchedAt);
      last = name;
    }
    if (last !== undefined) this.#parts.onChild(directory, last);
    return page;
  }

  /** From `child` on; for those who create files, in whatever order, from the beginning, if that is all. */
  async #pageFor(
    bulk: BulkCreate | undefined,
    directory: Path,
    { child, fromStart }: { child: Path; fromStart: boolean },
  ): Promise<DirectoryPage> {
    const { lister } = this.#parts;
    const isLong = bulk?.isLong ?? !fromStart;
    if (isLong) return await lister.page(directory, child);
    const whole = await lister.page(directory);
    if (bulk !== undefined) bulk.isLong = !whole.isLast;
    return whole.lookup(child) === undefined ? await lister.page(directory, child) : whole;
  }
}
