/**
 * Multipart uploads that this mount began and has not ended yet, on disk, so that a process that is
 * killed leaves nothing in the bucket that costs money and shows nowhere: the next start on the same
 * mount point aborts what is recorded here, and nothing else. A sweep of the bucket could end another
 * host's uploads.
 *
 * One line of JSON for each begin and each end, appended with one write(2): that survives kill -9
 * without fsync(2). A line cut off by a full disk is ignored.
 */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { systemErrorCode } from './errors.js';
import type { Key } from './path.js';
import type { MultipartUpload } from './store.js';

/** Hears of every multipart upload of a store. */
export interface UploadRecord {
  /** @throws Error (system error) if it cannot be recorded; then the upload must not be used */
  begun(upload: MultipartUpload): void;
  ended(upload: MultipartUpload): void;
}

interface Line {
  readonly scope: string;
  readonly key: string;
  readonly uploadId: string;
  readonly ended?: boolean;
}

export class UploadJournal implements UploadRecord {
  readonly #path: string;
  readonly #scope: string;
  /** begun by an earlier process and never ended; those of other scopes stay for their mount */
  readonly left: readonly MultipartUpload[];

  /**
   * Opens the journal and reads what an earlier process left.
   * @param path of the file; made with mode 0600 if absent
   * @param scope endpoint, bucket and prefix: keys mean nothing elsewhere
   * @throws Error (system error)
   */
  constructor(path: string, scope: string) {
    this.#path = path;
    this.#scope = scope;
    const open = openLines(path);
    writeFileSync(path, open.map(textOf).join(''), { mode: 0o600 });
    this.left = open
      .filter((line) => line.scope === scope)
      .map(({ key, uploadId }) => ({ key: key as Key, uploadId }));
  }

  begun({ key, uploadId }: MultipartUpload): void {
    appendFileSync(this.#path, textOf({ scope: this.#scope, key, uploadId }), { mode: 0o600 });
  }

  ended({ key, uploadId }: MultipartUpload): void {
    appendFileSync(this.#path, textOf({ scope: this.#scope, key, uploadId, ended: true }));
  }
}

function openLines(path: string): Line[] {
  const open = new Map<string, Line>();
  for (const text of readLines(path)) {
    const line = parseLine(text);
    if (line === undefined) continue;
    if (line.ended === true) open.delete(line.uploadId);
    else open.set(line.uploadId, line);
  }
  return [...open.values()];
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

function parseLine(text: string): Line | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined; // cut off, or the empty last line
    throw error;
  }
  return isLine(value) ? value : undefined;
}

function isLine(value: unknown): value is Line {
  if (typeof value !== 'object' || value === null) return false;
  const { scope, key, uploadId } = value as Record<string, unknown>;
  return [scope, key, uploadId].every((field) => typeof field === 'string');
}

function textOf(line: Line): string {
  return `${JSON.stringify(line)}\n`;
}
