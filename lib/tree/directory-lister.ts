/**
 * Asks S3 for whole directories, 1,000 names a request, the next on its way while a page is taken in.
 * Keys that no path can name are left out, counted, and logged once each.
 */
import { LRUCache } from 'lru-cache';
import { DirectoryPage, startBefore } from './page-range.js';
import { Listing } from './listing.js';
import type { Entry } from './listing.js';
import type { Log } from '../log.js';
import { SpilledListing } from './spilled-listing.js';
import { classifyKey, markerOf } from '../path.js';
import type { Path } from '../path.js';
import type { ListPage, ObjectStore } from '../store.js';
import type { PageDirectory } from './subtree-page.js';
import type { Holder } from '../limits/shares.js';
import type { TempSpace } from '../limits/temp-space.js';

export interface ListerSettings {
  readonly store: ObjectStore;
  /** where listings go that are too large for memory */
  readonly space: TempSpace;
  /** whose temp space the listing of a directory takes */
  readonly holderOf: (path: Path) => Holder;
  /** bytes of a listing in memory */
  readonly longestBytes: number;
  /** the date shown for directories without one of their own, ms */
  readonly startedAt: number;
  /** as Clock.nowMs */
  readonly now: () => number;
  readonly log: Log;
  /** the last reference to this listing is gone */
  readonly onClosed: (listing: SpilledListing) => void;
}

export class DirectoryLister {
  readonly #settings: ListerSettings;
  /** hidden keys already logged */
  readonly #loggedOdd = new LRUCache<string, true>({ max: 10_000 });
  #oddKeys = 0;

  constructor(settings: ListerSettings) {
    this.#settings = settings;
  }

  /** How many keys were left out because no path can name them. */
  get oddKeys(): number {
    return this.#oddKeys;
  }

  /**
   * A whole directory; the caller has the first reference to a spilled one.
   * @throws StoreError; FsError ENOSPC where a long one does not fit into the temp directory
   */
  async list(path: Path, signal: AbortSignal): Promise<Listing | SpilledListing> {
    // Once only: then the endpoint is known to keep no order.
    return (await this.#tryList(path, signal)) ?? (await this.list(path, signal));
  }

  /** @returns undefined where it turned out too late that names come in no order */
  async #tryList(path: Path, signal: AbortSignal): Promise<Listing | SpilledListing | undefined> {
    const { now, longestBytes, space, holderOf, onClosed } = this.#settings;
    const begunAt = now();
    let fetchedAt = begunAt;
    let listing = new Listing(begunAt);
    let long: SpilledListing | undefined;
    try {
      for await (const page of this.#pages(path, signal)) {
        if (page.next !== undefined) fetchedAt = now();
        this.#take(page, path, listing);
        const isOrdered = page.unordered !== true;
        if (long === undefined) {
          if (listing.bytes <= longestBytes || page.next === undefined) continue;
          const holder = holderOf(path);
          const parts = { path, fetchedAt, space, holder, onClosed, isOrdered };
          long = await SpilledListing.create(parts);
        } else if (long.isOrdered && !isOrdered) {
          long.release();
          return undefined;
        }
        await long.append(listing.entries);
        listing = new Listing(begunAt);
      }
    } catch (error) {
      long?.release();
      throw error;
    }
    const whole = long ?? listing;
    whole.fetchedAt = fetchedAt;
    return whole;
  }

  /** A page of a directory, from `child` or its beginning on. @throws StoreError */
  async page(path: Path, child?: Path): Promise<DirectoryPage> {
    const { store, now } = this.#settings;
    const listing = new Listing(now());
    const after = child === undefined ? '' : startBefore(child);
    const from = child === undefined ? {} : { after };
    const page = await store.list({ prefix: markerOf(path), oneLevel: true, ...from });
    this.#take(page, path, listing);
    return new DirectoryPage(path, listing, { page, after });
  }

  /** As far as the page of another listing shows it. */
  listingOf({ files, directories, hasMarker }: PageDirectory, fetchedAt: number): Listing {
    const listing = new Listing(fetchedAt);
    for (const [name, info] of files) listing.set(name, { kind: 'file', info });
    for (const name of directories) listing.set(name, this.#directory());
    listing.hasMarker = hasMarker;
    return listing;
  }

  hide(key: string): void {
    if (this.#loggedOdd.has(key)) return;
    this.#loggedOdd.set(key, true);
    this.#oddKeys++;
    this.#settings.log.warn({ key }, 'a key that no path can name is left out of listings');
  }

  async *#pages(path: Path, signal: AbortSignal): AsyncGenerator<ListPage> {
    const { store } = this.#settings;
    const ask = (next?: string): Promise<ListPage> => {
      const from = next === undefined ? {} : { from: next };
      const asking = store.list({ prefix: markerOf(path), oneLevel: true, signal, ...from });
      // Heard of by whoever comes for the page, which may be nobody.
      asking.catch(() => undefined);
      return asking;
    };
    let coming: Promise<ListPage> | undefined = ask();
    while (coming !== undefined) {
      const page: ListPage = await coming;
      coming = page.next === undefined ? undefined : ask(page.next);
      yield page;
    }
  }

  #take({ objects, prefixes }: ListPage, path: Path, listing: Listing): void {
    const marker = markerOf(path);
    for (const info of objects) {
      const found = classifyKey(marker, info.key);
      if (found.kind === 'odd') this.hide(info.key);
      else if (found.kind === 'marker') listing.hasMarker = true;
      else if (listing.entries.get(found.name)?.kind !== 'directory') {
        listing.set(found.name, { kind: 'file', info });
      }
    }
    for (const prefix of prefixes) {
      const found = classifyKey(marker, prefix);
      if (found.kind === 'entry') listing.set(found.name, this.#directory());
      else this.hide(prefix);
    }
  }

  #directory(): Entry {
    return { kind: 'directory', mtimeMs: this.#settings.startedAt };
  }
}
