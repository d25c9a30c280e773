/** What a reader fetches, read by read: the window planner by itself. */
import t from 'tap';
import { follow, freshRun, planRead, smallestAhead, tolerance } from '../../lib/read/read-plan.js';
import type { PlanInput, ReadRun } from '../../lib/read/read-plan.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

interface Row {
  readonly title: string;
  readonly run?: ReadRun;
  readonly read: readonly [offset: number, length: number];
  readonly size?: number;
  readonly share?: number;
  /** start and end of each */
  readonly present?: readonly (readonly [number, number])[];
  readonly demand: readonly (readonly [number, number])[];
  readonly ahead: readonly (readonly [number, number])[];
}

function at(position: number, length: number, isFromStart: boolean): ReadRun {
  return { position, length, isFromStart };
}

const rows: Row[] = [
  {
    title: 'a file of at most a part is one fetch',
    read: [0, 128 * KiB],
    size: 3 * MiB,
    demand: [[0, 3 * MiB]],
    ahead: [],
  },
  {
    title: 'the first read of a large file fetches its first part',
    read: [0, 128 * KiB],
    demand: [[0, 8 * MiB]],
    ahead: [],
  },
  {
    title: 'the next part is begun while the first is read',
    run: at(2 * MiB, 2 * MiB, true),
    read: [2 * MiB, 128 * KiB],
    present: [[0, 8 * MiB]],
    demand: [],
    ahead: [[8 * MiB, 16 * MiB]],
  },
  {
    title: 'the window grows with the run',
    run: at(8 * MiB, 8 * MiB, true),
    read: [8 * MiB, 128 * KiB],
    present: [[8 * MiB, 24 * MiB]],
    demand: [],
    ahead: [
      [24 * MiB, 32 * MiB],
      [32 * MiB, 40 * MiB],
      [40 * MiB, 48 * MiB],
    ],
  },
  {
    title: 'and ends at the concurrency',
    run: at(800 * MiB, 800 * MiB, true),
    read: [800 * MiB, 128 * KiB],
    present: [[800 * MiB, 856 * MiB]],
    demand: [],
    ahead: [
      [856 * MiB, 864 * MiB],
      [864 * MiB, 872 * MiB],
    ],
  },
  {
    title: 'nothing is fetched beyond the end',
    run: at(8 * MiB, 8 * MiB, true),
    read: [8 * MiB, 128 * KiB],
    size: 17 * MiB,
    present: [[8 * MiB, 16 * MiB]],
    demand: [],
    ahead: [[16 * MiB, 17 * MiB]],
  },
  {
    title: 'a jump fetches what it asks for, and nothing ahead',
    run: at(100 * MiB, 100 * MiB, true),
    read: [500 * MiB + 5, 4 * KiB],
    demand: [[500 * MiB + 5, 500 * MiB + 5 + 4 * KiB]],
    ahead: [],
  },
  {
    title: 'a read across the grid is two fetches',
    run: at(100 * MiB, 100 * MiB, true),
    read: [512 * MiB - 10, 20],
    demand: [
      [512 * MiB - 10, 512 * MiB],
      [512 * MiB, 512 * MiB + 10],
    ],
    ahead: [],
  },
  {
    title: 'a run after a jump begins with as much as the kernel reads ahead',
    run: at(500 * MiB, 0, false),
    read: [500 * MiB, 4 * KiB],
    demand: [[500 * MiB, 500 * MiB + 4 * KiB]],
    ahead: [[500 * MiB + 4 * KiB, 500 * MiB + 4 * KiB + smallestAhead]],
  },
  {
    title: 'and its fetches grow with it',
    run: at(501 * MiB, MiB, false),
    read: [501 * MiB, 128 * KiB],
    present: [[500 * MiB, 502 * MiB]],
    demand: [],
    ahead: [
      [502 * MiB, 504 * MiB],
      [504 * MiB, 505 * MiB + 640 * KiB],
    ],
  },
  {
    title: 'a small step back belongs to the run, and what is there is not fetched again',
    run: at(20 * MiB, 20 * MiB, true),
    read: [19 * MiB, 128 * KiB],
    present: [[16 * MiB, 84 * MiB]],
    demand: [],
    ahead: [],
  },
  {
    title: 'little memory makes windows short',
    run: at(62 * MiB, 62 * MiB, true),
    read: [62 * MiB, 128 * KiB],
    share: 16 * MiB,
    present: [[56 * MiB, 64 * MiB]],
    demand: [],
    ahead: [[64 * MiB, 72 * MiB]],
  },
  {
    title:
      'and where there is less than two parts, nothing is fetched ahead, but what is asked for as a part',
    run: at(64 * MiB, 64 * MiB, true),
    read: [64 * MiB, 128 * KiB],
    share: 2 * MiB,
    present: [],
    demand: [[64 * MiB, 72 * MiB]],
    ahead: [],
  },
  {
    title: 'a gap between present bytes is filled and no more',
    run: at(8 * MiB, 8 * MiB, true),
    read: [8 * MiB, 128 * KiB],
    size: 24 * MiB,
    present: [
      [0, 8 * MiB],
      [9 * MiB, 24 * MiB],
    ],
    demand: [[8 * MiB, 9 * MiB]],
    ahead: [],
  },
];

