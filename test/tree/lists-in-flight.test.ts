/** Who may share a LIST page in flight, and what of it may be remembered. */
import t from 'tap';
import { StoreError } from '../../lib/errors.js';
import { parsePath } from '../../lib/path.js';
import { ListsInFlight, type MutationLog } from '../../lib/tree/lists-in-flight.js';

const directory = parsePath('/d');
const [a, b, c] = [parsePath('/d/a'), parsePath('/d/b'), parsePath('/d/c')];

/** A page from `b` on that is in flight until `end` is called. */
function inFlight(lists: ListsInFlight<string>, answer = 'page') {
  let end: () => void = () => undefined;
  let log: MutationLog | undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const page = lists.fetch(directory, b, async (changes) => {
    log = changes;
    await ended;
    return answer;
  });
  return { page, end, hasChanged: (path: typeof a) => log?.has(path) };
}

void t.test('a page in flight is shared by names from its start on', async (t) => {
  const lists = new ListsInFlight<string>();
  const { page, end } = inFlight(lists);
  t.equal(lists.covering(directory, a), undefined, 'before its start');
  t.equal(lists.covering(parsePath('/e'), parsePath('/e/c')), undefined, 'of another directory');
  const shared = [lists.covering(directory, b), lists.covering(directory, c)];
  end();
  t.same(await Promise.all([page, ...shared]), ['page', 'page', 'page']);
  t.equal(lists.covering(directory, c), undefined, 'once it has come');
});

void t.test('not for what was changed or forgotten since it began', async (t) => {
  const lists = new ListsInFlight<string>();
  const { page, end, hasChanged } = inFlight(lists);
  lists.noteChange(b);
  t.equal(lists.covering(directory, b), undefined, 'changed');
  t.ok(lists.covering(directory, c), 'another name');
  lists.forget(c);
  t.equal(lists.covering(directory, c), undefined, 'forgotten');
  t.equal(lists.covering(directory, parsePath('/d/c/x')), undefined, 'below what is forgotten');
  end();
  await page;
  t.same([a, b, c, directory].map(hasChanged), [false, true, true, true]);
});

void t.test('one that another has followed hears of changes till its end', async (t) => {
  const lists = new ListsInFlight<string>();
  const first = inFlight(lists, 'first');
  const second = inFlight(lists, 'second');
  lists.noteChange(c);
  t.same([first.hasChanged(c), second.hasChanged(c)], [true, true]);
  first.end();
  t.equal(await first.page, 'first');
  const shared = lists.covering(directory, b);
  second.end();
  t.equal(await shared, 'second', 'the end of the first takes the second from nobody');
  await second.page;
});

void t.test('who may not list has no page; any other failure is the caller’s', async (t) => {
  const lists = new ListsInFlight<string>();
  const fail = (kind: 'denied' | 'unavailable') => () =>
    Promise.reject(new StoreError(kind, 'no', { action: 'ListObjectsV2' }));
  t.equal(await lists.fetch(directory, a, fail('denied')), undefined);
  await t.rejects(lists.fetch(directory, a, fail('unavailable')), { message: 'no' });
});

void t.test('a page that fails is no answer to who came later: they share another', async (t) => {
  const lists = new ListsInFlight<string>();
  let fail: (error: Error) => void = () => undefined;
  const failing = lists.fetch(directory, b, () => new Promise((_, reject) => (fail = reject)));
  let sent = 0;
  const join = (): Promise<string | undefined> =>
    lists.join(directory, c, () => {
      sent++;
      return lists.fetch(directory, b, () => Promise.resolve('another'));
    });
  const later = [join(), join()];
  fail(new StoreError('unavailable', 'no', { action: 'ListObjectsV2' }));
  await t.rejects(failing, { message: 'no' });
  t.same(await Promise.all(later), ['another', 'another']);
  t.equal(sent, 1);
});
