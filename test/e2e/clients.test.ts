/** What other clients than OpenSSH's do to a mount, and what two of them see of each other. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Child, runCommand } from '../../lib/demo/child.js';
import { clientOptions } from '../../lib/demo/sshd.js';
import { failed, succeeded, succeededQuietly } from '../support/expect.js';
import { startJail, type Jail } from '../support/jail.js';
import { lftp } from '../support/lftp.js';
import { readTree, sha256OfFile, writeRandomFile, writeTree } from '../support/local-files.js';
import { forEachDriver, type Setting } from '../support/mounted.js';
import { mebibyte } from '../support/sizes.js';

forEachDriver(t, ['embedded'], clientCases);

async function clientCases(t: Test, setting: Setting): Promise<void> {
  const jail = await startJail(t, setting);

  await t.test('lftp mirrors a tree there and back', async (t) => {
    const tree = { 'a.txt': 'a', 'sub/b.txt': 'b', 'sub/deep/c': 'c'.repeat(70_000) };
    await writeTree(join(jail.local, 'tree'), tree);
    succeeded(t, await lftp(jail, 'mirror -R tree tree'), 'mirror -R');
    const keys = await jail.bucket.keys('tree/');
    t.strictSame(
      keys.filter((key) => !key.endsWith('/')),
      Object.keys(tree).map((name) => `tree/${name}`),
    );
    succeeded(t, await lftp(jail, 'mirror tree back'), 'mirror');
    t.strictSame(await readTree(join(jail.local, 'back')), tree);
    succeeded(t, await lftp(jail, 'mv tree/a.txt tree/sub/a.txt'), 'mv');
    t.equal(await jail.bucket.text('tree/sub/a.txt'), 'a');
  });

  await t.test('lftp gets one file in four segments at a time', async (t) => {
    const hash = await writeRandomFile(join(jail.local, 'big'), 9 * mebibyte + 11);
    succeeded(t, await lftp(jail, 'put big'), 'put');
    t.equal(await jail.bucket.sha256('big'), hash);
    succeeded(t, await lftp(jail, 'pget -n 4 big -o segments'), 'pget');
    t.equal(await sha256OfFile(join(jail.local, 'segments')), hash);
  });

  await t.test('a temporary name, then REMOVE and RENAME, as WinSCP stores', async (t) => {
    const hash = await writeRandomFile(join(jail.local, 'doc.filepart'), 200_000);
    await jail.bucket.put('doc', 'before');
    const lines = ['put doc.filepart', 'rm doc', 'rename -l doc.filepart doc'];
    succeededQuietly(t, await jail.sftp(...lines), 'the sequence');
    t.equal(await jail.bucket.sha256('doc'), hash);
    t.strictSame(await jail.bucket.keys('doc'), ['doc']);
  });

  await t.test(
    'a file that is being stored shows its size here, and nothing elsewhere',
    async (t) => {
      const writer = await startWriter(jail, 'growing');
      t.match(
        (await jail.sftp('ls -ln growing')).stdout,
        new RegExp(` ${mebibyte} .* growing$`, 'm'),
      );
      t.strictSame(await jail.bucket.keys('growing'), []);
      await writeFile(join(jail.local, 'go-on'), '');
      t.equal((await writer.ended).status, 0);
      t.strictSame(await jail.bucket.keys('growing'), ['growing']);
    },
  );

  await t.test('an unknown user is not let in', async (t) => {
    const args = ['-b', '-', '-P', String(jail.sshd.port), ...clientOptions(jail.sshd)];
    const ending = await runCommand('sftp', [...args, 'root@127.0.0.1'], {
      input: { text: 'ls\n' },
    });
    failed(t, ending, /Permission denied/, 'login');
  });
}

/**
 * Writes a mebibyte and closes the file once `go-on` is there. A process apart: a file that is open
 * here would be flushed by every start of a child, by a kernel that then waits for S3, which is here.
 */
async function startWriter(jail: Jail, name: string): Promise<Child> {
  const script = `
    const fs = require('fs');
    const [path, goOn] = process.argv.slice(1);
    const file = fs.openSync(path, 'w');
    fs.writeSync(file, Buffer.alloc(${mebibyte}));
    console.error('written');
    const timer = setInterval(() => {
      if (!fs.existsSync(goOn)) return;
      clearInterval(timer);
      fs.closeSync(file);
    }, 20);`;
  const args = ['-e', script, jail.path(name), join(jail.local, 'go-on')];
  const child = await Child.start(process.execPath, args);
  await child.untilSaid(/written/);
  return child;
}
