/**
 * The audit trail as a file of JSON lines, apart from the log and only for it: who did what to which
 * file, and which request to S3 decided it.
 *
 * The file is appended to (0640), line by line. When it cannot be written, the log says so and the
 * mount goes on: who must not serve unaudited has to watch for that line.
 */
import { LRUCache } from 'lru-cache';
import type { AuditEvent, AuditTrail } from '../filesystem/audit.js';
import { isStoreError } from '../errors.js';
import { type Log } from '../log.js';
import { openAppender, type Appender } from './process-log.js';
import { keyOf } from '../path.js';
import { printable } from '../host/printable.js';
import type { RequestObserver } from '../s3/connection/request-observer.js';

/** The S3 actions whose answer decides an event. */
const deciding: Readonly<Record<AuditEvent['action'], readonly string[]>> = {
  store: ['PutObject', 'CompleteMultipartUpload'],
  read: ['GetObject'],
  rename: ['CopyObject', 'CompleteMultipartUpload', 'PutObject'],
  delete: ['DeleteObject'],
  discard: ['AbortMultipartUpload'],
};

/** Answers whose event has not come yet. */
const rememberedAnswers = 10_000;

export interface AuditSettings {
  readonly file: string;
  readonly bucket: string;
  /** of the mount, in front of every key */
  readonly prefix: string;
  readonly log: Log;
}

type Answer = Parameters<RequestObserver['answered']>[0];

export class AuditLog implements AuditTrail {
  readonly #settings: AuditSettings;
  readonly #appender: Appender;
  readonly #requestIds = new LRUCache<string, string>({ max: rememberedAnswers });

  /** @throws Error (system error) if the file cannot be opened */
  constructor(settings: AuditSettings) {
    const { file, log } = settings;
    this.#settings = settings;
    this.#appender = openAppender(file, (error) => {
      log.error({ file, cause: error.message }, 'the audit log cannot be written');
    });
  }

  /** Takes note of S3's answers, for the events that they decide. */
  answered({ action, key, requestId }: Answer): void {
    this.#requestIds.set(`${action} ${key}`, requestId);
  }

  record(event: AuditEvent): void {
    const { bucket, prefix } = this.#settings;
    const { action, path, to, bytes, durationMs, caller, failure } = event;
    const line = {
      time: new Date().toISOString(),
      action,
      result: failure === undefined ? 'ok' : failure.code,
      uid: caller?.uid,
      pid: caller?.pid,
      path,
      to,
      bucket,
      key: prefix + keyOf(path),
      toKey: to === undefined ? undefined : prefix + keyOf(to),
      bytes,
      durationMs: Math.round(durationMs),
      ...this.#requestFacts(event),
    };
    this.#appender.write(`${printable(JSON.stringify(line))}\n`);
  }

  reopen(): void {
    this.#appender.reopen();
  }

  #requestFacts({ action, path, to, failure }: AuditEvent): Record<string, unknown> {
    let requestId: string | undefined;
    for (const decider of deciding[action]) {
      // Its answer is noted under the key it copies from, which its errors are about too.
      const key = keyOf(decider === 'CopyObject' ? path : (to ?? path));
      const found = this.#requestIds.get(`${decider} ${key}`);
      this.#requestIds.delete(`${decider} ${key}`);
      requestId ??= found;
    }
    if (failure === undefined) return { requestId };
    const { cause } = failure;
    if (!isStoreError(cause)) return { reason: failure.message };
    return { requestId: cause.requestId, status: cause.status, code: cause.code };
  }
}
