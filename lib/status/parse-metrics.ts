/**
 * The metrics of a mount's process as they come out of its socket: taken line by line where they are
 * series that this program has, so that nothing else goes on, and no mount tells of another.
 */
import { Metrics } from '../observability/metrics.js';

/** One series. */
export interface Sample {
  /** of the metric; that of a histogram's series has an ending besides */
  readonly family: string;
  readonly name: string;
  /** as written between the braces; empty without labels */
  readonly labels: string;
  readonly value: string;
}

const pattern = /^(\w+)(?:\{([^{}]+)\})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[+-]Inf|Na[nN])$/;
const label = /^([a-z_]+)="[^"\\]*"$/;

const types = new Map(Metrics.families.map(({ name, type }) => [name, type]));

/** @throws Error if there is none of ours in it, or one that Prometheus would not take */
export function parseMetrics(text: string): readonly Sample[] {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const seen = new Set<string>();
  const samples = lines.flatMap((line) => {
    const [, name = '', labels = '', value = ''] = pattern.exec(line) ?? [];
    const family = familyOf(name, labels);
    // Another version may have others.
    if (name !== '' && family === undefined) return [];
    const series = seriesOf(name, labels);
    if (family === undefined || series === undefined || seen.has(series)) throw notOurs(line);
    seen.add(series);
    return [{ family, name, labels, value }];
  });
  if (samples.length === 0) throw new Error('its answer has no metrics');
  return samples;
}

/** undefined where it is none of ours */
function familyOf(name: string, labels: string): string | undefined {
  const [, histogram = '', ending] = /^(\w+)_(bucket|sum|count)$/.exec(name) ?? [];
  if (types.get(histogram) !== 'histogram') {
    return types.has(name) && types.get(name) !== 'histogram' ? name : undefined;
  }
  const isComplete = ending !== 'bucket' || /(^|,)le="(\d[\d.]*|\+Inf)"/.test(labels);
  return isComplete ? histogram : undefined;
}

/**
 * What tells it from others; undefined where each name of a label does not stand once. Whose mount it is,
 * is not for its process to say.
 */
function seriesOf(name: string, labels: string): string | undefined {
  const all = labels === '' ? [] : labels.split(',').sort();
  const names = all.map((each) => label.exec(each)?.[1]);
  const areRight = !names.includes(undefined) && !names.includes('mount');
  return areRight && new Set(names).size === names.length ? [name, ...all].join() : undefined;
}

function notOurs(line: string): Error {
  return new Error(`its answer is no metrics: ${line.slice(0, 100)}`);
}
