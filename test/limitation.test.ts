import t from 'tap';
import { Limitation } from '../lib/limitation.js';
import { ManualClock } from './support/manual-clock.js';

void t.test('what was refused is believed for a time, and each time for longer', (t) => {
  const clock = new ManualClock();
  const limitation = new Limitation(clock);
  t.notOk(limitation.holds);
  t.notOk(limitation.isSuspected);
  t.ok(limitation.note(), 'news');
  for (const minutes of [1, 2, 4, 8, 16, 32, 60, 60]) {
    t.ok(limitation.holds);
    t.notOk(limitation.note(), 'said before');
    clock.pass(minutes * 60_000 - 1);
    t.ok(limitation.holds, `${minutes} minutes`);
    clock.pass(1);
    t.notOk(limitation.holds, 'asked again');
    t.ok(limitation.isSuspected);
    t.notOk(limitation.note(), 'refused again is no news');
  }
  limitation.lift();
  t.notOk(limitation.holds || limitation.isSuspected);
  t.ok(limitation.note());
  clock.pass(60_000);
  t.notOk(limitation.holds, 'and a minute again');
  t.end();
});
