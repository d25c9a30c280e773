/** The sums that requests are signed by are those of Node's own. */
import { createHash, createHmac } from 'node:crypto';

import t from 'tap';

import { Sha256 } from '../../lib/s3/connection/sha256.js';

type Key = ConstructorParameters<typeof Sha256>[0];

async function sum(pieces: readonly string[], key?: Key): Promise<string> {
  const sha256 = new Sha256(key);
  for (const piece of pieces) sha256.update(Buffer.from(piece));
  return Buffer.from(await sha256.digest()).toString('hex');
}

void t.test('of texts in one piece, in several and in none', async (t) => {
  for (const pieces of [['text'], ['te', '', 'xt'], [''], []]) {
    const expected = createHash('sha256').update(pieces.join('')).digest('hex');
    t.equal(await sum(pieces), expected, JSON.stringify(pieces));
  }
});

void t.test('under keys of all kinds, one after another', async (t) => {
  const bytes = Buffer.from('key');
  const copy = new ArrayBuffer(3);
  bytes.copy(new Uint8Array(copy));
  // Those of other homes, and the same again.
  const keys = ['key', 'key', 'other', 'key', bytes, copy, new DataView(copy), '', 'key'];
  for (const key of keys) {
    for (const text of ['one', 'two', 'one']) {
      const expected = createHmac('sha256', typeof key === 'string' ? key : bytes).update(text);
      t.equal(await sum([text], key), expected.digest('hex'));
    }
  }
});

void t.test('anew', async (t) => {
  const sha256 = new Sha256();
  sha256.update(Buffer.from('before'));
  sha256.reset();
  sha256.update(Buffer.from('text'));
  const expected = createHash('sha256').update('text').digest('hex');
  t.equal(Buffer.from(await sha256.digest()).toString('hex'), expected);
});
