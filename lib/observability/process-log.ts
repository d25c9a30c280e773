/**
 * The log of a process: pino behind the port of log.ts.
 *
 * Records are written synchronously, so that the line that explains a crash is there. Text for
 * people, JSON for machines (`--log-format`), and under systemd's journal a priority in front of each
 * line (sd-daemon(3)) instead of the time, which the journal knows. A log that cannot be written, on a
 * full disk for one, loses lines and nothing else.
 */
import { closeSync, fchmodSync, fstatSync, openSync } from 'node:fs';
import { pino } from 'pino';
import pretty from 'pino-pretty';
import { systemErrorCode } from '../errors.js';
import { printable, printableLines } from '../host/printable.js';
import type { Log, LogLevel } from '../log.js';
import { redactor } from './redact.js';

/** The log of a process, which its operator can change while it runs. */
export interface ProcessLog extends Log {
  /** Between the level asked for and debug. @returns the level from now on */
  toggleDebug(): LogLevel;
  /** Opens the file again, which something else may have moved away. @returns whether it could */
  reopen(): boolean;
}

export interface LogSettings {
  readonly level: LogLevel;
  readonly format: 'text' | 'json';
  /** path of a file to append to; stderr if absent */
  readonly file?: string | undefined;
  /** stderr is the journal's */
  readonly isJournal?: boolean;
  /** values that must not be written wherever they come from */
  readonly secrets?: readonly string[];
}

/** A file that lines are appended to at once. */
export interface Appender {
  write(text: string): unknown;
  /** @returns whether it could be opened; if not, lines go on into the old one */
  reopen(): boolean;
}

/** Bytes kept for a disk that is full; more are dropped. */
const heldBack = 1024 * 1024;

/**
 * @param path undefined for stderr
 * @param onFailure called for each failure to write; nothing is thrown then
 * @throws Error (system error) if the file cannot be opened
 */
export function openAppender(
  path: string | undefined,
  onFailure: (error: Error) => void = () => undefined,
): Appender {
  if (path !== undefined) makeFile(path);
  const stream = pino.destination({
    dest: path ?? 2,
    sync: true,
    append: true,
    maxLength: heldBack,
  });
  stream.on('error', onFailure);
  const reopen = (): boolean => {
    try {
      if (path === undefined) return true;
      makeFile(path);
      stream.reopen();
      return true;
    } catch (error) {
      onFailure(error instanceof Error ? error : new Error(String(error)));
      return false;
    }
  };
  return { write: (text) => stream.write(text), reopen };
}

/**
 * Where it is not there: 0640 whatever the umask is, which a unit has for temporary files.
 * @throws Error (system error)
 */
function makeFile(path: string): void {
  try {
    const descriptor = openSync(path, 'ax', 0o640);
    fchmodSync(descriptor, 0o640);
    closeSync(descriptor);
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw error;
  }
}

/** @throws Error (system error) if the log file cannot be opened */
export function createLog(settings: LogSettings): ProcessLog {
  const { level, file } = settings;
  const appender = openAppender(file);
  const isJson = settings.format === 'json';
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      ...(isJson ? { formatters: { level: (label: string) => ({ level: label }) } } : {}),
    },
    new Lines(appender, settings),
  );
  return Object.assign(logger, {
    reopen: () => appender.reopen(),
    toggleDebug: (): LogLevel => {
      const next = logger.level === 'debug' ? (level === 'debug' ? 'info' : level) : 'debug';
      logger.level = next;
      return next;
    },
  });
}

/** Whether stderr is the stream to the journal that systemd names by device and inode (systemd.exec(5)). */
export function isJournal({ JOURNAL_STREAM: named }: NodeJS.ProcessEnv): boolean {
  if (named === undefined) return false;
  const { dev, ino } = fstatSync(2);
  return named === `${dev}:${ino}`;
}

/** syslog(3) priorities by pino's level numbers. */
function priorityOf(level: number): number {
  if (level >= 50) return 3;
  if (level >= 40) return 4;
  return level >= 30 ? 6 : 7;
}

/** Makes pino's JSON lines what they are to be written as. */
class Lines {
  /** Asks pino for `lastLevel` (pino.symbols.needsMetadataGsym). */
  readonly [pino.symbols.needsMetadataGsym] = true;
  /** set by pino before each line */
  lastLevel = 30;
  readonly #appender: Appender;
  readonly #isJournal: boolean;
  readonly #format: (line: string) => string;
  readonly #redact: (text: string) => string;

  constructor(appender: Appender, settings: LogSettings) {
    const { format, isJournal = false, file, secrets = [] } = settings;
    this.#appender = appender;
    this.#isJournal = isJournal && file === undefined;
    this.#redact = redactor(secrets);
    this.#format = format === 'json' ? (line) => line : textFormat(this.#isJournal);
  }

  write(line: string): void {
    const text = printableLines(this.#redact(this.#format(line)));
    this.#appender.write(this.#isJournal ? this.#prioritised(text) : text);
  }

  /** Each line of its own: the journal takes every line for a record. */
  #prioritised(text: string): string {
    return text.replace(/^(?=.)/gm, `<${priorityOf(this.lastLevel)}>`);
  }
}

function textFormat(isJournal: boolean): (line: string) => string {
  return pretty.prettyFactory({
    colorize: false,
    singleLine: true,
    translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l',
    // A name with a line break in it must not make a record of its own.
    messageFormat: ({ msg }) => `s3jail: ${printable(String(msg))}`,
    ...(isJournal ? { ignore: 'time,level' } : {}),
  });
}
