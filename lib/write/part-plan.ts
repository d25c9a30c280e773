/**
 * Plans how a staged file becomes an object: which parts are uploaded and which are copied from the
 * base on the server. Pure; the staged file executes what is planned here.
 *
 * The rules are S3's: every part but the last has at least 5 MiB, none more than 5 GiB, at most
 * 10,000 of them (S3 user guide, "Multipart upload limits"). Within them the plan moves as few bytes
 * as it can: a changed run shorter than 5 MiB takes the missing bytes from a neighbour.
 */
import type { ByteRange, UploadedPart } from '../store.js';
import { multipartLimits } from '../store.js';

export interface PlannedPart extends ByteRange {
  readonly source: 'upload' | 'copy';
}

/** Where a stream lies in its file, and how it is cut. */
export interface StreamCut {
  /** offset in the file where the stream begins */
  readonly start: number;
  /** number of the stream's first part */
  readonly firstNumber: number;
  /** bytes of the first rungs of the ladder */
  readonly partSize: number;
  readonly equalParts: boolean;
}

/** A part that S3 has, and where in the file it belongs. */
export interface StreamedPart extends UploadedPart {
  /** place in the ladder, from 0 */
  readonly index: number;
}

/** Limits of one plan, in bytes; tests use small ones. */
export interface PlanLimits {
  readonly minPart: number;
  /** size aimed at for uploaded parts */
  readonly uploadPart: number;
  /** size aimed at for copied parts */
  readonly copyPart: number;
  readonly maxParts: number;
  /** whether the last part ends the object, and so may be shorter than `minPart` */
  readonly shortTail: boolean;
}

/**
 * Copied parts are requests without bytes: large enough to be few, small enough that the copy of a
 * large object runs in parallel (one CopyObject of 1 GB took four times as long as parts).
 */
export const copyPartSize = 256 * 1024 * 1024;

interface Run {
  start: number;
  end: number;
  changed: boolean;
}

/**
 * @param size bytes of the finished file, above 0
 * @param unchanged ascending ranges that equal the base object at the same offsets
 * @returns parts in order that cover [0, size) exactly
 */
export function planParts(
  size: number,
  unchanged: readonly ByteRange[],
  limits: PlanLimits,
): PlannedPart[] {
  const runs = runsOf(size, unchanged);
  const tail = limits.shortTail ? size : Infinity;
  dropShortCopies(runs, tail, limits.minPart);
  for (let at = 0; at < runs.length; at++) {
    while (growShortRun(runs, at, tail, limits.minPart)) {
      // A swallowed neighbour on the left moves this run one place down.
      at = Math.max(0, at - 1);
    }
  }
  const scale = Math.max(1, Math.ceil(partsNeeded(runs, limits) / limits.maxParts));
  return runs.flatMap((run) => {
    const target = (run.changed ? limits.uploadPart : limits.copyPart) * scale;
    return cut(run, target, limits.minPart).map((range): PlannedPart => ({
      ...range,
      source: run.changed ? 'upload' : 'copy',
    }));
  });
}

/**
 * The same for endpoints that want all parts but the last of one size: what changed decides only
 * which parts of the grid are uploaded.
 * @param partSize bytes, made larger where the file would have more than 10,000 parts
 */
export function planEqualParts(
  size: number,
  unchanged: readonly ByteRange[],
  partSize: number,
): PlannedPart[] {
  const step = Math.max(partSize, Math.ceil(size / multipartLimits.maxParts));
  const parts: PlannedPart[] = [];
  for (let start = 0; start < size; start += step) {
    const end = Math.min(start + step, size);
    const isKept = unchanged.some((range) => range.start <= start && range.end >= end);
    parts.push({ start, end, source: isKept ? 'copy' : 'upload' });
  }
  return parts;
}

function runsOf(size: number, unchanged: readonly ByteRange[]): Run[] {
  const runs: Run[] = [];
  let at = 0;
  for (const { start, end } of unchanged) {
    const stop = Math.min(end, size);
    if (start >= stop) continue;
    if (start > at) runs.push({ start: at, end: start, changed: true });
    runs.push({ start, end: stop, changed: false });
    at = stop;
  }
  if (at < size) runs.push({ start: at, end: size, changed: true });
  return runs;
}

