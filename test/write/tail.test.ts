/** The end of a file in memory: what it takes, what it costs, and that readers see no seam. */
import { randomBytes } from 'node:crypto';
import t from 'tap';
import { parsePath } from '../../lib/path.js';
import { Budget } from '../../lib/limits/budget.js';
import { Tail, tailBytes } from '../../lib/write/tail.js';
import { Program, useCore } from '../support/core.js';
import { kibibyte, mebibyte } from '../support/sizes.js';

void t.test('it takes what follows, and memory by need', (t) => {
  const memory = new Budget(tailBytes.most);
  const tail = new Tail(memory, undefined);
  t.equal(tail.range, undefined);
  t.ok(tail.append(Buffer.from('abc'), 10));
  t.equal(memory.used, tailBytes.least);
  t.notOk(tail.append(Buffer.from('x'), 14), 'a gap');
  t.notOk(tail.append(Buffer.from('x'), 12), 'not the end');
  t.ok(tail.append(Buffer.from('de'), 13));
  t.strictSame(tail.range, { start: 10, end: 15 });
  t.equal(Buffer.from(tail.bytes).toString(), 'abcde');
  tail.cut(12);
  t.strictSame(tail.range, { start: 10, end: 12 });
  const rest = randomBytes(tailBytes.most - 2);
  t.ok(tail.append(rest, 12));
  t.equal(memory.used, tailBytes.most);
  t.ok(Buffer.concat([Buffer.from('ab'), rest]).equals(tail.bytes));
  t.notOk(tail.append(Buffer.from('x'), 10 + tailBytes.most), 'full');
  t.notOk(new Tail(memory, undefined).append(Buffer.from('x'), 0), 'no memory is left');
  tail.clear();
  t.ok(tail.append(Buffer.from('z'), 7), 'used again, anywhere');
  tail.cut(0);
  t.equal(tail.range, undefined);
  tail.dispose();
  t.equal(memory.used, 0);
  t.end();
});

void t.test('a small file never comes to the disk, and its memory is given back', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  const content = randomBytes(60 * kibibyte);
  const handle = await program.create('/f');
  for (let at = 0; at < content.length; at += 7 * kibibyte) {
    await program.write(handle, content.subarray(at, at + 7 * kibibyte), at);
  }
  t.equal(core.fs.status.uploadMemory, tailBytes.least);
  await program.close(handle);
  t.ok(content.equals(await core.bucket.bytes('alice/f')));
  t.match(core.fs.status, { tempPeak: 0, uploadMemory: 0 });
});

void t.test('readers, writers and truncate see no seam between memory and disk', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  const size = 5 * mebibyte;
  const content = randomBytes(size);
  const handle = await program.create('/f', { access: 'readwrite' });
  const step = 33 * kibibyte;
  for (let at = 0; at < size; at += step) {
    await program.write(handle, content.subarray(at, at + step), at);
    const from = Math.max(0, at - 100 * kibibyte);
    const end = Math.min(size, at + step);
    const pieces = await core.fs.read(handle, from, end - from, {});
    const seen = Buffer.concat(pieces);
    if (!seen.equals(content.subarray(from, end))) t.fail(`differs behind ${from}`);
  }
  const patch = randomBytes(10);
  await program.write(handle, patch, size - 20);
  patch.copy(content, size - 20);
  await core.fs.truncate(parsePath('/f'), size - 15, {}, handle);
  await program.write(handle, 'end', size - 15);
  await program.close(handle);
  const expected = Buffer.concat([content.subarray(0, size - 15), Buffer.from('end')]);
  t.ok(expected.equals(await core.bucket.bytes('alice/f')));
});

void t.test('files that are appended to again and again are not fetched', async (t) => {
  const core = await useCore(t);
  const program = new Program(core.fs);
  const handle = await program.create('/log');
  for (let line = 0; line < 5; line++) {
    await program.write(handle, `line ${line}\n`, line * 7);
    await core.fs.fsync(handle);
  }
  await program.close(handle);
  t.equal(
    (await core.bucket.bytes('alice/log')).toString(),
    'line 0\nline 1\nline 2\nline 3\nline 4\n',
  );
  t.equal(core.proxy.counts().GetObject, undefined);
});
