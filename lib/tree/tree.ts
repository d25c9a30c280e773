/**
 * What exists below the prefix, as S3 last said or as this mount has changed it since.
 *
 * Directories are simulated: one exists if it has a marker or a deeper key, and beats a file of its
 * name. What S3 said is cached (metadata-cache.ts); callers share a request in flight
 * (coalesced-requests.ts); where access is sequential one LIST page answers for many
 * (lists-in-flight.ts). A change made through this mount is recorded at once; an answer that was in
 * flight at that moment gets the change applied on top, so that it can never bring the old state back.
 *
 * What is known of a path, and what moves it on:
 *
 *   unknown ──lookup, list, a page that shows it──▶ known ──TTL──▶ expired ──asked anew──▶ known
 *      ▲                                               │ record*: known as changed, for a new TTL
 *      └──────────forget, distrust, eviction───────────┘
 *
 * A request in flight is current, or outdated once its path was recorded or forgotten meanwhile. An
 * outdated lookup is sent again; an outdated listing is handed to its waiters and not cached.
 *
 * Invariants (`check` tells of the first that is broken, where nobody else writes below the prefix):
 *  1. What this mount did is in every cache before the operation that did it answers.
 *  2. That of metadata-cache.ts: entries and listings agree.
 *  3. That of coalesced-requests.ts: nothing is in flight that nobody waits for.
 *  4. An answer is as old as its request: `fetchedAt` is when that was sent, never when it came; of a
 *     listing's requests the last counts.
 *
 * Callers: `record*`, `forget` and `distrust` need the lock of the name, and S3's answer or the failure
 * to get one; everything else may be called at any time.
 */
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import { nameOf, parentOf } from '../path.js';
import type { Path } from '../path.js';
import type { Holder } from '../limits/shares.js';
import type { ObjectInfo, ObjectStore } from '../store.js';
import type { TempSpace } from '../limits/temp-space.js';
import { CoalescedRequests } from './coalesced-requests.js';
import { DirectoryLister } from './directory-lister.js';
import type { DirectoryTimes } from './directory-times.js';
import { Listing } from './listing.js';
import type { Entry, Snapshot } from './listing.js';
import { NameLookup } from './lookup-by-name.js';
import { PageLookups } from './lookup-by-page.js';
import type { Answer } from './lookup-by-page.js';
import { MetadataCache } from './metadata-cache.js';
import type { SpilledListing } from './spilled-listing.js';
import { SubtreeWalks } from './subtree-walks.js';

export interface TreeSettings {
  /** where listings go that are too large for memory */
  readonly space: TempSpace;
  /** bytes of one listing in memory; 48 MiB */
  readonly longestListing?: number | undefined;
  /** how long what S3 said may be repeated */
  readonly ttlMs: number;
  /** bytes that one GET brings */
  readonly partSize: number;
  /** what stat(2) shows is told by HEAD alone */
  readonly needsHead: boolean;
  /** a directory that is there whatever S3 holds */
  readonly isRoot: (path: Path) => boolean;
  /** whose temp space the listing of a directory takes */
  readonly holderOf: (path: Path) => Holder;
  readonly clock: Clock;
  readonly directoryTimes: DirectoryTimes;
  readonly log: Log;
  /** S3 says something else of a path than it said before: somebody else changed it */
  readonly onForeignChange: (path: Path, what: 'entry' | 'attributes') => void;
}

/** What this mount did to a path while it was looked up. */
interface LookupNotes {
  isOutdated: boolean;
}

/** The same for a directory that is listed: changes to be applied to what the listing brings. */
interface ListingNotes extends LookupNotes {
  readonly changes: Map<string, Entry | undefined>;
  hasMarker?: boolean;
}

/** Some 130,000 entries. */
const longestListing = 48 * 1024 * 1024;

export class Tree {
  readonly #settings: TreeSettings;
  /** the date shown for directories that have none */
  readonly #startedAt: number;
  readonly #cache: MetadataCache;
  readonly #lister: DirectoryLister;
  readonly #byName: NameLookup;
  readonly #byPage: PageLookups;
  readonly #walks: SubtreeWalks;
  readonly #lookups: CoalescedRequests<Entry | undefined, LookupNotes>;
  readonly #listings: CoalescedRequests<Listing | SpilledListing, ListingNotes>;
  #hits = 0;
  #misses = 0;