/** A copy too short to be a part, unless it ends the file, has to be uploaded with its neighbours. */
function dropShortCopies(runs: Run[], tail: number, minPart: number): void {
  for (const run of runs) {
    if (!run.changed && run.end !== tail && run.end - run.start < minPart) run.changed = true;
  }
  mergeChanged(runs);
}

function mergeChanged(runs: Run[]): void {
  for (let at = runs.length - 1; at > 0; at--) {
    const run = runs[at];
    const before = runs[at - 1];
    if (run?.changed === true && before?.changed === true) {
      before.end = run.end;
      runs.splice(at, 1);
    }
  }
}

/**
 * Grows the changed run at `at` to `minPart` from the neighbour that costs the fewer bytes.
 * @returns whether a neighbour was swallowed, so that the run has to be looked at again
 */
function growShortRun(runs: Run[], at: number, tail: number, minPart: number): boolean {
  const run = runs[at];
  if (run === undefined || !run.changed || run.end === tail) return false;
  const missing = minPart - (run.end - run.start);
  if (missing <= 0) return false;
  const left = runs[at - 1];
  const right = runs[at + 1];
  if (left === undefined && right === undefined) return false;
  const leftCost = left === undefined ? Infinity : costOf(left, missing, minPart, false);
  const rightCost =
    right === undefined ? Infinity : costOf(right, missing, minPart, right.end === tail);
  if (left !== undefined && leftCost < rightCost) {
    run.start -= leftCost;
    left.end -= leftCost;
    if (left.end > left.start) return false;
  } else if (right !== undefined) {
    run.end += rightCost;
    right.start += rightCost;
    if (right.end > right.start) return false;
  }
  const kept = runs.filter((each) => each.end > each.start);
  runs.splice(0, runs.length, ...kept);
  mergeChanged(runs);
  return true;
}

/** Bytes to take from a copied neighbour: what is missing, or all if the rest would be too short. */
function costOf(neighbour: Run, missing: number, minPart: number, isLast: boolean): number {
  const length = neighbour.end - neighbour.start;
  const rest = length - missing;
  return rest >= (isLast ? 0 : minPart) ? missing : length;
}

function partsNeeded(runs: readonly Run[], limits: PlanLimits): number {
  return runs.reduce(
    (sum, run) =>
      sum + Math.ceil((run.end - run.start) / (run.changed ? limits.uploadPart : limits.copyPart)),
    0,
  );
}

/** Cuts a run into pieces near `target`, none above S3's limit, none below `minPart` but a last one. */
function cut(run: Run, target: number, minPart: number): ByteRange[] {
  const length = run.end - run.start;
  const aim = Math.min(Math.max(target, minPart), multipartLimits.maxPart);
  const pieces: ByteRange[] = [];
  let at = run.start;
  // Whole pieces first; a rest below the minimum is shared with the piece before it.
  while (run.end - at > aim) {
    const rest = run.end - at - aim;
    const step = rest < minPart ? Math.ceil((run.end - at) / 2) : aim;
    // Too little for two parts: one that is a bit larger than aimed at.
    if (run.end - at - step < minPart && step < aim) break;
    pieces.push({ start: at, end: at + step });
    at += step;
  }
  if (length > 0) pieces.push({ start: at, end: run.end });
  return pieces;
}

/**
 * Where part `index` (from 0) of a stream of unknown length ends, counted from the stream's start.
 *
 * A ladder: the size doubles every 1,000 parts, so that 10,000 parts of 8 MiB and up hold 7.9 TiB,
 * more than S3's largest object, while a file of a few GiB leaves in small parts.
 * @param partSize size of the first parts, bytes
 * @param equal true for endpoints that want all parts of one size
 */
export function streamPartEnd(index: number, partSize: number, equal: boolean): number {
  if (equal) return (index + 1) * partSize;
  const step = 1000;
  let end = 0;
  let size = partSize;
  let left = index + 1;
  while (left > 0) {
    const count = Math.min(left, step);
    end += count * Math.min(size, multipartLimits.maxPart);
    left -= count;
    size *= 2;
  }
  return end;
}
