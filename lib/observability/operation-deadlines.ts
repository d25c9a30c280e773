/**
 * The operations as a driver calls them: counted, timed, and answered in bounded time.
 *
 * What asks S3 a question or makes a small change is answered EIO at its deadline, whatever S3 does:
 * its signal is aborted, so that it stops waiting for others and for S3; what it still brings is
 * given back. What moves file content (flush, fsync, write, truncate, rename, a whole listing) takes
 * as long as the content does and ends by the time limits of its requests alone.
 */
import { Deadlines, type Wait } from './deadlines.js';
import { FsError, toFsError } from '../errors.js';
import type { Log } from '../log.js';
import type { Metrics } from './metrics.js';
import type { HandleId, Lend, Operations, RequestContext } from '../operations.js';

export interface ObservationSettings {
  readonly metrics: Pick<Metrics, 'operation'>;
  /** told of every operation */
  readonly activity: { note(): void };
  /** told of everybody who opens something; undefined for who is not known */
  readonly users: { see(uid: number | undefined): void };
  readonly deadlineMs: number;
  readonly log: Log;
}

/** Operations that ask S3 nothing have no deadline. */
type Silent =
  'kept' | `${string}Now` | 'readdir' | 'releasedir' | 'statfs' | 'neverExists' | 'onChange';
type Observed = Exclude<keyof Operations, Silent>;

interface Policy {
  /** which argument is the context, which ends at the deadline; without, nothing ends it */
  readonly contextAt?: number;
  /** it answers a handle, to be released where the answer comes after the deadline */
  readonly opens?: boolean;
  /** which argument is the context of somebody who opens something */
  readonly openerAt?: number;
}

const policies: Readonly<Record<Observed, Policy>> = {
  getattr: { contextAt: 1 },
  open: { contextAt: 2, opens: true, openerAt: 2 },
  create: { contextAt: 2, opens: true, openerAt: 2 },
  read: { contextAt: 3 },
  unlink: { contextAt: 1 },
  mkdir: { contextAt: 1 },
  rmdir: { contextAt: 1 },
  chmod: { contextAt: 2 },
  chown: { contextAt: 3 },
  opendir: { openerAt: 1 },
  write: {},
  flush: {},
  fsync: {},
  release: {},
  truncate: {},
  rename: {},
  utimens: {},
  symlink: {},
  link: {},
  mknod: {},
};

type Call = (...args: unknown[]) => Promise<unknown>;

export function withDeadlines(inner: Operations, settings: ObservationSettings): Operations {
  const observer = new Observer(inner, settings);
  const observed = (Object.keys(policies) as Observed[]).map((name) => {
    const call = inner[name].bind(inner) as Call;
    return [name, (...args: unknown[]) => observer.run(name, args, call)] as const;
  });
  return {
    ...(Object.fromEntries(observed) as unknown as Pick<Operations, Observed>),
    kept: (handle) => inner.kept?.(handle),
    getattrNow: (path, handle) => observer.now('getattr', () => inner.getattrNow(path, handle)),
    openNow: (path, flags, context) =>
      observer.now('open', () => inner.openNow(path, flags, context), context),
    createNow: (path, flags, context) =>
      observer.now('create', () => inner.createNow(path, flags, context), context),
    opendirNow: (path, context) =>
      observer.now('opendir', () => inner.opendirNow(path, context), context),
    readNow: (handle, offset, length, context) =>
      observer.now('read', () => inner.readNow(handle, offset, length, context)),
    writeNow: (handle, data, offset) =>
      observer.now('write', () => inner.writeNow(handle, data, offset)),
    flushNow: (handle) => observer.now('flush', () => inner.flushNow(handle)),
    releaseNow: (handle) => observer.now('release', () => inner.releaseNow(handle)),
    readdirNow: (handle, offset, count) => inner.readdirNow(handle, offset, count),
    readdir: (handle, offset, count) => inner.readdir(handle, offset, count),
    releasedir: (handle) => inner.releasedir(handle),
    statfs: () => inner.statfs(),
    neverExists: (path) => inner.neverExists(path),
    onChange: (listener) => inner.onChange(listener),
  };
}

