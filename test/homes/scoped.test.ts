/** Homes on a real mount that sign with sessions of their own: STS is asked for those in use alone. */
import '../support/own-users.js';
import t from 'tap';
import { addUser, mountHomesByProxy, stepsAs } from '../support/homes.js';

t.setTimeout(120_000);

addUser('alice', 5001);
addUser('bob', 5002);

void t.test('a home that STS refuses is refused, and another works', async (t) => {
  const { server, path, proxy } = await mountHomesByProxy(t, {
    isClosed: false,
    options: ['--role-arn', 'arn:aws:iam::123456789012:role/homes', '--home-credentials', 'scoped'],
  });
  t.equal(proxy.counts().STS, 1, 'at the start for the mount alone');
  t.same(await stepsAs(5001, [['writeFile', path('alice', 'f'), 'text']]), [null]);
  const fault = { kind: 'status', status: 403, code: 'AccessDenied' } as const;
  proxy.inject({ action: 'STS', count: Infinity, fault });
  t.same(await stepsAs(5002, [['writeFile', path('bob', 'f'), 'text']]), ['EACCES']);
  t.same(await stepsAs(5001, [['readFile', path('alice', 'f')]]), ['text']);
  t.same(await server.bucket.keys(), ['users/alice/f']);
  const signers = new Map<string, Set<string | undefined>>();
  for (const { key, accessKeyId } of proxy.log) {
    const home = /^users\/(\w+)\//.exec(key)?.[1];
    if (home === undefined) continue;
    signers.set(home, (signers.get(home) ?? new Set()).add(accessKeyId));
  }
  t.same([...signers.keys()], ['alice']);
  t.equal(signers.get('alice')?.size, 1);
});
