/**
 * A set of byte offsets kept as sorted, disjoint, non-adjacent ranges. Pure data structure; the
 * staged file uses it to know which bytes are local and which were changed.
 */
import type { ByteRange } from '../store.js';

export class RangeSet {
  #ranges: ByteRange[] = [];

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  /** Ascending; a snapshot that later changes do not touch. */
  get ranges(): readonly ByteRange[] {
    return this.#ranges;
  }

  /** Number of offsets in the set. */
  get size(): number {
    return this.#ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  add(start: number, end: number): void {
    if (start >= end) return;
    const last = this.#ranges.at(-1);
    // Sequential writing is the common case and must not copy the array each time.
    if (last !== undefined && start >= last.start && start <= last.end) {
      if (end > last.end) this.#ranges[this.#ranges.length - 1] = { start: last.start, end };
      return;
    }
    if (last === undefined || start > last.end) {
      this.#ranges.push({ start, end });
      return;
    }
    const before = this.#ranges.filter((range) => range.end < start);
    const after = this.#ranges.filter((range) => range.start > end);
    const touched = this.#ranges.slice(before.length, this.#ranges.length - after.length);
    const merged = {
      start: Math.min(start, touched[0]?.start ?? start),
      end: Math.max(end, touched.at(-1)?.end ?? end),
    };
    this.#ranges = [...before, merged, ...after];
  }

  remove(start: number, end: number): void {
    if (start >= end) return;
    this.#ranges = this.#ranges.flatMap((range) => {
      if (range.end <= start || range.start >= end) return [range];
      const left = { start: range.start, end: Math.min(range.end, start) };
      const right = { start: Math.max(range.start, end), end: range.end };
      return [left, right].filter((piece) => piece.start < piece.end);
    });
  }

  clear(): void {
    this.#ranges = [];
  }

  /** Whether every offset of [start, end) is in the set. */
  covers(start: number, end: number): boolean {
    return start >= end || this.#ranges.some((range) => range.start <= start && range.end >= end);
  }

  /** Whether any offset of [start, end) is in the set. */
  touches(start: number, end: number): boolean {
    return this.#ranges.some((range) => range.start < end && range.end > start);
  }

  /** [start, end) cut into pieces that are wholly inside or wholly outside the set, ascending. */
  split(start: number, end: number): (ByteRange & { inside: boolean })[] {
    const pieces: (ByteRange & { inside: boolean })[] = [];
    let at = start;
    for (const range of this.#ranges) {
      if (range.end <= at) continue;
      if (range.start >= end) break;
      if (range.start > at) pieces.push({ start: at, end: range.start, inside: false });
      const from = Math.max(at, range.start);
      at = Math.min(end, range.end);
      pieces.push({ start: from, end: at, inside: true });
    }
    if (at < end) pieces.push({ start: at, end, inside: false });
    return pieces;
  }
}
