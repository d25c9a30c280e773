/**
 * The keys of a bucket in S3's order: by their UTF-8 bytes.
 *
 * One data structure: a list of short sorted arrays, so that adding one of a million keys moves a
 * few hundred entries and not a million, and walking on from a key is a step in an array. JavaScript orders
 * strings by UTF-16 code units, which differs from UTF-8 order for characters beyond U+FFFF; hence
 * the comparison of its own.
 */

/** Chunks split at twice this length. */
const chunkLength = 512;

/** Whether `a` sorts before (negative), with (0) or after (positive) `b` by UTF-8 bytes. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) {
    const unitA = a.charCodeAt(index);
    const unitB = b.charCodeAt(index);
    if (unitA !== unitB) return rank(unitA) - rank(unitB);
  }
  return a.length - b.length;
}

/** Surrogates stand for characters beyond U+FFFF, so they go after U+E000 to U+FFFF. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

export class SortedKeys {
  #chunks: string[][] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds a key; nothing happens if it is there. */
  add(key: string): void {
    const found = this.#find((other) => compareUtf8(other, key) >= 0);
    // Past the last key of all: append to the last chunk, so that ordered loads stay cheap.
    const chunkIndex = Math.min(found.chunk, Math.max(this.#chunks.length - 1, 0));
    const chunk = this.#chunks[chunkIndex];
    if (chunk === undefined) {
      this.#chunks.push([key]);
      this.#size = 1;
      return;
    }
    const index = found.chunk === chunkIndex ? found.index : chunk.length;
    if (chunk[index] === key) return;
    chunk.splice(index, 0, key);
    this.#size++;
    if (chunk.length > 2 * chunkLength) {
      this.#chunks.splice(chunkIndex + 1, 0, chunk.splice(chunkLength));
    }
  }

  /** Takes a key away; nothing happens if it is not there. */
  delete(key: string): void {
    const found = this.#find((other) => compareUtf8(other, key) >= 0);
    const chunk = this.#chunks[found.chunk];
    if (chunk === undefined || chunk[found.index] !== key) return;
    chunk.splice(found.index, 1);
    this.#size--;
    if (chunk.length === 0) this.#chunks.splice(found.chunk, 1);
  }

  /**
   * Walks the keys from the first one for which `reached` is true.
   * @param reached false for a stretch of first keys, true for all after them
   * @returns the next key at each call, undefined at the end; valid until the keys change
   */
  walk(reached: (key: string) => boolean): () => string | undefined {
    let { chunk, index } = this.#find(reached);
    return () => {
      const key = this.#chunks[chunk]?.[index];
      if (key === undefined) return undefined;
      index++;
      if (index >= (this.#chunks[chunk]?.length ?? 0)) {
        chunk++;
        index = 0;
      }
      return key;
    };
  }

  #find(reached: (key: string) => boolean): { chunk: number; index: number } {
    const chunk = firstTrue(this.#chunks.length, (index) => {
      const last = this.#chunks[index]?.at(-1);
      return last !== undefined && reached(last);
    });
    const keys = this.#chunks[chunk] ?? [];
    const index = firstTrue(keys.length, (position) => {
      const key = keys[position];
      return key !== undefined && reached(key);
    });
    return { chunk, index };
  }
}

/** Binary search for the first index below `end` where `test` holds; `end` if nowhere. */
function firstTrue(end: number, test: (index: number) => boolean): number {
  let low = 0;
  let high = end;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (test(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
