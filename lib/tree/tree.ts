/**
 * What exists below the prefix, as S3 last said or as this mount has changed it since.
 *
 * Directories are simulated: one exists if it has a marker or a deeper key, and beats a file of its
 * name. Listings and single attributes are cached for the TTL, in bounded LRU caches; what S3 said
 * of absent names is cached like everything else. A change made through this mount is recorded at
 * once and patched into what is cached; an answer that was under way at that moment gets the change
 * applied on top, so that it can never bring the old state back. Callers share what is asked; when
 * the last of them has given up, so does the question.
 *
 * What is known of a path, and what moves it on:
 *
 *   unknown ──lookup, list, a page that shows it──▶ known ──TTL──▶ expired ──asked anew──▶ known
 *      ▲                                               │ record*: known as changed, for a new TTL
 *      └──────────forget, distrust, LRU────────────────┘
 *
 * A question under way is current, or outdated once its path was recorded or forgotten meanwhile. An
 * outdated lookup is asked again; an outdated listing is handed to who waits and not cached.
 *
 * Invariants (`check` tells of the first that is broken, where nobody else writes below the prefix):
 *  1. What this mount did is in every cache before the operation that did it answers.
 *  2. A single entry and a listing that are both fresh say the same of a name: kind and version.
 *  3. Nothing is pending that nobody waits for.
 *  4. An answer is as old as its request: `fetchedAt` is when that was sent, never when it came.
 *
 * Who may call: `record*`, `forget` and `distrust` only who holds the lock of the name and has S3's
 * answer, or has lost it; all else anybody, at any time.
 */
import { LRUCache } from 'lru-cache';
import { unlessAborted } from '../abort.js';
import type { Clock } from '../clock.js';
import { DirectoryLister } from './directory-lister.js';
import type { DirectoryTimes } from './directory-times.js';
import { Listing } from './listing.js';
import type { Entry, Snapshot } from './listing.js';
import type { Log } from '../log.js';
import { LongListing } from './spilled-listing.js';
import { NameLookup } from './lookup-by-name.js';
import { PageLookups } from './lookup-by-page.js';
import type { Told } from './lookup-by-page.js';
import { childPath, isWithin, markerOf, nameOf, parentOf, rootPath } from '../path.js';
import type { Path } from '../path.js';
import { QuestionTrace } from './sequence-detector.js';
import { withKnown } from './same-version.js';
import type { ObjectInfo, ObjectStore } from '../store.js';
import { startOf, wholeDirectories } from './subtree-page.js';
import type { TempSpace } from '../temp-space.js';
import { Underway, Walk } from './lists-in-flight.js';

interface CachedEntry {
  /** undefined: S3 has nothing there */
  readonly entry: Entry | undefined;
  readonly fetchedAt: number;
  /** that it was read from just now */
  readonly listing?: LongListing;
}

/** A question to S3 that any number of callers wait for. */
interface Pending<T> {
  readonly promise: Promise<T>;
  readonly abort: AbortController;
  waiters: number;
}

/** Changes made while a listing was under way, to be applied to what it brings. */
interface PendingListing extends Pending<Listing | LongListing> {
  readonly changes: Map<string, Entry | undefined>;
  marker?: boolean;
  isOutdated: boolean;
}

interface PendingLookup extends Pending<Entry | undefined> {
  isOutdated: boolean;
}

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
  readonly clock: Clock;
  readonly directoryTimes: DirectoryTimes;
  readonly log: Log;
  /** S3 says something else of a path than it said before: somebody else changed it */
  readonly onForeignChange: (path: Path, what: 'entry' | 'attributes') => void;
}

/** Bytes that all cached listings take together, and one of them: some 130,000 entries. */
const maxListed = 128 * 1024 * 1024;
const longestListing = 48 * 1024 * 1024;
const maxSingleEntries = 100_000;
/** A listing in use answers for its entries this long: walking a large one outlasts the TTL. */
const maxPinnedMs = 60_000;

