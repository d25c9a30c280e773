/** What is asked of the host's user database, what is remembered of its answers, and what when it fails. */
import t from 'tap';
import { UserDatabase, type Admission } from '../../lib/homes/user-database.js';
import type { AskNss, NssUser } from '../../lib/homes/nss.js';
import { silentLog } from '../../lib/log.js';
import { ManualClock } from '../support/manual-clock.js';

const anybody: Admission = { group: undefined, minUid: 1000 };

/** A user database in memory, with what it was asked. */
class Directory {
  readonly users = new Map<string, NssUser>();
  readonly asked: string[] = [];
  readonly clock = new ManualClock();
  /** what it does instead of answering */
  trouble: 'fails' | 'hangs' | undefined;

  add(name: string, uid: number, more: Partial<NssUser> = {}): void {
    this.users.set(name, { name, uid, gid: uid, groups: [], ...more });
  }

  readonly ask: AskNss = async (names, { signal }) => {
    this.asked.push(...names);
    if (this.trouble === 'fails') throw new Error('no connection');
    if (this.trouble === 'hangs') {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error())));
    }
    return await Promise.resolve(names.flatMap((name) => this.users.get(name) ?? []));
  };

  database(admission = anybody, timeoutMs?: number): UserDatabase {
    const { ask, clock } = this;
    return new UserDatabase({
      ...{ admission, ask, clock, log: silentLog },
      ...(timeoutMs !== undefined && { timeoutMs }),
    });
  }
}

void t.test('names that can mean nobody, or somebody else, are not asked for', async (t) => {
  const directory = new Directory();
  const users = directory.database();
  const odd = ['', '.', '..', 'a/b', '/', 'a\nb', 'a\0', '\x7f', 'a:b', '1001', '+', '+@x', '-x'];
  for (const name of [...odd, '\ud800', 'x'.repeat(257)]) {
    directory.add(name, 1001);
    t.equal(await users.find(name), undefined, JSON.stringify(name));
  }
  t.same(directory.asked, []);
  for (const name of ['first.last', 'DOMAIN\\user', 'user@domain', 'user name', '1a', 'ü']) {
    directory.add(name, 1001);
    t.match(await users.find(name), { uid: 1001 }, name);
  }
});

void t.test('an answer about another name counts for neither', async (t) => {
  const directory = new Directory();
  directory.users.set('ALICE', { name: 'alice', uid: 1001, gid: 1001, groups: [] });
  t.equal(await directory.database().find('ALICE'), undefined);
});

void t.test('uids that are nobody’s for good have no home, whoever is in the group', async (t) => {
  const directory = new Directory();
  for (const [uid, has] of [
    [999, false],
    [1000, true],
    [61_183, true],
    [61_184, false],
    [65_519, false],
    [65_520, true],
    [65_534, false],
    [65_535, false],
    [65_536, true],
    [4_294_967_294, true],
    [4_294_967_295, false],
  ] as const) {
    directory.add(`u${uid}`, uid, { groups: [50] });
    const found = await directory.database().find(`u${uid}`);
    t.equal(found !== undefined, has, String(uid));
    const member = await directory.database({ group: 50, minUid: 1000 }).find(`u${uid}`);
    t.equal(member !== undefined, has || uid === 999, `${uid}, a member`);
  }
  directory.add('nobody', 1001);
  t.equal(await directory.database().find('nobody'), undefined);
});

void t.test('of a group: members, and those whose primary group it is', async (t) => {
  const directory = new Directory();
  const users = directory.database({ group: 50, minUid: 1000 });
  directory.add('member', 1001, { groups: [7, 50] });
  directory.add('primary', 1002, { gid: 50 });
  directory.add('other', 1003, { groups: [5, 500] });
  t.match(await users.find('member'), { uid: 1001, gid: 1001 });
  t.match(await users.find('primary'), { uid: 1002, gid: 50 });
  t.equal(await users.find('other'), undefined);
});

void t.test('who asks for one name waits for one question', async (t) => {
  const directory = new Directory();
  directory.add('alice', 1001);
  const users = directory.database();
  const all = await Promise.all([users.find('alice'), users.find('alice'), users.find('alice')]);
  t.match(all, [{ uid: 1001 }, { uid: 1001 }, { uid: 1001 }]);
  t.same(directory.asked, ['alice']);
});