  constructor(store: ObjectStore, settings: TreeSettings) {
    this.#settings = settings;
    const { clock, directoryTimes, isRoot, log, onForeignChange, space, ttlMs } = settings;
    const { holderOf } = settings;
    this.#startedAt = clock.dateMs();
    const startedAt = this.#startedAt;
    const now = (): number => clock.nowMs();
    const longestBytes = settings.longestListing ?? longestListing;
    const cache = new MetadataCache({
      ...{ ttlMs, clock, directoryTimes, isRoot, longestBytes, onForeignChange },
    });
    const lister = new DirectoryLister({
      ...{ store, space, holderOf, now, log, startedAt, longestBytes },
      onClosed: (listing) => {
        cache.dropSpilled(listing);
      },
    });
    this.#cache = cache;
    this.#lister = lister;
    this.#byName = new NameLookup(store, startedAt);
    this.#byPage = new PageLookups({
      ...{ lister, now, memoryMs: ttlMs },
      onEntry: (path, entry, fetchedAt) => {
        cache.storeShown(path, entry, fetchedAt);
      },
      onChild: (directory, name) => {
        cache.noteChild(directory, name);
      },
    });
    this.#walks = new SubtreeWalks({
      ...{ store, lister, isRoot, now, memoryMs: ttlMs },
      isWanted: (path) => !this.#listings.has(path) && !cache.isListed(path),
      onListing: (path, listing) => {
        cache.storeListing(path, listing);
      },
    });
    this.#lookups = new CoalescedRequests(
      (): LookupNotes => ({ isOutdated: false }),
      (path, notes, signal) => this.#sendLookup(path, notes, signal),
    );
    this.#listings = new CoalescedRequests(
      (): ListingNotes => ({ isOutdated: false, changes: new Map() }),
      (path, notes, signal) => this.#sendListing(path, notes, signal),
    );
  }

  /** How many keys were left out of listings because no path can name them. */
  get oddKeys(): number {
    return this.#lister.oddKeys;
  }

  /** Lookups and listings answered from the cache, and those that S3 was asked for. */
  get asked(): { hits: number; misses: number } {
    return { hits: this.#hits, misses: this.#misses };
  }

  get cachedEntries(): number {
    return this.#cache.size;
  }

  /** What S3 has at `path`, or undefined. @throws StoreError */
  async lookup(path: Path, signal?: AbortSignal): Promise<Entry | undefined> {
    const known = this.known(path);
    if (known !== undefined) return known.entry;
    this.#count(false);
    return await this.#lookups.request(path, signal);
  }

  /** As lookup, where S3 need not be asked. */
  known(path: Path): { entry: Entry | undefined } | undefined {
    if (this.#settings.isRoot(path))
      return { entry: { kind: 'directory', mtimeMs: this.#startedAt } };
    const known = this.peek(path) ?? this.#absentByPage(path);
    if (known !== undefined) this.#count(true);
    return known;
  }

  #absentByPage(path: Path): { entry: Entry | undefined } | undefined {
    const absent = this.#byPage.absent(path);
    return absent && { entry: this.#cache.storeEntry(path, undefined, absent.fetchedAt) };
  }

  /** What S3 has at `path`, asked anew, before something is put there. @throws StoreError */
  async lookupAnew(path: Path): Promise<Entry | undefined> {
    const entry = await this.#byName.lookup(path, new AbortController().signal);
    if (entry?.kind !== this.peek(path)?.entry?.kind) {
      this.forget(path);
      this.#record(path, entry);
    }
    return entry;
  }

  /** What is known of `path` without asking S3. */
  peek(path: Path): { entry: Entry | undefined } | undefined {
    return this.#cache.peek(path);
  }

  /**
   * All of a directory, to be closed by the caller. Until then it answers for its entries.
   * @throws StoreError; FsError ENOSPC where a long one does not fit into the temp directory
   */
  async list(path: Path, signal?: AbortSignal): Promise<Snapshot> {
    const known = this.listNow(path);
    if (known !== undefined) return known;
    this.#count(false);
    return this.#cache.open(path, await this.#listings.request(path, signal));
  }

  /** As list, where S3 need not be asked. */
  listNow(path: Path): Snapshot | undefined {
    const known = this.#cache.freshListing(path);
    if (known === undefined) return undefined;
    this.#count(true);
    return this.#cache.open(path, known);
  }

  /** The entries of a directory, or some in a row, as it was last listed, which may be long ago. */
  listed(path: Path): ReadonlyMap<string, Entry> | undefined {
    return (this.#cache.lastListing(path) ?? this.#byPage.recent(path))?.entries;
  }

  /** For how long `peek` will still say of `path` what it says now, unless this mount changes it. */
  freshForMs(path: Path): number {
    return this.#cache.freshForMs(path);
  }

  /** For how long the listing of `path` is fresh. */
  listingFreshForMs(path: Path): number {
    return this.#cache.listingFreshForMs(path);
  }

  /** An object is at `path` now: this mount put it there, or saw it. */
  recordFile(path: Path, info: ObjectInfo): void {
    this.#record(path, { kind: 'file', info: { ...info, modifiedMs: undefined } });
  }

  /** More is known of a version, where that is what is known to be at `path`. */
  noteTold(path: Path, info: ObjectInfo): void {
    this.#cache.noteTold(path, info);
  }

  recordDirectory(path: Path, hasMarker: boolean): void {
    this.#record(path, { kind: 'directory', mtimeMs: this.#settings.clock.dateMs(), hasMarker });
    this.#cache.recordMarker(path, hasMarker);
    const notes = this.#listings.notesOn(path);
    if (notes !== undefined) notes.hasMarker = hasMarker;
  }

  /** This mount made a directory: nobody has put anything into it yet. */
  recordNewDirectory(path: Path): void {
    this.recordDirectory(path, true);
    this.#cache.recordEmpty(path);
  }

  /** No object is at `path` any more. */
  recordAbsent(path: Path): void {
    this.#record(path, undefined);
  }

  /** A directory is gone with all below it. */
  recordNoDirectory(path: Path): void {
    this.forget(path);
    this.#record(path, undefined);
  }

  /** Drops what is cached of `path` and below. */
  forget(path: Path): void {
    this.#cache.forget(path);
    for (const requests of [this.#lookups, this.#listings]) {
      for (const notes of requests.notesWithin(path)) notes.isOutdated = true;
    }
    this.#byPage.forget(path);
    this.#walks.forget(path);
  }

  /** What is known of `path` has proved wrong: it is forgotten, and so is the listing that says so. */
  distrust(path: Path): void {
    this.forget(path);
    const parent = parentOf(path);
    this.#cache.forgetListing(parent);
    const notes = this.#listings.notesOn(parent);
    if (notes !== undefined) notes.isOutdated = true;
  }

  /** Whether a directory keeps existing when the entry `name` is gone, as far as is known. */
  staysWithout(directory: Path, name: string): boolean | undefined {
    return this.#cache.staysWithout(directory, name);
  }

  /** @throws Error where an invariant of the head is broken; for tests without another writer */
  check(): void {
    this.#cache.check();
    this.#lookups.check();
    this.#listings.check();
  }

  #count(isHit: boolean): void {
    if (isHit) this.#hits += 1;
    else this.#misses += 1;
  }

  #record(path: Path, entry: Entry | undefined): void {
    const wasAbsent = this.#cache.record(path, entry);
    this.#byPage.noteChange(path, wasAbsent && entry?.kind === 'file');
    this.#walks.noteChange(path);
    const lookup = this.#lookups.notesOn(path);
    if (lookup !== undefined) lookup.isOutdated = true;
    this.#listings.notesOn(parentOf(path))?.changes.set(nameOf(path), entry);
  }

  async #sendLookup(
    path: Path,
    notes: LookupNotes,
    signal: AbortSignal,
  ): Promise<Entry | undefined> {
    for (;;) {
      const sentAt = this.#settings.clock.nowMs();
      const { entry, fetchedAt = sentAt } = await this.#ask(path, signal);
      if (!notes.isOutdated) return this.#cache.storeEntry(path, entry, fetchedAt);
      // What was recorded meanwhile is the answer.
      const known = this.peek(path);
      if (known !== undefined) return known.entry;
      notes.isOutdated = false;
    }
  }

  /** By a page of the directory where lookups follow each other, beside the name at the first, else by name. */
  async #ask(path: Path, signal: AbortSignal): Promise<Partial<Answer>> {
    const { needsHead, partSize } = this.#settings;
    const page = needsHead ? undefined : this.#byPage.lookup(path);
    if (page?.isFirst === true) {
      return { entry: await this.#byName.lookup(path, signal, page.answer) };
    }
    const answer = await page?.answer;
    if (answer === undefined) return { entry: await this.#byName.lookup(path, signal) };
    const { entry } = answer;
    if (entry?.kind !== 'file' || entry.info.size <= partSize) return answer;
    // One GET brings the checksum of all it brings; of what takes several, only HEAD tells it.
    return { entry: await this.#byName.headed(entry.info, signal) };
  }

  /** By a page of all that follows it where listings follow each other, else by LISTs of its own. */
  async #sendListing(
    path: Path,
    notes: ListingNotes,
    signal: AbortSignal,
  ): Promise<Listing | SpilledListing> {
    const listing = (await this.#walks.list(path)) ?? (await this.#lister.list(path, signal));
    if (!(listing instanceof Listing)) {
      for (const [name, entry] of notes.changes) listing.changed.set(name, entry);
      this.#cache.storeSpilled(listing, notes.isOutdated);
      return listing;
    }
    for (const [name, entry] of notes.changes) listing.set(name, entry);
    if (notes.hasMarker !== undefined) listing.hasMarker = notes.hasMarker;
    if (!notes.isOutdated) this.#cache.storeListing(path, listing);
    return listing;
  }
}
