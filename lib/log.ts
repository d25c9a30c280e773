/**
 * Logging: a port of four methods for the core, pino behind it.
 *
 * Records are written synchronously, so that the line that explains a crash is there. Text for
 * people, JSON for machines (`--log-format`). Nothing here redacts: secrets never get this far,
 * because options, errors and fields are made without them.
 */
import { pino } from 'pino';
import pretty from 'pino-pretty';

export const logLevels = ['error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Named facts of a record; values are what JSON can hold. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  error(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  debug(fields: LogFields, message: string): void;
}

export interface LogSettings {
  readonly level: LogLevel;
  readonly format: 'text' | 'json';
  /** path of a file to append to; stderr if absent */
  readonly file?: string | undefined;
}

/** @throws Error (system error) if the log file cannot be opened */
export function createLog(settings: LogSettings): Log {
  const base = { level: settings.level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  if (settings.format === 'json') {
    return pino(
      { ...base, formatters: { level: (label: string) => ({ level: label }) } },
      pino.destination({ dest: settings.file ?? 2, sync: true, append: true }),
    );
  }
  return pino(
    base,
    pretty({
      destination: settings.file ?? 2,
      sync: true,
      colorize: false,
      singleLine: true,
      translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l',
      messageFormat: 's3jail: {msg}',
    }),
  );
}

/** A log that keeps nothing, for tests and for callers that do not care. */
export const silentLog: Log = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
};
