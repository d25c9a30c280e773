/**
 * Watching one mount: its log and audit log, its metrics, its last problems, and where they can be
 * asked for.
 *
 * A mount works without being watched: a status socket that cannot be made is a line in the log. What
 * was asked for by option and cannot be had is a failure.
 */
import { AuditLog } from './audit-log.js';
import { noAudit, type AuditTrail } from '../filesystem/audit.js';
import { defaultLogFile } from '../host/default-log-file.js';
import { Failure, messageOf } from '../host/failure.js';
import { type Log } from '../log.js';
import { MemoryAtRest } from '../host/memory-at-rest.js';
import { createLog, isJournal, type ProcessLog } from './process-log.js';
import { UnrepeatedLog } from './log-repeats.js';
import { Metrics } from './metrics.js';
import { withDeadlines } from './operation-deadlines.js';
import type { Operations } from '../operations.js';
import type { MountPlan } from '../options/mount-plan.js';
import { RecentProblems } from './recent-problems.js';
import { RecentUsers } from './recent-users.js';
import { homeNamed } from '../s3/connection/home-credentials.js';
import type { RequestObserver } from '../s3/connection/request-observer.js';
import { figuresOf, makeReport, type Subject } from './status-report.js';
import { serveMetrics, serveStatus } from './status-server.js';
import { StoreProgram } from './store-program.js';
import { readVersion } from '../host/version.js';
import { parsePath } from '../path.js';

/** What is known of a mount only once it is there. */
export type Watched = Pick<
  Subject,
  'mountPoint' | 'source' | 'access' | 'filesystem' | 'homes' | 'store' | 'mounted'
> & {
  readonly driver: { readonly name: string; readonly why: string };
};

export class Observation {
  readonly metrics = new Metrics();
  /** to be used by all parts of the mount */
  readonly log: Log;
  readonly audit: AuditTrail;
  /** to be told of every request to S3 */
  readonly requests: RequestObserver;
  readonly #processLog: ProcessLog;
  readonly #unrepeated: UnrepeatedLog;
  readonly #problems: RecentProblems;
  readonly #program: StoreProgram | undefined;
  readonly #auditLog: AuditLog | undefined;
  readonly #options: MountPlan['options'];
  readonly #since = new Date();
  readonly #users = new RecentUsers();
  #homes: Watched['homes'];
  readonly #closing: (() => Promise<void>)[] = [];
  readonly #onDebugSignal = (): void => this.#toggleDebug();

  /**
   * @param options.isBackground has a log file of its own where none is named
   * @throws Failure with exit code 2 if a log file cannot be opened
   */
  constructor(plan: MountPlan, { isBackground }: { isBackground: boolean }) {
    this.#options = plan.options;
    this.#processLog = openLog(plan, isBackground);
    this.#problems = new RecentProblems(this.#processLog);
    this.#unrepeated = new UnrepeatedLog(this.#problems);
    this.log = this.#unrepeated;
    const { onStore: command } = plan.options;
    const { metrics, log } = this;
    this.#program = command === undefined ? undefined : new StoreProgram({ command, log, metrics });
    this.#auditLog = openAudit(plan, this.log, this.#program);
    this.audit = this.#auditLog ?? noAudit;
    this.requests = {
      attempted: (attempt) => {
        this.metrics.attempted(attempt);
        const home = this.#homes && homeNamed(plan.source.prefix, attempt.input);
        if (home !== undefined) this.#homes?.noteRequest(home);
      },
      askedToWait: (seconds) => this.metrics.askedToWait(seconds),
      answered: (answer) => this.#auditLog?.answered(answer),
    };
    process.on(debugSignal, this.#onDebugSignal);
  }

  /** Opens the log files again, for whoever has moved them away. */
  reopenLogs(): void {
    const isOpen = this.#processLog.reopen();
    this.#auditLog?.reopen();
    if (isOpen) this.log.info({}, 'opened the log files again');
    else this.log.warn({}, 'the log file cannot be opened again; the one before is still written');
  }

  /** The operations as the driver is to call them. */
  around(operations: Operations): Operations {
    return withDeadlines(operations, {
      metrics: this.metrics,
      activity: new MemoryAtRest(),
      users: this.#users,
      // A request that S3 left unanswered gets one more chance.
      deadlineMs: 2 * this.#options.timeoutMs,
      log: this.log,
    });
  }

  /** @throws Failure with exit code 2 if the address of `--metrics` cannot be had */
  async openMetrics(): Promise<void> {
    const { metrics: address } = this.#options;
    if (address === undefined) return;
    try {
      const { url, close } = await serveMetrics(address, this.metrics, this.log);
      this.#closing.push(close);
      this.log.info({ url }, `metrics are at ${url}`);
    } catch (error) {
      throw new Failure(2, `cannot serve metrics on --metrics: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** From now on the mount answers `s3jail status`. */
  async openStatus(socketPath: string, watched: Watched): Promise<void> {
    this.#homes = watched.homes;
    const version = readVersion();
    const subject: Subject = {
      ...watched,
      version,
      since: this.#since,
      options: this.#options,
      metrics: this.metrics,
      problems: () => this.#problems.problems,
      users: () => this.#users.count,
    };
    const build = { version, node: process.versions.node, driver: watched.driver.name };
    this.metrics.watch(build, () => figuresOf(subject));
    const sources = {
      metrics: this.metrics,
      report: () => makeReport(subject),
      discardHeld: (path: string) => watched.filesystem.discardHeld(parsePath(path)),
    };
    try {
      const { close } = await serveStatus(socketPath, sources, this.log);
      this.#closing.push(close);
    } catch (error) {
      const cause = messageOf(error);
      this.log.warn({ socketPath, cause }, 's3jail status will not be answered');
    }
  }

  async close(): Promise<void> {
    process.off(debugSignal, this.#onDebugSignal);
    this.#unrepeated.flush();
    this.#auditLog?.close();
    await this.#program?.close();
    await Promise.all(this.#closing.map((close) => close()));
  }

  #toggleDebug(): void {
    const level = this.#processLog.toggleDebug();
    this.#processLog.error({ level }, `log level is ${level} now`);
  }
}

/** Node's own meaning of it, a debugger for whoever connects, goes with that. */
const debugSignal = 'SIGUSR1';

function openLog({ options, source, mountPoint }: MountPlan, isBackground: boolean): ProcessLog {
  const { logLevel: level, logFormat: format } = options;
  const file = options.logFile ?? (isBackground ? defaultLogFile(mountPoint) : undefined);
  const { env } = process;
  const secrets = [
    source.credentials?.secretAccessKey,
    env['AWS_SECRET_ACCESS_KEY'],
    env['AWS_SESSION_TOKEN'],
    env['AWS_CONTAINER_AUTHORIZATION_TOKEN'],
  ].flatMap((secret) => secret ?? []);
  try {
    return createLog({ level, format, file, secrets, isJournal: isJournal(env) });
  } catch (error) {
    throw new Failure(2, `cannot open the log file ${file ?? ''}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function openAudit(
  { options, source }: MountPlan,
  log: Log,
  program: StoreProgram | undefined,
): AuditLog | undefined {
  const { auditLog: file } = options;
  if (file === undefined && program === undefined) return undefined;
  try {
    return new AuditLog({
      ...{ file, program, log, homes: options.homes },
      ...{ bucket: source.bucket, prefix: source.prefix },
    });
  } catch (error) {
    throw new Failure(2, `cannot open the audit log ${file ?? ''}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
