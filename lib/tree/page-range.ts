/**
 * A page of a directory from one name on: what lookups of names that follow each other are answered
 * by. Pure, no I/O.
 */
import type { Entry, Listing } from './listing.js';
import { childPath, keyOf, markerOf, nameOf, sortsAfter } from '../path.js';
import type { Key, Path } from '../path.js';
import type { ListPage } from '../store.js';

/** The last printable ASCII character: few names go on beyond it. */
const lastPlain = '~';

/**
 * A key that sorts before that of `path`, with as little as may be in between.
 * @returns relative to the mount's prefix; not always one that S3 could hold
 */
export function startBefore(path: Path): string {
  const key = keyOf(path);
  const shorter = key.replace(/.$/su, '');
  const code = key.codePointAt(shorter.length) ?? 0;
  // Control characters and what is not ASCII are better not asked for.
  const isPlain = code > 0x20 && code <= 0x7f;
  return isPlain ? `${shorter}${String.fromCharCode(code - 1)}${lastPlain}` : shorter;
}

export class DirectoryPage {
  /** what the page shows, without files that the next one may show to be directories */
  readonly listing: Listing;
  readonly isOrdered: boolean;
  readonly #after: string;
  /** the last key or prefix of the page; undefined where the directory ends with it */
  readonly #end: string | undefined;
  /** it tells nothing of what it does not show */
  readonly #isBlind: boolean;

  /**
   * @param listing the page's entries
   * @param after the key that the page was asked from
   */
  constructor(
    directory: Path,
    listing: Listing,
    { page, after }: { page: ListPage; after: string },
  ) {
    this.listing = listing;
    this.#after = after;
    this.isOrdered = page.unordered !== true;
    this.#isBlind = !this.isOrdered && (after !== '' || page.next !== undefined);
    if (page.next === undefined && !this.#isBlind) return;
    const ends = [page.objects.at(-1)?.key ?? '', page.prefixes.at(-1) ?? ''] as const;
    this.#end = sortsAfter(ends[0], ends[1]) ? ends[0] : ends[1];
    for (const [name, { kind }] of [...listing.entries]) {
      if (kind === 'file' && !this.#reaches(markerOf(childPath(directory, name)))) {
        listing.set(name, undefined);
      }
    }
  }

  /** Whether the directory ends with it. */
  get isLast(): boolean {
    return this.#end === undefined;
  }

  /** What is at `path`, which may be nothing; undefined where the page does not tell. */
  lookup(path: Path): { entry: Entry | undefined } | undefined {
    const entry = this.listing.entries.get(nameOf(path));
    if (entry !== undefined) return { entry };
    const isShown = sortsAfter(keyOf(path), this.#after) && this.#reaches(markerOf(path));
    return isShown ? { entry: undefined } : undefined;
  }

  #reaches(key: Key): boolean {
    if (this.#isBlind) return false;
    return this.#end === undefined || !sortsAfter(key, this.#end);
  }
}
