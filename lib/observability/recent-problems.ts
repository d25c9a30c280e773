/**
 * The last warnings and errors of a log, for `s3jail status`: what an operator would look for in the
 * log first.
 */
import type { Log, LogFields } from '../log.js';

export interface Problem {
  /** ISO 8601 */
  readonly time: string;
  readonly level: 'error' | 'warn';
  readonly message: string;
  readonly fields: LogFields;
}

const kept = 20;

/** A log that remembers. */
export class RecentProblems implements Log {
  readonly #log: Log;
  readonly #problems: Problem[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  /** The latest last. */
  get problems(): readonly Problem[] {
    return this.#problems;
  }

  error(fields: LogFields, message: string): void {
    this.#remember({ level: 'error', message, fields });
    this.#log.error(fields, message);
  }

  warn(fields: LogFields, message: string): void {
    this.#remember({ level: 'warn', message, fields });
    this.#log.warn(fields, message);
  }

  info(fields: LogFields, message: string): void {
    this.#log.info(fields, message);
  }

  debug(fields: LogFields, message: string): void {
    this.#log.debug(fields, message);
  }

  #remember(problem: Omit<Problem, 'time'>): void {
    // Where it arose is for the log alone.
    const shown = Object.entries(problem.fields).filter(
      ([name]) => !['stack', 'err'].includes(name),
    );
    const fields = Object.fromEntries(shown);
    this.#problems.push({ ...problem, fields, time: new Date().toISOString() });
    if (this.#problems.length > kept) this.#problems.shift();
  }
}
