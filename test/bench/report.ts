/** The results of a benchmark as a Markdown table and as an SVG plot. */

export interface Result {
  readonly row: string;
  readonly delayMs: number;
  readonly contestant: string;
  /** one for each repetition; none where the contestant cannot do it */
  readonly seconds: readonly number[];
  readonly requests: number;
  readonly bytes: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/** How many times as long as the first contestant, and what went over the wire. */
export function markdown(results: readonly Result[]): string {
  const lines = [
    '| row | delay | contestant | median s | ratio | requests | MiB |',
    '| --- | --- | --- | --- | --- | --- | --- |',
  ];
  for (const result of results) {
    const { row, delayMs, contestant, seconds, requests, bytes } = result;
    const first = results.find((other) => other.row === row && other.delayMs === delayMs);
    const took = median(seconds);
    const ratio = took / median(first?.seconds ?? []);
    const shown = seconds.length === 0 ? ['failed', ''] : [took.toFixed(3), ratio.toFixed(2)];
    const cells = [row, `${delayMs} ms`, contestant, ...shown, requests, mib(bytes)];
    lines.push(`| ${cells.join(' | ')} |`);
  }
  return `${lines.join('\n')}\n`;
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}

const barHeight = 14;
const labelWidth = 230;
const plotWidth = 460;

/** Bars of median seconds, each group as wide as its slowest. */
export function svg(results: readonly Result[], caption: string): string {
  const parts: string[] = [text(4, barHeight, caption)];
  let y = barHeight * 2;
  for (const [title, group] of grouped(results)) {
    parts.push(text(4, y + barHeight, title));
    y += barHeight * 1.4;
    const slowest = Math.max(...group.map(({ seconds }) => median(seconds) || 0), Number.EPSILON);
    for (const { contestant, seconds } of group) {
      const took = median(seconds);
      const width = Number.isNaN(took) ? 0 : (took / slowest) * plotWidth;
      const color = contestant.startsWith('s3jail') ? '#2a7' : '#999';
      parts.push(
        `<rect x="${labelWidth}" y="${y}" width="${width.toFixed(1)}" height="${barHeight - 3}" fill="${color}"/>`,
        text(20, y + barHeight - 4, contestant),
        text(
          labelWidth + width + 4,
          y + barHeight - 4,
          Number.isNaN(took) ? 'failed' : `${took.toFixed(2)} s`,
        ),
      );
      y += barHeight;
    }
  }
  const size = `width="${labelWidth + plotWidth + 80}" height="${y + barHeight}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="11">\n${parts.join('\n')}\n</svg>\n`;
}

function grouped(results: readonly Result[]): Map<string, Result[]> {
  const groups = new Map<string, Result[]>();
  for (const result of results) {
    const title = `${result.row}, ${result.delayMs} ms`;
    groups.set(title, [...(groups.get(title) ?? []), result]);
  }
  return groups;
}

function text(x: number, y: number, content: string): string {
  const safe = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(0)}" y="${y.toFixed(0)}">${safe}</text>`;
}
