/** The results of a benchmark as an SVG plot: bars of median seconds, a column for each delay. */
import { contestantsOf, floorName, median, shown, type Group, type Report } from './results.js';

const line = 12;
const labelWidth = 110;
const barWidth = 230;
const columnWidth = labelWidth + barWidth + 70;
const colors = ['#1f7a4d', '#63b98c', '#c47f3d', '#5b7fb5', '#a0699b', '#b5a04a', '#7a8a8a'];
const floorColor = '#bbbbbb';

/** Each group of bars is as wide as its slowest. */
export function plot(report: Report, groups: readonly Group[]): string {
  const names = contestantsOf(report.results);
  const delays = [...new Set(groups.map(({ delayMs }) => delayMs))].sort((a, b) => a - b);
  const parts = captionLines(report.caption).map((words, index) =>
    text(6, line * (index + 1), words),
  );
  let y = parts.length * line + line;
  delays.forEach((delayMs, column) => {
    parts.push(text(6 + column * columnWidth, y, `${delayMs} ms added to each request`, 'bold'));
  });
  y += line;
  for (const row of new Set(groups.map((group) => group.row))) {
    const here = groups.filter((group) => group.row === row);
    parts.push(text(6, y + line, here[0]?.title.replaceAll('`', '') ?? row, 'bold'));
    y += line * 1.5;
    for (const group of here) {
      parts.push(...bars(group, names, { x: delays.indexOf(group.delayMs) * columnWidth, y }));
    }
    y += names.length * line + 4;
  }
  const size = `width="${delays.length * columnWidth}" height="${y + line}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="10">`,
    '<rect width="100%" height="100%" fill="white"/>',
    ...parts,
    '</svg>\n',
  ].join('\n');
}

function bars(
  group: Group,
  names: readonly string[],
  { x, y }: { x: number; y: number },
): string[] {
  const took = (name: string): number => {
    const result = group.results.find(({ contestant }) => contestant === name);
    return result?.limit ?? median(result?.seconds ?? []);
  };
  const slowest = Math.max(...names.map((name) => took(name) || 0), Number.EPSILON);
  return names.flatMap((name, index) => {
    const result = group.results.find(({ contestant }) => contestant === name);
    if (result === undefined) return [];
    const top = y + index * line;
    const width = ((took(name) || 0) / slowest) * barWidth;
    const color = name === floorName ? floorColor : (colors[index] ?? floorColor);
    const words = Number.isNaN(took(name)) ? 'cannot' : `${shown(took(name))} s`;
    return [
      text(x + 16, top + line - 3, name),
      `<rect x="${x + labelWidth}" y="${top + 1}" width="${width.toFixed(1)}" height="${line - 2}" fill="${color}"/>`,
      text(
        x + labelWidth + width + 4,
        top + line - 3,
        result.limit === undefined ? words : `> ${words}`,
      ),
    ];
  });
}

function captionLines(caption: string): string[] {
  return caption.split(/(?<=[.;]) /);
}

function text(x: number, y: number, content: string, weight = 'normal'): string {
  const safe = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(0)}" y="${y.toFixed(0)}" font-weight="${weight}">${safe}</text>`;
}