export class Tree {
  readonly #store: ObjectStore;
  readonly #settings: TreeSettings;
  /** the date shown for directories that have none */
  readonly #startedAt: number;
  readonly #listings: LRUCache<Path, Listing>;
  readonly #long = new Set<LongListing>();
  readonly #lister: DirectoryLister;
  readonly #byName: NameLookup;
  readonly #entries = new LRUCache<Path, CachedEntry>({ max: maxSingleEntries });
  readonly #pendingListings = new Map<Path, PendingListing>();
  /** directories whose children are listed */
  readonly #listed: QuestionTrace;
  readonly #byPage: PageLookups;
  readonly #underway = new Underway();
  /** the end of each walk, by the directory walked through */
  readonly #walks = new Map<Path, Promise<unknown>>();
  readonly #pendingLookups = new Map<Path, PendingLookup>();
  #hits = 0;
  #misses = 0;

  constructor(store: ObjectStore, settings: TreeSettings) {
    this.#store = store;
    this.#settings = settings;
    this.#startedAt = settings.clock.dateMs();
    this.#byName = new NameLookup(store, this.#startedAt);
    this.#listed = new QuestionTrace(settings.ttlMs);
    const { clock, log, space } = settings;
    const now = (): number => clock.nowMs();
    const longestBytes = settings.longestListing ?? longestListing;
    this.#listings = new LRUCache({
      maxSize: maxListed,
      maxEntrySize: longestBytes,
      sizeCalculation: ({ bytes }) => bytes,
    });
    this.#lister = new DirectoryLister({
      ...{ store, space, now, log },
      startedAt: this.#startedAt,
      longestBytes,
      onClosed: (listing) => this.#long.delete(listing),
    });
    this.#byPage = new PageLookups({
      ...{ lister: this.#lister, underway: this.#underway, now },
      memoryMs: settings.ttlMs,
      onEntry: (path, entry, fetchedAt) => this.#storeShown(path, entry, fetchedAt),
    });
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
    let listed = 0;
    for (const { entries } of this.#listings.values()) listed += entries.size;
    return this.#entries.size + listed;
  }

  /** What S3 has at `path`, or undefined. @throws StoreError */
  async lookup(path: Path, signal?: AbortSignal): Promise<Entry | undefined> {
    if (path === rootPath) return { kind: 'directory', mtimeMs: this.#startedAt };
    const known = this.peek(path);
    this.#count(known !== undefined);
    if (known !== undefined) return known.entry;
    const pending = this.#pendingLookups.get(path) ?? this.#startLookup(path);
    return await this.#answerOf(pending, signal);
  }

  /** What S3 has at `path`, asked anew: for who is about to put something there. @throws StoreError */
  async lookupAnew(path: Path): Promise<Entry | undefined> {
    const entry = await this.#byName.ask(path, new AbortController().signal);
    if (entry?.kind !== this.peek(path)?.entry?.kind) {
      this.forget(path);
      this.#record(path, entry);
    }
    return entry;
  }

  /** What is known of `path` without asking S3. */
  peek(path: Path): { entry: Entry | undefined } | undefined {
    const single = this.#entries.get(path);
    if (single !== undefined && this.#mayAnswer(single)) return { entry: single.entry };
    const listing = this.#listings.get(parentOf(path));
    if (listing === undefined || !this.#mayAnswer(listing)) return undefined;
    return { entry: listing.entries.get(nameOf(path)) };
  }

  /**
   * All of a directory, to be closed by the caller. Until then it answers for its entries.
   * @throws StoreError; FsError ENOSPC where a long one does not fit into the temp directory
   */
  async list(path: Path, signal?: AbortSignal): Promise<Snapshot> {
    const known = this.#freshListing(path);
    this.#count(known !== undefined);
    const pending = this.#pendingListings.get(path);
    const listing = known ?? (await this.#answerOf(pending ?? this.#startListing(path), signal));
    if (listing instanceof Listing) return listing.open();
    return listing.open((name, entry) => {
      const child = childPath(path, name);
      const known = withKnown(entry, this.#entries.peek(child)?.entry) ?? entry;
      this.#entries.set(child, { entry: known, fetchedAt: this.#nowMs, listing });
      return known;
    });
  }

  /** The entries of a directory, or some in a row, as it was last listed, which may be long ago. */
  listed(path: Path): ReadonlyMap<string, Entry> | undefined {
    return (this.#listings.peek(path) ?? this.#byPage.recent(path))?.entries;
  }

  /** For how long `peek` will still say of `path` what it says now, unless this mount changes it. */
  freshForMs(path: Path): number {
    const single = this.#entries.peek(path);
    if (single !== undefined && this.#isFresh(single.fetchedAt)) {
      return this.#leftMs(single.fetchedAt);
    }
    return this.listingFreshForMs(parentOf(path));
  }

  /** For how long the listing of `path` is fresh. */
  listingFreshForMs(path: Path): number {
    const listing = this.#freshListing(path);
    return listing === undefined ? 0 : this.#leftMs(listing.fetchedAt);
  }

  /** An object is at `path` now: this mount put it there, or saw it. */
  recordFile(path: Path, info: ObjectInfo): void {
    this.#record(path, { kind: 'file', info: { ...info, modifiedMs: undefined } });
  }

  /** More is known of a version, where that is what is known to be at `path`. */
  noteTold(path: Path, info: ObjectInfo): void {
    const entry: Entry = { kind: 'file', info };
    const isIt = (known: Entry | undefined): boolean =>
      known?.kind === 'file' && known.info.etag === info.etag;
    const listing = this.#listings.peek(parentOf(path));
    if (isIt(listing?.entries.get(nameOf(path)))) listing?.set(nameOf(path), entry);
    const single = this.#entries.peek(path);
    if (single !== undefined && isIt(single.entry)) this.#entries.set(path, { ...single, entry });
  }

  recordDirectory(path: Path, hasMarker: boolean, child?: string): void {
    this.#record(path, {
      kind: 'directory',
      mtimeMs: this.#settings.clock.dateMs(),
      hasMarker,
      child,
    });
    const listing = this.#listings.get(path);
    if (listing !== undefined) listing.hasMarker = hasMarker;
    const pending = this.#pendingListings.get(path);
    if (pending !== undefined) pending.marker = hasMarker;
  }

  /** This mount made a directory: nobody has put anything into it yet. */
  recordNewDirectory(path: Path): void {
    this.recordDirectory(path, true);
    const listing = new Listing(this.#nowMs);
    listing.hasMarker = true;
    this.#listings.set(path, listing);
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
    for (const cache of [this.#entries, this.#listings]) {
      for (const known of [...cache.keys()]) if (isWithin(known, path)) cache.delete(known);
    }
    for (const pendings of [this.#pendingLookups, this.#pendingListings]) {
      for (const [known, pending] of pendings) {
        if (isWithin(known, path)) pending.isOutdated = true;
      }
    }
    for (const long of this.#long) if (isWithin(long.path, path)) long.isOutdated = true;
    this.#byPage.forget(path);
    this.#underway.forget(path);
  }

  /** What is known of `path` has proved wrong: it is forgotten, and so is the listing that says so. */
  distrust(path: Path): void {
    this.forget(path);
    const parent = parentOf(path);
    this.#listings.delete(parent);
    const pending = this.#pendingListings.get(parent);
    if (pending !== undefined) pending.isOutdated = true;
    for (const long of this.#long) if (long.path === parent) long.isOutdated = true;
  }

  /**
   * Whether a directory keeps existing when the entry `name` is gone, as far as is known:
   * its marker or another entry holds it.
   */
  staysWithout(directory: Path, name: string): boolean | undefined {
    if (directory === rootPath) return true;
    const listing = this.#listings.get(directory);
    if (listing !== undefined && this.#isFresh(listing.fetchedAt)) {
      // Own changes are patched in, so a fresh listing tells.
      return listing.hasMarker || [...listing.entries.keys()].some((other) => other !== name);
    }
    const entry = this.peek(directory)?.entry;
    if (entry?.kind !== 'directory') return undefined;
    if (entry.hasMarker === true) return true;
    if (entry.child !== undefined && entry.child !== name) return true;
    return undefined;
  }

  /** @throws Error where an invariant of the head is broken; for tests without another writer */
  check(): void {
    for (const [directory, listing] of this.#listings.entries()) {
      if (!this.#isFresh(listing.fetchedAt)) continue;
      for (const [path, { entry, fetchedAt }] of this.#entries.entries()) {
        if (parentOf(path) !== directory || !this.#isFresh(fetchedAt)) continue;
        const listed = listing.entries.get(nameOf(path));
        if (versionOf(listed) === versionOf(entry)) continue;
        throw new Error(`${path}: ${versionOf(listed)} is listed, ${versionOf(entry)} is known`);
      }
    }
    for (const pendings of [this.#pendingLookups, this.#pendingListings]) {
      for (const [path, { waiters }] of pendings) {
        if (waiters === 0) throw new Error(`nobody waits for ${path}`);
      }
    }
  }

  get #nowMs(): number {
    return this.#settings.clock.nowMs();
  }

  #count(isHit: boolean): void {
    if (isHit) this.#hits += 1;
    else this.#misses += 1;
  }

  #isFresh(fetchedAt: number): boolean {
    return this.#leftMs(fetchedAt) > 0;
  }

  #leftMs(fetchedAt: number): number {
    return Math.max(0, fetchedAt + this.#settings.ttlMs - this.#nowMs);
  }

  #freshListing(path: Path): Listing | LongListing | undefined {
    const known = this.#listings.get(path);
    if (known !== undefined && this.#isFresh(known.fetchedAt)) return known;
    return [...this.#long].find(
      (long) => long.path === path && !long.isOutdated && this.#isFresh(long.fetchedAt),
    );
  }

  #mayAnswer(known: Listing | CachedEntry): boolean {
    if (this.#isFresh(known.fetchedAt)) return true;
    const isRead = known instanceof Listing ? known.isRead : known.listing?.isRead === true;
    return isRead && this.#nowMs - known.fetchedAt < maxPinnedMs;
  }

  #record(path: Path, entry: Entry | undefined): void {
    const before = this.#entries.peek(path);
    const isCreated = entry?.kind === 'file' && before !== undefined && before.entry === undefined;
    this.#byPage.noteChange(path, isCreated);
    this.#entries.set(path, { entry, fetchedAt: this.#nowMs });
    const lookup = this.#pendingLookups.get(path);
    if (lookup !== undefined) lookup.isOutdated = true;
    const parent = parentOf(path);
    if (entry === undefined) this.#dropChild(parent, nameOf(path));
    const listing = this.#listings.get(parent);
    if (listing !== undefined) {
      listing.set(nameOf(path), entry);
      // Weighed anew: one that has become too large is not kept.
      this.#listings.delete(parent);
      this.#listings.set(parent, listing);
    }
    for (const long of this.#long) {
      if (long.path === parent) long.changed.set(nameOf(path), entry);
    }
    this.#pendingListings.get(parent)?.changes.set(nameOf(path), entry);
    this.#underway.noteChange(path);
  }

  /** What is gone does not hold its directory. */
  #dropChild(directory: Path, name: string): void {
    const known = this.#entries.peek(directory);
    if (known?.entry?.kind !== 'directory' || known.entry.child !== name) return;
    this.#entries.set(directory, { ...known, entry: { ...known.entry, child: undefined } });
  }

  async #answerOf<T>(pending: Pending<T>, signal: AbortSignal | undefined): Promise<T> {
    pending.waiters += 1;
    try {
      return await unlessAborted(pending.promise, signal);
    } finally {
      pending.waiters -= 1;
      // Nothing happens where the answer has come.
      if (pending.waiters === 0) pending.abort.abort();
    }
  }

  #startLookup(path: Path): PendingLookup {
    const startedAt = this.#nowMs;
    const abort = new AbortController();
    abort.signal.addEventListener('abort', () => {
      // Whoever comes now asks anew.
      if (this.#pendingLookups.get(path) === pending) this.#pendingLookups.delete(path);
    });
    const pending: PendingLookup = {
      isOutdated: false,
      waiters: 0,
      abort,
      promise: this.#ask(path, abort.signal)
        .then(({ entry, fetchedAt = startedAt }) => {
          if (pending.isOutdated) return this.#lookupAgain(path, pending);
          return this.#storeSingle(path, entry, fetchedAt);
        })
        .finally(() => {
          if (this.#pendingLookups.get(path) === pending) this.#pendingLookups.delete(path);
        }),
    };
    this.#pendingLookups.set(path, pending);
    return pending;
  }

  /** The path was changed while it was asked for: what was recorded then is the answer. */
  async #lookupAgain(path: Path, pending: PendingLookup): Promise<Entry | undefined> {
    if (this.#pendingLookups.get(path) === pending) this.#pendingLookups.delete(path);
    return await this.lookup(path);
  }

  /** By a page of the directory where lookups follow each other, else by name. */
  async #ask(path: Path, signal: AbortSignal): Promise<Partial<Told>> {
    const { needsHead, partSize } = this.#settings;
    const told = needsHead ? undefined : await this.#byPage.ask(path);
    if (told === undefined) return { entry: await this.#byName.ask(path, signal) };
    const { entry } = told;
    if (entry?.kind !== 'file' || entry.info.size <= partSize) return told;
    // One GET brings the checksum of all it brings; of what takes several, only HEAD tells it.
    return { entry: await this.#byName.headed(entry.info, signal) };
  }

  /** @returns it, with what is known of the same version */
  #storeSingle(path: Path, fresh: Entry | undefined, fetchedAt: number): Entry | undefined {
    const before = this.#entries.peek(path);
    if (before !== undefined && this.#compare(path, before.entry, fresh)) {
      this.#moveTime(parentOf(path));
    }
    const listed = this.#listings.peek(parentOf(path))?.entries.get(nameOf(path));
    const entry = withKnown(fresh, before?.entry, listed);
    this.#entries.set(path, { entry, fetchedAt });
    return entry;
  }

  /** Beside what somebody asked for. */
  #storeShown(path: Path, entry: Entry, fetchedAt: number): void {
    const known = this.#entries.peek(path);
    if (known !== undefined && this.#isFresh(known.fetchedAt)) return;
    this.#storeSingle(path, entry, fetchedAt);
  }

  #startListing(path: Path): PendingListing {
    const changes = new Map<string, Entry | undefined>();
    const abort = new AbortController();
    const forget = (): void => {
      if (this.#pendingListings.get(path) === pending) this.#pendingListings.delete(path);
    };
    abort.signal.addEventListener('abort', forget);
    const pending: PendingListing = {
      changes,
      isOutdated: false,
      waiters: 0,
      abort,
      promise: this.#fetchDirectory(path, abort.signal)
        .then((listing) => {
          if (listing instanceof LongListing) {
            for (const [name, entry] of changes) listing.changed.set(name, entry);
            this.#keepLong(listing, pending.isOutdated);
            return listing;
          }
          for (const [name, entry] of changes) listing.set(name, entry);
          if (pending.marker !== undefined) listing.hasMarker = pending.marker;
          if (pending.isOutdated) return listing;
          this.#storeFound(path, listing);
          return listing;
        })
        .finally(forget),
    };
    this.#pendingListings.set(path, pending);
    return pending;
  }

  /** For those who wait for it, and for the TTL. */
  #keepLong(listing: LongListing, isOutdated: boolean): void {
    listing.isOutdated = isOutdated;
    this.#listings.delete(listing.path);
    this.#long.add(listing);
    const leftMs = isOutdated ? 0 : this.#leftMs(listing.fetchedAt);
    setTimeout(() => listing.release(), leftMs).unref();
  }

  #compareListings(path: Path, listing: Listing): void {
    const before = this.#listings.peek(path);
    if (before === undefined) return;
    let isChanged = [...listing.entries.keys()].some((name) => !before.entries.has(name));
    for (const [name, entry] of before.entries) {
      if (this.#compare(childPath(path, name), entry, listing.entries.get(name))) isChanged = true;
    }
    if (isChanged) this.#moveTime(path);
  }

  /** @returns whether somebody else changed it */
  #compare(path: Path, before: Entry | undefined, now: Entry | undefined): boolean {
    if (now?.kind !== before?.kind) {
      if (before !== undefined) this.#settings.onForeignChange(path, 'entry');
      return true;
    }
    if (before?.kind !== 'file' || now?.kind !== 'file') return false;
    if (before.info.etag === now.info.etag) return false;
    this.#settings.onForeignChange(path, 'attributes');
    return true;
  }

  /** What somebody else changed in a directory is news of the directory too. */
  #moveTime(directory: Path): void {
    this.#settings.directoryTimes.move(directory);
    this.#settings.onForeignChange(directory, 'attributes');
  }

  /** By a LIST of its own, or, in the midst of a walk, by one of all that follows it. */
  async #fetchDirectory(path: Path, signal: AbortSignal): Promise<Listing | LongListing> {
    const parent = parentOf(path);
    if (this.#isWalk(parent, path)) {
      // Others may walk here too: theirs may have it.
      await this.#walks.get(parent);
      const known = this.#listings.get(path);
      if (known !== undefined && this.#isFresh(known.fetchedAt)) return known;
      const found = await this.#fetchSubtree(parent, path);
      if (found !== undefined) return found;
    }
    return await this.#lister.list(path, signal);
  }

  /** Whether children of `parent` are listed one after another. */
  #isWalk(parent: Path, child: Path): boolean {
    if (child === rootPath) return false;
    return this.#listed.note(parent, child, this.#nowMs);
  }

  /**
   * One page of all keys from `path` on below `parent`. Never dearer than listing each by itself, but
   * for the one request that finds out that a directory is too large for it.
   * @returns `path`, unless the page does not show all of it
   */
  async #fetchSubtree(parent: Path, path: Path): Promise<Listing | undefined> {
    const walk = new Walk();
    const fetchedAt = this.#nowMs;
    const prefix = markerOf(parent);
    const asking = this.#store.list({ prefix, oneLevel: false, after: startOf(path) });
    const ended = asking.catch(() => undefined);
    this.#walks.set(parent, ended);
    try {
      const own = await this.#underway.during(walk, async () => {
        const found = wholeDirectories(await asking, { top: parent, from: path }, (key) =>
          this.#lister.hide(key),
        );
        for (const [other, directory] of found) {
          if (other !== path && this.#mayStore(other, walk))
            this.#storeFound(other, this.#lister.listingOf(directory, fetchedAt));
        }
        return found.get(path);
      });
      if (own !== undefined) return this.#lister.listingOf(own, fetchedAt);
      this.#listed.noteUseless(parent, path, this.#nowMs);
      return undefined;
    } finally {
      if (this.#walks.get(parent) === ended) this.#walks.delete(parent);
    }
  }

  #mayStore(path: Path, walk: Walk): boolean {
    if (walk.hasChanged(path) || this.#pendingListings.has(path)) return false;
    if (walk.hasForgotten(path)) return false;
    const known = this.#listings.peek(path);
    return known === undefined || !this.#mayAnswer(known);
  }

  #storeFound(path: Path, listing: Listing): void {
    this.#compareListings(path, listing);
    const before = this.#listings.peek(path)?.entries;
    for (const [name, entry] of listing.entries) {
      const single = this.#entries.peek(childPath(path, name))?.entry;
      const known = withKnown(entry, single, before?.get(name));
      if (known !== entry) listing.set(name, known);
    }
    this.#listings.set(path, listing);
  }
}

function versionOf(entry: Entry | undefined): string {
  return entry?.kind === 'file' ? entry.info.etag : (entry?.kind ?? 'nothing');
}
