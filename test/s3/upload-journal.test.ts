import { appendFileSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Key } from '../../lib/path.js';
import { UploadJournal } from '../../lib/s3/upload-journal.js';

const upload = (uploadId: string) => ({ key: `k/${uploadId}` as Key, uploadId });

void t.test('what was begun and not ended is found by the next start', (t) => {
  const path = join(t.testdir(), 'uploads');
  const first = new UploadJournal(path, 'aws s3://b/p/');
  t.same(first.left, []);
  for (const id of ['1', '2', '3']) first.begun(upload(id));
  first.ended(upload('2'));
  t.equal(statSync(path).mode & 0o777, 0o600);
  const second = new UploadJournal(path, 'aws s3://b/p/');
  t.same(second.left, [upload('1'), upload('3')]);
  second.ended(upload('1'));
  second.ended(upload('3'));
  t.same(new UploadJournal(path, 'aws s3://b/p/').left, []);
  t.equal(readFileSync(path, 'utf8'), '', 'the file does not grow from start to start');
  t.end();
});

void t.test('uploads of another bucket stay for the mount they belong to', (t) => {
  const path = join(t.testdir(), 'uploads');
  new UploadJournal(path, 'aws s3://b/p/').begun(upload('1'));
  t.same(new UploadJournal(path, 'aws s3://other/').left, []);
  t.same(new UploadJournal(path, 'aws s3://b/p/').left, [upload('1')]);
  t.end();
});

void t.test('a line cut off by a full disk costs that line only', (t) => {
  const path = join(t.testdir(), 'uploads');
  new UploadJournal(path, 's').begun(upload('1'));
  appendFileSync(path, '{"scope":"s","key":"k/2","upl');
  t.same(new UploadJournal(path, 's').left, [upload('1')]);
  appendFileSync(path, '[]\n{"scope":1}\n');
  t.same(new UploadJournal(path, 's').left, [upload('1')]);
  t.end();
});
