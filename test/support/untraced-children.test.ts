/** What a test file starts before it waits for anything is not traced by tap either. */
import { spawnSync } from 'node:child_process';
import t from 'tap';

const options = (): string =>
  spawnSync(process.execPath, ['-p', 'process.env.NODE_OPTIONS'], { encoding: 'utf8' }).stdout;

const atOnce = options();

void t.test('children load no module of tap', async (t) => {
  await new Promise(setImmediate);
  for (const found of [atOnce, options()]) t.notMatch(found, /tapjs/);
});
