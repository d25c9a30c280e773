/**
 * What is written down of an upload that was interrupted, so that it can be gone on with, by this
 * process or a later one: what S3 has in parts, what lies in a file beside the record, and what the
 * name held when the upload began.
 *
 * A record is believed only where it is whole: whatever lacks a field, or has one of another form, is
 * none.
 */
import type { Key } from '../path.js';
import type { ByteRange, Condition, ETag, UploadMemory } from '../store.js';
import type { StreamCut, StreamedPart } from './part-plan.js';

/** A piece of the local bytes; they stand in the data file in this order. */
export interface HeldPiece extends ByteRange {
  readonly crc32: number;
}

/** The object that bytes are kept of. */
export interface HeldBase {
  readonly key: Key;
  readonly etag: ETag;
  readonly size: number;
  readonly mtimeMs: number;
}

/** The open multipart upload and what is in it. */
export interface HeldStream extends StreamCut {
  readonly upload: UploadMemory;
  /** that it was created with, as JSON */
  readonly metadata: string;
  readonly parts: readonly StreamedPart[];
}

/** What the file itself is. */
export interface HeldContent {
  /** bytes, as far as they arrived */
  readonly size: number;
  readonly base?: HeldBase | undefined;
  readonly baseEnd: number;
  readonly changed: readonly ByteRange[];
}

export interface HeldRecord extends HeldContent {
  readonly version: 1;
  /** endpoint, bucket and prefix: the key means nothing elsewhere */
  readonly scope: string;
  readonly key: Key;
  /** what the name has to hold when it is published */
  readonly condition: Condition;
  readonly mtimeMs: number;
  /** as file-time.ts has it in text */
  readonly givenTime?: string | undefined;
  /** when it was interrupted, by the date */
  readonly heldAtMs: number;
  readonly stream?: HeldStream | undefined;
  /** name of the data file, beside the record */
  readonly data: string;
  readonly pieces: readonly HeldPiece[];
}

/** Bytes that are in parts of the upload. */
export function bytesInParts({ stream }: Pick<HeldRecord, 'stream'>): number {
  return (stream?.parts ?? []).reduce((sum, { size }) => sum + size, 0);
}

/** Bytes in the data file. */
export function bytesLocal({ pieces }: Pick<HeldRecord, 'pieces'>): number {
  return pieces.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** @returns undefined where `text` is no record */
export function parseHeldRecord(text: string): HeldRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  return isRecord(value) ? value : undefined;
}

function isRecord(value: unknown): value is HeldRecord {
  if (!isObject(value)) return false;
  const { base, stream, condition, givenTime } = value;
  return (
    value['version'] === 1 &&
    hasTexts(value, 'scope', 'key', 'data') &&
    hasCounts(value, 'size', 'baseEnd') &&
    hasNumbers(value, 'mtimeMs', 'heldAtMs') &&
    isListOf(value['changed'], isRange) &&
    isListOf(value['pieces'], (piece) => isRange(piece) && hasCounts(piece, 'crc32')) &&
    isObject(condition) &&
    (condition['absent'] === true || hasTexts(condition, 'etag')) &&
    (givenTime === undefined || typeof givenTime === 'string') &&
    (base === undefined || isBase(base)) &&
    (stream === undefined || isStream(stream))
  );
}

function isBase(value: unknown): boolean {
  return (
    isObject(value) &&
    hasTexts(value, 'key', 'etag') &&
    hasCounts(value, 'size') &&
    hasNumbers(value, 'mtimeMs')
  );
}

function isStream(value: unknown): boolean {
  return (
    isObject(value) &&
    isObject(value['upload']) &&
    hasTexts(value['upload'], 'key', 'uploadId') &&
    hasTexts(value, 'metadata') &&
    hasCounts(value, 'start', 'firstNumber', 'partSize') &&
    typeof value['equalParts'] === 'boolean' &&
    isListOf(value['parts'], isPart)
  );
}

function isPart(value: unknown): boolean {
  return isObject(value) && hasTexts(value, 'etag') && hasCounts(value, 'index', 'number', 'size');
}

function isRange(value: unknown): value is Record<string, unknown> {
  return (
    isObject(value) &&
    hasCounts(value, 'start', 'end') &&
    Number(value['start']) <= Number(value['end'])
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isListOf(value: unknown, isOne: (each: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isOne);
}

function hasTexts(value: Record<string, unknown>, ...names: readonly string[]): boolean {
  return names.every((name) => typeof value[name] === 'string');
}

function hasNumbers(value: Record<string, unknown>, ...names: readonly string[]): boolean {
  return names.every((name) => Number.isFinite(value[name]));
}

function hasCounts(value: Record<string, unknown>, ...names: readonly string[]): boolean {
  return names.every((name) => Number.isSafeInteger(value[name]) && Number(value[name]) >= 0);
}
