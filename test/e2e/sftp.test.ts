/** Files through OpenSSH's sftp and scp, a chrooted sshd and the mount, to S3 and back. */
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { sha256 } from '../support/bucket.js';
import { succeeded, succeededQuietly } from '../support/expect.js';
import { startJail, type Jail } from '../support/jail.js';
import { readTree, sha256OfFile, writeRandomFile, writeTree } from '../support/local-files.js';
import { forEachDriver, type Setting } from '../support/mounted.js';
import { serverNames } from '../support/servers.js';
import { mebibyte } from '../support/sizes.js';

/** the default of `--part-size` */
const partSize = 8 * mebibyte;

forEachDriver(t, serverNames(), sftpCases);

async function sftpCases(t: Test, setting: Setting): Promise<void> {
  const jail = await startJail(t, { ...setting, prefix: 'home/alice/' });

  await t.test('put stores one object with its bytes, size and content type', async (t) => {
    await writeFile(join(jail.local, 'hello.txt'), 'hello, world\n');
    succeededQuietly(t, await jail.sftp('put hello.txt'), 'put');
    t.strictSame(await jail.bucket.keys(), ['home/alice/hello.txt']);
    const head = await jail.bucket.head('home/alice/hello.txt');
    t.equal(head.ContentLength, 13);
    t.match(head.ContentType, /^text\/plain/);
    t.equal(await jail.bucket.text('home/alice/hello.txt'), 'hello, world\n');
  });

  await t.test('put over an existing name replaces it, shorter or longer', async (t) => {
    for (const size of [300_000, 10, 5000]) {
      const hash = await writeRandomFile(join(jail.local, 'again.bin'), size);
      succeededQuietly(t, await jail.sftp('put again.bin'), `put of ${size} bytes`);
      t.equal(await jail.bucket.sha256('home/alice/again.bin'), hash);
      t.match(await jail.sftp('ls -ln again.bin'), { stdout: new RegExp(` ${size} .* again.bin`) });
    }
  });

  await t.test('every size comes back as it went', async (t) => {
    const sizes = [0, 1, partSize - 1, partSize, partSize + 1, 100 * mebibyte];
    for (const size of sizes) await roundTrip(t, jail, size);
  });

  await t.test('put -r and get -r carry a tree with empty files and directories', async (t) => {
    const tree = {
      'a.txt': 'a',
      'b/c.txt': 'c',
      'b/d/e.bin': '\0\x01',
      'b/none': '',
      'empty/': '',
    };
    await writeTree(join(jail.local, 'tree'), tree);
    succeededQuietly(t, await jail.sftp('put -r tree'), 'put -r');
    const keys = await jail.bucket.keys('home/alice/tree/');
    t.strictSame(
      keys.filter((key) => !key.endsWith('/')),
      ['a.txt', 'b/c.txt', 'b/d/e.bin', 'b/none'].map((name) => `home/alice/tree/${name}`),
    );
    succeededQuietly(t, await jail.sftp('get -r tree tree-back'), 'get -r');
    t.strictSame(await readTree(join(jail.local, 'tree-back')), tree);
    succeededQuietly(t, await jail.sftp('put -r tree'), 'put -r over what is there');
  });

  await t.test('names are the same on both sides', (t) => oddNames(t, jail));

  await t.test('reput completes a file that was cut short', async (t) => {
    const local = join(jail.local, 'resumed.bin');
    const hash = await writeRandomFile(local, 3 * mebibyte);
    const whole = await readFile(local);
    await truncate(local, mebibyte);
    succeeded(t, await jail.sftp('put resumed.bin'), 'put of the first part');
    await writeFile(local, whole);
    succeeded(t, await jail.sftp('reput resumed.bin'), 'reput');
    t.equal(await jail.bucket.sha256('home/alice/resumed.bin'), hash);
  });

  await t.test('reget completes a local file and reads nothing behind the end', async (t) => {
    const hash = await writeRandomFile(join(jail.local, 'whole.bin'), 2 * mebibyte + 7);
    succeeded(t, await jail.sftp('put whole.bin'), 'put');
    await writeFile(join(jail.local, 'rest.bin'), await readFile(join(jail.local, 'whole.bin')));
    await truncate(join(jail.local, 'rest.bin'), mebibyte);
    succeeded(t, await jail.sftp('reget whole.bin rest.bin'), 'reget');
    t.equal(await sha256OfFile(join(jail.local, 'rest.bin')), hash);
  });

  await t.test('put -p stores the data, whatever becomes of the times', async (t) => {
    const hash = await writeRandomFile(join(jail.local, 'dated.bin'), 100_000);
    const ending = await jail.sftp('put -p dated.bin');
    succeeded(t, ending, 'put -p');
    t.match(ending.stderr, /Permission denied/, 'and says that the times were not taken');
    t.equal(await jail.bucket.sha256('home/alice/dated.bin'), hash);
  });

  await t.test('put -f stores before fsync answers', async (t) => {
    const hash = await writeRandomFile(join(jail.local, 'synced.bin'), 100_000);
    succeededQuietly(t, await jail.sftp('put -f synced.bin'), 'put -f');
    t.equal(await jail.bucket.sha256('home/alice/synced.bin'), hash);
  });

  await t.test('scp carries files both ways and leaves no tail of a longer one', async (t) => {
    for (const size of [partSize + 1000, 500]) {
      const hash = await writeRandomFile(join(jail.local, 'scp.bin'), size);
      succeededQuietly(t, await jail.scp('scp.bin', jail.remote('/scp.bin')), 'scp up');
      t.equal(await jail.bucket.sha256('home/alice/scp.bin'), hash);
      succeededQuietly(t, await jail.scp(jail.remote('/scp.bin'), 'back.bin'), 'scp down');
      t.equal(await sha256OfFile(join(jail.local, 'back.bin')), hash);
    }
  });

  await t.test('scp -r carries a tree both ways', async (t) => {
    const tree = { 'x.txt': 'x', 'y/z.txt': 'z' };
    await writeTree(join(jail.local, 'scp-tree'), tree);
    succeededQuietly(t, await jail.scp('-r', 'scp-tree', jail.remote('/')), 'scp -r up');
    const down = await jail.scp('-r', jail.remote('/scp-tree'), 'scp-back');
    succeededQuietly(t, down, 'scp -r down');
    t.strictSame(await readTree(join(jail.local, 'scp-back')), tree);
  });

  await t.test('cp on the server side copies the bytes', async (t) => {
    const hash = await writeRandomFile(join(jail.local, 'original.bin'), 400_000);
    succeededQuietly(t, await jail.sftp('put original.bin', 'cp original.bin copy.bin'), 'cp');
    t.equal(await jail.bucket.sha256('home/alice/copy.bin'), hash);
  });

  await t.test('nothing half-done is left', async (t) => {
    t.strictSame(await jail.bucket.uploads(), []);
    t.strictSame(
      (await jail.bucket.keys()).filter((key) => !key.startsWith('home/alice/')),
      [],
      'and nothing outside the prefix was touched',
    );
  });
}

