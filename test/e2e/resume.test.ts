/** Files that exist are gone on with, changed in places and cut, by sftp(1) and by programs. */
import { copyFile, open, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mustRun } from '../../lib/demo/child.js';
import { succeeded } from '../support/expect.js';
import { startJail, type Jail } from '../support/jail.js';
import { sha256OfFile, writeRandomFile } from '../support/local-files.js';
import { forEachDriver, type Setting } from '../support/mounted.js';
import { mebibyte } from '../support/sizes.js';

const size = 30 * mebibyte + 12_345;

forEachDriver(t, ['embedded'], resumeCases);

async function resumeCases(t: Test, setting: Setting): Promise<void> {
  const jail = await startJail(t, { ...setting, options: ['--access', 'any'] });
  const local = (name: string): string => join(jail.local, name);
  const whole = await writeRandomFile(local('file'), size);

  for (const command of ['reput file', 'put -a file']) {
    await t.test(`sftp's ${command} sends what is missing`, async (t) => {
      const had = 21 * mebibyte + 1;
      await copyFile(local('file'), local('head'));
      await truncate(local('head'), had);
      succeeded(t, await jail.sftp('put head file'), 'put of the first part');
      jail.proxy.reset();
      succeeded(t, await jail.sftp(command), command);
      t.equal(await jail.bucket.sha256('file'), whole);
      const moved = jail.proxy.bytes();
      t.ok(moved.fromClient < size - had + mebibyte, `${moved.fromClient} bytes up`);
      t.ok(moved.toClient < mebibyte, `${moved.toClient} bytes down`);
      await jail.bucket.delete('file');
      succeeded(t, await jail.sftp('-rm file'), 'rm');
    });
  }

  await t.test('reget goes on where a download stopped', async (t) => {
    succeeded(t, await jail.sftp('put file'), 'put');
    await copyFile(local('file'), local('back'));
    await truncate(local('back'), 9 * mebibyte);
    succeeded(t, await jail.sftp('reget file back'), 'reget');
    t.equal(await sha256OfFile(local('back')), whole);
  });

  await t.test('a shell appends, writes in the middle, cuts and leaves holes', (t) =>
    shellCases(t, jail),
  );
}

/** The same commands in the mount and on the local disk end with the same bytes. */
async function shellCases(t: Test, jail: Jail): Promise<void> {
  const commands = [
    'cat $DATA >> grown; echo more >> grown',
    'dd if=$DATA of=grown bs=100000 seek=3 count=2 conv=notrunc status=none',
    'truncate -s -1 grown',
    'truncate -s 8388609 grown',
    'truncate -s 6000000 grown; echo tail >> grown',
    'dd if=$DATA of=sparse bs=1M seek=7 count=1 status=none; truncate -s 20M sparse',
    'dd if=$DATA of=sparse bs=1k seek=9000 count=3 conv=notrunc status=none',
    'cp --sparse=always sparse copy',
  ];
  for (const command of commands) {
    const data = join(jail.local, 'file');
    const places = [jail.path(''), jail.local];
    await Promise.all(
      places.map((place) => mustRun('sh', ['-ec', `DATA=${data}; cd ${place}; ${command}`])),
    );
    for (const name of ['grown', 'sparse', 'copy']) {
      const want = await hashIfThere(join(jail.local, name));
      t.equal(await hashIfThere(jail.path(name)), want, `${name} after ${command}`);
      if (want !== undefined) t.equal(await jail.bucket.sha256(name), want, `${name} in S3`);
    }
  }
}

async function hashIfThere(path: string): Promise<string | undefined> {
  const file = await open(path).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (file === undefined) return undefined;
  await file.close();
  return await sha256OfFile(path);
}
