/**
 * The audit trail as a file of JSON lines, apart from the log and only for it: who did what to which
 * file, from where, and which request to S3 decided it. A login session has a line when it is first seen
 * and one when it is over.
 *
 * The file is appended to (0640), line by line. When it cannot be written, the log says so and the
 * mount goes on: who must not serve unaudited has to watch for that line.
 */
import { LRUCache } from 'lru-cache';
import type { AuditEvent, AuditTrail } from '../filesystem/audit.js';
import { isStoreError } from '../errors.js';
import { type Log } from '../log.js';
import { LoginSessions, type LoginSession } from './login-sessions.js';
import type { Caller } from '../operations.js';
import { openAppender, type Appender } from './process-log.js';
import { keyOf, markerOf } from '../path.js';
import { localNameOf } from '../host/accounts.js';
import { printable } from '../host/printable.js';
import type { RequestObserver } from '../s3/connection/request-observer.js';
import type { StoreProgram } from './store-program.js';

/** The S3 actions whose answer decides an event. */
const deciding: Readonly<Record<AuditEvent['action'], readonly string[]>> = {
  store: ['PutObject', 'CompleteMultipartUpload'],
  read: ['GetObject'],
  rename: ['CopyObject', 'CompleteMultipartUpload', 'PutObject'],
  delete: ['DeleteObject'],
  discard: ['AbortMultipartUpload'],
  mkdir: ['PutObject'],
  rmdir: ['DeleteObject'],
  open: [],
};

/** How often sessions are looked for that are over, while there are any. */
const sessionCheckMs = 10_000;

/** Answers whose event has not come yet. */
const rememberedAnswers = 10_000;

export interface AuditSettings {
  readonly file: string | undefined;
  /** hears of the files that were stored */
  readonly program: Pick<StoreProgram, 'tell'> | undefined;
  readonly bucket: string;
  /** of the mount, in front of every key */
  readonly prefix: string;
  /** the first name of each path is that of a user */
  readonly homes: boolean;
  readonly log: Log;
}

type Answer = Parameters<RequestObserver['answered']>[0];

export class AuditLog implements AuditTrail {
  readonly #settings: AuditSettings;
  readonly #appender: Appender | undefined;
  readonly #requestIds = new LRUCache<string, string>({ max: rememberedAnswers });

  /** of user ids; for a minute, which a user that is renamed can wait */
  readonly #names = new LRUCache<number, { name: string | undefined }>({ max: 1000, ttl: 60_000 });
  readonly #sessions: LoginSessions;
  #sessionCheck: NodeJS.Timeout | undefined;

  /** @throws Error (system error) if the file cannot be opened */
  constructor(settings: AuditSettings, sessions = new LoginSessions()) {
    this.#sessions = sessions;
    const { file, log } = settings;
    this.#settings = settings;
    if (file === undefined) return;
    this.#appender = openAppender(file, (error) => {
      log.error({ file, cause: error.message }, 'the audit log cannot be written');
    });
  }

  /** Takes note of S3's answers, for the events that they decide. */
  answered({ action, key, requestId }: Answer): void {
    this.#requestIds.set(`${action} ${key}`, requestId);
  }

  seen(caller: Caller | undefined): void {
    if (caller?.pid === undefined || caller.pid === 0) return;
    const opened = this.#sessions.see(caller.pid);
    if (opened === undefined) return;
    this.#write({ action: 'session-opened', result: 'ok', uid: caller.uid, ...facts(opened) });
    this.#sessionCheck ??= setInterval(() => this.#endSessions(), sessionCheckMs).unref();
  }

  record(event: AuditEvent): void {
    const { bucket, prefix, homes, program } = this.#settings;
    const { action, path, to, bytes, cached, durationMs, caller, failure } = event;
    const session = caller?.pid === undefined ? undefined : this.#sessions.of(caller.pid);
    const line = this.#write({
      action,
      result: failure === undefined ? 'ok' : failure.code,
      uid: caller?.uid,
      pid: caller?.pid,
      ...facts(session),
      user: session?.user ?? this.#nameOf(caller?.uid),
      home: homes ? path.split('/', 2)[1] : undefined,
      path,
      to,
      bucket,
      key: prefix + keyOf(path),
      toKey: to === undefined ? undefined : prefix + keyOf(to),
      bytes,
      cached,
      durationMs: Math.round(durationMs),
      ...this.#requestFacts(event),
    });
    if (action === 'store' && failure === undefined) program?.tell(line);
  }

  reopen(): void {
    this.#appender?.reopen();
  }

  /** The mount goes away. */
  close(): void {
    clearInterval(this.#sessionCheck);
    this.#endSessions();
  }

  #endSessions(): void {
    for (const session of this.#sessions.takeEnded()) {
      this.#write({ action: 'session-closed', result: 'ok', ...facts(session) });
    }
    if (this.#sessions.hasOpen) return;
    clearInterval(this.#sessionCheck);
    this.#sessionCheck = undefined;
  }

  #nameOf(uid: number | undefined): string | undefined {
    if (uid === undefined) return undefined;
    const known = this.#names.get(uid);
    if (known !== undefined) return known.name;
    const name = localNameOf(uid);
    this.#names.set(uid, { name });
    return name;
  }

  /** @returns the line */
  #write(facts: Record<string, unknown>): string {
    const text = JSON.stringify({ time: new Date().toISOString(), ...facts });
    const line = `${printable(text)}\n`;
    this.#appender?.write(line);
    return line;
  }

  #requestFacts({ action, path, to, failure }: AuditEvent): Record<string, unknown> {
    let requestId: string | undefined;
    for (const decider of deciding[action]) {
      // Its answer is noted under the key it copies from, which its errors are about too.
      const decided = decider === 'CopyObject' ? path : (to ?? path);
      for (const key of [keyOf(decided), markerOf(decided)]) {
        const found = this.#requestIds.get(`${decider} ${key}`);
        this.#requestIds.delete(`${decider} ${key}`);
        requestId ??= found;
      }
    }
    if (failure === undefined) return { requestId };
    const { cause } = failure;
    if (!isStoreError(cause)) return { reason: failure.message };
    return { requestId: cause.requestId, status: cause.status, code: cause.code };
  }
}

/** What a line says of a session; that nothing is known, too. */
function facts(session: LoginSession | undefined): Record<string, unknown> {
  const { id, from, user, remoteAddress = 'unknown', remotePort } = session ?? {};
  return { session: id, sessionFrom: from, user, remoteAddress, remotePort };
}
