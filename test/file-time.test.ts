import t from 'tap';
import {
  joinTime,
  msOfTime,
  splitTime,
  textOfTime,
  timeOfMs,
  timeOfText,
} from '../lib/file-time.js';

void t.test('a time is stored as rclone does it, and comes back to the nanosecond', (t) => {
  for (const [time, text] of [
    [1_234_567_890_123_456_789n, '1234567890.123456789'],
    [0n, '0.000000000'],
    [1n, '0.000000001'],
    [-1n, '-0.000000001'],
    [-1_500_000_000n, '-1.500000000'],
    [-86_400_000_000_000n, '-86400.000000000'],
    [253_402_300_799_000_000_000n, '253402300799.000000000'],
  ] as const) {
    t.equal(textOfTime(time), text);
    t.equal(timeOfText(text), time);
    const { seconds, nanoseconds } = splitTime(time);
    t.ok(nanoseconds >= 0 && nanoseconds < 1e9);
    t.equal(joinTime(BigInt(seconds), nanoseconds), time);
  }
  t.end();
});

void t.test('other texts that rclone and s3fs write are understood, and nothing else', (t) => {
  for (const [text, time] of [
    ['1700000000', 1_700_000_000_000_000_000n],
    ['1700000000.5', 1_700_000_000_500_000_000n],
    ['1700000000.', 1_700_000_000_000_000_000n],
    ['-1.5', -1_500_000_000n],
    ['0', 0n],
    ['1.1234567899', 1_123_456_789n],
  ] as const) {
    t.equal(timeOfText(text), time, text);
  }
  for (const text of [
    undefined,
    '',
    ' ',
    'x',
    '1e9',
    '.5',
    '0x10',
    'NaN',
    'Infinity',
    '1,5',
    '9'.repeat(30),
  ]) {
    t.equal(timeOfText(text), undefined, String(text));
  }
  t.end();
});

void t.test('milliseconds, rounded down', (t) => {
  t.equal(timeOfMs(1.9), 1_000_000n);
  t.equal(timeOfMs(-1.1), -2_000_000n);
  t.equal(msOfTime(-1n), -1);
  t.equal(msOfTime(1_999_999n), 1);
  t.end();
});
