/** Users of demos and tests: many processes that want the same name get one each. */
import '../support/own-users.js';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Child, endProcesses } from '../../lib/demo/child.js';
import { findLocalUser } from '../../lib/host/accounts.js';

const account = new URL('../../lib/demo/account.js', import.meta.url).href;
const name = 's3jail-race';
const program = `
const { makeAccount } = await import('${account}');
const { name, uid } = await makeAccount('${name}');
console.error(JSON.stringify({ name, uid }));
setInterval(() => undefined, 60_000);`;

void t.test('useradd(8) lets two make one user: not here', async (t) => {
  const cwd = fileURLToPath(new URL('.', import.meta.url));
  const children = await Promise.all(
    Array.from({ length: 8 }, () =>
      Child.start(process.execPath, ['--input-type=module', '-e', program], { cwd }),
    ),
  );
  t.teardown(() => endProcesses(children.map(({ pid }) => pid)));
  const made = await Promise.all(
    children.map(async (child) => {
      await child.untilSaid(/\}/);
      return JSON.parse(child.stderr) as { name: string; uid: number };
    }),
  );
  t.equal(new Set(made.map(({ name }) => name)).size, made.length, 'each has a name of its own');
  t.equal(new Set(made.map(({ uid }) => uid)).size, made.length, 'and a uid');
  for (const { name, uid } of made) t.equal(findLocalUser(name)?.uid, uid, name);
});
