/**
 * An endpoint that changes its behaviour under a mount: what was learnt about parts, copies and
 * checksums is noticed to be otherwise by the next refusal, or asked again after a while. No write and
 * no read fails for it.
 */
import { randomBytes } from 'node:crypto';
import t from 'tap';
import type { Key } from '../../lib/path.js';
import { silentLog } from '../../lib/log.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import { Program, useCore, type Core } from '../support/core.js';
import { dayOptions } from '../support/day.js';
import type { LoggedRequest, Refusal } from '../support/fault-proxy.js';
import { foreignAnswers } from '../support/foreign-answers.js';
import { ManualClock } from '../support/manual-clock.js';
import { testKey } from '../support/embedded.js';
import { useStore } from '../support/store.js';

const { minPart } = dayOptions;
const base = randomBytes(5 * minPart + 100);
const minuteMs = 60_000;

const crc = 'x-amz-checksum-crc32';

/** A core whose endpoint refuses what `refusal` says at the time. */
async function useChanging(t: Parameters<typeof useCore>[0]) {
  const clock = new ManualClock();
  const now: { refusal: Refusal } = { refusal: () => undefined };
  const warnings: string[] = [];
  const core = await useCore(t, {
    ...dayOptions,
    clock,
    refuse: (request) => now.refusal(request),
    log: { ...silentLog, warn: (_fields, message) => void warnings.push(message) },
  });
  const program = new Program(core.fs);
  let content = base;
  await program.put('/f', base);
  core.proxy.reset();
  /** Changes a little, which nothing but copying the base makes cheap. @returns what was asked */
  const change = async (offset: number) => {
    core.proxy.reset();
    const bytes = randomBytes(10);
    const handle = await program.open('/f', { access: 'write' });
    await program.write(handle, bytes, offset);
    await program.close(handle);
    const after = content.subarray(offset + bytes.length);
    content = Buffer.concat([content.subarray(0, offset), bytes, after]);
    const counts = core.proxy.counts();
    t.ok((await program.get('/f')).equals(content));
    t.strictSame(core.endpoint.openUploads(), []);
    return counts;
  };
  const append = () => change(content.length);
  return { core, clock, now, warnings, program, append, change };
}

void t.test('copies of parts that were refused are tried again', async (t) => {
  const { core, clock, now, warnings, append } = await useChanging(t);
  now.refusal = ({ action }) =>
    action === 'UploadPartCopy' ? { status: 422, code: 'Unprocessable' } : undefined;
  await append();
  t.match(core.store.capabilities, { 'copying parts': 'refused' });
  t.equal(warnings.filter((text) => text.includes('cannot copy parts')).length, 1);
  t.equal((await append()).UploadPartCopy, undefined, 'remembered');
  clock.pass(minuteMs);
  t.not((await append()).UploadPartCopy, undefined, 'asked again, and refused again');
  t.equal((await append()).UploadPartCopy, undefined);
  clock.pass(minuteMs);
  t.equal((await append()).UploadPartCopy, undefined, 'for longer this time');
  now.refusal = () => undefined;
  clock.pass(minuteMs);
  t.not((await append()).UploadPartCopy, undefined, 'until it can');
  t.match(core.store.capabilities, { 'copying parts': 'not refused yet' });
  t.equal(warnings.length, 1);
});

for (const code of ['InvalidDigest', 'InvalidPart', 'InvalidRequest', 'MalformedXML']) {
  void t.test(`uploads with copied parts that are refused as ${code}`, async (t) => {
    const { core, now, warnings, change } = await useChanging(t);
    const withCopies = new Set<string | null>();
    now.refusal = ({ action, query }: LoggedRequest) => {
      const id = new URLSearchParams(query).get('uploadId');
      if (action === 'UploadPartCopy') withCopies.add(id);
      const isRefused = action === 'CompleteMultipartUpload' && withCopies.has(id);
      return isRefused ? { status: 400, code } : undefined;
    };
    // In the middle, so that the parts are of several sizes too.
    await change(2 * minPart + 10);
    t.match(core.store.capabilities, {
      'copying parts': 'refused',
      'parts of different sizes': 'not refused yet',
    });
    t.equal(warnings.length, 1);
    t.match(warnings[0], /cannot copy parts/);
    t.equal((await change(2 * minPart + 10)).UploadPartCopy, undefined);
  });
}

