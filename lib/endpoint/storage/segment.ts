/**
 * Segments: stretches of blobs, of which objects and parts are made.
 */
export interface Segment {
  readonly blob: string;
  /** bytes */
  readonly offset: number;
  readonly length: number;
}

/** The segments that make the bytes from `start` up to `end`. */
export function sliceSegments(segments: readonly Segment[], start: number, end: number): Segment[] {
  const slice: Segment[] = [];
  let position = 0;
  for (const segment of segments) {
    const from = Math.max(start, position);
    const to = Math.min(end, position + segment.length);
    if (from < to) {
      slice.push({
        blob: segment.blob,
        offset: segment.offset + from - position,
        length: to - from,
      });
    }
    position += segment.length;
  }
  return slice;
}
