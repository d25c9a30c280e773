/**
 * What POSIX programs rely on, as cases that take an empty directory. They run on any file system;
 * `posix-calibration.test.ts` runs them on a local one first, so that a case which accuses a mount
 * has been right before.
 *
 * Left out is what S3 has no place for: links, devices, permissions, explicit times, the rename of a
 * directory that is not empty.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import {
  chmod,
  chown,
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  rm,
  rmdir,
  stat,
  truncate,
  unlink,
  writeFile,
  type FileHandle,
} from 'node:fs/promises';
import { constants as osConstants } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { kibibyte } from '../support/sizes.js';

/** One behaviour; rejects where it is missing. */
export type PosixCase = (directory: string) => Promise<void>;

export const posixCases: Readonly<Record<string, PosixCase>> = {
  // --- files and their content ---

  'what is written is read': async (d) => {
    const f = join(d, 'file');
    await writeFile(f, 'content');
    assert.equal(await readFile(f, 'utf8'), 'content');
    await writeFile(f, 'less');
    assert.equal(await readFile(f, 'utf8'), 'less');
  },

  'an empty file is there and has nothing in it': async (d) => {
    const f = join(d, 'file');
    await writeFile(f, '');
    assert.equal((await stat(f)).size, 0);
    assert.equal((await readFile(f)).length, 0);
    assert.deepEqual(await readdir(d), ['file']);
  },

  'a file shows its size while it is written': async (d) => {
    await withFile(join(d, 'file'), 'w', async (file) => {
      for (const size of [10, 5000, 200 * kibibyte]) {
        await file.write(Buffer.alloc(size), 0, size, 0);
        assert.equal((await file.stat()).size, size);
        assert.equal((await stat(join(d, 'file'))).size, size);
      }
    });
  },

  'open without O_TRUNC keeps what is not overwritten': async (d) => {
    const f = join(d, 'file');
    await writeFile(f, 'abcdef');
    await withFile(f, 'r+', (file) => file.write('XY', 2));
    assert.equal(await readFile(f, 'utf8'), 'abXYef');
    await withFile(f, constants.O_WRONLY | constants.O_CREAT, (file) => file.write('12', 0));
    assert.equal(await readFile(f, 'utf8'), '12XYef');
  },

  'O_TRUNC empties a file': async (d) => {
    const f = join(d, 'file');
    await writeFile(f, 'abcdef');
    await withFile(f, 'w', async (file) => {
      assert.equal((await file.stat()).size, 0);
      await file.write('x');
    });
    assert.equal(await readFile(f, 'utf8'), 'x');
  },

  'O_EXCL refuses a file that exists and leaves it alone': async (d) => {
    const f = join(d, 'file');
    await withFile(f, 'wx', (file) => file.write('first'));
    await fails(open(f, 'wx'), 'EEXIST');
    assert.equal(await readFile(f, 'utf8'), 'first');
  },

  'O_APPEND writes at the end, whoever moved it': async (d) => {
    const f = join(d, 'file');
    await writeFile(f, 'start ');
    await withFile(f, 'a', (one) =>
      withFile(f, 'a', async (two) => {
        await one.write('one ');
        await two.write('two ');
        await one.write('three');
      }),
    );
    assert.equal(await readFile(f, 'utf8'), 'start one two three');
  },

  'reads stop at the end of the file': async (d) => {
    const f = join(d, 'file');
    await writeFile(f, Buffer.alloc(5000, 'x'));
    await withFile(f, 'r', async (file) => {
      assert.equal((await file.read(Buffer.alloc(100), 0, 100, 4950)).bytesRead, 50);
      for (const offset of [5000, 5001, 10_000_000]) {
        assert.equal((await file.read(Buffer.alloc(100), 0, 100, offset)).bytesRead, 0);
      }
    });
  },

  'bytes never written read as zeros': async (d) => {
    const f = join(d, 'file');
    await withFile(f, 'w', (file) => file.write('end', 300_000));
    const content = await readFile(f);
    assert.equal(content.length, 300_003);
    assert.ok(content.subarray(0, 300_000).equals(Buffer.alloc(300_000)));
    assert.equal(content.toString('latin1', 300_000), 'end');
  },

  'writes in any order end in the right bytes': async (d) => {
    const f = join(d, 'file');
    const model = new Model();
    const random = randomNumbers(1);
    await withFile(f, 'w+', async (file) => {
      for (let round = 0; round < 200; round++) {
        const offset = random(400 * kibibyte);
        const bytes = Buffer.alloc(1 + random(20 * kibibyte), round % 251);
        await file.write(bytes, 0, bytes.length, offset);
        model.write(bytes, offset);
        if (round % 20 === 0) {
          const length = Math.min(model.size, 50 * kibibyte);
          const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, 0);
          assert.ok(buffer.subarray(0, bytesRead).equals(model.bytes.subarray(0, length)));
        }
      }
    });
    assertSame(await readFile(f), model.bytes);
  },

  'rewriting parts of a stored file changes those parts': async (d) => {
    const f = join(d, 'file');
    const model = new Model();
    const random = randomNumbers(2);
    const base = Buffer.from(Array.from({ length: 600 * kibibyte }, () => random(256)));
    model.write(base, 0);
    await writeFile(f, base);
    await withFile(f, 'r+', async (file) => {
      for (let round = 0; round < 50; round++) {
        const offset = random(700 * kibibyte);
        const bytes = Buffer.alloc(1 + random(9 * kibibyte), round);
        await file.write(bytes, 0, bytes.length, offset);
        model.write(bytes, offset);
      }
    });
    assertSame(await readFile(f), model.bytes);
  },

  'truncate by name cuts and lengthens': async (d) => {
    const f = join(d, 'file');
    await writeFile(f, 'abcdef');
    await truncate(f, 3);
    assert.equal(await readFile(f, 'utf8'), 'abc');
    await truncate(f, 6);
    assert.equal(await readFile(f, 'utf8'), 'abc\0\0\0');
    await truncate(f, 0);
    assert.equal((await stat(f)).size, 0);
  },

  'truncate by handle cuts and lengthens': async (d) => {
    const f = join(d, 'file');
    await withFile(f, 'w+', async (file) => {
      await file.write('abcdef');
      await file.truncate(2);
      assert.equal((await file.stat()).size, 2);
      await file.truncate(5);
      await file.write('XY', 4);
    });
    assert.equal(await readFile(f, 'latin1'), 'ab\0\0XY');
    await withFile(f, 'r+', (file) => file.truncate(1));
    assert.equal(await readFile(f, 'utf8'), 'a');
  },

  'what was cut off never comes back': async (d) => {
    const f = join(d, 'file');
    await writeFile(f, Buffer.alloc(200 * kibibyte, 'x'));
    await withFile(f, 'r+', async (file) => {
      await file.truncate(100);
      await file.truncate(150 * kibibyte);
      await file.write('end', 150 * kibibyte);
    });
    const content = await readFile(f);
    assert.ok(content.subarray(0, 100).equals(Buffer.alloc(100, 'x')));
    assert.ok(content.subarray(100, 150 * kibibyte).equals(Buffer.alloc(150 * kibibyte - 100)));
    assert.equal(content.toString('latin1', 150 * kibibyte), 'end');
  },

  'overwriting from the start and cutting leaves the new content alone': async (d) => {
    // scp and sftp-server's clients do this instead of O_TRUNC.
    const f = join(d, 'file');
    await writeFile(f, Buffer.alloc(300 * kibibyte, 'o'));
    const bytes = Buffer.alloc(100 * kibibyte, 'n');
    await withFile(f, constants.O_WRONLY | constants.O_CREAT, async (file) => {
      await file.write(bytes, 0, bytes.length, 0);
      await file.truncate(bytes.length);
    });
    assertSame(await readFile(f), bytes);
  },

  'fsync makes what was written readable elsewhere': async (d) => {
    const f = join(d, 'file');
    await withFile(f, 'w', async (file) => {
      await file.write('before');
      await file.sync();
      assert.equal(await readFile(f, 'utf8'), 'before');
      await file.write(' after');
      await file.datasync();
    });
    assert.equal(await readFile(f, 'utf8'), 'before after');
  },

  'two handles that write share one file': async (d) => {
    const f = join(d, 'file');
    await withFile(f, 'w+', (one) =>
      withFile(f, 'r+', async (two) => {
        await one.write('aaaa', 0);
        await two.write('bb', 4);
        assert.equal((await one.read(Buffer.alloc(6), 0, 6, 0)).buffer.toString(), 'aaaabb');
        assert.equal((await two.stat()).size, 6);
        await two.truncate(3);
        assert.equal((await one.stat()).size, 3);
      }),
    );
    assert.equal(await readFile(f, 'utf8'), 'aaa');
  },

  'a reader that opens later sees what is written by then': async (d) => {
    const f = join(d, 'file');
    await withFile(f, 'w', async (file) => {
      await file.write('one');
      assert.equal(await readFile(f, 'utf8'), 'one');
      await file.write(' two');
      assert.equal(await readFile(f, 'utf8'), 'one two');
    });
  },

  'a copied descriptor goes on when the first is closed': async (d) => {
    await shell('exec 3>file; echo one >&3; exec 4>&3; exec 3>&-; echo two >&4; exec 4>&-', d);
    assert.equal(await readFile(join(d, 'file'), 'utf8'), 'one\ntwo\n');
  },

  'a child process writes to what it inherited': async (d) => {
    await shell('{ echo one; sh -c "echo two"; (echo three); } > file; echo four >> file', d);
    assert.equal(await readFile(join(d, 'file'), 'utf8'), 'one\ntwo\nthree\nfour\n');
  },

  'a large file is whole': async (d) => {
    const f = join(d, 'file');
    const random = randomNumbers(3);
    const piece = Buffer.from(Array.from({ length: kibibyte * kibibyte }, () => random(256)));
    const hash = createHash('sha256');
    await withFile(f, 'w', async (file) => {
      for (let index = 0; index < 20; index++) {
        piece.writeUInt32LE(index);
        hash.update(piece);
        await file.write(piece);
      }
    });
    const content = await readFile(f);
    assert.equal(content.length, 20 * kibibyte * kibibyte);
    assert.equal(createHash('sha256').update(content).digest('hex'), hash.digest('hex'));
  },

  'files written at the same time do not mix': async (d) => {
    const names = Array.from({ length: 8 }, (_, index) => `file ${index}`);
    const contentOf = (name: string): string => `${name} `.repeat(20_000);
    await Promise.all(names.map((name) => writeFile(join(d, name), contentOf(name))));
    for (const name of names) assert.equal(await readFile(join(d, name), 'utf8'), contentOf(name));
  },

  'a handle for reading does not write, one for writing does not read': async (d) => {
    const f = join(d, 'file');
    await writeFile(f, 'content');
    await withFile(f, 'r', (file) => fails(file.write('x'), 'EBADF'));
    await withFile(f, 'a', (file) => fails(file.read(Buffer.alloc(1), 0, 1, 0), 'EBADF'));
    assert.equal(await readFile(f, 'utf8'), 'content');
  },

  // --- names ---

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

  // --- removing and renaming ---

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

  // --- directories ---

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

