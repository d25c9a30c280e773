/** Names, directories and refusals as an SFTP user meets them. */
import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { failed, succeeded, succeededQuietly } from '../support/expect.js';
import { startJail, type Jail } from '../support/jail.js';
import { writeTree } from '../support/local-files.js';
import { forEachDriver, type Setting } from '../support/mounted.js';
import { serverNames } from '../support/servers.js';

const prefix = 'home/alice/';

forEachDriver(t, serverNames(), namespaceCases);

async function namespaceCases(t: Test, setting: Setting): Promise<void> {
  const jail = await startJail(t, { ...setting, prefix, options: ['--metadata-ttl', '1s'] });
  await writeTree(jail.local, { one: 'first', two: 'second one' });

  await t.test('a prefix that holds nothing is an empty directory', async (t) => {
    const ending = await jail.sftp('pwd', 'ls -1');
    succeededQuietly(t, ending, 'ls');
    t.equal(ending.stdout, 'sftp> pwd\nRemote working directory: /\nsftp> ls -1\n');
  });

  await t.test('the chroot root is root:root 0755, all below is the user’s', async (t) => {
    succeeded(t, await jail.sftp('put one mine', 'mkdir dir'), 'put and mkdir');
    const root = await stat(jail.mounted.mountPoint);
    t.strictSame([root.uid, root.gid, root.mode & 0o7777], [0, 0, 0o755]);
    const { uid, gid } = jail.account;
    const file = await stat(jail.path('mine'));
    t.strictSame([file.uid, file.gid, file.mode & 0o7777], [uid, gid, 0o644]);
    const directory = await stat(jail.path('dir'));
    t.strictSame([directory.uid, directory.gid, directory.mode & 0o7777], [uid, gid, 0o755]);
    succeeded(t, await jail.sftp('rm mine', 'rmdir dir'), 'rm and rmdir');
  });

  await t.test('rename moves a file, also over another one', async (t) => {
    await jail.bucket.put(`${prefix}typed.html`, '<p>', 'text/x-special');
    succeededQuietly(t, await jail.sftp('put one', 'rename one moved'), 'rename');
    t.strictSame(await jail.bucket.keys(prefix), [`${prefix}moved`, `${prefix}typed.html`]);
    succeededQuietly(t, await jail.sftp('rename typed.html moved'), 'rename over');
    t.strictSame(await jail.bucket.keys(prefix), [`${prefix}moved`]);
    t.equal(await jail.bucket.text(`${prefix}moved`), '<p>');
    const { ContentType } = await jail.bucket.head(`${prefix}moved`);
    t.equal(ContentType, 'text/x-special', 'the content type travels along');
  });

  await t.test('the rename of old clients moves, and refuses to replace', async (t) => {
    succeededQuietly(t, await jail.sftp('put one', 'rename -l one fresh'), 'rename -l');
    failed(t, await jail.sftp('rename -l fresh moved'), /Failure/, 'rename -l over another');
    t.equal(await jail.bucket.text(`${prefix}fresh`), 'first');
    t.equal(await jail.bucket.text(`${prefix}moved`), '<p>');
    succeeded(t, await jail.sftp('rm fresh', 'rm moved'), 'rm');
  });

  await t.test('mkdir makes a directory that others see, rmdir takes it away', async (t) => {
    succeededQuietly(t, await jail.sftp('mkdir new', 'ls -la new'), 'mkdir');
    t.strictSame(await jail.bucket.keys(prefix), [`${prefix}new/`]);
    t.equal((await jail.bucket.head(`${prefix}new/`)).ContentLength, 0);
    failed(t, await jail.sftp('mkdir new'), /Failure/, 'a second mkdir');
    succeededQuietly(t, await jail.sftp('rmdir new'), 'rmdir');
    t.strictSame(await jail.bucket.keys(prefix), []);
    failed(t, await jail.sftp('ls new'), /not found|No such file/, 'ls of it');
  });

  await t.test('rmdir of a directory that holds something is refused', async (t) => {
    succeeded(t, await jail.sftp('mkdir full', 'put one full/one'), 'mkdir and put');
    failed(t, await jail.sftp('rmdir full'), /Failure/, 'rmdir');
    t.equal(await jail.bucket.text(`${prefix}full/one`), 'first');
  });

  await t.test('a directory stays when its last file goes', async (t) => {
    succeededQuietly(t, await jail.sftp('rm full/*', 'ls -1'), 'rm');
    succeededQuietly(t, await jail.sftp('ls full', 'rmdir full'), 'ls and rmdir');
    await jail.bucket.put(`${prefix}implicit/deep/file`, 'x');
    await listed(t, jail, '/implicit/deep', ['file']);
    succeededQuietly(t, await jail.sftp('rm implicit/deep/file', 'ls implicit/deep'), 'rm');
    succeededQuietly(t, await jail.sftp('rmdir implicit/deep', 'rmdir implicit'), 'rmdir');
    t.strictSame(await jail.bucket.keys(prefix), []);
  });

  await t.test('rename of an empty directory moves it, of a full one is unsupported', async (t) => {
    succeededQuietly(t, await jail.sftp('mkdir hollow', 'rename hollow moved'), 'rename');
    t.strictSame(await jail.bucket.keys(prefix), [`${prefix}moved/`]);
    succeeded(t, await jail.sftp('put one moved/one'), 'put');
    const before = await jail.bucket.keys(prefix);
    failed(t, await jail.sftp('rename moved elsewhere'), /Operation unsupported/, 'rename');
    t.strictSame(await jail.bucket.keys(prefix), before);
    succeeded(t, await jail.sftp('rm moved/one', 'rmdir moved'), 'rm and rmdir');
  });

  await t.test('links are refused and make nothing', async (t) => {
    succeeded(t, await jail.sftp('put one'), 'put');
    failed(t, await jail.sftp('ln -s one soft'), /Operation unsupported/, 'ln -s');
    failed(t, await jail.sftp('ln one hard'), /unsupported|Permission denied/, 'ln');
    t.strictSame(await jail.bucket.keys(prefix), [`${prefix}one`]);
  });

  await t.test('chmod, chown and chgrp succeed and change nothing', async (t) => {
    const before = await jail.bucket.head(`${prefix}one`);
    const lines = [
      'chmod 600 one',
      'chown 0 one',
      'chgrp 0 one',
      'mkdir d',
      'chmod 700 d',
      'rmdir d',
    ];
    succeededQuietly(t, await jail.sftp(...lines), 'chmod, chown, chgrp');
    const { mode, uid } = await stat(jail.path('one'));
    t.strictSame([mode & 0o7777, uid], [0o644, jail.account.uid]);
    const after = await jail.bucket.head(`${prefix}one`);
    t.strictSame(after.LastModified, before.LastModified, 'the object is not written again');
  });

  await t.test('df shows room', async (t) => {
    const ending = await jail.sftp('df -h', 'df -i');
    succeededQuietly(t, ending, 'df');
    t.match(ending.stdout, /Avail/);
    t.notMatch(ending.stdout, /ERROR|nan/i);
  });

  await t.test('rm then ls never shows the name', async (t) => {
    const ending = await jail.sftp('rm one', 'ls -1');
    succeededQuietly(t, ending, 'rm and ls');
    t.notMatch(ending.stdout, /^one$/m);
    failed(t, await jail.sftp('rm one'), /No such file/, 'a second rm');
  });

  await t.test('what others store appears, changes and goes', async (t) => {
    await listed(t, jail, '/', []);
    await jail.bucket.put(`${prefix}theirs/a.txt`, 'from afar');
    await listed(t, jail, '/', ['theirs']);
    await listed(t, jail, '/theirs', ['a.txt']);
    succeeded(t, await jail.sftp('get theirs/a.txt got'), 'get');
    await jail.bucket.delete(`${prefix}theirs/a.txt`);
    await listed(t, jail, '/', []);
  });

  await t.test('odd keys never break a listing nor lead outside', (t) => oddKeys(t, jail));
  await t.test('a neighbour whose name begins alike stays apart', (t) => neighbours(t, jail));

  await t.test('nobody climbs out', async (t) => {
    await jail.bucket.put('home/secret', 'not yours');
    await jail.bucket.put('home/bob/secret', 'not yours');
    const up = await jail.sftp('cd ..', 'pwd', 'ls -1', 'ls -1 ../..');
    succeeded(t, up, 'cd ..');
    t.match(up.stdout, /Remote working directory: \/\n/);
    t.notMatch(up.stdout, /secret|bob/);
    for (const path of ['../secret', '../bob/secret', '/../../secret', '..//../bob/secret']) {
      failed(t, await jail.sftp(`get ${path} stolen`), /not found|No such file/, `get ${path}`);
    }
  });
}

