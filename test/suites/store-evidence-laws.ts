/**
 * Laws of evidence: an answer that is not S3's is no success, whatever its status and however well it
 * is formed; what it is about stays as it was. And where S3 itself answers, its answer is proof
 * enough, so that nobody has to ask.
 *
 * Which answers are believed is the client's matter; what it does about one that is not believed is
 * asked of the server. So a real one is tried with one answer of each kind: without evidence, with
 * some that is too weak, and with what looks like its own.
 */
import type { Test } from 'tap';
import { StoreError, isStoreError } from '../../lib/errors.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import type { ETag } from '../../lib/store.js';
import type { Fault, ProxyAction, WholeAnswer } from '../support/faults.js';
import { foreignAnswers } from '../support/foreign-answers.js';
import { mebibyte } from '../support/sizes.js';
import { bytes, fails, key, pattern, read, sourceOf } from './store-law-setup.js';
import type { LawSetup } from './store-law-setup.js';

const large = pattern(6 * mebibyte);
const always = Number.POSITIVE_INFINITY;

/** A write whose request is answered by somebody else; `old` and `large` are there before. */
interface Write {
  readonly name: string;
  readonly action: ProxyAction;
  /** what is proof for it, so that it cannot be told from S3's answer */
  readonly proof?: number;
  readonly run: (store: S3Store, tags: { old: ETag; large: ETag }) => Promise<unknown>;
}

const copyOf = (store: S3Store, tag: ETag): Promise<unknown> =>
  store.copy({ key: key('old'), etag: tag, size: 3 }, key('target'));
const copyByParts = (store: S3Store, tag: ETag): Promise<unknown> =>
  store.copy({ key: key('large'), etag: tag, size: large.length }, key('target'));
const upload = (store: S3Store): Promise<unknown> => store.upload(key('old'), sourceOf(large));
const absent = { condition: { absent: true } } as const;

const writes: readonly Write[] = [
  { name: 'a PUT', action: 'PutObject', run: (store) => store.put(key('old'), bytes('new')) },
  { name: 'a PUT of nothing', action: 'PutObject', run: (store) => store.put(key('d/'), []) },
  {
    name: 'an exclusive PUT',
    action: 'PutObject',
    run: (store) => store.put(key('other'), bytes('new'), absent),
  },
  {
    name: 'a PUT over a version',
    action: 'PutObject',
    run: (store, { old }) => store.put(key('old'), bytes('new'), { condition: { etag: old } }),
  },
  { name: 'the beginning of an upload', action: 'CreateMultipartUpload', run: upload },
  { name: 'a part', action: 'UploadPart', run: upload },
  { name: 'the end of an upload', action: 'CompleteMultipartUpload', run: upload },
  { name: 'a copy', action: 'CopyObject', run: (store, { old }) => copyOf(store, old) },
  {
    name: 'the beginning of a copy by parts',
    action: 'CreateMultipartUpload',
    run: (store, tags) => copyByParts(store, tags.large),
  },
  {
    name: 'the end of a copy by parts',
    action: 'CompleteMultipartUpload',
    run: (store, tags) => copyByParts(store, tags.large),
  },
  {
    name: 'a DELETE',
    action: 'DeleteObject',
    proof: 204,
    run: (store) => store.delete(key('old')),
  },
];

export async function evidenceLaws(t: Test, setup: LawSetup): Promise<void> {
  const ofEachKind = ['a page in HTML', 'a status of 204', "the request's checksum"];
  const answers = Object.entries(foreignAnswers).filter(
    ([what]) => setup.isClientTried || ofEachKind.includes(what),
  );
  for (const [what, answer] of answers) {
    await t.test(`${what} is no success`, (t) => noSuccess(t, setup, answer));
  }
  await t.test('the end of an upload, with the ETag of something else', (t) => otherTag(t, setup));
  await t.test('a part that was copied by nobody', (t) => copiedParts(t, setup));
  await t.test('an upload that nobody ended stays on record', (t) => onRecord(t, setup, answers));
  await t.test('a DELETE that was done is one, whatever its status', (t) => otherStatus(t, setup));
  await t.test('what is said once by somebody else is asked again', (t) => saidOnce(t, setup));
  await t.test('an answer that tells nothing is settled', (t) => tellsNothing(t, setup));
  await t.test('an answer of S3 is enough', (t) => budgets(t, setup));
}

type ForeignAnswer = (typeof foreignAnswers)[string];

function foreign(answer: ForeignAnswer): Fault {
  return { kind: 'foreign', answer };
}

