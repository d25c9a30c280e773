/** Names, and what stat(2) tells of them. */
import assert from 'node:assert/strict';
import {
  chmod,
  chown,
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  rmdir,
  stat,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { fails, shell, type PosixCases } from './case.js';

export const nameCases: PosixCases = {
  'what does not exist is ENOENT': async (d) => {
    const f = join(d, 'missing');
    for (const act of [() => stat(f), () => open(f, 'r'), () => unlink(f), () => rmdir(f)]) {
      await fails(act(), 'ENOENT');
    }
    await fails(truncate(f, 1), 'ENOENT');
    await fails(rename(f, join(d, 'other')), 'ENOENT');
    await fails(writeFile(join(f, 'below'), ''), 'ENOENT');
    await fails(mkdir(join(f, 'below')), 'ENOENT');
    await fails(readdir(f), 'ENOENT');
    assert.deepEqual(await readdir(d), []);
  },

  'a file is no directory and a directory is no file': async (d) => {
    const [f, e] = [join(d, 'file'), join(d, 'directory')];
    await writeFile(f, 'content');
    await mkdir(e);
    await fails(readdir(f), 'ENOTDIR');
    await fails(stat(join(f, 'below')), 'ENOTDIR');
    await fails(rmdir(f), 'ENOTDIR');
    await fails(open(e, 'w'), 'EISDIR');
    await fails(readFile(e), 'EISDIR');
    await fails(unlink(e), 'EISDIR');
    await fails(rename(f, e), 'EISDIR');
    await fails(rename(e, f), 'ENOTDIR');
    assert.equal(await readFile(f, 'utf8'), 'content');
    assert.deepEqual(await readdir(e), []);
  },

  'names are kept byte for byte': async (d) => {
    const names = [
      'with space',
      ' leading and trailing ',
      '+',
      '100%41',
      `"quotes" 'both'`,
      'back\\slash',
      '-rf',
      '*?[a]',
      '#hash&amp;',
      'new\nline',
      'ümläut',
      '漢字',
      '🎈',
      '...',
      '.hidden',
      'x'.repeat(255),
      '漢'.repeat(85),
    ];
    for (const name of names) await writeFile(join(d, name), name);
    assert.deepEqual((await readdir(d)).sort(), [...names].sort());
    for (const name of names) assert.equal(await readFile(join(d, name), 'utf8'), name);
    for (const name of names) await unlink(join(d, name));
    assert.deepEqual(await readdir(d), []);
  },

  'upper and lower case, composed and decomposed are different names': async (d) => {
    const names = ['a', 'A', '\u00e9', 'e\u0301'];
    for (const name of names) await writeFile(join(d, name), name);
    for (const name of names) assert.equal(await readFile(join(d, name), 'utf8'), name);
    assert.equal((await readdir(d)).length, names.length);
  },

  'stat tells type, size and time': async (d) => {
    const before = Date.now();
    await writeFile(join(d, 'file'), 'x'.repeat(1000));
    await mkdir(join(d, 'directory'));
    const file = await stat(join(d, 'file'));
    assert.ok(file.isFile() && !file.isDirectory());
    assert.equal(file.size, 1000);
    assert.ok(file.nlink >= 1 && file.blocks > 0 && file.blksize > 0 && file.ino > 0);
    // Clocks of file systems and of S3 may show whole seconds, and their own.
    assert.ok(Math.abs(file.mtimeMs - before) < 5 * 60_000, `mtime ${file.mtime.toISOString()}`);
    const directory = await stat(join(d, 'directory'));
    assert.ok(directory.isDirectory());
    assert.ok(directory.mtimeMs > before - 5 * 60_000);
    assert.equal(file.dev, directory.dev);
    assert.notEqual(file.ino, directory.ino);
  },

  'inode numbers stay through a rename': async (d) => {
    await writeFile(join(d, 'a'), '');
    const { ino } = await stat(join(d, 'a'));
    await rename(join(d, 'a'), join(d, 'b'));
    assert.equal((await stat(join(d, 'b'))).ino, ino);
  },

  'touch makes a file and may be repeated': async (d) => {
    await shell('touch file && touch file', d);
    assert.equal((await stat(join(d, 'file'))).size, 0);
  },

  'chmod and chown of one’s own succeed': async (d) => {
    await writeFile(join(d, 'file'), 'content');
    const { uid, gid } = await stat(join(d, 'file'));
    await chmod(join(d, 'file'), 0o644);
    await chown(join(d, 'file'), uid, gid);
    await chmod(d, 0o755);
    assert.equal(await readFile(join(d, 'file'), 'utf8'), 'content');
  },
};