void t.test('answers are remembered for seconds, and renewed while they are used', async (t) => {
  const directory = new Directory();
  const { asked, clock } = directory;
  directory.add('alice', 1001);
  const users = directory.database();
  await users.find('alice');
  await users.find('bob');
  clock.pass(1999);
  t.match(users.peek('alice'), { owner: { uid: 1001 }, forMs: 8001 });
  t.match(users.peek('bob'), { owner: undefined, forMs: 1 });
  clock.pass(1);
  t.equal(users.peek('bob'), undefined, 'that nobody is there counts for less long');
  t.same(asked, ['alice', 'bob']);
  clock.pass(3000);
  t.match(users.peek('alice'), { owner: { uid: 1001 }, forMs: 5000 });
  t.same(asked, ['alice', 'bob', 'alice'], 'asked again while the old answer counts');
  await users.find('alice');
  await settled();
  t.match(users.peek('alice'), { forMs: 10_000 });
  clock.pass(10_000);
  t.equal(users.peek('alice'), undefined, 'nobody asked for it in time');
});

void t.test('another owner, and none, is told to who listens', async (t) => {
  const directory = new Directory();
  const { clock } = directory;
  const users = directory.database();
  const told: string[] = [];
  users.onChanged((name) => told.push(name));
  directory.add('alice', 1001);
  directory.add('bob', 1002);
  await users.find('alice');
  await users.find('bob');
  directory.add('alice', 1003);
  directory.users.delete('bob');
  clock.pass(10_001);
  t.match(await users.find('alice'), { uid: 1003 });
  t.equal(await users.find('bob'), undefined);
  t.same(told, ['alice', 'bob']);
  clock.pass(10_001);
  directory.add('bob', 1002);
  await users.find('bob');
  t.same(told, ['alice', 'bob'], 'a home that was nobody’s was nobody’s to keep');
});

for (const trouble of ['fails', 'hangs'] as const) {
  void t.test(`a database that ${trouble} is EIO for names that it never told of`, async (t) => {
    const directory = new Directory();
    const users = directory.database(anybody, 50);
    directory.add('alice', 1001);
    await users.find('alice');
    await users.find('gone');
    directory.trouble = trouble;
    directory.clock.pass(20_000);
    await t.rejects(users.find('bob'), { code: 'EIO' });
    await t.rejects(users.find('gone'), { code: 'EIO' }, 'it may be there by now');
    await t.rejects(users.amongst(['alice', 'bob']), { code: 'EIO' });
    t.match(users.peek('alice'), { owner: { uid: 1001 }, forMs: 0 }, 'what it said last holds');
    t.match(await users.find('alice'), { uid: 1001 });
    directory.trouble = undefined;
    directory.users.delete('alice');
    directory.clock.pass(20_000);
    await untilAnswered(users);
    t.equal(await users.find('alice'), undefined, 'until it answers again');
  });
}

void t.test('a database that fails is not asked at every step', async (t) => {
  const directory = new Directory();
  const users = directory.database();
  directory.add('alice', 1001);
  await users.find('alice');
  directory.trouble = 'fails';
  directory.clock.pass(20_000);
  await users.find('alice');
  const before = directory.asked.length;
  for (let step = 0; step < 50; step++) {
    await users.find('alice');
    await settled();
  }
  t.ok(directory.asked.length - before <= 1, `${directory.asked.length - before} questions`);
});

void t.test('many names are few questions', async (t) => {
  const directory = new Directory();
  let questions = 0;
  const ask: AskNss = async (names, how) => {
    questions++;
    return await directory.ask(names, how);
  };
  const names = Array.from({ length: 950 }, (_, index) => `user${index}`);
  for (const [index, name] of names.entries())
    if (index % 2 === 0) directory.add(name, 2000 + index);
  const users = new UserDatabase({
    admission: anybody,
    ask,
    clock: directory.clock,
    log: silentLog,
  });
  t.equal((await users.amongst([...names, '..', '1001'])).length, 475);
  t.equal(questions, 10);
});

/** What was begun in the background, and asks nobody, is done. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

async function untilAnswered(users: UserDatabase): Promise<void> {
  await users.find('somebody');
}
