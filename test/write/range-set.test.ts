import fc from 'fast-check';
import t from 'tap';
import { RangeSet } from '../../lib/write/range-set.js';

void t.test('a range set holds what a set of numbers would', (t) => {
  const step = fc.tuple(fc.constantFrom('add', 'remove'), fc.nat(60), fc.nat(20));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const ranges = new RangeSet();
      const numbers = new Set<number>();
      for (const [what, start, length] of steps) {
        const isAdd = what === 'add';
        if (isAdd) ranges.add(start, start + length);
        else ranges.remove(start, start + length);
        for (let at = start; at < start + length; at++) {
          if (isAdd) numbers.add(at);
          else numbers.delete(at);
        }
      }
      t.equal(ranges.size, numbers.size);
      t.equal(ranges.isEmpty, numbers.size === 0);
      for (let at = 0; at < 82; at++) t.equal(ranges.covers(at, at + 1), numbers.has(at));
      const inside = ranges.split(0, 82).filter((piece) => piece.inside);
      t.equal(
        inside.reduce((sum, { start, end }) => sum + end - start, 0),
        numbers.size,
      );
      let last = -1;
      for (const { start, end } of ranges.ranges) {
        t.ok(start > last && end > start, 'sorted, disjoint, not adjacent');
        last = end;
      }
    }),
    { numRuns: 500 },
  );
  t.end();
});

void t.test('a snapshot does not change afterwards', (t) => {
  const ranges = new RangeSet();
  ranges.add(0, 10);
  t.same(ranges.split(5, 15), [
    { start: 5, end: 10, inside: true },
    { start: 10, end: 15, inside: false },
  ]);
  t.ok(ranges.touches(9, 20));
  t.notOk(ranges.touches(10, 20));
  t.ok(ranges.covers(3, 3), 'nothing is always covered');
  ranges.clear();
  t.ok(ranges.isEmpty);
  t.end();
});
