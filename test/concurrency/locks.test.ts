import t from 'tap';
import { Budget } from '../../lib/limits/budget.js';
import { Locks } from '../../lib/concurrency/locks.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

void t.test('holders of one name run one after the other, in order', async (t) => {
  const locks = new Locks();
  const seen: string[] = [];
  const hold = (names: string[], label: string): Promise<void> =>
    locks.hold(names, async () => {
      seen.push(`+${label}`);
      await turn();
      seen.push(`-${label}`);
    });
  await Promise.all([hold(['a'], '1'), hold(['a', 'b'], '2'), hold(['b'], '3'), hold(['c'], '4')]);
  t.equal(seen.filter((each) => /[123]/.test(each)).join(' '), '+1 -1 +2 -2 +3 -3');
  t.ok(seen.indexOf('+4') < seen.indexOf('-1'), 'other names do not wait');
});

void t.test('opposite orders of two names do not wait for each other', async (t) => {
  const locks = new Locks();
  let done = 0;
  await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      locks.hold(index % 2 === 0 ? ['a', 'b'] : ['b', 'a'], async () => {
        await turn();
        done++;
      }),
    ),
  );
  t.equal(done, 50);
});

void t.test('a name can be held with all below it', async (t) => {
  const locks = new Locks();
  const seen: string[] = [];
  const note = (label: string) => async (): Promise<void> => {
    seen.push(`+${label}`);
    await turn();
    seen.push(`-${label}`);
  };
  await Promise.all([
    locks.hold(['/d/e/f'], note('file')),
    locks.holdTrees(['/d', '/x'], note('tree')),
    locks.hold(['/d/late'], note('late')),
    locks.hold(['/dog'], note('dog')),
    locks.holdTrees(['/d/e'], note('inner')),
  ]);
  t.equal(
    seen.filter((each) => /file|tree|late/.test(each)).join(' '),
    '+file -file +tree -tree +late -late',
  );
  t.ok(seen.indexOf('+inner') > seen.indexOf('-tree'));
  t.ok(seen.indexOf('+dog') < seen.indexOf('-file'), 'a name that only begins alike does not wait');
});

void t.test('who gives up waiting leaves the queue as it was', async (t) => {
  const locks = new Locks();
  const seen: string[] = [];
  let end: () => void = () => undefined;
  const first = locks.hold(['a'], async () => {
    await new Promise<void>((resolve) => (end = resolve));
    seen.push('first');
  });
  const giveUp = new AbortController();
  const second = locks.hold(
    ['a'],
    async () => {
      seen.push('second');
      await turn();
    },
    giveUp.signal,
  );
  const third = locks.hold(['a'], async () => {
    seen.push('third');
    await turn();
  });
  giveUp.abort();
  await t.rejects(second, { code: 'EINTR' });
  await turn();
  t.same(seen, [], 'the first one still holds it');
  end();
  await Promise.all([first, third]);
  t.same(seen, ['first', 'third']);
});

void t.test('a holder that throws lets the next one in', async (t) => {
  const locks = new Locks();
  await t.rejects(
    locks.hold(['a'], () => Promise.reject(new Error('x'))),
    { message: 'x' },
  );
  t.equal(await locks.hold(['a'], () => Promise.resolve(7)), 7);
});

void t.test('a budget is never overdrawn, and serves in order', async (t) => {
  const budget = new Budget(10);
  const order: number[] = [];
  await Promise.all(
    [4, 7, 3, 10, 1].map((amount, index) =>
      budget.hold(amount, async () => {
        order.push(index);
        t.ok(budget.used <= 10);
        await turn();
      }),
    ),
  );
  t.same(order, [0, 1, 2, 3, 4]);
  t.equal(budget.used, 0);
  t.ok(budget.peak <= 10);
});

void t.test('a claim above the capacity runs alone instead of never', async (t) => {
  const budget = new Budget(10);
  await budget.hold(1000, () => {
    t.equal(budget.used, 10);
    t.notOk(budget.tryTake(1));
    return Promise.resolve();
  });
  t.ok(budget.tryTake(10));
  budget.give(10);
  t.equal(budget.used, 0);
});
