/**
 * Lookups that follow each other in a directory, answered by a page of it from the name on: one LIST
 * tells what is at the name, and the names that will be asked for next.
 *
 * Where one file after another is created here, it is absence that is asked for, once for each file. Then
 * a page is believed for as long as a listing is, also in what it does not show.
 */
import { LRUCache } from 'lru-cache';
import type { DirectoryLister } from './directory-lister.js';
import type { DirectoryPage } from './page-range.js';
import type { Entry, Listing } from './listing.js';
import { childPath, isWithin, parentOf, sortsAfter } from '../path.js';
import type { Path } from '../path.js';
import { QuestionTrace, uselessMs } from './sequence-detector.js';
import { Walk } from './lists-in-flight.js';
import type { Underway } from './lists-in-flight.js';

export interface PageLookupsParts {
  readonly lister: DirectoryLister;
  readonly underway: Underway;
  /** lookups further apart than this do not belong together */
  readonly memoryMs: number;
  /** as Clock.nowMs */
  readonly now: () => number;
  /** told what a page shows, beside what was asked for */
  readonly onEntry: (path: Path, entry: Entry, fetchedAt: number) => void;
}

const maxRecentPages = 8;
/** Files created in a row until more are expected. */
const isUploadFrom = 4;
/** A page that said less often that a name is free was not worth its bytes. */
const fewestAnswers = 2;

interface PageUnderway {
  readonly from: Path;
  readonly walk: Walk;
  /** undefined for who may not list */
  readonly page: Promise<DirectoryPage | undefined>;
}

/** A directory that files are created in. */
interface Upload {
  /** in a row */
  files: number;
  lastMs: number;
  notBeforeMs: number;
  /** it is more than a page */
  isLong: boolean;
  /** what is believed of names that nobody asked for yet */
  page?: { readonly of: DirectoryPage; readonly changes: Walk; answers: number } | undefined;
}

export interface Told {
  readonly entry: Entry | undefined;
  /** when S3 said so */
  readonly fetchedAt: number;
}

export class PageLookups {
  readonly #parts: PageLookupsParts;
  /** directories whose children are looked up */
  readonly #trace: QuestionTrace;
  /** under way, by directory */
  readonly #pages = new Map<Path, PageUnderway>();
  /** the last of each directory */
  readonly #recent = new LRUCache<Path, Listing>({ max: maxRecentPages });
  readonly #uploads = new LRUCache<Path, Upload>({ max: maxRecentPages });
  /** the last page came in no order: then none tells what is not there */
  #isOrderless = false;

  constructor(parts: PageLookupsParts) {
    this.#parts = parts;
    this.#trace = new QuestionTrace(parts.memoryMs);
  }

  /** Some entries of a directory in a row, as a page showed them, which may be long ago. */
  recent(directory: Path): Listing | undefined {
    return this.#recent.get(directory);
  }

  forget(path: Path): void {
    for (const pages of [this.#recent, this.#uploads]) {
      for (const known of [...pages.keys()]) if (isWithin(known, path)) pages.delete(known);
    }
    for (const { page } of this.#uploads.values()) page?.changes.forget(path);
  }

  /** This mount changed what is at `path`. @param isCreated a file is where nothing was */
  noteChange(path: Path, isCreated: boolean): void {
    const directory = parentOf(path);
    const upload = this.#uploads.get(directory);
    upload?.page?.changes.noteChange(path);
    if (!isCreated) return;
    const nowMs = this.#parts.now();
    if (upload === undefined) {
      this.#uploads.set(directory, { files: 1, lastMs: nowMs, notBeforeMs: 0, isLong: false });
      return;
    }
    upload.files = nowMs - upload.lastMs < this.#parts.memoryMs ? upload.files + 1 : 1;
    upload.lastMs = nowMs;
  }

  /**
   * What is at `path`, which may be nothing, where another name in its directory was asked for just
   * before, or files are created one after another.
   * @returns undefined where it has to be asked for by name
   * @throws StoreError
   */
  async ask(path: Path): Promise<Told | undefined> {
    if (this.#isOrderless) return undefined;
    const directory = parentOf(path);
    const nowMs = this.#parts.now();
    const upload = this.#uploadIn(directory, nowMs);
    if (upload?.page !== undefined) {
      const known = this.#believed(upload.page, path, nowMs);
      if (known !== undefined) return known;
      if (upload.page.answers < fewestAnswers) upload.notBeforeMs = nowMs + uselessMs;
      upload.page = undefined;
    }
    const isUpload = upload !== undefined && nowMs >= upload.notBeforeMs;
    if (!this.#trace.note(directory, path, nowMs) && !isUpload) return undefined;
    const page = await this.#page(directory, path);
    const told = page?.tell(path);
    // Who asks for what is not there, to create it, is not helped by what is there.
    if (told?.entry === undefined) this.#trace.noteUseless(directory, path, nowMs);
    if (page !== undefined && told !== undefined) {
      return { ...told, fetchedAt: page.listing.fetchedAt };
    }
    if (upload !== undefined) upload.notBeforeMs = nowMs + uselessMs;
    return undefined;
  }

  #uploadIn(directory: Path, nowMs: number): Upload | undefined {
    const upload = this.#uploads.get(directory);
    if (upload === undefined || upload.files < isUploadFrom) return undefined;
    return nowMs - upload.lastMs < this.#parts.memoryMs ? upload : undefined;
  }

  /** Only that nothing is there: what is there is known to who asks, or too old. */
  #believed(page: NonNullable<Upload['page']>, path: Path, nowMs: number): Told | undefined {
    const { of, changes } = page;
    const { fetchedAt } = of.listing;
    if (nowMs - fetchedAt >= this.#parts.memoryMs) return undefined;
    if (changes.hasChanged(path) || changes.hasForgotten(path)) return undefined;
    const told = of.tell(path);
    if (told === undefined || told.entry !== undefined) return undefined;
    page.answers++;
    return { ...told, fetchedAt };
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
    const upload = this.#uploadIn(directory, this.#parts.now());
    const page = await this.#pageFor(upload, directory, child);
    const { listing } = page;
    this.#isOrderless = !page.isOrdered;
    this.#recent.set(directory, listing);
    if (upload !== undefined) upload.page = { of: page, changes: walk, answers: 0 };
    // Else not what is missing: a name that nobody asked for yet is looked up afresh.
    for (const [name, entry] of listing.entries) {
      const path = childPath(directory, name);
      if (walk.hasChanged(path) || walk.hasForgotten(path)) continue;
      this.#parts.onEntry(path, entry, listing.fetchedAt);
    }
    return page;
  }

  /** From `child` on; for those who create files, in whatever order, from the beginning, if that is all. */
  async #pageFor(upload: Upload | undefined, directory: Path, child: Path): Promise<DirectoryPage> {
    const { lister } = this.#parts;
    if (upload === undefined || upload.isLong) return await lister.page(directory, child);
    const whole = await lister.page(directory);
    upload.isLong = !whole.isLast;
    return whole.tell(child) === undefined ? await lister.page(directory, child) : whole;
  }
}
