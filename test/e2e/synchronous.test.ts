/** O_SYNC and O_DSYNC on whole mounts: a write(2) that returned is in S3, with the file still open. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { forEachDriver, mountForTest, type Setting } from '../support/mounted.js';
import { makePlace } from '../support/place.js';
import { serverNames, useServer } from '../support/servers.js';

const { O_APPEND, O_CREAT, O_DSYNC, O_RDWR, O_SYNC, O_TRUNC, O_WRONLY } = constants;

forEachDriver(t, serverNames(), async (t, setting) => {
  const server = await useServer(t, setting.server);
  const place = await makePlace(t);
  const { mountPoint } = await mountForTest(t, { server, driver: setting.driver, place });
  for (const [name, flag] of [
    ['O_SYNC', O_SYNC],
    ['O_DSYNC', O_DSYNC],
  ] as const) {
    await t.test(name, (t) => writes(t, { ...setting, path: join(mountPoint, name), name, flag }));
  }

  async function writes(
    t: Test,
    { driver, path, name, flag }: Setting & { path: string; name: string; flag: number },
  ): Promise<void> {
    const stored = (): Promise<string> => server.bucket.text(name).catch(String);
    // libfuse 2 does not tell the binding with which flags a file is created.
    if (driver === 'fuse-native') await (await open(path, 'w')).close();
    const created = driver === 'kernel' ? O_CREAT | O_TRUNC : 0;
    const file = await open(path, O_RDWR | created | flag);
    await file.write('first ', 0);
    t.equal(await stored(), 'first ');
    await file.write('second', 6);
    t.equal(await stored(), 'first second');
    await file.write('F', 0);
    t.equal(await stored(), 'First second');
    t.equal((await file.stat()).size, 12);
    await file.close();
    const log = await open(path, O_WRONLY | O_APPEND | flag);
    await log.write(', third');
    t.equal(await stored(), 'First second, third');
    await log.close();
    const plain = await open(path, O_WRONLY);
    await plain.write('f', 0);
    t.equal(await stored(), 'First second, third', 'nobody else pays for it');
    await plain.close();
    t.equal(await stored(), 'first second, third');
  }
});
