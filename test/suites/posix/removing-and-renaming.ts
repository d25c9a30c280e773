/** Removing and renaming files, also while they are open. */
import assert from 'node:assert/strict';
import { mkdir, readFile, readdir, rename, stat, unlink, writeFile } from 'node:fs/promises';
import { constants as osConstants } from 'node:os';
import { join } from 'node:path';
import { kibibyte } from '../../support/sizes.js';
import { assertSame, fails, withFile, type PosixCases } from './case.js';

export const removalCases: PosixCases = {
  'a removed file is gone': async (d) => {
    const f = join(d, 'file');
    await writeFile(f, 'content');
    await unlink(f);
    await fails(stat(f), 'ENOENT');
    await fails(unlink(f), 'ENOENT');
    assert.deepEqual(await readdir(d), []);
    await writeFile(f, 'again');
    assert.equal(await readFile(f, 'utf8'), 'again');
  },

  'a file removed while it is written stays removed': async (d) => {
    const f = join(d, 'file');
    await withFile(f, 'w+', async (file) => {
      await file.write('content');
      await unlink(f);
      await fails(stat(f), 'ENOENT');
      assert.deepEqual(await readdir(d), []);
      await file.write(' more');
      assert.equal((await file.read(Buffer.alloc(7), 0, 7, 0)).buffer.toString(), 'content');
      assert.equal((await file.stat()).size, 12);
    });
    await fails(stat(f), 'ENOENT');
    assert.deepEqual(await readdir(d), []);
  },

  'a name can be used again while the removed file is open': async (d) => {
    const f = join(d, 'file');
    await withFile(f, 'w', async (file) => {
      await file.write('old');
      await unlink(f);
      await writeFile(f, 'new');
      await file.write(' and more');
    });
    assert.equal(await readFile(f, 'utf8'), 'new');
  },

  'rename moves a file': async (d) => {
    await writeFile(join(d, 'a'), 'content');
    await mkdir(join(d, 'directory'));
    await rename(join(d, 'a'), join(d, 'directory/b'));
    await fails(stat(join(d, 'a')), 'ENOENT');
    assert.equal(await readFile(join(d, 'directory/b'), 'utf8'), 'content');
    await rename(join(d, 'directory/b'), join(d, 'directory/b'));
    assert.equal(await readFile(join(d, 'directory/b'), 'utf8'), 'content');
    assert.deepEqual(await readdir(d), ['directory']);
  },

  'rename replaces a file': async (d) => {
    await writeFile(join(d, 'a'), 'new');
    await writeFile(join(d, 'b'), 'old and longer');
    await rename(join(d, 'a'), join(d, 'b'));
    assert.equal(await readFile(join(d, 'b'), 'utf8'), 'new');
    assert.deepEqual(await readdir(d), ['b']);
  },

  'a file renamed while it is written ends under the new name': async (d) => {
    await withFile(join(d, 'a'), 'w', async (file) => {
      await file.write('one');
      await rename(join(d, 'a'), join(d, 'b'));
      await file.write(' two');
      assert.equal((await stat(join(d, 'b'))).size, 7);
      await fails(stat(join(d, 'a')), 'ENOENT');
    });
    assert.equal(await readFile(join(d, 'b'), 'utf8'), 'one two');
    assert.deepEqual(await readdir(d), ['b']);
  },

  'rename over a file that is being written wins': async (d) => {
    await writeFile(join(d, 'a'), 'winner');
    await withFile(join(d, 'b'), 'w', async (file) => {
      await file.write('loser');
      await rename(join(d, 'a'), join(d, 'b'));
      await file.write(' goes on');
    });
    assert.equal(await readFile(join(d, 'b'), 'utf8'), 'winner');
    assert.deepEqual(await readdir(d), ['b']);
  },

  'a reader of a replaced file gets the old content, or an error, and no mix': async (d) => {
    const size = 300 * kibibyte;
    await writeFile(join(d, 'a'), Buffer.alloc(size, 'n'));
    await writeFile(join(d, 'b'), Buffer.alloc(size, 'o'));
    await withFile(join(d, 'b'), 'r', async (file) => {
      const start = Buffer.alloc(10);
      await file.read(start, 0, 10, 0);
      await rename(join(d, 'a'), join(d, 'b'));
      const rest = Buffer.alloc(size - 10);
      try {
        const { bytesRead } = await file.read(rest, 0, rest.length, 10);
        assert.ok(rest.subarray(0, bytesRead).equals(Buffer.alloc(bytesRead, 'o')));
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).errno, -osConstants.errno.ESTALE);
      }
      assert.equal(start.toString(), 'o'.repeat(10));
    });
    assertSame(await readFile(join(d, 'b')), Buffer.alloc(size, 'n'));
  },
};
