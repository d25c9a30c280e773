import fc from 'fast-check';
import t from 'tap';
import { planEqualParts, planParts, streamPartEnd } from '../../lib/write/part-plan.js';
import type { PlannedPart, PlanLimits } from '../../lib/write/part-plan.js';
import { RangeSet } from '../../lib/write/range-set.js';

const limits: PlanLimits = {
  minPart: 5,
  uploadPart: 8,
  copyPart: 64,
  maxParts: 10_000,
  shortTail: true,
};

const show = (parts: readonly PlannedPart[]): string =>
  parts.map(({ source, start, end }) => `${source} ${start}-${end}`).join(', ');

void t.test('plans move as few bytes as the 5 MiB rule lets them', (t) => {
  for (const [label, size, unchanged, want] of [
    ['new content', 20, [], 'upload 0-8, upload 8-14, upload 14-20'],
    ['append', 101, [[0, 100]], 'copy 0-64, copy 64-100, upload 100-101'],
    [
      'one byte in the middle',
      60,
      [
        [0, 30],
        [31, 60],
      ],
      'copy 0-30, upload 30-35, copy 35-60',
    ],
    ['one byte at the start', 60, [[1, 60]], 'upload 0-5, copy 5-60'],
    [
      'a change next to the end',
      60,
      [
        [0, 58],
        [59, 60],
      ],
      'copy 0-58, upload 58-60',
    ],
    [
      'an island of base too short to copy',
      30,
      [[10, 13]],
      'upload 0-8, upload 8-16, upload 16-24, upload 24-30',
    ],
    [
      'a neighbour that would become too short',
      60,
      [
        [0, 6],
        [7, 60],
      ],
      'copy 0-6, upload 6-11, copy 11-60',
    ],
    [
      'a short first copy',
      60,
      [
        [0, 4],
        [20, 60],
      ],
      'upload 0-8, upload 8-14, upload 14-20, copy 20-60',
    ],
    ['cut by one byte', 99, [[0, 99]], 'copy 0-64, copy 64-99'],
    [
      'a short copy at the end',
      30,
      [[28, 30]],
      'upload 0-8, upload 8-16, upload 16-22, upload 22-28, copy 28-30',
    ],
  ] as const) {
    const ranges = unchanged.map(([start, end]) => ({ start, end }));
    t.equal(show(planParts(size, ranges, limits)), want, label);
  }
  t.end();
});

void t.test('in front of other parts the last one needs full size too', (t) => {
  const inFront = { ...limits, shortTail: false };
  t.equal(show(planParts(60, [{ start: 0, end: 58 }], inFront)), 'copy 0-55, upload 55-60');
  t.equal(
    show(planParts(20, [{ start: 18, end: 20 }], inFront)),
    'upload 0-8, upload 8-14, upload 14-20',
  );
  t.end();
});

void t.test('equal parts are copied where nothing in them changed', (t) => {
  const kept = [
    { start: 0, end: 10 },
    { start: 12, end: 30 },
  ];
  const want = 'copy 0-8, upload 8-16, copy 16-24, copy 24-30';
  t.equal(show(planEqualParts(30, kept, 8)), want);
  t.equal(
    show(planEqualParts(33, kept, 8)),
    `${want.replace('copy 24-30', 'upload 24-32')}, upload 32-33`,
  );
  t.equal(
    planEqualParts(100_000, [], 8).length,
    10_000,
    'larger ones where there would be too many',
  );
  t.end();
});

void t.test('every plan covers the file exactly and keeps the rules of S3', (t) => {
  const change = fc.tuple(fc.nat(300), fc.integer({ min: 1, max: 40 }));
  const shape = fc.record({
    size: fc.integer({ min: 1, max: 400 }),
    base: fc.nat(400),
    changes: fc.array(change, { maxLength: 12 }),
    shortTail: fc.boolean(),
    maxParts: fc.constantFrom(10_000, 12),
  });
  fc.assert(
    fc.property(shape, ({ size, base, changes, shortTail, maxParts }) => {
      const changed = new RangeSet();
      for (const [start, length] of changes) changed.add(start, start + length);
      const unchanged = changed
        .split(0, Math.min(base, size))
        .filter((piece) => !piece.inside)
        .map(({ start, end }) => ({ start, end }));
      const parts = planParts(size, unchanged, { ...limits, shortTail, maxParts });
      let at = 0;
      parts.forEach((part, index) => {
        t.equal(part.start, at, 'no gap, no overlap');
        const isLast = index === parts.length - 1;
        if (!(isLast && shortTail) && size >= limits.minPart) {
          t.ok(part.end - part.start >= limits.minPart, `part ${show([part])} of ${show(parts)}`);
        }
        if (part.source === 'copy') {
          const isBase = unchanged.some(
            (range) => range.start <= part.start && range.end >= part.end,
          );
          t.ok(isBase, 'only unchanged bytes are copied');
        }
        at = part.end;
      });
      t.equal(at, size);
    }),
    { numRuns: 3000 },
  );
  t.end();
});

void t.test("the ladder of part sizes holds S3's largest objects in 10,000 parts", (t) => {
  const MiB = 1024 * 1024;
  t.equal(streamPartEnd(0, 8 * MiB, false), 8 * MiB);
  t.equal(streamPartEnd(999, 8 * MiB, false), 8000 * MiB);
  t.equal(streamPartEnd(1000, 8 * MiB, false), 8016 * MiB);
  t.ok(streamPartEnd(7999, 8 * MiB, false) > 1.9 * 1024 * 1024 * MiB);
  t.ok(streamPartEnd(9999, 8 * MiB, false) > 5 * 1024 * 1024 * MiB, 'over 5 TiB');
  t.equal(streamPartEnd(9999, 8 * MiB, true), 80_000 * MiB, 'equal parts stay equal');
  t.end();
});
