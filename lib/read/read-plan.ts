/**
 * What one read of a file should make a reader fetch: pure arithmetic, no I/O.
 *
 * Reads that follow each other make a run, and the run decides. From the beginning of a file whole
 * parts of a fixed grid are fetched, each once; after a jump the first read fetches what it asks for,
 * and the fetches grow as the run does, until they are parts too. The window ahead is a multiple of
 * what the run has read, up to what memory and concurrency allow. The kernel reorders neighbouring
 * reads, so a small step back or ahead still belongs to the run.
 */
import type { ByteRange } from '../store.js';

/** The kernel reads so far ahead, by requests of 1 MiB, and several threads take them: in any order. */
export const tolerance = 4 * 1024 * 1024;
/** What was fetched and not handed out is kept this far behind, twice the kernel's read-ahead. */
const lateTolerance = 8 * 1024 * 1024;
/** Ahead of a short run no less is fetched at a time: the kernel's own read-ahead. */
export const smallestAhead = 128 * 1024;
/** The window ahead, in lengths of the run: full speed is reached within the first few parts. */
const growth = 4;

/** Reads that followed each other. */
export interface ReadRun {
  /** end of the furthest of them */
  readonly position: number;
  /** bytes they covered together; 0 after a jump, until another one follows */
  readonly length: number;
  /** whether the run began at the beginning of the file: then it will probably read all of it */
  readonly isFromStart: boolean;
}

/** Before the first read: one at the beginning is expected. */
export const freshRun: ReadRun = { position: 0, length: 0, isFromStart: true };

export interface PlanInput {
  readonly run: ReadRun;
  /** what is asked for; not empty, within the file */
  readonly wanted: ByteRange;
  /** of the file, bytes */
  readonly size: number;
  /** of the grid, bytes */
  readonly partSize: number;
  /** most GETs in flight ahead */
  readonly concurrency: number;
  /** memory this reader may fill, bytes */
  readonly share: number;
  /** what is in memory or on its way, ascending, without overlaps */
  readonly present: readonly ByteRange[];
}

export interface ReadPlan {
  readonly run: ReadRun;
  /** missing ranges that hold bytes of `wanted`: to be fetched now */
  readonly demand: readonly ByteRange[];
  /** missing ranges beyond it worth fetching, the nearest first */
  readonly ahead: readonly ByteRange[];
  /** what is worth keeping in memory */
  readonly keep: ByteRange;
  /** from here on also what was not handed out yet: a read may come later than those behind it */
  readonly late: number;
}

/** Plans one read. */
export function planRead(input: PlanInput): ReadPlan {
  const { wanted, size, concurrency, share, present } = input;
  const isPresent = missing(wanted, present, { part: size, size, atLeast: 0 }).length === 0;
  const run = follow(input.run, wanted, isPresent);
  const part = input.partSize;
  const behind = Math.min(tolerance, part, share / 4);
  const furthest = Math.min(growth * run.length, concurrency * part);
  // Beside the window: what was passed, and what rounding up to a part takes.
  const window = Math.max(0, Math.min(furthest, share - behind - part));
  const grid = { part, size, atLeast: run.isFromStart ? part : run.length };
  const demand = missing(withNeighbours(wanted, run, { part, present }), present, grid);
  const ahead = missing(
    { start: run.position, end: Math.min(size, run.position + window) },
    [...present, ...demand].sort((a, b) => a.start - b.start),
    { ...grid, atLeast: Math.max(smallestAhead, grid.atLeast) },
  );
  const keep = {
    start: Math.min(wanted.start, run.position - behind),
    // What is on its way already is not given up because the share has become smaller.
    end: run.position + Math.max(furthest, part),
  };
  const late = run.length > 0 ? run.position - lateTolerance : keep.start;
  return { run, demand, ahead, keep, late };
}

/**
 * The run that a read makes or goes on with.
 * @param isPresent whether all it wants is in memory or on its way: then it is no jump
 */
export function follow(run: ReadRun, { start, end }: ByteRange, isPresent = false): ReadRun {
  if (Math.abs(start - run.position) > tolerance && !isPresent) {
    return { position: end, length: 0, isFromStart: start === 0 };
  }
  return {
    position: Math.max(run.position, end),
    length: run.length + Math.max(0, end - run.position),
    isFromStart: run.isFromStart,
  };
}

/** A read that came before its neighbours asks for their bytes too, so that a part is one fetch. */
function withNeighbours(
  wanted: ByteRange,
  run: ReadRun,
  { part, present }: { part: number; present: readonly ByteRange[] },
): ByteRange {
  if (!run.isFromStart) return wanted;
  const start = Math.floor(wanted.start / part) * part;
  const isFree = present.every((range) => range.end <= start || range.start > wanted.start);
  return isFree && wanted.start - start <= tolerance ? { ...wanted, start } : wanted;
}

interface Grid {
  readonly part: number;
  readonly size: number;
  /** fetches are at least so long, where the grid and what is present leave room */
  readonly atLeast: number;
}

/** The gaps of `present` within `span`, in fetches that end where the grid or present bytes say. */
function missing(span: ByteRange, present: readonly ByteRange[], grid: Grid): ByteRange[] {
  const found: ByteRange[] = [];
  for (let at = span.start; at < span.end;) {
    const here = present.find((range) => range.start <= at && range.end > at);
    if (here !== undefined) {
      at = here.end;
      continue;
    }
    const next = present.find((range) => range.start > at)?.start ?? grid.size;
    const gridEnd = (Math.floor(at / grid.part) + 1) * grid.part;
    const end = Math.min(gridEnd, grid.size, next, Math.max(span.end, at + grid.atLeast));
    found.push({ start: at, end });
    at = end;
  }
  return found;
}
