/**
 * What exists below the prefix, as S3 last said or as this mount has changed it since.
 *
 * Directories are simulated: one exists if it has a marker or a deeper key, and beats a file of its
 * name. Listings and single attributes are cached for the TTL, in bounded LRU caches; what S3 said
 * of absent names is cached like everything else. A change made through this mount is recorded at
 * once and patched into what is cached; an answer that was under way at that moment gets the change
 * applied on top, so that it can never bring the old state back. Callers share what is asked; when
 * the last of them has given up, so does the question.
 */
import { LRUCache } from 'lru-cache';
import { unlessAborted } from './abort.js';
import { isStoreError } from './errors.js';
import type { Log } from './log.js';
import {
  childPath,
  classifyKey,
  isWithin,
  keyOf,
  markerOf,
  nameOf,
  parentOf,
  rootPath,
} from './path.js';
import type { Key, Path } from './path.js';
import type { ListPage, ObjectInfo, ObjectStore } from './store.js';
import { startOf, wholeDirectories } from './subtree.js';
import type { PageDirectory } from './subtree.js';

export interface FileEntry {
  readonly kind: 'file';
  readonly info: ObjectInfo;
}

export interface DirectoryEntry {
  readonly kind: 'directory';
  /** milliseconds; the marker's, or the mount's start where there is none to ask */
  readonly mtimeMs: number;
  /** whether a marker object is there; undefined where nobody looked */
  readonly hasMarker?: boolean | undefined;
  /** a name known to be inside */
  readonly child?: string | undefined;
}

export type Entry = FileEntry | DirectoryEntry;

/** A whole directory. */
export interface Listing {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly hasMarker: boolean;
}

interface CachedListing {
  readonly entries: Map<string, Entry>;
  hasMarker: boolean;
  readonly fetchedAt: number;
  /** open directory handles that read from it */
  pins: number;
}

interface CachedEntry {
  /** undefined: S3 has nothing there */
  readonly entry: Entry | undefined;
  readonly fetchedAt: number;
}

/** A question to S3 that any number of callers wait for. */
interface Pending<T> {
  readonly promise: Promise<T>;
  readonly abort: AbortController;
  waiters: number;
}

/** Changes made while a listing was under way, to be applied to what it brings. */
interface PendingListing extends Pending<CachedListing> {
  readonly changes: Map<string, Entry | undefined>;
  marker?: boolean;
  isOutdated: boolean;
}

/** A LIST of many directories under way; what changes meanwhile is not stored from it. */
interface Walk {
  readonly changed: Set<Path>;
  readonly forgotten: Path[];
}

/** Which child of a directory was listed last, and when. */
interface WalkTrace {
  readonly child: Path;
  readonly atMs: number;
  /** a LIST of all below it did not even cover one child: not worth another try until then */
  readonly uselessUntilMs: number;
}

interface PendingLookup extends Pending<Entry | undefined> {
  isOutdated: boolean;
}

export interface TreeSettings {
  /** how long what S3 said may be repeated */
  readonly ttlMs: number;
  readonly now: () => number;
  readonly log: Log;
  /** S3 says something else of a path than it said before: somebody else changed it */
  readonly onForeignChange: (path: Path, what: 'entry' | 'attributes') => void;
}

/** Entries in all cached listings together, about 300 bytes each. */
const maxListedEntries = 500_000;
const maxSingleEntries = 100_000;
/** A listing in use answers for its entries this long: walking a large one outlasts the TTL. */
const maxPinnedMs = 60_000;
/** Directories whose children are watched for a walk through them. */
const maxTraces = 1000;
/** How long a directory with large children is listed child by child. */
const uselessMs = 60_000;

export class Tree {
  readonly #store: ObjectStore;
  readonly #settings: TreeSettings;
  readonly #startedAt: number;
  readonly #listings: LRUCache<Path, CachedListing>;
  readonly #entries = new LRUCache<Path, CachedEntry>({ max: maxSingleEntries });
  readonly #pendingListings = new Map<Path, PendingListing>();
  readonly #traces = new LRUCache<Path, WalkTrace>({ max: maxTraces });
  /** by the directory walked through */
  readonly #walks = new Map<Path, { walk: Walk; ended: Promise<unknown> }>();
  readonly #pendingLookups = new Map<Path, PendingLookup>();
  /** hidden keys already logged, so that each is logged once */
  readonly #loggedOdd = new LRUCache<string, true>({ max: 10_000 });
  #oddKeys = 0;
  #hits = 0;
  #misses = 0;