async function noSuccess(t: Test, setup: LawSetup, answer: ForeignAnswer): Promise<void> {
  const { store } = setup.makeStore(t, { maxAttempts: 1, copyThreshold: 5 * mebibyte });
  await store.learnConditions();
  const { etag: old } = await store.put(key('old'), bytes('old'));
  const tags = { old, large: (await store.upload(key('large'), sourceOf(large))).etag };
  for (const { name, action, proof, run } of writes) {
    if (proof !== undefined && answer({}).status === proof) continue;
    const injection = setup.proxy.inject({ action, count: always, fault: foreign(answer) });
    const end = await run(store, tags).catch((error: unknown) => error);
    injection.remove();
    t.ok(injection.fired > 0, `${name}: asked`);
    t.ok(isStoreError(end), `${name}: fails`, { end });
    if (isStoreError(end))
      t.notOk(isStoreError(end, 'changed', 'notFound'), `${name}: ${end.kind}`);
    t.equal((await read(store, 'old')).toString(), 'old', `${name}: what was there stays`);
  }
  t.ok((await read(store, 'large')).equals(large), 'the source of copies stays');
  t.strictSame(await setup.bucket.uploads(), [], 'no upload is left');
}

/** All of it as S3 has it, and of another upload. */
async function otherTag(t: Test, setup: LawSetup): Promise<void> {
  const { store } = setup.makeStore(t, { maxAttempts: 1, copyThreshold: 5 * mebibyte });
  await store.put(key('old'), bytes('old'));
  const { etag } = await store.upload(key('large'), sourceOf(large));
  const answer: WholeAnswer = {
    status: 200,
    headers: { 'content-type': 'application/xml', 'x-amz-request-id': 'abc' },
    body:
      '<CompleteMultipartUploadResult><Bucket>b</Bucket><Key>old</Key>' +
      '<ETag>"0123456789abcdef0123456789abcdef-2"</ETag></CompleteMultipartUploadResult>',
  };
  const action = 'CompleteMultipartUpload';
  const fault = foreign(() => answer);
  const injection = setup.proxy.inject({ action, count: always, fault });
  await fails(t, upload(store), { kind: 'corrupt' });
  await fails(t, copyByParts(store, etag), { kind: 'corrupt' });
  t.equal(injection.fired, 2);
  injection.remove();
  t.equal((await read(store, 'old')).toString(), 'old');
  await fails(t, store.head(key('target')), { kind: 'notFound' });
}

/** An endpoint that cannot copy parts is remembered as such, so nobody else may say so. */
async function copiedParts(t: Test, setup: LawSetup): Promise<void> {
  const { store } = setup.makeStore(t, { maxAttempts: 1, copyThreshold: 5 * mebibyte });
  const { etag } = await store.upload(key('large'), sourceOf(large));
  const answer = foreignAnswers['a page in HTML'];
  if (answer === undefined) throw new Error('no such answer');
  const upload = await store.createUpload(key('x'));
  const injection = setup.proxy.inject({ action: 'UploadPartCopy', fault: foreign(answer) });
  const source = { key: key('large'), etag, size: large.length };
  const end = await store
    .copyPart(upload, 1, source, { start: 0, end: large.length })
    .catch((error: unknown) => error);
  t.match(end, { kind: 'corrupt' });
  t.equal(injection.fired, 1);
  await store.abortUpload(upload);
}

async function onRecord(
  t: Test,
  setup: LawSetup,
  answers: readonly (readonly [string, ForeignAnswer])[],
): Promise<void> {
  for (const [what, answer] of answers) {
    if (answer({}).status === 204) continue;
    const open = new Set<string>();
    const uploadRecord = {
      begun: ({ uploadId }: { uploadId: string }) => void open.add(uploadId),
      ended: ({ uploadId }: { uploadId: string }) => void open.delete(uploadId),
    };
    const { store } = setup.makeStore(t, { maxAttempts: 1, uploadRecord });
    const ends = (['CompleteMultipartUpload', 'AbortMultipartUpload'] as const).map((action) =>
      setup.proxy.inject({ action, count: always, fault: foreign(answer) }),
    );
    const end = await store.upload(key('x'), sourceOf(large)).catch((error: unknown) => error);
    t.type(end, StoreError, what);
    t.equal(open.size, 1, `${what}: still on record`);
    for (const injection of ends) injection.remove();
    const [uploadId = ''] = open;
    await store.abortUpload({ key: key('x'), uploadId });
    t.equal(open.size, 0, `${what}: ended once S3 says so`);
    t.strictSame(await setup.bucket.uploads(), []);
  }
}

