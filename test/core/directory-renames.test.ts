/** Directories that are renamed with all that is in them, and what S3 and others do meanwhile. */
import t from 'tap';
import { inParallel } from '../support/bucket.js';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';

const recursive = { settings: { renameDir: 'recursive' } } as const;

/** All keys below the prefix with their content. */
async function stored(core: Core): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const key of await core.bucket.keys('alice/')) {
    found[key.slice('alice/'.length)] = await core.bucket.text(key);
  }
  return found;
}

for (const action of ['CopyObject', 'DeleteObject'] as const) {
  void t.test(`a rename that fails in ${action} does nothing once it is answered`, async (t) => {
    const core = await useCore(t, recursive);
    const program = new Program(core.fs);
    const names = Array.from({ length: 300 }, (_, index) => `f${1000 + index}`);
    await inParallel(16, names, (name) => core.bucket.put(`alice/a/${name}`, name));
    core.proxy.inject({
      action,
      key: /f1050$/,
      // A copy that is denied is tried again without tags.
      count: 2,
      fault: { kind: 'status', status: 403, code: 'AccessDenied' },
    });
    await t.rejects(program.rename('/a', '/b'), { code: 'EACCES' });
    const requests = core.proxy.log.length;
    t.ok((core.proxy.counts()[action] ?? 0) < 100, 'the first failure is the end');
    // Whatever was left going would have come through by the time all this has.
    for (let index = 0; index < 20; index++) await core.bucket.keys('alice/');
    const open = core.proxy.log.filter(({ status }) => status === undefined);
    t.same([core.proxy.log.length, open], [requests, []], 'nothing goes on behind the answer');
    core.proxy.clear();
    await program.rename('/a', '/b');
    t.same(await stored(core), Object.fromEntries(names.map((name) => [`b/${name}`, name])));
  });
}
