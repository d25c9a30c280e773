import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import t from 'tap';
import { chooseDriver } from '../../lib/fuse/choose.js';
import { mayMount } from '../../lib/fuse/kernel/index.js';
import { silentLog } from '../../lib/log.js';

void t.test('a driver that is named is taken', async (t) => {
  for (const name of ['kernel', 'fuse-native'] as const) {
    const { driver, why } = await chooseDriver(name, silentLog);
    t.equal(driver.name, name);
    t.equal(why, '--driver says so');
  }
});

void t.test('auto is the kernel driver for a process that may mount', async (t) => {
  const { able, reason } = mayMount();
  t.ok(able, reason);
  const { driver, why } = await chooseDriver('auto', silentLog);
  t.equal(driver.name, 'kernel');
  t.equal(why, reason);
});

void t.test('auto is fuse-native for a process that may not', async (t) => {
  const module = new URL('../../lib/fuse/choose.js', import.meta.url).href;
  const program = `
    const { chooseDriver } = await import('${module}');
    const { driver, why } = await chooseDriver('auto', { debug() {} });
    console.log(JSON.stringify([driver.name, why]));`;
  const options = { uid: 65_534, gid: 65_534, cwd: '/' };
  const args = ['--input-type=module', '-e', program];
  const { stdout } = await promisify(execFile)(process.execPath, args, options);
  const [name, why] = JSON.parse(stdout) as [string, string];
  t.equal(name, 'fuse-native');
  t.match(why, /CAP_SYS_ADMIN|\/dev\/fuse/);
});