void t.test('the way of uploads follows the endpoint', async (t) => {
  const { core, clock, now, program } = await useChanging(t);
  const write = async (): Promise<string[]> => {
    core.proxy.reset();
    await program.put('/g', base);
    t.ok((await program.get('/g')).equals(base));
    return core.proxy.log
      .filter(({ action }) => action === 'CreateMultipartUpload' || action === 'UploadPart')
      .map(({ action, headers, status }) => {
        const sum = [crc, 'content-md5', 'x-amz-checksum-algorithm'].find(
          (name) => name in headers,
        );
        return `${action} ${sum ?? 'bare'} ${status ?? 0}`;
      });
  };
  // Nothing else is written, so that parts belong to the upload that was created last.
  let isDeclared = false;
  now.refusal = ({ action, headers }) => {
    if (action === 'CreateMultipartUpload') isDeclared = 'x-amz-checksum-algorithm' in headers;
    const isRefused = action === 'UploadPart' && crc in headers && !isDeclared;
    return isRefused ? { status: 400, code: 'InvalidRequest' } : undefined;
  };
  t.ok((await write()).includes(`UploadPart ${crc} 400`), 'as strict as AWS all of a sudden');
  t.match((await write())[0], 'CreateMultipartUpload x-amz-checksum-algorithm 200');
  now.refusal = ({ action, headers }) =>
    action === 'CreateMultipartUpload' && 'x-amz-checksum-algorithm' in headers
      ? { status: 501, code: 'NotImplemented' }
      : undefined;
  const [first, second, third] = await write();
  t.match(first, 'CreateMultipartUpload x-amz-checksum-algorithm 501');
  t.strictSame([second, third], ['CreateMultipartUpload bare 200', 'UploadPart content-md5 200']);
  t.notOk((await write()).some((line) => line.endsWith('501')));
  clock.pass(minuteMs);
  t.strictSame((await write()).slice(0, 2), [
    'CreateMultipartUpload bare 200',
    `UploadPart ${crc} 200`,
  ]);
});

void t.test('checksums of what is read, asked for again', async (t) => {
  const { core, clock, now } = await useChanging(t);
  const asks = async (): Promise<boolean> => {
    core.proxy.reset();
    await core.store.head('f' as Key);
    return core.proxy.log.some(({ headers }) => 'x-amz-checksum-mode' in headers);
  };
  t.ok(await asks());
  now.refusal = ({ headers }) =>
    'x-amz-checksum-mode' in headers ? { status: 400, code: 'InvalidArgument' } : undefined;
  t.ok(await asks());
  t.ok(await asks(), 'one refusal may have been about anything');
  t.notOk(await asks());
  now.refusal = () => undefined;
  clock.pass(minuteMs);
  t.ok(await asks());
});

void t.test('a denial says nothing of checksums, be it the first answer', async (t) => {
  const { core, clock, now, program } = await useChanging(t);
  const store = newStore(t, core, clock);
  const head = (): Promise<unknown> => store.head('f' as Key);
  // As S3 answers for an object encrypted by KMS to who may not decrypt it.
  now.refusal = ({ action, headers }) =>
    action === 'HeadObject' && 'x-amz-checksum-mode' in headers
      ? { status: 403, code: 'AccessDenied' }
      : undefined;
  for (const time of ['first', 'second']) {
    core.proxy.reset();
    await t.rejects(head(), /HeadObject/, time);
    t.strictSame(core.proxy.counts(), { HeadObject: 1 }, time);
  }
  t.match(store.capabilities, { 'checksums of what is read': 'asked for' });
  clock.pass(minuteMs);
  t.equal((await program.stat('/f')).size, base.length, 'is shown, as a listing has it');
  await program.put('/f', 'new');
  now.refusal = () => undefined;
  await head();
  t.ok(core.proxy.log.some(({ headers }) => 'x-amz-checksum-mode' in headers));
  t.equal((await program.get('/f')).toString(), 'new', 'and can be replaced');
});

