/**
 * Names that a server cannot hold: told by ENAMETOOLONG or EILSEQ before another object is written
 * over, on each real server, and on one that takes backslashes for slashes.
 */
import t from 'tap';
import { isStoreError } from '../../lib/errors.js';
import { silentLog } from '../../lib/log.js';
import { fails, key } from '../suites/store-law-setup.js';
import { Program, useCore } from '../support/core.js';
import { testBucket } from '../support/embedded.js';
import { realServers, testOnServer } from '../support/servers.js';
import { useStore } from '../support/store.js';

t.setTimeout(300_000);

void t.test('a backslash that is a slash', async (t) => {
  const warnings: string[] = [];
  const warn = (_fields: object, message: string): void => void warnings.push(message);
  const core = await useCore(t, {
    buckets: [{ name: testBucket, anonymous: 'read-write' }],
    // In the path of a key, but not in a query.
    misread: (_request, url) =>
      /^[^?]*%5c/i.test(url)
        ? url.replace(/^[^?]*/, (path) => path.replaceAll(/%5c/gi, '/'))
        : undefined,
    log: { ...silentLog, warn },
  });
  await core.bucket.put('alice/back/slash', 'precious');
  const program = new Program(core.fs);
  core.proxy.reset();
  await t.rejects(program.stat('/back\\slash'), { code: 'ENOENT' });
  await t.rejects(program.get('/back\\slash'), { code: 'ENOENT' });
  await fails(t, core.store.get(key('back\\slash')), { kind: 'notFound' });
  t.equal(core.proxy.counts().PutObject, undefined, 'who reads tries nothing');
  await t.rejects(program.put('/back\\slash', 'other'), { code: 'EILSEQ' });
  await t.rejects(program.unlink('/back\\slash'), { code: /EILSEQ|ENOENT/ });
  await t.rejects(program.mkdir('/new\\dir'), { code: 'EILSEQ' });
  await program.put('/plain', 'x');
  await t.rejects(program.rename('/plain', '/back\\slash'), { code: 'EILSEQ' });
  t.equal(await core.bucket.text('alice/back/slash'), 'precious');
  t.equal(warnings.filter((text) => text.includes('does not hold names like this')).length, 1);
  t.strictSame(core.endpoint.keys(testBucket), ['alice/back/slash', 'alice/plain']);
});

void t.test('a server that holds all names is tried once', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  await program.put('/back\\slash', 'x');
  core.proxy.reset();
  await program.put('/more\\slash', 'x');
  t.equal(core.proxy.counts().PutObject, 1);
  t.equal(core.proxy.counts().DeleteObject, undefined);
  t.strictSame(await program.list('/'), ['back\\slash', 'more\\slash']);
});

void t.test('a name that comes from elsewhere is looked for in a listing, once', async (t) => {
  const core = await useCore(t);
  await core.bucket.put('alice/back\\slash', 'x');
  for (const wanted of [2, 1]) {
    core.proxy.reset();
    t.equal((await core.store.head(key('back\\slash'))).size, 1);
    t.equal((await core.store.get(key('back\\slash'))).info.size, 1);
    t.match(core.proxy.counts(), { HeadObject: 1, GetObject: 1 });
    t.equal(core.proxy.log.length, wanted + 1, 'no more after the first');
  }
});

/** Each comes back as it was and can be replaced, or is refused for its name. */
const names = [
  ...[200, 230, 246, 250, 255, 256, 300].map((length) => 'n'.repeat(length)),
  ...[200, 230, 246, 250, 255, 256, 300].map((length) => `${'d'.repeat(length)}/`),
  ...['back\\slash', 'control\u0001', 'line\nbreak', 'del\u007f', 'tab\t', 'x__XLDIR__'],
  ...['.uploads/f', 'x.versions/f', 'y.versions', '.sgwtmp/f'],
];

for (const name of realServers) {
  void testOnServer(t, { server: name, name: `odd names on ${name}` }, async (t, server) => {
    const store = useStore(t, server.url, {
      bucket: server.bucket.name,
      credentials: server.credentials,
    });
    await server.bucket.put('alice/back/slash', 'precious');
    await fails(t, store.head(key('back\\slash')), { kind: 'notFound' });
    await fails(t, store.get(key('back\\slash')), { kind: 'notFound' });
    for (const odd of names) {
      const shown = JSON.stringify(odd.length > 20 ? `${odd[0] ?? ''} × ${odd.length}` : odd);
      const kinds: unknown[] = [];
      for (const content of odd.endsWith('/') ? [''] : ['old', 'new']) {
        kinds.push(
          await store
            .put(key(odd), [Buffer.from(content)])
            .then(() => 'stored')
            .catch((error: unknown) => (isStoreError(error) ? error.kind : error)),
        );
      }
      t.equal(new Set(kinds).size, 1, `${shown}: ${kinds.join(' and ')}`);
      const { objects } = await store.list({ prefix: key(''), oneLevel: false });
      const isListed = objects.some((found) => found.key === odd);
      if (kinds.at(-1) === 'stored') t.ok(isListed, `${shown} is there`);
      else t.match(kinds.at(-1), /^(nameTooLong|badName)$/, shown);
      t.equal(isListed, kinds.at(-1) === 'stored');
    }
    t.equal(await server.bucket.text('alice/back/slash'), 'precious');
    t.notOk((await server.bucket.keys()).some((name) => name.includes('s3jail-probe')));
    const { prefixes } = await store.list({ prefix: key(''), oneLevel: true });
    t.strictSame(
      prefixes.filter((name) => name.includes('s3jail-probe')),
      [],
    );
  });
}