async function otherStatus(t: Test, setup: LawSetup): Promise<void> {
  const { store } = setup.makeStore(t);
  await store.put(key('x1'), bytes('longer name, listed beside it'));
  for (const status of [200, 201, 202]) {
    await store.put(key('x'), bytes('x'));
    const fault: Fault = { kind: 'rewrite', rewrite: (answer) => ({ ...answer, status }) };
    setup.proxy.inject({ action: 'DeleteObject', fault });
    await store.delete(key('x'));
    const upload = await store.createUpload(key('y'));
    setup.proxy.inject({ action: 'AbortMultipartUpload', fault });
    await store.abortUpload(upload);
    t.strictSame(await setup.bucket.uploads(), []);
  }
  t.equal((await read(store, 'x1')).length, 29);
}

async function saidOnce(t: Test, setup: LawSetup): Promise<void> {
  const { store } = setup.makeStore(t, { copyThreshold: 5 * mebibyte });
  const page = foreignAnswers['a page in HTML'];
  if (page === undefined) throw new Error('no such answer');
  const once = (action: ProxyAction) => setup.proxy.inject({ action, fault: foreign(page) });
  const injections = [
    once('PutObject'),
    once('CreateMultipartUpload'),
    once('UploadPart'),
    once('CompleteMultipartUpload'),
    once('CopyObject'),
    once('UploadPartCopy'),
  ];
  const { etag } = await store.put(key('s'), bytes('s'));
  const whole = await store.upload(key('x'), sourceOf(large));
  await store.copy({ key: key('s'), etag, size: 1 }, key('t'));
  await store.copy({ key: key('x'), etag: whole.etag, size: large.length }, key('y'));
  t.strictSame(
    injections.map(({ fired }) => fired),
    [1, 1, 1, 1, 1, 1],
  );
  t.equal((await read(store, 't')).toString(), 's');
  t.ok((await read(store, 'y')).equals(large));
}

/** As an endpoint answers that has opaque ETags and repeats no checksums. */
async function tellsNothing(t: Test, setup: LawSetup): Promise<void> {
  const { store } = setup.makeStore(t);
  const opaque = (answer: WholeAnswer): WholeAnswer => ({
    ...answer,
    headers: {
      ...answer.headers,
      ...(answer.headers['etag'] === undefined ? {} : { etag: '"opaque"' }),
      'x-amz-checksum-crc32': undefined,
    },
    body: answer.body
      .replace(/<ETag>.*<\/ETag>/, '<ETag>"opaque"</ETag>')
      .replace(/<ChecksumCRC32>.*<\/ChecksumCRC32>/, ''),
  });
  const fault: Fault = { kind: 'rewrite', rewrite: opaque };
  for (const action of ['PutObject', 'CompleteMultipartUpload', 'HeadObject'] as const) {
    setup.proxy.inject({ action, count: always, fault });
  }
  setup.proxy.reset();
  t.equal((await store.put(key('x'), bytes('x'))).etag, '"opaque"');
  t.match(setup.proxy.counts(), { PutObject: 1, HeadObject: 1 }, 'one question');
  setup.proxy.reset();
  t.equal((await store.upload(key('y'), sourceOf(large))).etag, '"opaque"');
  t.match(setup.proxy.counts(), { CompleteMultipartUpload: 1, HeadObject: 1 }, 'one question');
  t.equal(setup.proxy.counts().ListParts, undefined);
}

async function budgets(t: Test, setup: LawSetup): Promise<void> {
  const { store } = setup.makeStore(t, { copyThreshold: 5 * mebibyte });
  const asks = setup.deviations.namesVersions ? {} : { HeadObject: 1 };
  for (const time of ['first', 'second']) {
    const cost = async (work: () => Promise<unknown>): Promise<object> => {
      setup.proxy.reset();
      await work();
      return { ...setup.proxy.counts() };
    };
    const content = bytes(time);
    t.strictSame(await cost(() => store.put(key('x'), content)), { PutObject: 1 }, time);
    t.strictSame(
      await cost(() => upload(store)),
      { CreateMultipartUpload: 1, UploadPart: 2, CompleteMultipartUpload: 1, ...asks },
      time,
    );
    t.strictSame(await cost(() => store.delete(key('x'))), { DeleteObject: 1 }, time);
    const open = await store.createUpload(key('z'));
    const abort = {
      AbortMultipartUpload: 1,
      ...(setup.deviations.abortsBy200 && { ListParts: 1 }),
    };
    t.strictSame(await cost(() => store.abortUpload(open)), abort, time);
  }
}
