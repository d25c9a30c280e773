/** Directories. */
import assert from 'node:assert/strict';
import {
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  rmdir,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { fails, shell, withFile, type PosixCases } from './case.js';

export const directoryCases: PosixCases = {
  'mkdir makes a directory once': async (d) => {
    const e = join(d, 'directory');
    await mkdir(e);
    assert.deepEqual(await readdir(e), []);
    await fails(mkdir(e), 'EEXIST');
    await writeFile(join(d, 'file'), '');
    await fails(mkdir(join(d, 'file')), 'EEXIST');
  },

  'rmdir removes an empty directory and no other': async (d) => {
    const e = join(d, 'directory');
    await mkdir(e);
    await writeFile(join(e, 'file'), '');
    await fails(rmdir(e), 'ENOTEMPTY');
    await unlink(join(e, 'file'));
    assert.ok((await stat(e)).isDirectory(), 'an emptied directory stays');
    await mkdir(join(e, 'below'));
    await fails(rmdir(e), 'ENOTEMPTY');
    await rmdir(join(e, 'below'));
    await rmdir(e);
    await fails(stat(e), 'ENOENT');
  },

  'an empty directory is renamed': async (d) => {
    await mkdir(join(d, 'a'));
    await rename(join(d, 'a'), join(d, 'b'));
    assert.deepEqual(await readdir(d), ['b']);
    await writeFile(join(d, 'b/file'), 'content');
    assert.equal(await readFile(join(d, 'b/file'), 'utf8'), 'content');
  },

  'a directory does not replace one that is not empty, nor move below itself': async (d) => {
    await mkdir(join(d, 'a'));
    await mkdir(join(d, 'b'));
    await writeFile(join(d, 'b/file'), 'content');
    await fails(rename(join(d, 'a'), join(d, 'b')), 'ENOTEMPTY');
    await fails(rename(join(d, 'a'), join(d, 'a/below')), 'EINVAL');
    assert.deepEqual((await readdir(d)).sort(), ['a', 'b']);
    assert.equal(await readFile(join(d, 'b/file'), 'utf8'), 'content');
  },

  'a listing has every name once, with its type': async (d) => {
    const names = Array.from({ length: 300 }, (_, index) => `name ${index}`);
    await Promise.all(names.map((name) => writeFile(join(d, name), '')));
    await mkdir(join(d, 'directory'));
    await unlink(join(d, 'name 7'));
    const entries = await readdir(d, { withFileTypes: true });
    const left = names.filter((name) => name !== 'name 7');
    assert.deepEqual(entries.map(({ name }) => name).sort(), [...left, 'directory'].sort());
    for (const entry of entries) assert.equal(entry.isDirectory(), entry.name === 'directory');
  },

  'a listing shows what is being written': async (d) => {
    await withFile(join(d, 'file'), 'w', async (file) => {
      await file.write('content');
      assert.deepEqual(await readdir(d), ['file']);
      assert.match(await shell('ls -l', d), / 7 .* file\n/);
    });
  },

  'find, cp -r and rm -r go through a deep tree': async (d) => {
    const deep = join(d, 'tree/a/b/c/d/e');
    await mkdir(deep, { recursive: true });
    await writeFile(join(deep, 'leaf'), 'content');
    await writeFile(join(d, 'tree/a/leaf'), 'content');
    await shell('cp -r tree copy && diff -r tree copy', d);
    const found = (await shell('find copy -type f', d)).trim().split('\n').sort();
    assert.deepEqual(found, ['copy/a/b/c/d/e/leaf', 'copy/a/leaf']);
    await shell('rm -r tree', d);
    await rm(join(d, 'copy'), { recursive: true });
    assert.deepEqual(await readdir(d), []);
  },

  'the working directory of a process works': async (d) => {
    await mkdir(join(d, 'directory'));
    const said = await shell('cd directory && echo x > ../file && pwd -P && ls ..', d);
    assert.deepEqual(said.trim().split('\n').slice(1), ['directory', 'file']);
  },
};