async function withFile<T>(
  path: string,
  flags: string | number,
  work: (file: FileHandle) => Promise<T>,
): Promise<void> {
  const file = await open(path, flags);
  try {
    await work(file);
  } finally {
    await file.close();
  }
}

async function fails(act: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(act, { code });
}

/** @throws Error with what the command said, where it fails */
async function shell(command: string, cwd: string): Promise<string> {
  const env = { ...process.env, LC_ALL: 'C' };
  const { stdout } = await promisify(execFile)('sh', ['-ec', command], { cwd, env });
  return stdout;
}

/** Not by deepEqual: its message would be the bytes. */
function assertSame(actual: Buffer, expected: Buffer): void {
  assert.equal(actual.length, expected.length, 'length');
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  assert.equal(at, -1, `bytes differ from offset ${at} on`);
}

/** What a file should hold. */
class Model {
  #bytes = Buffer.alloc(0);

  get bytes(): Buffer {
    return this.#bytes;
  }

  get size(): number {
    return this.#bytes.length;
  }

  write(bytes: Buffer, offset: number): void {
    const size = Math.max(this.size, offset + bytes.length);
    this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(size - this.size)]);
    bytes.copy(this.#bytes, offset);
  }
}

/** The same numbers below a bound every time (Park and Miller's generator). */
function randomNumbers(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % bound;
  };
}
