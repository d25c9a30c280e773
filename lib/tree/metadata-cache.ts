/**
 * What is known of paths below the prefix: listings and single entries, each for the TTL, in bounded LRU
 * caches, absence included (negative entries). Evicted is what was asked for least recently.
 *
 * What this mount changes is patched into all that is cached; what S3 says anew is compared with what it
 * said before, so that the driver hears of what others changed. No requests.
 *
 * Invariant: a single entry and a listing that are both fresh say the same of a name: kind and version.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../clock.js';
import { entryPath, isWithin, nameOf, parentOf } from '../path.js';
import type { Path } from '../path.js';
import type { ObjectInfo } from '../store.js';
import type { DirectoryTimes } from './directory-times.js';
import { Listing } from './listing.js';
import type { Entry, Snapshot } from './listing.js';
import { withKnown } from './same-version.js';
import type { SpilledListing } from './spilled-listing.js';

interface CachedEntry {
  /** undefined: S3 has nothing there */
  readonly entry: Entry | undefined;
  readonly fetchedAt: number;
  /** that it was read from just now */
  readonly listing?: SpilledListing;
}

export interface MetadataCacheSettings {
  /** how long what S3 said may be repeated */
  readonly ttlMs: number;
  /** bytes of one listing in memory */
  readonly longestBytes: number;
  readonly clock: Clock;
  readonly directoryTimes: DirectoryTimes;
  /** a directory that is there whatever S3 holds */
  readonly isRoot: (path: Path) => boolean;
  /** S3 says something else of a path than it said before: somebody else changed it */
  readonly onForeignChange: (path: Path, what: 'entry' | 'attributes') => void;
}

/** Bytes that all cached listings take together. */
const maxListed = 128 * 1024 * 1024;
const maxSingleEntries = 100_000;
/** A listing in use answers for its entries this long: walking a large one outlasts the TTL. */
const maxPinnedMs = 60_000;

export class MetadataCache {
  readonly #settings: MetadataCacheSettings;
  readonly #listings: LRUCache<Path, Listing>;
  readonly #spilled = new Set<SpilledListing>();
  readonly #entries = new LRUCache<Path, CachedEntry>({ max: maxSingleEntries });

