/**
 * Watching one mount: its metrics, its last problems, and where both can be asked for.
 *
 * A mount works without being watched: a status socket that cannot be made is a line in the log. A
 * metrics address that was asked for and cannot be had is a failure.
 */
import { Failure, messageOf } from './failure.js';
import type { Log } from './log.js';
import { Metrics } from './metrics.js';
import { ObservedOperations } from './observed-operations.js';
import type { Operations } from './operations.js';
import type { MountOptions } from './option-table.js';
import { RecentProblems } from './recent-problems.js';
import { figuresOf, makeReport, type Subject } from './status/report.js';
import { serveMetrics, serveStatus } from './status/server.js';
import { readVersion } from './version.js';

/** What is known of a mount only once it is there. */
export type Watched = Pick<
  Subject,
  'mountPoint' | 'source' | 'filesystem' | 'store' | 'mounted'
> & {
  readonly driver: { readonly name: string; readonly why: string };
};

export class Observation {
  readonly metrics = new Metrics();
  /** to be used by all parts of the mount */
  readonly log: Log;
  readonly #problems: RecentProblems;
  readonly #options: MountOptions;
  readonly #since = new Date();
  readonly #closing: (() => Promise<void>)[] = [];

  constructor(options: MountOptions, log: Log) {
    this.#options = options;
    this.#problems = new RecentProblems(log);
    this.log = this.#problems;
  }

  /** The operations as the driver is to call them. */
  around(operations: Operations): Operations {
    return new ObservedOperations(operations, {
      metrics: this.metrics,
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
    const version = readVersion();
    const subject: Subject = {
      ...watched,
      version,
      since: this.#since,
      options: this.#options,
      metrics: this.metrics,
      problems: () => this.#problems.problems,
    };
    const build = { version, node: process.versions.node, driver: watched.driver.name };
    this.metrics.watch(build, () => figuresOf(subject));
    const sources = { metrics: this.metrics, report: () => makeReport(subject) };
    try {
      const { close } = await serveStatus(socketPath, sources, this.log);
      this.#closing.push(close);
    } catch (error) {
      const cause = messageOf(error);
      this.log.warn({ socketPath, cause }, 's3jail status will not be answered');
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#closing.map((close) => close()));
  }
}
