/**
 * The report of a mount's process as it comes out of its socket: copied field by field, so that nothing
 * else goes on, and nobody who prints it meets a field that is missing or of another kind.
 */
import type { StatusReport } from '../observability/status-report.js';

/** What a value has to be: these alone, a list of one kind, values of one kind by name, or a record. */
type Shape =
  'text' | 'number' | 'fact' | { readonly list: Shape } | { readonly byName: Shape } | Fields;
type Fields = { readonly fields: Readonly<Record<string, Shape>> };

const counts = (first: string, second: string): Shape => ({
  list: { fields: { [first]: 'text', [second]: 'text', count: 'number' } },
});

const shape: { readonly fields: Readonly<Record<keyof StatusReport, Shape>> } = {
  fields: {
    mountPoint: 'text',
    source: 'text',
    pid: 'number',
    version: 'text',
    since: 'text',
    driver: {
      fields: {
        name: 'text',
        why: 'text',
        limits: { list: 'text' },
        counters: { byName: 'number' },
      },
    },
    access: 'text',
    endpoint: {
      fields: { place: 'text', credentials: 'text', capabilities: { byName: 'text' } },
    },
    homes: {
      fields: {
        count: 'number',
        used: {
          list: {
            fields: {
              name: 'text',
              handles: 'number',
              bytesRead: 'number',
              bytesWritten: 'number',
              requests: 'number',
            },
          },
        },
      },
    },
    handles: 'number',
    uploads: { list: { fields: { path: 'text', size: 'number', sent: 'number' } } },
    held: {
      list: {
        fields: { path: 'text', inParts: 'number', local: 'number', since: 'text', until: 'text' },
      },
    },
    cache: { fields: { entries: 'number', hits: 'number', misses: 'number' } },
    temp: { fields: { bytes: 'number', peak: 'number', limit: 'number' } },
    memory: {
      fields: { upload: 'number', download: 'number', limit: 'number', resident: 'number' },
    },
    oddKeys: 'number',
    operations: counts('operation', 'result'),
    requests: counts('action', 'status'),
    traffic: {
      fields: {
        bytesSent: 'number',
        bytesReceived: 'number',
        retries: 'number',
        retryAfterWaits: 'number',
      },
    },
    problems: {
      list: {
        fields: { time: 'text', level: 'text', message: 'text', fields: { byName: 'fact' } },
      },
    },
  },
};

/** @throws Error if it is no report */
export function parseReport(text: string): StatusReport {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error('its answer is no JSON', { cause: error });
  }
  return copied(value, shape, 'report') as StatusReport;
}

function copied(value: unknown, wanted: Shape, name: string): unknown {
  if (wanted === 'text' && typeof value === 'string') return value;
  if (wanted === 'number' && typeof value === 'number' && Number.isFinite(value)) return value;
  // What a log record holds besides is left out.
  if (wanted === 'fact')
    return ['string', 'number', 'boolean'].includes(typeof value) ? value : null;
  if (typeof wanted === 'string' || typeof value !== 'object' || value === null) {
    throw new Error(`its answer is no report: ${name}`);
  }
  if ('list' in wanted) {
    if (!Array.isArray(value)) throw new Error(`its answer is no report: ${name}`);
    return value.map((each) => copied(each, wanted.list, name));
  }
  const entries =
    'byName' in wanted
      ? Object.entries(value).map(
          ([key, each]) => [key, copied(each, wanted.byName, name)] as const,
        )
      : Object.entries(wanted.fields).map(
          ([key, each]) =>
            [key, copied((value as Record<string, unknown>)[key], each, key)] as const,
        );
  return Object.fromEntries(entries);
}
