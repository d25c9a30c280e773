/** The ways an administrator may put a mount and sshd together. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { succeeded, succeededQuietly } from '../support/expect.js';
import { startJail, type Layout } from '../support/jail.js';
import { sha256OfFile, writeRandomFile } from '../support/local-files.js';
import { forEachDriver, type Setting } from '../support/mounted.js';

/** Where a session begins, in each layout. */
const begins: Readonly<Record<Layout, RegExp>> = {
  root: /^Remote working directory: \/$/m,
  below: /^Remote working directory: \/files$/m,
  external: /^Remote working directory: \/var\/lib\/s3jail-test-\w+\/jail\/files$/m,
};

forEachDriver(t, ['embedded'], async (t, setting) => {
  for (const layout of ['root', 'below', 'external'] as const) {
    await t.test(`layout ${layout}`, (t) => layoutCases(t, setting, layout));
  }
});

async function layoutCases(t: Test, setting: Setting, layout: Layout): Promise<void> {
  const jail = await startJail(t, { ...setting, layout });

  await t.test('a session begins in the mount and works there', async (t) => {
    const hash = await writeRandomFile(join(jail.local, 'file'), 300_000);
    const ending = await jail.sftp('pwd', 'put file', 'mkdir d', 'rename file d/moved', 'ls -l d');
    succeededQuietly(t, ending, 'a session');
    t.match(ending.stdout, begins[layout]);
    t.equal(await jail.bucket.sha256('d/moved'), hash);
    succeededQuietly(t, await jail.sftp('get d/moved back', 'rm d/moved', 'rmdir d'), 'another');
    t.equal(await sha256OfFile(join(jail.local, 'back')), hash);
  });

  await t.test('a session that only logs in leaves no trace', async (t) => {
    succeeded(t, await jail.sftp('ls -la'), 'ls');
    t.strictSame(await jail.bucket.keys(), []);
  });

  await t.test('with the mount gone nothing is stored, anywhere', async (t) => {
    await writeFile(join(jail.local, 'late'), 'too late');
    await jail.mounted.stop();
    const ending = await jail.sftp('put late');
    t.not(ending.status, 0, 'put fails');
    t.strictSame(await jail.bucket.keys(), []);
    await t.rejects(sha256OfFile(jail.path('late')), { code: 'ENOENT' }, 'nor on the local disk');
  });
}