class Observer {
  readonly #inner: Operations;
  readonly #settings: ObservationSettings;
  readonly #deadlines: Deadlines;

  constructor(inner: Operations, settings: ObservationSettings) {
    this.#inner = inner;
    this.#settings = settings;
    this.#deadlines = new Deadlines(settings.deadlineMs);
  }

  /** What answers at once counts where it has answered. */
  now<T>(operation: Observed, work: () => T, opener?: RequestContext): T {
    const { metrics, activity } = this.#settings;
    const startMs = performance.now();
    const answer = work();
    if (answer === undefined || answer === false) return answer;
    activity.note();
    if (opener !== undefined) this.#noteOpener(opener);
    const result = answer === 'absent' ? 'ENOENT' : 'ok';
    metrics.operation(operation, result, (performance.now() - startMs) / 1000);
    return answer;
  }

  run(operation: Observed, args: unknown[], call: Call): Promise<unknown> {
    const { contextAt, opens, openerAt } = policies[operation];
    if (openerAt !== undefined) this.#noteOpener(args[openerAt] as RequestContext);
    const startMs = performance.now();
    this.#settings.activity.note();
    const observe = (result: string): void => {
      const seconds = (performance.now() - startMs) / 1000;
      this.#settings.metrics.operation(operation, result, seconds);
    };
    if (contextAt === undefined) return timed(call(...args), observe);
    return this.#limited({ operation, args, call, observe, contextAt, opens: opens === true });
  }

  #noteOpener({ caller }: RequestContext): void {
    this.#settings.users.see(caller?.uid);
  }

  #limited(ask: LimitedCall): Promise<unknown> {
    const { operation, args, call, observe, contextAt, opens } = ask;
    const { deadlineMs } = this.#settings;
    const limited = new LimitedContext(args[contextAt] as RequestContext);
    return new Promise((resolve, reject) => {
      const work = call(...args.with(contextAt, limited));
      const wait: Wait = {
        expire: () => {
          limited.abort();
          observe('EIO');
          this.#warn(operation, args[0]);
          const seconds = deadlineMs / 1000;
          reject(new FsError('EIO', `no answer from S3 in ${seconds} seconds (twice --timeout)`));
        },
      };
      this.#deadlines.begin(wait);
      work.then(
        (answer) => {
          if (this.#deadlines.end(wait)) {
            observe('ok');
            resolve(answer);
          } else if (opens) void this.#inner.release(answer as HandleId);
        },
        (error: unknown) => {
          // A late failure was logged by the core where it arose; nobody waits for it here.
          if (!this.#deadlines.end(wait)) return;
          observe(toFsError(error).code);
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
          reject(error);
        },
      );
    });
  }

  #warn(operation: Observed, first: unknown): void {
    const { deadlineMs, log } = this.#settings;
    const path = typeof first === 'string' ? first : undefined;
    log.warn({ operation, path, deadlineMs }, `${operation} took too long`);
  }
}

interface LimitedCall {
  readonly operation: Observed;
  readonly args: unknown[];
  readonly call: Call;
  readonly observe: (result: string) => void;
  readonly contextAt: number;
  readonly opens: boolean;
}

async function timed(work: Promise<unknown>, observe: (result: string) => void): Promise<unknown> {
  try {
    const answer = await work;
    observe('ok');
    return answer;
  } catch (error) {
    observe(toFsError(error).code);
    throw error;
  }
}

/** A context whose signal aborts at the deadline too. The signal is made only if somebody asks. */
class LimitedContext implements RequestContext {
  readonly #context: RequestContext;
  #controller: AbortController | undefined;
  #isOver = false;

  constructor(context: RequestContext) {
    this.#context = context;
  }

  get caller(): NonNullable<RequestContext['caller']> {
    return this.#context.caller ?? {};
  }

  get lend(): Lend | undefined {
    return this.#context.lend;
  }

  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal;
    const controller = new AbortController();
    this.#controller = controller;
    const outer = this.#context.signal;
    if (this.#isOver || outer?.aborted === true) controller.abort();
    else outer?.addEventListener('abort', () => controller.abort(), { once: true });
    return controller.signal;
  }

  /** The deadline has passed. */
  abort(): void {
    this.#isOver = true;
    this.#controller?.abort();
  }
}
