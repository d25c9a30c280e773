/**
 * The journal after a crash: a torn end is cut off, damage before it is not overlooked.
 */
import { appendFile, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Journal, readJournal } from '../../lib/endpoint/storage/journal.js';
import { temporaryDirectory } from '../support/embedded.js';

async function newJournal(t: Test, records: readonly unknown[]): Promise<string> {
  const path = join(await temporaryDirectory(t), 'journal');
  const journal = await Journal.rewrite(path, [], true);
  await Promise.all(records.map((record) => journal.append(record)));
  await journal.close();
  return path;
}

const records = [{ key: 'a\nb' }, { key: '\ud83d\ude00' }, { key: 'c' }];

void t.test('records come back in the order they were asked for', async (t) => {
  const path = await newJournal(t, records);
  t.strictSame(await readJournal(path), records);
  t.strictSame(await readJournal(`${path}-absent`), []);
});

void t.test('a file cut off anywhere holds the records before the cut', async (t) => {
  const path = await newJournal(t, records);
  const whole = await readFile(path, 'utf8');
  const ends = [...whole.matchAll(/\n/g)].map((match) => {
    return Buffer.byteLength(whole.slice(0, match.index + 1));
  });
  const { size } = await stat(path);
  for (let length = size - 1; length >= 0; length--) {
    await truncate(path, length);
    const expected = ends.filter((end) => end <= length).length;
    t.strictSame(await readJournal(path), records.slice(0, expected));
  }
});

void t.test('a torn record is gone once the journal was written anew', async (t) => {
  const path = await newJournal(t, records);
  await appendFile(path, '0badc0de {"key":"torn"');
  const journal = await Journal.rewrite(path, await readJournal(path), true);
  await journal.append({ key: 'd' });
  await journal.close();
  t.strictSame(await readJournal(path), [...records, { key: 'd' }]);
});

void t.test('damage before a whole record is refused', async (t) => {
  const path = await newJournal(t, records);
  const bytes = await readFile(path);
  bytes.writeUInt8(bytes.readUInt8(12) ^ 1, 12);
  await writeFile(path, bytes);
  await t.rejects(readJournal(path), { message: /is damaged at byte 0/ });
});