for (const row of rows) {
  void t.test(row.title, (t) => {
    const [offset, length] = row.read;
    const input: PlanInput = {
      run: row.run ?? freshRun,
      wanted: { start: offset, end: offset + length },
      size: row.size ?? GiB,
      partSize: 8 * MiB,
      concurrency: 8,
      share: row.share ?? 128 * MiB,
      present: (row.present ?? []).map(([start, end]) => ({ start, end })),
    };
    const plan = planRead(input);
    t.same(
      plan.demand.map(({ start, end }) => [start, end]),
      row.demand,
      'demand',
    );
    const ahead = plan.ahead.map(({ start, end }) => [start, end]);
    t.same(ahead, row.ahead, 'ahead');
    t.end();
  });
}

void t.test('a whole file is fetched in its parts, whatever the reads', (t) => {
  for (const share of [128 * MiB, 16 * MiB, 1 * MiB]) {
    for (const step of [4 * KiB, 100_000, 128 * KiB, MiB]) {
      const size = 50 * MiB + 7;
      const fetched: { start: number; end: number }[] = [];
      let run = freshRun;
      for (let offset = 0; offset < size; offset += step) {
        const wanted = { start: offset, end: Math.min(size, offset + step) };
        const base = { size, partSize: 8 * MiB, concurrency: 8, share };
        const plan = planRead({ ...base, run, wanted, present: fetched });
        run = plan.run;
        fetched.push(...plan.demand, ...plan.ahead);
        fetched.sort((a, b) => a.start - b.start);
        const held = fetched.filter(({ end }) => end > plan.keep.start);
        const bytes = (held.at(-1)?.end ?? 0) - Math.max(held[0]?.start ?? 0, plan.keep.start);
        if (bytes > Math.max(share, 2 * 8 * MiB) + step) t.fail('over the share');
      }
      let end = 0;
      for (const range of fetched) {
        if (range.start !== end) t.fail('a gap or a byte twice');
        end = range.end;
      }
      t.equal(end, size);
      t.equal(fetched.length, 7);
    }
  }
  t.end();
});

void t.test('reads are told apart from jumps by the tolerance', (t) => {
  const run = at(10 * MiB, 10 * MiB, true);
  const read = (start: number): ReadRun => follow(run, { start, end: start + 10 });
  t.same(read(10 * MiB + tolerance), at(14 * MiB + 10, 14 * MiB + 10, true));
  t.same(read(10 * MiB - tolerance), at(10 * MiB, 10 * MiB, true), 'the position stays');
  t.same(read(10 * MiB + tolerance + 1), at(14 * MiB + 11, 0, false));
  t.same(read(0), at(10, 0, true), 'back to the beginning');
  t.end();
});
