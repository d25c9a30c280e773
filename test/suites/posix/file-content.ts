/** Files and their content. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readFile, readdir, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { seededRandom } from '../../support/seeded-random.js';
import { kibibyte } from '../../support/sizes.js';
import { assertSame, fails, Model, shell, withFile, type PosixCases } from './case.js';

export const contentCases: PosixCases = {
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
    const random = seededRandom(1);
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
    const random = seededRandom(2);
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
    const random = seededRandom(3);
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
};
