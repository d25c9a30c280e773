import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { silentLog, type Log, type LogFields } from '../lib/log.js';
import { createLog } from '../lib/observability/process-log.js';
import { UnrepeatedLog } from '../lib/observability/log-repeats.js';
import { redactor } from '../lib/observability/redact.js';
import { until } from './support/until.js';

function logFile(t: Test): { file: string; lines: () => string[] } {
  const directory = mkdtempSync(join(tmpdir(), 's3jail-log-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'log');
  return { file, lines: () => readFileSync(file, 'utf8').split('\n').slice(0, -1) };
}

void t.test('records are one line each, for people or for programs', (t) => {
  const text = logFile(t);
  createLog({ level: 'info', format: 'text', file: text.file }).warn({ errno: 'EIO' }, 'failed');
  t.match(text.lines(), [/^\[\d{4}-.*\] WARN: s3jail: failed \{"errno":"EIO"\}$/]);
  createLog({ level: 'info', format: 'text', file: text.file }).error(
    {},
    'lost: /a\nINFO: b\x1b[m',
  );
  t.equal(
    text.lines()[1]?.replace(/^\S+ \S+ /, ''),
    'ERROR: s3jail: lost: /a\\u000aINFO: b\\u001b[m',
  );
  const json = logFile(t);
  createLog({ level: 'info', format: 'json', file: json.file }).error({ path: '/a\nb' }, 'gone');
  t.match(JSON.parse(json.lines()[0] ?? ''), { level: 'error', path: '/a\nb', msg: 'gone' });
  t.end();
});

void t.test('debug records come and go while it runs', (t) => {
  const { file, lines } = logFile(t);
  const log = createLog({ level: 'warn', format: 'json', file });
  log.debug({}, 'unseen');
  t.equal(log.toggleDebug(), 'debug');
  log.debug({}, 'seen');
  t.equal(log.toggleDebug(), 'warn');
  log.debug({}, 'unseen');
  log.info({}, 'unseen');
  t.same(
    lines().map((line) => (JSON.parse(line) as { msg: string }).msg),
    ['seen'],
  );
  t.end();
});

void t.test('a file that was moved away is made anew', (t) => {
  const { file, lines } = logFile(t);
  const log = createLog({ level: 'info', format: 'json', file });
  log.info({}, 'before');
  renameSync(file, `${file}.1`);
  log.reopen();
  log.info({}, 'after');
  t.match(lines(), [/after/]);
  t.match(readFileSync(`${file}.1`, 'utf8'), /before/);
  t.end();
});

void t.test('a full disk takes the log and nothing else', async (t) => {
  const log = createLog({ level: 'info', format: 'text', file: '/dev/full' });
  for (let round = 0; round < 3; round++) {
    log.error({}, 'lost');
    await sleep(1);
  }
  t.pass('nothing was thrown');
});

void t.test('secrets are taken out wherever they stand', (t) => {
  const secret = 'c2VjcmV0/LW9mLXRo+ZS10ZXN0';
  const redact = redactor([secret, 'short']);
  const lines: readonly (readonly [string, RegExp | string])[] = [
    [`{"a":"x ${secret} y"}`, '{"a":"x [redacted] y"}'],
    ['a short word stays', 'a short word stays'],
    ['GET /?X-Amz-Signature=abc123&x=1', 'GET /?X-Amz-Signature=[redacted]&x=1'],
    [`AWS4-HMAC-SHA256 Signature=${'a'.repeat(64)}"`, 'AWS4-HMAC-SHA256 Signature=[redacted]"'],
    ['http://user:pass@proxy:3128/', 'http://[redacted]@proxy:3128/'],
    ["secretAccessKey: 'abc/def'", "secretAccessKey: '[redacted]'"],
    ['AWS_SESSION_TOKEN=abc== next', 'AWS_SESSION_TOKEN=[redacted] next'],
    ['{"aws_secret_access_key":"abc","b":1}', '{"aws_secret_access_key":"[redacted]","b":1}'],
    ['https://host:9000/bucket/a@b', 'https://host:9000/bucket/a@b'],
  ];
  for (const [line, want] of lines) t.match(redact(line), want, line);
  const { file, lines: written } = logFile(t);
  createLog({ level: 'info', format: 'text', file, secrets: [secret] }).info(
    { cause: `refused: ${secret}` },
    'x',
  );
  t.notOk(written().join('').includes(secret));
  t.end();
});

interface Written {
  readonly level: string;
  readonly fields: LogFields;
  readonly message: string;
}

function keeping(): { log: Log; written: Written[] } {
  const written: Written[] = [];
  const keep = (level: string) => (fields: LogFields, message: string) => {
    written.push({ level, fields, message });
  };
  const log = { ...silentLog, error: keep('error'), warn: keep('warn'), debug: keep('debug') };
  return { log, written };
}

void t.test('what repeats is written a few times and then counted', async (t) => {
  const { log, written } = keeping();
  const calm = new UnrepeatedLog(log, { most: 3, whileMs: 50 });
  for (let index = 0; index < 20; index++) calm.warn({ path: `/${index}`, errno: 'EIO' }, 'failed');
  calm.warn({ errno: 'EACCES' }, 'failed');
  calm.error({}, 'other');
  t.same(
    written.map(({ message, fields }) => `${message} ${String(fields['errno'])}`),
    ['failed EIO', 'failed EIO', 'failed EIO', 'failed EACCES', 'other undefined'],
  );
  // The timer of the log does not keep a process alive; this one does.
  await until(() => written.length >= 6);
  t.match(written[5], { level: 'warn', message: 'same message 17 more times: failed' });
  t.match(written[5]?.fields, { errno: 'EIO' });
  calm.warn({ errno: 'EIO' }, 'failed');
  t.equal(written.length, 7, 'a new while begins');
  for (let index = 0; index < 20; index++) calm.debug({}, 'detail');
  t.equal(written.length, 27, 'whoever asked for detail gets it');
});

void t.test('what was held back is told at the end', (t) => {
  const { log, written } = keeping();
  const calm = new UnrepeatedLog(log, { most: 1, whileMs: 60_000 });
  calm.error({}, 'x');
  calm.error({}, 'x');
  calm.flush();
  t.same(
    written.map(({ message }) => message),
    ['x', 'same message 1 more times: x'],
  );
  t.end();
});
