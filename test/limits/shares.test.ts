/** What holders share: nobody has more than half of what the others leave, and whoever comes finds room. */
import { setImmediate as turn } from 'node:timers/promises';
import * as fc from 'fast-check';
import t from 'tap';
import { Budget } from '../../lib/limits/budget.js';
import { ReadMemory, type MemoryUser } from '../../lib/read/memory.js';
import { Shares, type Holder } from '../../lib/limits/shares.js';
import { TempSpace, type SpaceOwner } from '../../lib/limits/temp-space.js';
import { ManualClock } from '../support/manual-clock.js';

/** Takes unit by unit as long as it may. @returns what it has then */
function fill(shares: Shares, holder: Holder): number {
  while (shares.left > 0 && shares.isFair(1, holder)) shares.take(1, holder);
  return shares.heldBy(holder);
}

void t.test('one has half, and each that comes has half of what is left', (t) => {
  const shares = new Shares(1200);
  t.equal(fill(shares, 'alice'), 600);
  t.equal(fill(shares, 'bob'), 300);
  t.equal(fill(shares, 'carol'), 150);
  t.equal(shares.left, 150);
  shares.give(600, 'alice');
  t.equal(fill(shares, 'bob'), 525);
  t.equal(fill(shares, undefined), 0, 'nobody in particular has no share');
  t.equal(shares.left, 0, 'and takes what is there');
  t.end();
});

void t.test('who has nothing takes a piece of any size that is there', (t) => {
  const shares = new Shares(10);
  t.ok(shares.isFair(8, 'alice'));
  shares.take(8, 'alice');
  t.notOk(shares.isFair(1, 'alice'));
  t.ok(shares.isFair(2, 'bob'));
  t.end();
});

void t.test(
  'whatever homes take and give, a home that has none finds a part of what is left',
  (t) => {
    const step = fc.record({
      who: fc.constantFrom('a', 'b', 'c', 'd'),
      amount: fc.integer({ min: 1, max: 40 }),
      isGiven: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const shares = new Shares(1000);
        for (const { who, amount, isGiven } of steps) {
          if (isGiven) shares.give(Math.min(amount, shares.heldBy(who)), who);
          else if (amount <= shares.left && shares.isFair(amount, who)) shares.take(amount, who);
        }
        const held = ['a', 'b', 'c', 'd'].map((who) => shares.heldBy(who));
        const sum = held.reduce((all, one) => all + one);
        return sum === shares.used && shares.left >= 1000 / 5 - 4 * 40;
      }),
    );
    t.end();
  },
);

/** Work that ends when it is told to. */
class Works {
  readonly started: string[] = [];
  readonly #ends: (() => void)[] = [];

