import t from 'tap';
import { isPresent } from '../../../lib/fuse/native/times.js';

const present = 1_800_000_000_500;

void t.test('a time of a moment ago is UTIME_NOW', (t) => {
  t.ok(isPresent(present, present));
  t.ok(isPresent(present - 3, present));
  t.ok(isPresent(present - 1999, present));
  t.end();
});

void t.test('an older or a future time was given by the caller', (t) => {
  t.notOk(isPresent(present - 2001, present));
  t.notOk(isPresent(present + 1, present));
  t.notOk(isPresent(0, present));
  t.end();
});

void t.test('whole seconds, as SFTP sends them, were given by the caller', (t) => {
  t.notOk(isPresent(present - 500, present));
  t.notOk(isPresent(present - 1500, present));
  t.end();
});

void t.test('a whole second that has just begun is UTIME_NOW', (t) => {
  t.ok(isPresent(1_800_000_000_000, 1_800_000_000_020));
  t.end();
});

void t.test('a time before 1970, which arrives as a huge number, was given by the caller', (t) => {
  t.notOk(isPresent(2 ** 64 - 1000, present));
  t.end();
});