async function roundTrip(t: Test, jail: Jail, size: number): Promise<void> {
  const name = `size-${size}.bin`;
  const hash = await writeRandomFile(join(jail.local, name), size);
  succeededQuietly(t, await jail.sftp(`put ${name}`), `put of ${size} bytes`);
  const key = `home/alice/${name}`;
  t.equal((await jail.bucket.head(key)).ContentLength, size);
  t.equal(sha256(await jail.bucket.bytes(key)), hash, `${size} bytes in S3`);
  succeededQuietly(t, await jail.sftp(`get ${name} back.bin`), `get of ${size} bytes`);
  t.equal(await sha256OfFile(join(jail.local, 'back.bin')), hash, `${size} bytes back`);
  succeededQuietly(t, await jail.sftp(`rm ${name}`), 'rm');
}

/** sftp batch lines quote with `"` and `\`, and expand `*?[` in local names. */
function quoted(name: string): string {
  return `"${name.replace(/["\\]/g, '\\$&')}"`;
}

async function oddNames(t: Test, jail: Jail): Promise<void> {
  const names = [
    'two words.txt',
    'plus+plus',
    '100%25.txt',
    `quote's "double"`,
    'star*?[x]',
    'grüße',
    '😀 smile 😀.txt',
    `${'漢字'.repeat(42)}abc`,
    'a'.repeat(255),
    '-dash',
    '.hidden',
    'a&b=c?d#e;f:g@h!i$j(k),l~m^n`o{p}q|r<s>t',
  ];
  await writeTree(jail.local, Object.fromEntries(names.map((name) => [name, name])));
  succeeded(t, await jail.sftp('mkdir odd'), 'mkdir');
  const remote = (name: string): string => quoted(`odd/${name}`);
  const put = await jail.sftp(...names.map((name) => `put ${quoted(`./${name}`)} ${remote(name)}`));
  succeededQuietly(t, put, 'put');
  const stored = (await jail.bucket.keys('home/alice/odd/')).slice(1);
  t.strictSame(stored.sort(), names.map((name) => `home/alice/odd/${name}`).sort());
  for (const name of names) t.equal(await jail.bucket.text(`home/alice/odd/${name}`), name);

  const lines = names.map((name, index) => `get ${remote(name)} odd-${index}`);
  const back = await jail.sftp(
    ...lines,
    'ls -1a odd',
    ...names.map((name) => `rm ${remote(name)}`),
  );
  succeededQuietly(t, back, 'get, ls and rm');
  for (const [index, name] of names.entries()) {
    t.equal(await readFile(join(jail.local, `odd-${index}`), 'utf8'), name);
    t.ok(back.stdout.includes(`odd/${name}\n`), `ls shows ${name}`);
  }
  t.strictSame(await jail.bucket.keys('home/alice/odd/'), ['home/alice/odd/']);
}
