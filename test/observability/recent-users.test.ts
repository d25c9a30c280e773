/** How many users a mount has had of late. */
import t from 'tap';
import { RecentUsers } from '../../lib/observability/recent-users.js';

const minute = 60_000;

void t.test('a user counts once, for five minutes after the last look', (t) => {
  let nowMs = 1;
  const users = new RecentUsers({ now: () => nowMs });
  t.equal(users.count, 0);
  users.see(1000);
  users.see(1001);
  nowMs += 3 * minute;
  users.see(1000);
  t.equal(users.count, 2);
  nowMs += 3 * minute;
  t.equal(users.count, 1);
  nowMs += 3 * minute;
  t.equal(users.count, 0);
  users.see(undefined);
  t.equal(users.count, undefined, 'somebody, and who is not known');
  t.end();
});
