/** The process, what it logs and serves, and how it ends. */
import { logLevels } from '../../log.js';
import { optional, type OptionTable, time, valued } from '../option-spec.js';
import { oneOf, parseAddress, parseCommand, parseFilePath } from '../values.js';

export const processOptions = {
  driver: valued(
    {
      name: 'driver',
      group: 'Process and logging',
      value: 'NAME',
      help: 'way to the kernel: auto, kernel (needs root) or fuse-native (needs libfuse 2)',
    },
    'auto',
    oneOf(['auto', 'kernel', 'fuse-native']),
  ),
  logLevel: valued(
    {
      name: 'log-level',
      group: 'Process and logging',
      value: 'LEVEL',
      help: `one of ${logLevels.join(', ')}`,
    },
    'info',
    oneOf(logLevels),
  ),
  logFormat: valued(
    { name: 'log-format', group: 'Process and logging', value: 'FORMAT', help: 'text or json' },
    'text',
    oneOf(['text', 'json']),
  ),
  logFile: {
    name: 'log-file',
    group: 'Process and logging',
    value: 'FILE',
    help: 'file to append the log to',
    defaultText: 'stderr; in the background as said below',
    parse: parseFilePath,
    byDefault: () => undefined,
  },
  auditLog: optional(
    {
      name: 'audit-log',
      group: 'Process and logging',
      value: 'FILE',
      help: 'file to append a JSON line to for each file stored, read, renamed or deleted',
    },
    parseFilePath,
  ),
  onStore: optional(
    {
      name: 'on-store',
      group: 'Process and logging',
      value: 'COMMAND',
      help: 'shell command that is kept running and gets a JSON line for each file stored',
    },
    parseCommand,
  ),
  metrics: optional(
    {
      name: 'metrics',
      group: 'Process and logging',
      value: 'ADDRESS',
      help: 'serve Prometheus metrics on PORT of this machine alone, or on HOST:PORT',
    },
    parseAddress,
  ),
  drainTimeoutMs: valued(
    {
      name: 'drain-timeout',
      group: 'Process and logging',
      value: 'TIME',
      help: 'how long stopping may take to store what is still open',
    },
    '5m',
    time,
  ),
} satisfies Partial<OptionTable>;
