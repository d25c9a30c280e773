/**
 * A close that cannot store: the client hears of it, nothing is published, nothing is left lying
 * about, and the mount works again when the server does.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CreateBucketCommand } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { inParallel } from '../support/bucket.js';
import { failed, succeeded, succeededQuietly } from '../support/expect.js';
import { foreignAnswers } from '../support/foreign-answers.js';
import { startJail, type Jail } from '../support/jail.js';
import { writeRandomFile } from '../support/local-files.js';
import { forEachDriver, type Setting } from '../support/mounted.js';
import { serverNames } from '../support/servers.js';
import { mebibyte } from '../support/sizes.js';
import { until } from '../support/until.js';

const always = Number.POSITIVE_INFINITY;

// What they do is wait for timeouts.
t.jobs = 2;
forEachDriver(t, serverNames(), failureCases);

async function failureCases(t: Test, setting: Setting): Promise<void> {
  // The TTL keeps the listing, so that what needs the server is the storing alone.
  const options = ['--metadata-ttl', '10m', '--timeout', '2s'];
  const jail = await startJail(t, { ...setting, options, hasLentKey: true });
  const hashes = {
    small: await writeRandomFile(join(jail.local, 'small'), 1000),
    large: await writeRandomFile(join(jail.local, 'large'), 20 * mebibyte),
  };
  await jail.bucket.put('old', 'as it was');
  succeeded(t, await jail.sftp('ls -l'), 'ls');

  await t.test('with the server stopped', async (t) => {
    await jail.proxy.down();
    await cannotStore(t, jail, /Failure/);
    await jail.proxy.up();
    await worksAgain(t, jail, hashes);
  });

  await t.test('with the credentials revoked', async (t) => {
    await jail.key?.revoke();
    await cannotStore(t, jail, /Permission denied/);
    await jail.key?.restore();
    await worksAgain(t, jail, hashes);
  });

  await t.test('with the last step of a multipart upload refused', async (t) => {
    const injection = jail.proxy.inject({
      action: 'CompleteMultipartUpload',
      count: always,
      fault: { kind: 'error-in-200', code: 'InternalError' },
    });
    failed(t, await jail.sftp('put large'), /Failure/, 'put');
    injection.remove();
    t.strictSame(await jail.bucket.keys(), ['old']);
    await nothingLeft(t, jail);
    await worksAgain(t, jail, hashes);
  });

  await t.test('with something else answering writes in its place', async (t) => {
    const answer = foreignAnswers['a page with an ETag of its own'];
    if (answer === undefined) throw new Error('no such answer');
    const actions = ['PutObject', 'CompleteMultipartUpload', 'CopyObject', 'DeleteObject'] as const;
    const injections = actions.map((action) =>
      jail.proxy.inject({ action, count: always, fault: { kind: 'foreign', answer } }),
    );
    await cannotStore(t, jail, /Failure/);
    failed(t, await jail.sftp('rename old new'), /Failure/, 'rename');
    failed(t, await jail.sftp('rm old'), /Failure/, 'rm');
    for (const injection of injections) injection.remove();
    await worksAgain(t, jail, hashes);
  });

  await t.test('with the bucket removed', async (t) => {
    await jail.bucket.remove();
    await cannotStore(t, jail, /Failure/);
    await jail.bucket.client.send(new CreateBucketCommand({ Bucket: jail.bucket.name }));
    await jail.bucket.put('old', 'as it was');
    await worksAgain(t, jail, hashes);
  });

  await t.test('a listing that breaks half way fails, and is never a short one', (t) =>
    brokenListing(t, setting),
  );
}

async function brokenListing(t: Test, setting: Setting): Promise<void> {
  const jail = await startJail(t, { ...setting, options: ['--timeout', '2s'] });
  const names = Array.from({ length: 1001 }, (_, index) => `n${index}`);
  await inParallel(16, names, (name) => jail.bucket.put(`many/${name}`, ''));
  await stat(jail.path('many'));
  const injection = jail.proxy.inject({
    action: 'ListObjectsV2',
    ordinal: 2,
    count: always,
    fault: { kind: 'status', status: 500, code: 'InternalError' },
  });
  const ending = await jail.sftp('ls -1 many');
  t.not(ending.status, 0, 'ls fails');
  t.notMatch(ending.stdout, /n\d+$/m, 'and shows nothing');
  injection.remove();
  const again = await jail.sftp('ls -1 many');
  succeeded(t, again, 'ls afterwards');
  t.equal(again.stdout.match(/n\d+$/gm)?.length, names.length);
}

/** Puts to a new and to an existing name, within a part and of several, fail and change nothing. */
async function cannotStore(t: Test, jail: Jail, message: RegExp): Promise<void> {
  failed(t, await jail.sftp('put small new'), message, 'put of a small file');
  failed(t, await jail.sftp('put large old'), message, 'put of a large file over another');
}

async function worksAgain(
  t: Test,
  jail: Jail,
  hashes: Readonly<Record<'small' | 'large', string>>,
): Promise<void> {
  t.equal(await jail.bucket.text('old'), 'as it was', 'what was there is as it was');
  t.strictSame(await jail.bucket.keys(), ['old'], 'nothing was published');
  const listing = await jail.sftp('ls -ln old');
  succeeded(t, listing, 'ls');
  t.match(listing.stdout, / 9 .* old$/m, 'and shows the size of what is stored');
  failed(t, await jail.sftp('ls new'), /not found|No such file/, 'ls of what is not');
  await nothingLeft(t, jail);
  for (const size of ['small', 'large'] as const) {
    succeededQuietly(t, await jail.sftp(`put ${size} new`), `put of the ${size} file again`);
    t.equal(await jail.bucket.sha256('new'), hashes[size]);
    succeededQuietly(t, await jail.sftp('rm new'), 'rm');
  }
}

/** An upload that could not be ended while the server was away is ended once it is back. */
async function nothingLeft(t: Test, jail: Jail): Promise<void> {
  await until(async () => (await jail.bucket.uploads()).length === 0);
  t.pass('no multipart upload is left');
}
