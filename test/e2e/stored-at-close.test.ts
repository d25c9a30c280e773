/**
 * Files that nobody wrote to and that are to be stored all the same, on whole mounts: made or cut by
 * open(2), whatever it was opened for, and by truncate(2). The last call that can fail is the one that
 * stores.
 */
import { constants } from 'node:fs';
import { open, rename, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startFaultProxy } from '../support/fault-proxy.js';
import { forEachDriver, mountForTest } from '../support/mounted.js';
import { makePlace } from '../support/place.js';
import { useServer } from '../support/servers.js';

const { O_CREAT, O_RDONLY, O_TRUNC } = constants;
const forbidden = { kind: 'status', status: 403, code: 'AccessDenied' } as const;

forEachDriver(t, ['embedded'], async (t, { server: name, driver }) => {
  const server = await useServer(t, name);
  const proxy = await startFaultProxy({ target: server.url });
  t.teardown(() => proxy.close());
  const place = await makePlace(t);
  const { mountPoint } = await mountForTest(t, { server, url: proxy.url, driver, place });
  const { bucket } = server;
  await bucket.put('old', 'as it was');

  await t.test('made for reading', async (t) => {
    await (await open(join(mountPoint, 'made'), O_RDONLY | O_CREAT)).close();
    await rename(join(mountPoint, 'made'), join(mountPoint, 'renamed'));
    t.same(await bucket.keys(), ['old', 'renamed']);
  });

  await t.test('made for reading, and refused', async (t) => {
    proxy.inject({ action: 'PutObject', count: 100, fault: forbidden });
    const file = await open(join(mountPoint, 'refused'), O_RDONLY | O_CREAT);
    await t.rejects(file.close(), { code: 'EACCES' });
    proxy.clear();
    t.same(await bucket.keys(), ['old', 'renamed']);
  });

  await t.test('cut by open', async (t) => {
    for (const flags of [O_RDONLY | O_TRUNC, O_RDONLY | O_CREAT | O_TRUNC]) {
      await bucket.put('cut', 'something');
      proxy.inject({ action: 'PutObject', count: 100, fault: forbidden });
      const tried = open(join(mountPoint, 'cut'), flags).then((file) => file.close());
      await t.rejects(tried, { code: 'EACCES' });
      t.equal(await bucket.text('cut'), 'something');
      proxy.clear();
      await (await open(join(mountPoint, 'cut'), flags)).close();
      t.equal(await bucket.text('cut'), '');
    }
  });

  await t.test('cut by name, while others have it open', async (t) => {
    const file = await open(join(mountPoint, 'shared'), 'w');
    await file.write('something');
    await file.sync();
    proxy.inject({ action: 'PutObject', count: 100, fault: forbidden });
    await t.rejects(truncate(join(mountPoint, 'shared'), 4), { code: 'EACCES' });
    proxy.clear();
    await t.rejects(file.close(), { code: 'EACCES' });
    t.equal(await bucket.text('shared'), 'something');
    const again = await open(join(mountPoint, 'shared'), 'a');
    await truncate(join(mountPoint, 'shared'), 4);
    t.equal(await bucket.text('shared'), 'some');
    await again.close();
  });
});