void t.test('the CRC32 of a PUT, sent again', async (t) => {
  const { core, clock, now, program } = await useChanging(t);
  const sums = async (): Promise<boolean> => {
    core.proxy.reset();
    await program.put('/small', 'small');
    return core.proxy.log.some(({ headers }) => crc in headers);
  };
  now.refusal = ({ headers }) =>
    crc in headers ? { status: 501, code: 'NotImplemented' } : undefined;
  t.ok(await sums());
  t.notOk(await sums());
  now.refusal = () => undefined;
  clock.pass(minuteMs);
  t.ok(await sums());
});

/** A store that knows nothing yet. */
function newStore(t: Parameters<typeof useCore>[0], core: Core, clock: ManualClock): S3Store {
  const credentials = testKey;
  const store = useStore(t, core.proxy.url, { credentials, clock, maxAttempts: 1 });
  core.proxy.reset();
  return store;
}

void t.test('conditions that were not kept are tried again', async (t) => {
  const { core, clock, now } = await useChanging(t);
  const store = newStore(t, core, clock);
  now.refusal = ({ headers }) =>
    'if-none-match' in headers ? { status: 501, code: 'NotImplemented' } : undefined;
  t.match(await store.keepsConditions('PutObject'), { absent: false });
  now.refusal = () => undefined;
  t.match(await store.keepsConditions('PutObject'), { absent: false }, 'believed for a while');
  clock.pass(minuteMs);
  t.match(await store.keepsConditions('PutObject'), { absent: true, etag: true });
});

void t.test('keys that have expired say nothing of listings', async (t) => {
  const { core, clock, now } = await useChanging(t);
  const store = newStore(t, core, clock);
  let isFirst = true;
  now.refusal = ({ action }) => {
    const isRefused = isFirst && action === 'ListObjectsV2';
    isFirst = false;
    return isRefused ? { status: 400, code: 'ExpiredToken' } : undefined;
  };
  await t.rejects(store.list({ prefix: '' as Key, oneLevel: true }), /ExpiredToken/);
  t.strictSame(core.proxy.counts(), { ListObjectsV2: 1 });
  t.match(store.capabilities, { listings: 'ListObjectsV2, not refused yet' });
});

void t.test('deletes of a version, where If-Match is refused', async (t) => {
  const { core, clock, now } = await useChanging(t);
  const store = newStore(t, core, clock);
  const other = (await core.store.head('f' as Key)).etag;
  now.refusal = ({ action, headers }) =>
    action === 'DeleteObject' && 'if-match' in headers
      ? { status: 501, code: 'NotImplemented' }
      : undefined;
  for (const time of ['tried', 'remembered', 'remembered still']) {
    const { etag } = await store.put('x' as Key, [Buffer.from(time)]);
    await t.rejects(store.delete('x' as Key, { ifMatch: other }), /not the one expected/, time);
    t.equal((await store.head('x' as Key)).etag, etag, time);
    await store.delete('x' as Key, { ifMatch: etag });
    await t.rejects(store.head('x' as Key), time);
  }
  const plain = core.proxy.log.filter(({ action }) => action === 'DeleteObject');
  t.equal(plain.filter(({ status }) => status === 501).length, 1, 'asked once');
  t.match(store.capabilities, { 'conditional DeleteObject': 'not kept' });
});

void t.test('an answer that is not S3’s says nothing of its conditions', async (t) => {
  const { core, clock } = await useChanging(t);
  const store = newStore(t, core, clock);
  const answer = foreignAnswers['nothing, with an ETag'];
  if (answer === undefined) throw new Error('no such answer');
  core.proxy.inject({ action: 'PutObject', ordinal: 2, fault: { kind: 'foreign', answer } });
  await store.keepsConditions('PutObject');
  t.match(await store.keepsConditions('PutObject'), { absent: true, etag: true });
});
