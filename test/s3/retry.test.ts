/** When the store sends a request again. */
import t from 'tap';
import { Retry, type RetrySettings } from '../../lib/s3/connection/retry.js';
import { RetryBudget } from '../../lib/s3/connection/retry-budget.js';

type Info = Parameters<Retry['refreshRetryTokenForRetry']>[1];

function info(name: string, status: number | undefined, more: object = {}): Info {
  const metadata = status === undefined ? {} : { httpStatusCode: status };
  const error = Object.assign(new Error('x'), { name, $metadata: metadata, ...more });
  return { error, errorType: 'TRANSIENT' } as unknown as Info;
}

/** How many times a request is sent that always fails like this. */
async function sendings(failure: Info, settings: Partial<RetrySettings> = {}): Promise<number> {
  const retry = new Retry({ maxAttempts: 4, budget: new RetryBudget(), ...settings });
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
    info('InvalidDigest', 400, { $retryable: {} }),
    info('XAmzContentChecksumMismatch', 400),
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
    info('InvalidDigest', 400),
    info('Error', undefined),
  ]) {
    t.equal(await sendings(failure), 1, failure.error?.name ?? '');
  }
});

void t.test('silence until the timeout is waited for three times', async (t) => {
  t.equal(await sendings(info('TimeoutError', undefined)), 3);
  t.equal(await sendings(info('TimeoutError', undefined, { code: 'ETIMEDOUT' })), 3);
  const retry = new Retry({ maxAttempts: 5, budget: new RetryBudget() });
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

void t.test('a denial is final, but signed once with another time', async (t) => {
  const denied = info('AccessDenied', 403);
  t.equal(await sendings(denied), 1);
  const isOutdated = (error: unknown): boolean => error === denied.error;
  t.equal(await sendings(denied, { isOutdated }), 2);
  t.equal(await sendings(info('RequestTimeTooSkewed', 403), { isOutdated }), 1);
});

void t.test('what is told to be elsewhere is not asked for here again', async (t) => {
  const headers = { 'x-amz-bucket-region': 'eu-west-3' };
  t.equal(await sendings(info('PermanentRedirect', 301, { $response: { headers } })), 1);
  t.equal(await sendings(info('Unknown', 302)), 4);
});

void t.test(
  'waits are any time up to a limit that grows, and follow the server’s advice',
  async (t) => {
    const waits: number[] = [];
    let chance = 1;
    const retry = new Retry({
      maxAttempts: 12,
      budget: new RetryBudget(),
      random: () => chance,
      onRetry: ({ delayMs }) => waits.push(delayMs),
    });
    let token = await retry.acquireInitialRetryToken();
    for (let n = 1; n < 12; n++) {
      token = await retry.refreshRetryTokenForRetry(token, info('InternalError', 500));
      t.equal(token.getRetryCount(), n);
    }
    const most = [100, 200, 400, 800, 1600, 3200, 6400, 8000, 8000, 8000, 8000];
    t.same(waits, most);
    chance = 0;
    const first = await retry.acquireInitialRetryToken();
    await retry.refreshRetryTokenForRetry(first, info('InternalError', 500));
    t.equal(waits.at(-1), 0);
    const advised = { ...info('SlowDown', 503), retryAfterHint: new Date(Date.now() + 3_600_000) };
    await retry.refreshRetryTokenForRetry(first, advised);
    t.equal(waits.at(-1), 8000, 'but not for an hour');
  },
);

void t.test('requests that fail again and again use up what all share', async (t) => {
  const budget = new RetryBudget();
  const failure = info('InternalError', 500);
  const counts: number[] = [];
  for (let n = 0; n < 300; n++) counts.push(await sendings(failure, { budget }));
  t.equal(counts.filter((count) => count === 4).length, 250);
  t.same(counts.slice(250), Array(50).fill(2), 'each has one retry of its own');
  const retry = new Retry({ maxAttempts: 4, budget });
  for (let n = 0; n < 2; n++) retry.recordSuccess();
  t.equal(await sendings(failure, { budget }), 4, 'answers give back');
  t.equal(await sendings(failure, { budget }), 2);
});
