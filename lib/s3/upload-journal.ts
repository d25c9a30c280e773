/**
 * What this mount has in the bucket for a while and has not taken away again, on disk, so that a process
 * that is killed leaves nothing there that costs money and shows nowhere: multipart uploads, and the
 * scratch objects that conditions are tried on. The next start on the same mount point removes what is
 * recorded here, and nothing else. A sweep of the bucket could end another host's uploads.
 *
 * Each is written down before it begins. S3 names an upload in its answer only; until then the key and
 * the time stand for it. One line of JSON for each begin and each end, appended with one write(2): that
 * survives kill -9 without fsync(2). A line cut off by a full disk is ignored.
 */
import { randomUUID } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { systemClock } from '../clock.js';
import { systemErrorCode } from '../errors.js';
import type { Key } from '../path.js';
import type { MultipartUpload } from '../store.js';

/** Hears of every multipart upload of a store. */
export interface UploadRecord {
  /** @throws Error (system error) if it cannot be recorded; then the upload must not be used */
  begun(upload: MultipartUpload): void;
  ended(upload: MultipartUpload): void;
  /**
   * An upload of this key, or a scratch object, is about to be made.
   * @returns to be called once it is recorded by its id, was not made, or is gone
   * @throws Error (system error) as `begun`
   */
  beginning?(key: Key, what: Kind): () => void;
}

type Kind = 'upload' | 'scratch';

/** Something that may have been made and has no id. */
export interface Beginning {
  readonly key: Key;
  readonly id: string;
  readonly kind: Kind;
  /** it was made in this time, by the clock of this machine */
  readonly fromMs: number;
  readonly untilMs: number;
}

interface Line {
  readonly scope: string;
  readonly key: string;
  /** S3's, or for a beginning our own */
  readonly uploadId: string;
  readonly beginning?: Kind;
  readonly atMs?: number;
  readonly ended?: boolean;
}

export class UploadJournal implements UploadRecord {
  #path: string;
  readonly #scope: string;
  readonly #renewed: () => string;
  readonly #open: Map<string, Line>;
  /** begun by an earlier process and never ended; those of other scopes stay for their mount */
  readonly left: readonly MultipartUpload[];
  /** what an earlier process was about to make */
  readonly beginnings: readonly Beginning[];

  /**
   * Opens the journal and reads what an earlier process left.
   * @param path of the file; made with mode 0600 if absent
   * @param scope endpoint, bucket and prefix: keys mean nothing elsewhere
   * @param renewed its path, in a directory that was made again
   * @throws Error (system error)
   */
  constructor(path: string, scope: string, renewed: () => string = () => path) {
    this.#path = path;
    this.#scope = scope;
    this.#renewed = renewed;
    this.#open = openLines(path);
    this.#writeAll();
    const own = [...this.#open.values()].filter((line) => line.scope === scope);
    const untilMs = systemClock.dateMs();
    this.left = own
      .filter(({ beginning }) => beginning === undefined)
      .map(({ key, uploadId }) => ({ key: key as Key, uploadId }));
    this.beginnings = own.flatMap(({ key, uploadId: id, beginning: kind, atMs: fromMs }) =>
      kind === undefined || fromMs === undefined
        ? []
        : [{ key: key as Key, id, kind, fromMs, untilMs }],
    );
  }

  begun({ key, uploadId }: MultipartUpload): void {
    this.#add({ scope: this.#scope, key, uploadId });
  }

  ended({ key, uploadId }: MultipartUpload): void {
    this.#end({ scope: this.#scope, key, uploadId });
  }

  beginning(key: Key, kind: Kind): () => void {
    const line = { scope: this.#scope, key, uploadId: randomUUID() };
    this.#add({ ...line, beginning: kind, atMs: systemClock.dateMs() });
    return () => this.#end(line);
  }

  /** It is gone. */
  settled({ key, id }: Beginning): void {
    this.#end({ scope: this.#scope, key, uploadId: id });
  }

  /** Nothing more is begun; a file that says nothing goes. */
  close(): void {
    if (this.#open.size === 0) rmSync(this.#path, { force: true });
  }

  #add(line: Line): void {
    this.#open.set(line.uploadId, line);
    this.#append(line);
  }

  #end(line: Line): void {
    this.#open.delete(line.uploadId);
    this.#append({ ...line, ended: true });
  }

  /** Whoever cleans up after others may have removed the file, and its directory. */
  #append(line: Line): void {
    if (existsSync(this.#path)) {
      appendFileSync(this.#path, textOf(line), { mode: 0o600 });
      return;
    }
    this.#path = this.#renewed();
    this.#writeAll();
  }

  #writeAll(): void {
    const texts = [...this.#open.values()].map(textOf);
    writeFileSync(this.#path, texts.join(''), { mode: 0o600 });
  }
}

function openLines(path: string): Map<string, Line> {
  const open = new Map<string, Line>();
  for (const text of readLines(path)) {
    const line = parseLine(text);
    if (line === undefined) continue;
    if (line.ended === true) open.delete(line.uploadId);
    else open.set(line.uploadId, line);
  }
  return open;
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
  const { scope, key, uploadId, beginning } = value as Record<string, unknown>;
  const isKind = beginning === undefined || beginning === 'upload' || beginning === 'scratch';
  return isKind && [scope, key, uploadId].every((field) => typeof field === 'string');
}

function textOf(line: Line): string {
  return `${JSON.stringify(line)}\n`;
}
