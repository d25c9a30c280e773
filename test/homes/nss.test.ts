/** The host's user database as it is: what getent(1) and id(1) say, and what when it fails or hangs. */
import '../support/own-users.js';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import t, { type Test } from 'tap';
import { askNss } from '../../lib/homes/nss.js';
import { UserDatabase } from '../../lib/homes/user-database.js';
import { silentLog } from '../../lib/log.js';
import { ManualClock } from '../support/manual-clock.js';
import { until } from '../support/until.js';

const longName = 'a-name-longer-than-the-column-of-getent';

// Behind a database that fails, another one that does not know the name would have the last word.
writeFileSync('/etc/nsswitch.conf', 'passwd: files\ngroup: files\n');
appendFileSync('/etc/passwd', 'test-one:x:4001:4001::/:/bin/sh\n');
appendFileSync('/etc/passwd', `test one:x:4002:4001::/:/bin/sh\n${longName}:x:4003:7::/:/bin/sh\n`);
appendFileSync('/etc/passwd', 'test-odd:x:none:4001::/:/bin/sh\n');
appendFileSync(
  '/etc/group',
  `sftp-a:x:4101:test-one,${longName}\nsftp-b:x:4102:test-one,test one\n`,
);

const ask = (names: readonly string[], withGroups = false) =>
  askNss(names, { withGroups, signal: new AbortController().signal });

function database(settings: { clock?: ManualClock; timeoutMs?: number } = {}): UserDatabase {
  const admission = { group: undefined, minUid: 1000 };
  return new UserDatabase({ admission, log: silentLog, ...settings });
}

void t.test(
  'users are told with their ids, many at once, and who is none is left out',
  async (t) => {
    const names = ['test-one', 'nobody-of-that-name', 'test one', longName];
    t.same(
      (await ask(names)).map(({ name, uid, gid }) => [name, uid, gid]),
      [
        ['test-one', 4001, 4001],
        ['test one', 4002, 4001],
        [longName, 4003, 7],
      ],
    );
    t.same(await ask(['nobody-of-that-name']), []);
    t.same(await ask(['test-odd']), [], 'a line without a number is no user');
  },
);

void t.test('groups are those that initgroups(3) tells', async (t) => {
  const users = await ask(['test-one', 'nobody-of-that-name', 'test one', longName], true);
  t.same(
    users.map(({ groups }) => groups),
    [[4101, 4102], [4102], [4101]],
  );
});

void t.test('digits are a name, and nobody has one of digits', async (t) => {
  t.equal(await database().find('4001'), undefined);
  t.match(await database().find('test-one'), { uid: 4001 });
});

/** The file of users is another, until the test ends. */
function replacePasswd(t: Test, replace: () => void): void {
  renameSync('/etc/passwd', '/etc/passwd.aside');
  t.teardown(() => {
    rmSync('/etc/passwd', { force: true });
    renameSync('/etc/passwd.aside', '/etc/passwd');
  });
  replace();
}

void t.test('a database that fails is told from one that does not know the name', async (t) => {
  const clock = new ManualClock();
  const users = database({ clock });
  await users.find('test-one');
  replacePasswd(t, () => undefined);
  await t.rejects(ask(['test-one']), /No such file/);
  await t.rejects(users.find('test one'), { code: 'EIO' });
  clock.pass(60_000);
  t.match(await users.find('test-one'), { uid: 4001 }, 'who is known stays so');
});

void t.test('a database that hangs is given up, and leaves no process behind', async (t) => {
  const clock = new ManualClock();
  const users = database({ clock, timeoutMs: 500 });
  await users.find('test-one');
  replacePasswd(t, () => execFileSync('mkfifo', ['/etc/passwd']));
  const waiting = Array.from({ length: 20 }, (_, index) => users.find(`someone-${index}`));
  for (const found of await Promise.allSettled(waiting)) {
    t.match(found, { status: 'rejected', reason: { code: 'EIO' } });
  }
  clock.pass(60_000);
  t.match(await users.find('test-one'), { uid: 4001 }, 'who is known stays so');
  await until(() => childrenNamed('getent').length === 0);
});

/** Processes that this one started. */
function childrenNamed(program: string): string[] {
  const own = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return own.filter((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const [, name, parent] = /\((.*)\) \S (\d+)/.exec(stat) ?? [];
      return name === program && parent === String(process.pid);
    } catch {
      return false;
    }
  });
}