  begin(budget: Budget, amount: number, holder: Holder, how: 'hold' | 'holdFirst' = 'hold'): void {
    const work = (): Promise<void> => {
      this.started.push(holder ?? 'any');
      return new Promise((end) => this.#ends.push(end));
    };
    void budget[how](amount, work, holder);
  }

  /** The oldest ends. */
  async end(): Promise<void> {
    this.#ends.shift()?.();
    await turn();
  }
}

void t.test('work of a home with its share waits, and others pass it', async (t) => {
  const budget = new Budget(8);
  const works = new Works();
  for (let count = 0; count < 20; count++) works.begin(budget, 1, 'alice');
  await turn();
  t.equal(budget.used, 4);
  for (let count = 0; count < 20; count++) works.begin(budget, 1, 'bob');
  await turn();
  t.strictSame(works.started.slice(4), ['bob', 'bob']);
  works.begin(budget, 1, 'carol');
  await turn();
  t.equal(works.started.at(-1), 'carol', 'who comes waits for nobody');
  await works.end();
  t.equal(works.started.length, 7, 'alice has more than a half of the rest by now');
  for (let count = 0; count < 40; count++) await works.end();
  t.equal(works.started.length, 41, 'all had their turn');
  t.equal(budget.used, 0);
  t.equal(budget.peak, 7);
});

void t.test('large work is not kept waiting by small', async (t) => {
  const budget = new Budget(8);
  const works = new Works();
  for (const holder of ['a', 'b', 'c', 'd']) works.begin(budget, 2, holder);
  works.begin(budget, 6, 'large');
  works.begin(budget, 1, 'small');
  await turn();
  t.strictSame(works.started, ['a', 'b', 'c', 'd']);
  for (let count = 0; count < 3; count++) await works.end();
  t.strictSame(works.started.slice(4), ['large']);
  for (let count = 0; count < 6; count++) await works.end();
});

void t.test('readers of one home share what is the home’s', (t) => {
  const clock = new ManualClock();
  const memory = new ReadMemory(1200, clock);
  const reader = (holder: Holder): MemoryUser => ({ holder, evict: () => undefined });
  const first = reader('alice');
  for (const user of [first, reader('alice'), reader('alice')]) memory.touch(user);
  t.equal(memory.shareOf(first), 200);
  const other = reader('bob');
  memory.touch(other);
  t.equal(memory.shareOf(first), 133);
  t.equal(memory.shareOf(other), 400);
  const alone = new ReadMemory(1200, clock);
  const users = [reader(undefined), reader(undefined)];
  for (const user of users) alone.touch(user);
  t.equal(users[0] && alone.shareOf(users[0]), 600);
  t.end();
});

void t.test('memory that a home has in vain is its own readers’ first', (t) => {
  const clock = new ManualClock();
  const memory = new ReadMemory(1200, clock);
  const idle = (holder: Holder, bytes: number): MemoryUser => {
    const user = { holder, evict: () => memory.give(bytes, holder) };
    memory.touch(user);
    t.ok(memory.tryTake(bytes, holder));
    return user;
  };
  idle('bob', 300);
  idle('alice', 400);
  clock.pass(15_000);
  memory.touch({ holder: 'alice', evict: () => undefined });
  t.ok(memory.tryTake(100, 'alice'));
  t.equal(memory.used, 400, 'alice’s idle bytes are gone, and bob’s are not');
  t.ok(memory.tryTake(900, 'carol'), 'for want of room others’ go too');
  t.equal(memory.used, 1000);
  t.end();
});

/** A claim on temp space, and whether it has it. */
class Claims {
  readonly granted: string[] = [];
  readonly #space: TempSpace;

  constructor(space: TempSpace) {
    this.#space = space;
  }

  async make(bytes: number, owner: SpaceOwner): Promise<void> {
    void this.#space.reserve(bytes, owner).then(() => this.granted.push(owner.holder ?? 'any'));
    // The file system is asked for its free space.
    for (let count = 0; count < 20; count++) await new Promise((done) => setTimeout(done, 1));
  }
}

void t.test('a home that fills the temp space leaves half of it to the next', async (t) => {
  const mib = 1024 * 1024;
  const clock = new ManualClock();
  const space = new TempSpace(t.testdir(), 1024 * mib, 60_000, clock);
  space.join({ reclaim: () => undefined, expectsRelease: true });
  const claims = new Claims(space);
  const [first, second] = [{ holder: 'alice' }, { holder: 'alice' }];
  await claims.make(480 * mib, first);
  await claims.make(64 * mib, second);
  t.strictSame(claims.granted, ['alice'], 'beyond its half it waits');
  await claims.make(400 * mib, { holder: 'bob' });
  t.strictSame(claims.granted, ['alice', 'bob'], 'nobody else does');
  space.release(480 * mib, first);
  await claims.make(1, { holder: 'carol' });
  t.strictSame(claims.granted.slice(2).sort(), ['alice', 'carol'], 'until its own bytes have left');
});

void t.test('the file of a home that is farthest gets on beyond its share', async (t) => {
  const mib = 1024 * 1024;
  const clock = new ManualClock();
  const space = new TempSpace(t.testdir(), 256 * mib, 60_000, clock);
  space.join({ reclaim: () => undefined, expectsRelease: true });
  const claims = new Claims(space);
  await claims.make(120 * mib, { holder: 'bob' });
  const [far, near] = [{ holder: 'alice' }, { holder: 'alice' }];
  await claims.make(24 * mib, far);
  await claims.make(8 * mib, near);
  const others = [{ holder: 'alice' }, { holder: 'alice' }, { holder: 'alice' }];
  for (const owner of others) await claims.make(12 * mib, owner);
  t.equal(claims.granted.length, 6);
  await claims.make(8 * mib, near);
  t.equal(claims.granted.length, 6, 'its share is taken');
  await claims.make(8 * mib, far);
  t.equal(claims.granted.length, 7);
  await claims.make(16 * mib, far);
  t.equal(claims.granted.length, 7, 'but no farther than a file needs to leave in parts');
  clock.pass(60_000);
  space.nudge();
  await claims.make(1, { holder: 'carol' });
  t.equal(claims.granted.length, 10, 'who has waited takes what is there all the same');
});