  constructor(settings: MetadataCacheSettings) {
    this.#settings = settings;
    this.#listings = new LRUCache({
      maxSize: maxListed,
      maxEntrySize: settings.longestBytes,
      sizeCalculation: ({ bytes }) => bytes,
    });
  }

  get size(): number {
    let listed = 0;
    for (const { entries } of this.#listings.values()) listed += entries.size;
    return this.#entries.size + listed;
  }

  /** What is known of `path`, if it is fresh. */
  peek(path: Path): { entry: Entry | undefined } | undefined {
    const single = this.#entries.get(path);
    if (single !== undefined && this.#mayAnswer(single)) return { entry: single.entry };
    const listing = this.#listings.get(parentOf(path));
    if (listing === undefined || !this.#mayAnswer(listing)) return undefined;
    return { entry: listing.entries.get(nameOf(path)) };
  }

  freshListing(path: Path): Listing | SpilledListing | undefined {
    const known = this.#listings.get(path);
    if (known !== undefined && this.#isFresh(known.fetchedAt)) return known;
    return [...this.#spilled].find(
      (spilled) => spilled.path === path && !spilled.isOutdated && this.#isFresh(spilled.fetchedAt),
    );
  }

  /** Whether a directory is listed, and the listing may still answer. */
  isListed(path: Path): boolean {
    const known = this.#listings.peek(path);
    return known !== undefined && this.#mayAnswer(known);
  }

  /** As it was last listed, which may be long ago. */
  lastListing(path: Path): Listing | undefined {
    return this.#listings.peek(path);
  }

  /** A handle on a listing, to be closed by the caller. Until then it answers for its entries. */
  open(path: Path, listing: Listing | SpilledListing): Snapshot {
    if (listing instanceof Listing) return listing.open();
    return listing.open((name, entry) => {
      const child = entryPath(path, name);
      const known = withKnown(entry, this.#entries.peek(child)?.entry) ?? entry;
      this.#entries.set(child, { entry: known, fetchedAt: this.#nowMs, listing });
      return known;
    });
  }

  /** For how long `peek` will still say of `path` what it says now, unless this mount changes it. */
  freshForMs(path: Path): number {
    const single = this.#entries.peek(path);
    if (single !== undefined && this.#isFresh(single.fetchedAt)) {
      return this.#leftMs(single.fetchedAt);
    }
    return this.listingFreshForMs(this.#settings.isRoot(path) ? path : parentOf(path));
  }

  /** For how long the listing of `path` is fresh. */
  listingFreshForMs(path: Path): number {
    const listing = this.freshListing(path);
    return listing === undefined ? 0 : this.#leftMs(listing.fetchedAt);
  }

  /**
   * Whether a directory keeps existing when the entry `name` is gone, as far as is known:
   * its marker or another entry holds it.
   */
  staysWithout(directory: Path, name: string): boolean | undefined {
    if (this.#settings.isRoot(directory)) return true;
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

  // --- what this mount did ---

  /** @returns whether nothing was known to be at `path` */
  record(path: Path, entry: Entry | undefined): boolean {
    const before = this.#entries.peek(path);
    this.#entries.set(path, { entry, fetchedAt: this.#nowMs });
    const parent = parentOf(path);
    if (entry === undefined) this.#dropChild(parent, nameOf(path));
    const listing = this.#listings.get(parent);
    if (listing !== undefined) {
      listing.set(nameOf(path), entry);
      // Weighed anew: one that has become too large is not kept.
      this.#listings.delete(parent);
      this.#listings.set(parent, listing);
    }
    for (const spilled of this.#spilled) {
      if (spilled.path === parent) spilled.changed.set(nameOf(path), entry);
    }
    return before !== undefined && before.entry === undefined;
  }

  recordMarker(directory: Path, hasMarker: boolean): void {
    const listing = this.#listings.get(directory);
    if (listing !== undefined) listing.hasMarker = hasMarker;
  }

  /** Nobody has put anything into `directory` yet. */
  recordEmpty(directory: Path): void {
    const listing = new Listing(this.#nowMs);
    listing.hasMarker = true;
    this.#listings.set(directory, listing);
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

  /** Drops what is cached of `path` and below. */
  forget(path: Path): void {
    for (const cache of [this.#entries, this.#listings]) {
      for (const known of [...cache.keys()]) if (isWithin(known, path)) cache.delete(known);
    }
    for (const spilled of this.#spilled) {
      if (isWithin(spilled.path, path)) spilled.isOutdated = true;
    }
  }

  /** Drops the listing of `directory`, and nothing of what is in it. */
  forgetListing(directory: Path): void {
    this.#listings.delete(directory);
    for (const spilled of this.#spilled) {
      if (spilled.path === directory) spilled.isOutdated = true;
    }
  }

  // --- what S3 said ---

  /** @returns it, with what is known of the same version */
  storeEntry(path: Path, fresh: Entry | undefined, fetchedAt: number): Entry | undefined {
    const before = this.#entries.peek(path);
    if (before !== undefined && this.#compare(path, before.entry, fresh)) {
      this.#moveTime(parentOf(path));
    }
    const listed = this.#listings.peek(parentOf(path))?.entries.get(nameOf(path));
    const entry = withKnown(fresh, before?.entry, listed);
    this.#entries.set(path, { entry, fetchedAt });
    return entry;
  }

  /** Beside what was asked for. */
  storeShown(path: Path, entry: Entry, fetchedAt: number): void {
    const known = this.#entries.peek(path);
    if (known !== undefined && this.#isFresh(known.fetchedAt)) return;
    this.storeEntry(path, entry, fetchedAt);
  }

  /** A directory holds `name`. */
  noteChild(directory: Path, name: string): void {
    const known = this.#entries.peek(directory);
    if (known?.entry?.kind !== 'directory') return;
    this.#entries.set(directory, { ...known, entry: { ...known.entry, child: name } });
  }

  storeListing(path: Path, listing: Listing): void {
    const before = this.#listings.peek(path)?.entries;
    if (before !== undefined) this.#compareListings(path, before, listing.entries);
    const names = before === undefined ? this.#knownIn(path, listing) : listing.entries.keys();
    for (const name of names) {
      const entry = listing.entries.get(name);
      if (entry === undefined) continue;
      const single = this.#entries.peek(entryPath(path, name));
      // A page of a long listing may be older than what was asked for by name meanwhile.
      const isOlder = single !== undefined && single.fetchedAt > listing.begunAt;
      const known = withKnown(isOlder ? single.entry : entry, single?.entry, before?.get(name));
      if (known !== entry) listing.set(name, known);
    }
    this.#listings.set(path, listing);
  }

  /** The names in a directory of which something is known, or just all that are listed. */
  #knownIn(directory: Path, { entries }: Listing): Iterable<string> {
    if (this.#entries.size >= entries.size) return entries.keys();
    const known = [...this.#entries.keys()].filter((path) => parentOf(path) === directory);
    return known.map(nameOf);
  }

  /** For those who wait for it, and for the TTL. */
  storeSpilled(listing: SpilledListing, isOutdated: boolean): void {
    listing.isOutdated = isOutdated;
    this.#listings.delete(listing.path);
    this.#spilled.add(listing);
    const leftMs = isOutdated ? 0 : this.#leftMs(listing.fetchedAt);
    setTimeout(() => listing.release(), leftMs).unref();
  }

  /** The last reference to it is gone. */
  dropSpilled(listing: SpilledListing): void {
    this.#spilled.delete(listing);
  }

  /** @throws Error where the invariant is broken; for tests without another writer */
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
  }

  get #nowMs(): number {
    return this.#settings.clock.nowMs();
  }

  #isFresh(fetchedAt: number): boolean {
    return this.#leftMs(fetchedAt) > 0;
  }

  #leftMs(fetchedAt: number): number {
    return Math.max(0, fetchedAt + this.#settings.ttlMs - this.#nowMs);
  }

  #mayAnswer(known: Listing | CachedEntry): boolean {
    if (this.#isFresh(known.fetchedAt)) return true;
    const isRead = known instanceof Listing ? known.isRead : known.listing?.isRead === true;
    return isRead && this.#nowMs - known.fetchedAt < maxPinnedMs;
  }

  /** What is gone does not hold its directory. */
  #dropChild(directory: Path, name: string): void {
    const known = this.#entries.peek(directory);
    if (known?.entry?.kind !== 'directory' || known.entry.child !== name) return;
    this.#entries.set(directory, { ...known, entry: { ...known.entry, child: undefined } });
  }

  #compareListings(
    path: Path,
    before: ReadonlyMap<string, Entry>,
    now: ReadonlyMap<string, Entry>,
  ): void {
    let isChanged = [...now.keys()].some((name) => !before.has(name));
    for (const [name, entry] of before) {
      if (this.#compare(entryPath(path, name), entry, now.get(name))) isChanged = true;
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
}

function versionOf(entry: Entry | undefined): string {
  return entry?.kind === 'file' ? entry.info.etag : (entry?.kind ?? 'nothing');
}
