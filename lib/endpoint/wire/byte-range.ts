/**
 * The Range header of GetObject and HeadObject (RFC 9110, section 14).
 *
 * One range is served; what is malformed or asks for several is ignored, as S3 does.
 */
import { S3Error } from './s3-error.js';

/** Bytes from `start` up to, not including, `end`. */
export interface Bytes {
  readonly start: number;
  readonly end: number;
}

/**
 * The bytes asked for, or undefined for all.
 * @throws S3Error InvalidRange if none of them exists
 */
export function parseRange(header: string | undefined, size: number): Bytes | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '');
  if (header === undefined || match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return undefined;
  if (first === '') return suffix(Number(last), size, header);
  const start = Number(first);
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  if (last !== '' && Number(last) < start) return undefined;
  if (start >= size) throw unsatisfiable(header, size);
  return { start, end };
}

function suffix(length: number, size: number, header: string): Bytes {
  if (length === 0 || size === 0) throw unsatisfiable(header, size);
  return { start: Math.max(0, size - length), end: size };
}

function unsatisfiable(header: string, size: number): S3Error {
  return new S3Error('InvalidRange', {
    elements: { RangeRequested: header, ActualObjectSize: String(size) },
    headers: { 'content-range': `bytes */${size}` },
  });
}

/**
 * The range of UploadPartCopy: both ends, inside the source (S3 API reference, UploadPartCopy).
 * @throws S3Error InvalidArgument
 */
export function parseCopyRange(header: string | undefined, size: number): Bytes {
  if (header === undefined) return { start: 0, end: size };
  const match = /^bytes=(\d+)-(\d+)$/.exec(header);
  const start = Number(match?.[1]);
  const end = Number(match?.[2]) + 1;
  if (match === null || end <= start) {
    throw new S3Error('InvalidArgument', {
      message:
        'The x-amz-copy-source-range value must be of the form bytes=first-last where first and ' +
        'last are the zero-based offsets of the first and last bytes to copy',
    });
  }
  if (end > size) {
    throw new S3Error('InvalidArgument', {
      message: `Range specified is not valid for source object of size: ${size}`,
    });
  }
  return { start, end };
}
