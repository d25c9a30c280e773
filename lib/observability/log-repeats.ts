/**
 * A log that does not repeat itself without end: when S3 is gone, a thousand callers fail the same
 * way, and a thousand lines say no more than ten.
 *
 * Records are the same if level, message and errno are. The first few of a while are written, the
 * rest counted and told at its end. Debug records are not touched.
 */
import type { Log, LogFields } from '../log.js';

type Level = 'error' | 'warn' | 'info';

interface Repeats {
  readonly level: Level;
  readonly message: string;
  readonly errno: unknown;
  written: number;
  held: number;
}

export interface RepeatLimits {
  /** how many of a kind are written in a while */
  readonly most: number;
  readonly whileMs: number;
}

const usual: RepeatLimits = { most: 10, whileMs: 10_000 };

export class UnrepeatedLog implements Log {
  readonly #log: Log;
  readonly #limits: RepeatLimits;
  readonly #seen = new Map<string, Repeats>();

  constructor(log: Log, limits: RepeatLimits = usual) {
    this.#log = log;
    this.#limits = limits;
  }

  error(fields: LogFields, message: string): void {
    this.#take('error', fields, message);
  }

  warn(fields: LogFields, message: string): void {
    this.#take('warn', fields, message);
  }

  info(fields: LogFields, message: string): void {
    this.#take('info', fields, message);
  }

  debug(fields: LogFields, message: string): void {
    this.#log.debug(fields, message);
  }

  /** Tells now what was held back. */
  flush(): void {
    for (const key of [...this.#seen.keys()]) this.#tell(key);
  }

  #take(level: Level, fields: LogFields, message: string): void {
    const { errno } = fields;
    const key = JSON.stringify([level, message, errno]);
    let repeats = this.#seen.get(key);
    if (repeats === undefined) {
      repeats = { level, message, errno, written: 0, held: 0 };
      this.#seen.set(key, repeats);
      setTimeout(() => this.#tell(key), this.#limits.whileMs).unref();
    }
    if (repeats.written >= this.#limits.most) {
      repeats.held += 1;
      return;
    }
    repeats.written += 1;
    this.#log[level](fields, message);
  }

  #tell(key: string): void {
    const repeats = this.#seen.get(key);
    this.#seen.delete(key);
    if (repeats === undefined || repeats.held === 0) return;
    const { level, message, errno, held } = repeats;
    const fields = errno === undefined ? {} : { errno };
    this.#log[level](fields, `same message ${held} more times: ${message}`);
  }
}