  constructor(store: ObjectStore, settings: TreeSettings) {
    this.#store = store;
    this.#settings = settings;
    this.#startedAt = settings.now();
    this.#listings = new LRUCache({
      maxSize: maxListedEntries,
      sizeCalculation: (listing) => listing.entries.size + 1,
    });
  }

  /** How many keys were left out of listings because no path can name them. */
  get oddKeys(): number {
    return this.#oddKeys;
  }

  /** Lookups and listings answered from the cache, and those that S3 was asked for. */
  get asked(): { hits: number; misses: number } {
    return { hits: this.#hits, misses: this.#misses };
  }

  get cachedEntries(): number {
    return this.#entries.size + this.#listings.calculatedSize;
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

  /** What is known of `path` without asking S3. */
  peek(path: Path): { entry: Entry | undefined } | undefined {
    const single = this.#entries.get(path);
    if (single !== undefined && this.#isFresh(single.fetchedAt)) return { entry: single.entry };
    const listing = this.#listings.get(parentOf(path));
    if (listing === undefined || !this.#mayAnswer(listing)) return undefined;
    return { entry: listing.entries.get(nameOf(path)) };
  }

  /** All entries of a directory. @throws StoreError */
  async list(path: Path, signal?: AbortSignal): Promise<Listing> {
    const known = this.#listings.get(path);
    const isKnown = known !== undefined && this.#isFresh(known.fetchedAt);
    this.#count(isKnown);
    if (isKnown) return known;
    const pending = this.#pendingListings.get(path) ?? this.#startListing(path);
    return await this.#answerOf(pending, signal);
  }

  /** While a directory handle is open, its listing answers for its entries. */
  pin(path: Path): () => void {
    const listing = this.#listings.get(path);
    if (listing === undefined) return () => undefined;
    listing.pins++;
    return () => listing.pins--;
  }

  /** An object is at `path` now: this mount put it there, or saw it. */
  recordFile(path: Path, info: ObjectInfo): void {
    this.#record(path, { kind: 'file', info });
  }

  recordDirectory(path: Path, hasMarker: boolean, child?: string): void {
    this.#record(path, { kind: 'directory', mtimeMs: this.#settings.now(), hasMarker, child });
    const listing = this.#listings.get(path);
    if (listing !== undefined) listing.hasMarker = hasMarker;
    const pending = this.#pendingListings.get(path);
    if (pending !== undefined) pending.marker = hasMarker;
  }

  /** This mount made a directory: nobody has put anything into it yet. */
  recordNewDirectory(path: Path): void {
    this.recordDirectory(path, true);
    const fetchedAt = this.#settings.now();
    this.#listings.set(path, { entries: new Map(), hasMarker: true, fetchedAt, pins: 0 });
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
    for (const { walk } of this.#walks.values()) walk.forgotten.push(path);
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

  #count(isHit: boolean): void {
    if (isHit) this.#hits += 1;
    else this.#misses += 1;
  }

  #isFresh(fetchedAt: number): boolean {
    return this.#settings.now() - fetchedAt < this.#settings.ttlMs;
  }

  #mayAnswer(listing: CachedListing): boolean {
    if (this.#isFresh(listing.fetchedAt)) return true;
    return listing.pins > 0 && this.#settings.now() - listing.fetchedAt < maxPinnedMs;
  }

  #record(path: Path, entry: Entry | undefined): void {
    this.#entries.set(path, { entry, fetchedAt: this.#settings.now() });
    const lookup = this.#pendingLookups.get(path);
    if (lookup !== undefined) lookup.isOutdated = true;
    const parent = parentOf(path);
    const listing = this.#listings.get(parent);
    if (listing !== undefined) {
      if (entry === undefined) listing.entries.delete(nameOf(path));
      else listing.entries.set(nameOf(path), entry);
    }
    this.#pendingListings.get(parent)?.changes.set(nameOf(path), entry);
    for (const { walk } of this.#walks.values()) walk.changed.add(parent).add(path);
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
    const startedAt = this.#settings.now();
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
        .then((entry) => {
          if (pending.isOutdated) return this.#lookupAgain(path, pending);
          this.#compare(path, this.#entries.peek(path), entry);
          this.#entries.set(path, { entry, fetchedAt: startedAt });
          return entry;
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

  /** HEAD and LIST side by side: a directory beats a file, and S3 has no request that tells both. */
  async #ask(path: Path, signal: AbortSignal): Promise<Entry | undefined> {
    const [file, directory] = await Promise.all([
      this.#askFile(path, signal),
      this.#askDirectory(path, signal),
    ]);
    if (directory !== undefined) return directory;
    // Without ListBucket for the very key S3 says 403 for "absent". The LIST went through, so the
    // credentials are good and there is nothing to see here.
    return file === 'denied' ? undefined : file;
  }

  async #askFile(path: Path, signal: AbortSignal): Promise<FileEntry | 'denied' | undefined> {
    try {
      return { kind: 'file', info: await this.#store.head(keyOf(path), signal) };
    } catch (error) {
      if (isStoreError(error, 'notFound')) return undefined;
      if (isStoreError(error, 'denied')) return 'denied';
      throw error;
    }
  }

  async #askDirectory(path: Path, signal: AbortSignal): Promise<DirectoryEntry | undefined> {
    const marker = markerOf(path);
    const page = await this.#store.list({ prefix: marker, oneLevel: false, maxKeys: 1, signal });
    const first = page.objects[0];
    if (first === undefined) return undefined;
    // A marker sorts before all keys below it, so a first key that is none means there is none.
    const found = classifyKey(marker, first.key);
    return {
      kind: 'directory',
      mtimeMs: found.kind === 'marker' ? first.mtimeMs : this.#startedAt,
      hasMarker: found.kind === 'marker',
      child: found.kind === 'entry' ? found.name : undefined,
    };
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
          for (const [name, entry] of changes) {
            if (entry === undefined) listing.entries.delete(name);
            else listing.entries.set(name, entry);
          }
          if (pending.marker !== undefined) listing.hasMarker = pending.marker;
          if (pending.isOutdated) return listing;
          this.#compareListings(path, listing);
          this.#listings.set(path, listing);
          return listing;
        })
        .finally(forget),
    };
    this.#pendingListings.set(path, pending);
    return pending;
  }

  #compareListings(path: Path, listing: CachedListing): void {
    const before = this.#listings.peek(path);
    if (before === undefined) return;
    for (const [name, entry] of before.entries) {
      this.#compare(childPath(path, name), { entry }, listing.entries.get(name));
    }
  }

  #compare(path: Path, before: { entry: Entry | undefined } | undefined, now?: Entry): void {
    if (before?.entry === undefined) return;
    if (now?.kind !== before.entry.kind) {
      this.#settings.onForeignChange(path, 'entry');
    } else if (
      before.entry.kind === 'file' &&
      now.kind === 'file' &&
      before.entry.info.etag !== now.info.etag
    ) {
      this.#settings.onForeignChange(path, 'attributes');
    }
  }

  /** By a LIST of its own, or, in the midst of a walk, by one of all that follows it. */
  async #fetchDirectory(path: Path, signal: AbortSignal): Promise<CachedListing> {
    const parent = parentOf(path);
    if (this.#isWalk(parent, path)) {
      // Others may walk here too: theirs may have it.
      await this.#walks.get(parent)?.ended;
      const known = this.#listings.get(path);
      if (known !== undefined && this.#isFresh(known.fetchedAt)) return known;
      const found = await this.#fetchSubtree(parent, path);
      if (found !== undefined) return found;
    }
    return await this.#fetchListing(path, signal);
  }

  /** Whether children of `parent` are listed one after another. */
  #isWalk(parent: Path, child: Path): boolean {
    if (child === rootPath) return false;
    const atMs = this.#settings.now();
    const before = this.#traces.get(parent);
    const uselessUntilMs = before?.uselessUntilMs ?? 0;
    this.#traces.set(parent, { child, atMs, uselessUntilMs });
    if (before === undefined || before.child === child) return false;
    return this.#isFresh(before.atMs) && atMs >= uselessUntilMs;
  }

  /**
   * One page of all keys from `path` on below `parent`. Never dearer than listing each by itself, but
   * for the one request that finds out that a directory is too large for it.
   * @returns `path`, unless the page does not show all of it
   */
  async #fetchSubtree(parent: Path, path: Path): Promise<CachedListing | undefined> {
    const walk: Walk = { changed: new Set(), forgotten: [] };
    const fetchedAt = this.#settings.now();
    const prefix = markerOf(parent);
    const asking = this.#store.list({ prefix, oneLevel: false, after: startOf(path) });
    const mine = { walk, ended: asking.catch(() => undefined) };
    this.#walks.set(parent, mine);
    try {
      const found = wholeDirectories(await asking, { top: parent, from: path }, (key) =>
        this.#hide(key),
      );
      const own = found.get(path);
      if (own === undefined) this.#noteUseless(parent, path);
      found.delete(path);
      for (const [other, directory] of found) {
        if (this.#mayStore(other, walk))
          this.#storeFound(other, this.#listingOf(directory, fetchedAt));
      }
      return own === undefined ? undefined : this.#listingOf(own, fetchedAt);
    } catch (error) {
      // Allowed to list directories but not what is below them.
      if (!isStoreError(error, 'denied')) throw error;
      this.#noteUseless(parent, path);
      return undefined;
    } finally {
      if (this.#walks.get(parent) === mine) this.#walks.delete(parent);
    }
  }

  #noteUseless(parent: Path, child: Path): void {
    const atMs = this.#settings.now();
    this.#traces.set(parent, { child, atMs, uselessUntilMs: atMs + uselessMs });
  }

  #mayStore(path: Path, walk: Walk): boolean {
    if (walk.changed.has(path) || this.#pendingListings.has(path)) return false;
    if (walk.forgotten.some((gone) => isWithin(path, gone))) return false;
    const known = this.#listings.peek(path);
    return known === undefined || !this.#mayAnswer(known);
  }

  #storeFound(path: Path, listing: CachedListing): void {
    this.#compareListings(path, listing);
    this.#listings.set(path, listing);
  }

  #listingOf({ files, directories, hasMarker }: PageDirectory, fetchedAt: number): CachedListing {
    const entries = new Map<string, Entry>();
    for (const [name, info] of files) entries.set(name, { kind: 'file', info });
    for (const name of directories) {
      entries.set(name, { kind: 'directory', mtimeMs: this.#startedAt });
    }
    return { entries, hasMarker, fetchedAt, pins: 0 };
  }

  async #fetchListing(path: Path, signal: AbortSignal): Promise<CachedListing> {
    const prefix = markerOf(path);
    const fetchedAt = this.#settings.now();
    const listing: CachedListing = { entries: new Map(), hasMarker: false, fetchedAt, pins: 0 };
    let coming: Promise<ListPage> | undefined = this.#store.list({
      prefix,
      oneLevel: true,
      signal,
    });
    while (coming !== undefined) {
      const page: ListPage = await coming;
      // The next page is on its way while this one is taken in.
      coming =
        page.next === undefined
          ? undefined
          : this.#store.list({ prefix, oneLevel: true, from: page.next, signal });
      for (const info of page.objects) this.#addObject(listing, prefix, info);
      for (const name of page.prefixes) this.#addPrefix(listing, prefix, name);
    }
    return listing;
  }

  #addObject(listing: CachedListing, directory: Key, info: ObjectInfo): void {
    const found = classifyKey(directory, info.key);
    if (found.kind === 'marker') {
      listing.hasMarker = true;
      return;
    }
    if (found.kind === 'odd') {
      this.#hide(info.key);
      return;
    }
    if (listing.entries.get(found.name)?.kind === 'directory') return;
    listing.entries.set(found.name, { kind: 'file', info });
  }

  #addPrefix(listing: CachedListing, directory: Key, prefix: string): void {
    const found = classifyKey(directory, prefix);
    if (found.kind !== 'entry') {
      this.#hide(prefix);
      return;
    }
    listing.entries.set(found.name, { kind: 'directory', mtimeMs: this.#startedAt });
  }

  #hide(key: string): void {
    if (this.#loggedOdd.has(key)) return;
    this.#loggedOdd.set(key, true);
    this.#oddKeys++;
    this.#settings.log.warn({ key }, 'a key that no path can name is left out of listings');
  }
}