/** Waits until `ls` shows just these names: what others do is seen once the TTL is over. */
async function listed(t: Test, jail: Jail, path: string, names: string[]): Promise<void> {
  let shown: string[] = [];
  for (let tries = 50; tries > 0; tries--) {
    const ending = await jail.sftp(`ls -1 ${path}`);
    const lines = ending.stdout.split('\n').slice(1, -1);
    shown = lines.map((line) => line.slice(line.lastIndexOf('/') + 1)).sort();
    if (ending.status === 0 && shown.join() === [...names].sort().join()) break;
    await sleep(100);
  }
  t.strictSame(shown, [...names].sort(), `ls ${path}`);
}

async function oddKeys(t: Test, jail: Jail): Promise<void> {
  const odd = ['a//b', './x', '../x', '../../etc/passwd', 'dir/./y', 'dir/../z', '/lead', '//'];
  const plain = ['plain', 'dir/inside', 'both', 'both/below', 'marker/'];
  for (const key of [...odd, ...plain]) await jail.bucket.put(`${prefix}${key}`, '');
  await listed(t, jail, '/', ['a', 'both', 'dir', 'marker', 'plain']);
  await listed(t, jail, '/dir', ['inside']);
  await listed(t, jail, '/a', []);
  await listed(t, jail, '/both', ['below']);
  t.ok((await stat(jail.path('both'))).isDirectory(), 'the directory hides the file');
  const ending = await jail.sftp('get -r / everything');
  succeeded(t, ending, 'get -r of it all');
  for (const key of [...odd, ...plain]) await jail.bucket.delete(`${prefix}${key}`);
  await listed(t, jail, '/', []);
}

async function neighbours(t: Test, jail: Jail): Promise<void> {
  await jail.bucket.put('home/alice2/private', 'not hers');
  await jail.bucket.put('home/alice', 'a key that is the prefix without its slash');
  await jail.bucket.put(`${prefix}own`, 'hers');
  await listed(t, jail, '/', ['own']);
  succeeded(t, await jail.sftp('rm own'), 'rm');
  t.strictSame(
    (await jail.bucket.keys('home/')).filter((key) => !key.startsWith(prefix)),
    ['home/alice', 'home/alice2/private'],
    'they are untouched',
  );
}
