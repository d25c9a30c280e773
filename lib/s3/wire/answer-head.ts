/**
 * The head of an HTTP/1 answer, read strictly (RFC 9112), and how its body ends.
 *
 * A reader of its own must not be more lenient than the proxies in front of it: where two
 * readers of one answer differ about its end, its bytes are taken for the next answer.
 */

/** What a head of Node's own parser may have too. */
export const longestHead = 16 * 1024;

/** The other side does not speak HTTP. Its connection has ended. */
export class BrokenAnswer extends Error {
  override readonly name = 'BrokenAnswer';
  /** as Node names its errors of this kind; s3-errors.ts takes it for the connection's end */
  readonly code = 'ERR_HTTP_BROKEN';
}

export interface AnswerHead {
  readonly status: number;
  readonly reason: string;
  /** by lower-case name */
  readonly headers: Record<string, string>;
  /** bytes of the body; undefined where the head does not say */
  readonly length: number | undefined;
  readonly isChunked: boolean;
  /** the connection ends with this answer */
  readonly closes: boolean;
  /** how long the server keeps the idle connection, where it says */
  readonly keepsMs: number | undefined;
}

/** Of these the first counts, as with Node; values of all others are joined. */
const single: ReadonlySet<string> = new Set([
  'age',
  'content-type',
  'etag',
  'expires',
  'last-modified',
  'location',
  'retry-after',
  'server',
]);

const statusLine = /^HTTP\/1\.([01]) (\d{3})(?: ([^\0-\x08\x0a-\x1f\x7f]*))?$/;
// No white space before the colon, and no folded lines.
const fieldLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0-\x08\x0a-\x1f\x7f]*)$/;

/**
 * @param text the head in latin1, without the empty line that ends it
 * @throws BrokenAnswer
 */
export function parseHead(text: string): AnswerHead {
  const [first = '', ...lines] = text.split('\r\n');
  const [, minor, status, reason = ''] = statusLine.exec(first) ?? [];
  if (status === undefined) throw new BrokenAnswer(`no status line: ${shown(first)}`);
  const headers = fieldsOf(lines);
  const { connection = '' } = headers;
  const isChunked = 'transfer-encoding' in headers;
  if (isChunked && 'content-length' in headers) {
    throw new BrokenAnswer('an answer with both a length and a transfer encoding');
  }
  return {
    status: Number(status),
    reason,
    headers,
    length: lengthOf(headers),
    isChunked,
    closes: minor === '0' || /(?:^|,)\s*close\s*(?:,|$)/i.test(connection),
    keepsMs: keepsMs(headers),
  };
}

function fieldsOf(lines: readonly string[]): Record<string, string> {
  const fields = new Map<string, string>();
  for (const line of lines) {
    const [, given, value] = fieldLine.exec(line) ?? [];
    if (given === undefined || value === undefined) {
      throw new BrokenAnswer(`a broken header line: ${shown(line)}`);
    }
    const name = given.toLowerCase();
    const trimmed = value.trimEnd();
    const before = fields.get(name);
    if (before === undefined) fields.set(name, trimmed);
    else if (name === 'content-length') throw new BrokenAnswer('an answer with two lengths');
    else if (!single.has(name)) fields.set(name, `${before}, ${trimmed}`);
  }
  return Object.fromEntries(fields);
}

function lengthOf(headers: Readonly<Record<string, string>>): number | undefined {
  const length = headers['content-length'];
  if (length === undefined) return undefined;
  if (!/^\d{1,15}$/.test(length)) throw new BrokenAnswer(`a broken length: ${shown(length)}`);
  return Number(length);
}

function keepsMs(headers: Readonly<Record<string, string>>): number | undefined {
  const [, seconds] = /(?:^|[,;\s])timeout=(\d{1,6})/i.exec(headers['keep-alive'] ?? '') ?? [];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

/** Short and printable: it comes from outside. */
function shown(text: string): string {
  return JSON.stringify(text.slice(0, 60));
}

/**
 * A body in chunks (RFC 9112 section 7.1) from its first byte on.
 * @returns undefined as long as its end is not there
 * @throws BrokenAnswer
 */
export function chunkedBody(bytes: Buffer): Buffer | undefined {
  const pieces: Buffer[] = [];
  for (let at = 0; ;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return undefined;
    const line = bytes.toString('latin1', at, lineEnd);
    const [, size] = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line) ?? [];
    if (size === undefined) throw new BrokenAnswer(`a broken chunk: ${shown(line)}`);
    const length = parseInt(size, 16);
    const start = lineEnd + 2;
    if (length === 0) return endsAfter(bytes, start) ? Buffer.concat(pieces) : undefined;
    const end = start + length;
    if (bytes.length < end + 2) return undefined;
    if (bytes[end] !== 0x0d || bytes[end + 1] !== 0x0a) throw new BrokenAnswer('a chunk too long');
    pieces.push(bytes.subarray(start, end));
    at = end + 2;
  }
}

/** Whether the trailer, usually none, has ended. */
function endsAfter(bytes: Buffer, trailer: number): boolean {
  return bytes.indexOf('\r\n\r\n', trailer - 2) >= 0;
}
