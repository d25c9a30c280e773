/** The options of scripts/bench, whose help says what they mean. */
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { contestants, type Contestant } from './contestants.js';
import { floorName } from './results.js';
import { fullSizes, quickSizes, rows, type Row, type Sizes } from './rows.js';

export interface BenchOptions {
  readonly sizes: Sizes;
  readonly rows: readonly Row[];
  readonly contestants: readonly Contestant[];
  readonly hasFloor: boolean;
  readonly rounds: number;
  /** undefined: those of each row */
  readonly delaysMs: readonly number[] | undefined;
  /** bytes per second and connection; 0 for no cap */
  readonly connectionRate: number;
  readonly limitMs: number;
  /** where the objects of the embedded endpoint lie */
  readonly objects: string;
  readonly results: string | undefined;
  readonly markdown: string | undefined;
  readonly svg: string | undefined;
}

/** @throws TypeError for what is no option; Error for a value that is none */
export function readOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      sizes: { type: 'string' },
      rows: { type: 'string' },
      contestants: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      delay: { type: 'string' },
      rate: { type: 'string', default: '100' },
      limit: { type: 'string', default: '45' },
      objects: { type: 'string', default: tmpdir() },
      results: { type: 'string' },
      markdown: { type: 'string' },
      svg: { type: 'string' },
    },
  });
  const { results, markdown, svg, objects } = values;
  const all = [...contestants.map(({ name }) => name), floorName];
  const names = namesOf(values.contestants, all);
  return {
    sizes: sizesOf(values.quick ? quickSizes : fullSizes, values.sizes),
    rows: rows.filter(({ name }) =>
      namesOf(
        values.rows,
        rows.map((row) => row.name),
      ).includes(name),
    ),
    contestants: contestants.filter(({ name }) => names.includes(name)),
    hasFloor: names.includes(floorName),
    rounds: numberOf(values.rounds),
    delaysMs: values.delay?.split(',').map(numberOf),
    connectionRate: numberOf(values.rate) * 1e6,
    limitMs: numberOf(values.limit) * 1000,
    ...{ results, markdown, svg, objects },
  };
}

function namesOf(given: string | undefined, all: readonly string[]): readonly string[] {
  const names = given?.split(',') ?? all;
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length > 0) throw new Error(`${unknown.join(', ')}: not one of ${all.join(', ')}`);
  return names;
}

function sizesOf(sizes: Sizes, given: string | undefined): Sizes {
  const changes = (given?.split(',') ?? []).map((pair): [string, number] => {
    const [name = '', value = ''] = pair.split('=');
    if (!(name in sizes)) throw new Error(`${name}: not one of ${Object.keys(sizes).join(', ')}`);
    return [name, numberOf(value)];
  });
  return { ...sizes, ...Object.fromEntries(changes) };
}

function numberOf(text: string): number {
  const value = Number(text);
  if (text === '' || !(value >= 0)) throw new Error(`${text} is not a number`);
  return value;
}
