/** What a reader fetches, read by read: the window planner by itself. */
import t from 'tap';
import { follow, freshRun, planRead, smallestAhead, tolerance } from '../../lib/read/read-plan.js';
import type { PlanInput, ReadRun } from '../../lib/read/read-plan.js';
import { kibibyte, mebibyte, gibibyte } from '../support/sizes.js';

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
    read: [0, 128 * kibibyte],
    size: 3 * mebibyte,
    demand: [[0, 3 * mebibyte]],
    ahead: [],
  },
  {
    title: 'the first read of a large file fetches its first part',
    read: [0, 128 * kibibyte],
    demand: [[0, 8 * mebibyte]],
    ahead: [],
  },
  {
    title: 'the next part is begun while the first is read',
    run: at(2 * mebibyte, 2 * mebibyte, true),
    read: [2 * mebibyte, 128 * kibibyte],
    present: [[0, 8 * mebibyte]],
    demand: [],
    ahead: [[8 * mebibyte, 16 * mebibyte]],
  },
  {
    title: 'the window grows with the run',
    run: at(8 * mebibyte, 8 * mebibyte, true),
    read: [8 * mebibyte, 128 * kibibyte],
    present: [[8 * mebibyte, 24 * mebibyte]],
    demand: [],
    ahead: [
      [24 * mebibyte, 32 * mebibyte],
      [32 * mebibyte, 40 * mebibyte],
      [40 * mebibyte, 48 * mebibyte],
    ],
  },
  {
    title: 'and ends at the concurrency',
    run: at(800 * mebibyte, 800 * mebibyte, true),
    read: [800 * mebibyte, 128 * kibibyte],
    present: [[800 * mebibyte, 856 * mebibyte]],
    demand: [],
    ahead: [
      [856 * mebibyte, 864 * mebibyte],
      [864 * mebibyte, 872 * mebibyte],
    ],
  },
  {
    title: 'nothing is fetched beyond the end',
    run: at(8 * mebibyte, 8 * mebibyte, true),
    read: [8 * mebibyte, 128 * kibibyte],
    size: 17 * mebibyte,
    present: [[8 * mebibyte, 16 * mebibyte]],
    demand: [],
    ahead: [[16 * mebibyte, 17 * mebibyte]],
  },
  {
    title: 'a jump fetches what it asks for, and nothing ahead',
    run: at(100 * mebibyte, 100 * mebibyte, true),
    read: [500 * mebibyte + 5, 4 * kibibyte],
    demand: [[500 * mebibyte + 5, 500 * mebibyte + 5 + 4 * kibibyte]],
    ahead: [],
  },
  {
    title: 'a read across the grid is two fetches',
    run: at(100 * mebibyte, 100 * mebibyte, true),
    read: [512 * mebibyte - 10, 20],
    demand: [
      [512 * mebibyte - 10, 512 * mebibyte],
      [512 * mebibyte, 512 * mebibyte + 10],
    ],
    ahead: [],
  },
  {
    title: 'a run after a jump begins with as much as the kernel reads ahead',
    run: at(500 * mebibyte, 0, false),
    read: [500 * mebibyte, 4 * kibibyte],
    demand: [[500 * mebibyte, 500 * mebibyte + 4 * kibibyte]],
    ahead: [[500 * mebibyte + 4 * kibibyte, 500 * mebibyte + 4 * kibibyte + smallestAhead]],
  },
  {
    title: 'and its fetches grow with it',
    run: at(501 * mebibyte, mebibyte, false),
    read: [501 * mebibyte, 128 * kibibyte],
    present: [[500 * mebibyte, 502 * mebibyte]],
    demand: [],
    ahead: [
      [502 * mebibyte, 504 * mebibyte],
      [504 * mebibyte, 505 * mebibyte + 640 * kibibyte],
    ],
  },
  {
    title: 'a small step back belongs to the run, and what is there is not fetched again',
    run: at(20 * mebibyte, 20 * mebibyte, true),
    read: [19 * mebibyte, 128 * kibibyte],
    present: [[16 * mebibyte, 84 * mebibyte]],
    demand: [],
    ahead: [],
  },
  {
    title: 'little memory makes windows short',
    run: at(62 * mebibyte, 62 * mebibyte, true),
    read: [62 * mebibyte, 128 * kibibyte],
    share: 16 * mebibyte,
    present: [[56 * mebibyte, 64 * mebibyte]],
    demand: [],
    ahead: [[64 * mebibyte, 72 * mebibyte]],
  },
  {
    title:
      'and where there is less than two parts, nothing is fetched ahead, but what is asked for as a part',
    run: at(64 * mebibyte, 64 * mebibyte, true),
    read: [64 * mebibyte, 128 * kibibyte],
    share: 2 * mebibyte,
    present: [],
    demand: [[64 * mebibyte, 72 * mebibyte]],
    ahead: [],
  },
  {
    title: 'a gap between present bytes is filled and no more',
    run: at(8 * mebibyte, 8 * mebibyte, true),
    read: [8 * mebibyte, 128 * kibibyte],
    size: 24 * mebibyte,
    present: [
      [0, 8 * mebibyte],
      [9 * mebibyte, 24 * mebibyte],
    ],
    demand: [[8 * mebibyte, 9 * mebibyte]],
    ahead: [],
  },
];

for (const row of rows) {
  void t.test(row.title, (t) => {
    const [offset, length] = row.read;
    const input: PlanInput = {
      run: row.run ?? freshRun,
      wanted: { start: offset, end: offset + length },
      size: row.size ?? gibibyte,
      partSize: 8 * mebibyte,
      concurrency: 8,
      share: row.share ?? 128 * mebibyte,
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
  for (const share of [128 * mebibyte, 16 * mebibyte, 1 * mebibyte]) {
    for (const step of [4 * kibibyte, 100_000, 128 * kibibyte, mebibyte]) {
      const size = 50 * mebibyte + 7;
      const fetched: { start: number; end: number }[] = [];
      let run = freshRun;
      for (let offset = 0; offset < size; offset += step) {
        const wanted = { start: offset, end: Math.min(size, offset + step) };
        const base = { size, partSize: 8 * mebibyte, concurrency: 8, share };
        const plan = planRead({ ...base, run, wanted, present: fetched });
        run = plan.run;
        fetched.push(...plan.demand, ...plan.ahead);
        fetched.sort((a, b) => a.start - b.start);
        const held = fetched.filter(({ end }) => end > plan.keep.start);
        const bytes = (held.at(-1)?.end ?? 0) - Math.max(held[0]?.start ?? 0, plan.keep.start);
        if (bytes > Math.max(share, 2 * 8 * mebibyte) + step) t.fail('over the share');
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
  const run = at(10 * mebibyte, 10 * mebibyte, true);
  const read = (start: number): ReadRun => follow(run, { start, end: start + 10 });
  t.same(read(10 * mebibyte + tolerance), at(14 * mebibyte + 10, 14 * mebibyte + 10, true));
  t.same(
    read(10 * mebibyte - tolerance),
    at(10 * mebibyte, 10 * mebibyte, true),
    'the position stays',
  );
  t.same(read(10 * mebibyte + tolerance + 1), at(14 * mebibyte + 11, 0, false));
  t.same(read(0), at(10, 0, true), 'back to the beginning');
  t.end();
});
