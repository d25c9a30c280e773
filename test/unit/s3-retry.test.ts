/** When the store sends a request again. */
import t from 'tap';
import { Retry } from '../../lib/s3/retry.js';

type Info = Parameters<Retry['refreshRetryTokenForRetry']>[1];

function info(name: string, status: number | undefined, more: object = {}): Info {
  const metadata = status === undefined ? {} : { httpStatusCode: status };
  const error = Object.assign(new Error('x'), { name, $metadata: metadata, ...more });
  return { error, errorType: 'TRANSIENT' } as unknown as Info;
}

/** How many times a request is sent that always fails like this. */
async function sendings(failure: Info, maxAttempts = 4): Promise<number> {
  const retry = new Retry({ maxAttempts });
  let token = await retry.acquireInitialRetryToken();
  for (let sent = 1; ; sent++) {
    try {
      token = await retry.refreshRetryTokenForRetry(token, failure);
    } catch {
      // How the strategy says that this was the last one.
      return sent;
    }
  }
}

void t.test('what may pass is sent again, what is final is not', async (t) => {
  for (const failure of [
    info('InternalError', 500),
    info('ServiceUnavailable', 503),
    info('SlowDown', 503),
    info('TimeoutError', undefined, { code: 'ECONNRESET' }),
    info('Error', undefined, { code: 'ECONNRESET' }),
    info('Error', undefined, { code: 'ECONNREFUSED' }),
    info('BadDigest', 400),
    info('XAmzContentSHA256Mismatch', 400),
    info('SyntaxError', 200),
  ]) {
    t.equal(await sendings(failure), 4, failure.error?.name ?? '');
  }
  for (const failure of [
    info('NoSuchKey', 404),
    info('PreconditionFailed', 412),
    // As the SDK hands on a refusal that came inside a 200.
    info('PreconditionFailed', 503),
    info('NoSuchUpload', 503),
    info('NotImplemented', 501),
    info('QuotaExceeded', 403),
    info('InvalidPart', 400),
    info('Error', undefined),
  ]) {
    t.equal(await sendings(failure), 1, failure.error?.name ?? '');
  }
});

void t.test('silence until the timeout is waited for three times', async (t) => {
  t.equal(await sendings(info('TimeoutError', undefined)), 3);
  t.equal(await sendings(info('TimeoutError', undefined, { code: 'ETIMEDOUT' })), 3);
  const retry = new Retry({ maxAttempts: 5 });
  let token = await retry.acquireInitialRetryToken();
  for (const [name, code] of [
    ['TimeoutError', undefined],
    ['Error', 'ECONNREFUSED'],
    ['TimeoutError', undefined],
  ] as const) {
    token = await retry.refreshRetryTokenForRetry(token, info(name, undefined, { code }));
  }
  await t.rejects(retry.refreshRetryTokenForRetry(token, info('TimeoutError', undefined)));
});

void t.test('a denial is final unless the clock was corrected from it', async (t) => {
  const denied = info('AccessDenied', 403);
  t.equal(await sendings({ ...denied, errorType: 'CLIENT_ERROR' }), 1);
  t.equal(await sendings(info('RequestTimeTooSkewed', 403)), 4);
});

void t.test('waits grow, have a limit and follow the server’s advice', async (t) => {
  const waits: number[] = [];
  const retry = new Retry({ maxAttempts: 12, onRetry: ({ delayMs }) => waits.push(delayMs) });
  let token = await retry.acquireInitialRetryToken();
  for (let n = 1; n < 12; n++) {
    token = await retry.refreshRetryTokenForRetry(token, info('InternalError', 500));
    t.equal(token.getRetryCount(), n);
  }
  t.equal(waits.length, 11);
  waits.forEach((wait, index) => {
    const full = Math.min(8000, 100 * 2 ** index);
    t.ok(wait >= full / 2 && wait <= full, `${wait} for retry ${index + 1}`);
  });
  const advised = { ...info('SlowDown', 503), retryAfterHint: new Date(Date.now() + 3_600_000) };
  await retry.refreshRetryTokenForRetry(await retry.acquireInitialRetryToken(), advised);
  t.equal(waits.at(-1), 8000, 'but not for an hour');
});
