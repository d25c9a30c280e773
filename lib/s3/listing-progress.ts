/**
 * Whether a listing gets on, and whether it comes in order: what no single page can tell.
 *
 * A listing that goes on for ever is a server's fault that looks like a large directory. So what came
 * of one is remembered under the token of its next page. A cycle of any length is found as Brent's
 * algorithm finds one: each page is compared with one page from before, which is replaced at every
 * power of two.
 *
 * The order of names, which S3 promises but for directory buckets, makes it possible to tell from a part
 * of a listing what is not in it. It is believed of an endpoint other than AWS once some names in a row
 * were seen to be in order, and of none where any two were not.
 */
import { LRUCache } from 'lru-cache';
import { StoreError } from '../errors.js';
import { sortsAfter } from '../path.js';

/** Pages of one listing; 100 million names, where a page has 1,000. */
const maxPages = 100_000;
/** Pages in a row that show nothing, as where much was deleted. */
const maxEmptyPages = 1000;
/** Listings remembered that go on. */
const maxRemembered = 1000;
/** Names seen in order of which none could be in its place by chance: 1 in 9!. */
const provingNeighbours = 8;

/** Names as they stood in the answer. */
export interface ShownNames {
  readonly keys: readonly string[];
  readonly prefixes: readonly string[];
}

interface Progress {
  readonly pages: number;
  readonly emptyInRow: number;
  /** sorts behind all names so far; empty before the first */
  readonly last: string;
  /** of the page that others are compared with */
  readonly mark: string;
}

const beginning: Progress = { pages: 0, emptyInRow: 0, last: '', mark: '' };

export class ListingProgress {
  readonly #listings = new LRUCache<string, Progress>({ max: maxRemembered });
  #neighbours = 0;
  #isDisordered = false;

  /** Whether names came in another order than S3's. */
  get isDisordered(): boolean {
    return this.#isDisordered;
  }

  /** Whether enough names came to believe in their order. */
  get isOrderSeen(): boolean {
    return this.#neighbours >= provingNeighbours && !this.#isDisordered;
  }

  /**
   * Takes a page in.
   * @param listing what is listed
   * @param from the token that the page was asked with
   * @param next the token of the page that follows
   * @throws StoreError `corrupt` where the listing leads nowhere
   */
  note(
    listing: string,
    names: ShownNames,
    { from, next }: { from: string | undefined; next: string | undefined },
  ): void {
    const before = this.#known(listing, from);
    const ends = this.#noteOrder(names, before.last);
    if (next === undefined) return;
    const pages = before.pages + 1;
    const emptyInRow = ends === undefined ? before.emptyInRow + 1 : 0;
    const shown = ends === undefined ? next : `${ends.first}\0${ends.last}`;
    if (next === from || shown === before.mark) throw lost(listing, 'leads back');
    if (emptyInRow > maxEmptyPages || pages > maxPages) throw lost(listing, 'does not end');
    const isPowerOfTwo = (pages & (pages - 1)) === 0;
    this.#listings.set(nameOf(listing, next), {
      ...{ pages, emptyInRow },
      last: ends === undefined || sortsAfter(before.last, ends.last) ? before.last : ends.last,
      mark: isPowerOfTwo ? shown : before.mark,
    });
  }

  #known(listing: string, from: string | undefined): Progress {
    return (
      (from === undefined ? undefined : this.#listings.get(nameOf(listing, from))) ?? beginning
    );
  }

  /** @returns the first and the last of the names; undefined where there are none */
  #noteOrder(
    { keys, prefixes }: ShownNames,
    before: string,
  ): { first: string; last: string } | undefined {
    const firsts = [keys[0], prefixes[0]].filter((name) => name !== undefined);
    const lasts = [keys.at(-1), prefixes.at(-1)].filter((name) => name !== undefined);
    const [first = ''] = firsts.sort(byBytes);
    const last = lasts.sort(byBytes).at(-1);
    if (last === undefined) return undefined;
    // A prefix may end one page and begin the next.
    const isOrdered = areAscending(keys) && areAscending(prefixes) && !sortsAfter(before, first);
    if (isOrdered) this.#neighbours += keys.length + prefixes.length - firsts.length;
    else this.#isDisordered = true;
    return { first, last };
  }
}

function nameOf(listing: string, token: string): string {
  return `${listing}\0${token}`;
}

function byBytes(name: string, other: string): number {
  return sortsAfter(name, other) ? 1 : -1;
}

function areAscending(names: readonly string[]): boolean {
  return names.every((name, index) => index === 0 || isBehind(name, names[index - 1] ?? ''));
}

/** As `sortsAfter`, which makes bytes of both; only surrogates sort otherwise than JavaScript has it. */
function isBehind(name: string, other: string): boolean {
  const isPlain = !/[\ud800-\udfff]/.test(name) && !/[\ud800-\udfff]/.test(other);
  return isPlain ? name > other : sortsAfter(name, other);
}

function lost(listing: string, how: string): StoreError {
  const action = 'ListObjectsV2';
  return new StoreError('corrupt', `${action} ${JSON.stringify(listing)}: the listing ${how}`, {
    action,
  });
}
