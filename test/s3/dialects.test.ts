/**
 * Services that speak less of S3 than AWS does (Google Cloud Storage, Backblaze B2, old Ceph): each
 * thing they refuse is refused here in turn, and a mount's whole life goes on without it.
 */
import { randomBytes } from 'node:crypto';
import t, { type Test } from 'tap';
import { silentLog } from '../../lib/log.js';
import type { Key } from '../../lib/path.js';
import type { ListOptions } from '../../lib/store.js';
import { Program, useCore, type Core, type CoreOptions } from '../support/core.js';
import { dayOptions, liveADay } from '../support/day.js';
import { testBucket } from '../support/embedded.js';
import type { LoggedRequest, Refusal } from '../support/fault-proxy.js';
import { ManualClock } from '../support/manual-clock.js';

const notImplemented = { status: 501, code: 'NotImplemented' };
const invalid = { status: 400, code: 'InvalidArgument' };

function whereHeader(
  pattern: RegExp,
  refusal = notImplemented,
): (request: LoggedRequest) => ReturnType<Refusal> {
  return ({ headers }) =>
    Object.keys(headers).some((name) => pattern.test(name)) ? refusal : undefined;
}

function onlyFor(actions: readonly string[], refuse: Refusal): Refusal {
  return (request) => (actions.includes(request.action) ? refuse(request) : undefined);
}

const writes = ['PutObject', 'CompleteMultipartUpload', 'CopyObject'];
const bodies = ['PutObject', 'UploadPart', 'CreateMultipartUpload', 'CompleteMultipartUpload'];

const dialects: Record<string, Refusal> = {
  'no checksum headers': onlyFor(bodies, whereHeader(/^x-amz-(sdk-)?checksum/)),
  'no checksum headers, said as an invalid argument': onlyFor(
    bodies,
    whereHeader(/^x-amz-(sdk-)?checksum/, invalid),
  ),
  'no checksum headers anywhere, as Backblaze B2 has it': whereHeader(
    /^x-amz-(sdk-)?checksum/,
    invalid,
  ),
  'no checksums of what is read': onlyFor(
    ['HeadObject', 'GetObject'],
    whereHeader(/^x-amz-checksum-mode$/),
  ),
  'no If-None-Match on writes': onlyFor(writes, whereHeader(/^if-none-match$/)),
  'no If-Match on writes': onlyFor(writes, whereHeader(/^if-match$/)),
  'no conditional deletes': onlyFor(['DeleteObject'], whereHeader(/^if-match$/)),
  'no conditions at all on writes': onlyFor([...writes, 'DeleteObject'], whereHeader(/^if-/)),
  'no conditions on the source of a copy': whereHeader(/^x-amz-copy-source-if-/),
  'no copies of parts': onlyFor(['UploadPartCopy'], () => notImplemented),
  'no copies of parts, said as an invalid argument': onlyFor(['UploadPartCopy'], () => invalid),
  'no copies of parts, said as a missing length': onlyFor(['UploadPartCopy'], () => ({
    status: 411,
    code: 'MissingContentLength',
  })),
  'no copies of parts, said as what cannot be processed': onlyFor(['UploadPartCopy'], () => ({
    status: 422,
    code: 'UnprocessableEntity',
  })),
  'no deleting in batches, no listing of uploads, no tags': onlyFor(
    ['DeleteObjects', 'ListMultipartUploads', 'ListParts', 'GetObjectTagging'],
    () => notImplemented,
  ),
};

for (const [name, refuse] of Object.entries(dialects)) {
  void t.test(name, async (t) => {
    let refusals = 0;
    const counted: Refusal = (request) => {
      const refusal = refuse(request);
      if (refusal !== undefined) refusals += 1;
      return refusal;
    };
    await liveADay(t, await useCore(t, { ...dayOptions, refuse: counted }));
    // Batches and the like are never asked for; of all else some request has to be met.
    if (!name.includes('batches')) t.ok(refusals > 0, 'something was refused');
  });
}

void t.test('parts without a checksum in uploads without one, as AWS has it', async (t) => {
  await liveADay(t, await useCore(t, { ...dayOptions, strictPartSums: true }));
});

void t.test('ListObjectsV2', async (t) => {
  const simple: Record<string, CoreOptions> = {
    refused: { refuse: onlyFor(['ListObjectsV2'], () => notImplemented) },
    'refused as an invalid argument': { refuse: onlyFor(['ListObjectsV2'], () => invalid) },
    'taken for version 1': {
      buckets: [{ name: testBucket, anonymous: 'read-write' }],
      misread: ({ action }, url) =>
        action === 'ListObjectsV2'
          ? url.replace(/list-type=2|(start-after|continuation-token)=[^&]*/g, '')
          : undefined,
    },
  };
  for (const [name, options] of Object.entries(simple)) {
    await t.test(name, async (t) => {
      const core = await useCore(t, { ...dayOptions, ...options });
      await core.store.verifyBucket();
      await liveADay(t, core);
      await core.store.delete('new' as Key);
      await listsAllPages(t, core);
      t.match(core.store.capabilities, { listings: 'ListObjects (version 1)' });
      const { length } = core.proxy.log.filter(({ action }) => action === 'ListObjectsV2');
      core.proxy.reset();
      await core.store.list({ prefix: '' as Key, oneLevel: true });
      t.strictSame(core.proxy.counts(), { ListObjects: 1 }, `remembered after ${length}`);
    });
  }

  await t.test('by a gateway that is replaced by another', async (t) => {
    let refused: LoggedRequest['action'] = 'ListObjectsV2';
    const refuse: Refusal = ({ action }) => (action === refused ? notImplemented : undefined);
    const clock = new ManualClock();
    const core = await useCore(t, { refuse, clock });
    await core.store.put('x' as Key, [Buffer.from('x')]);
    const list = async (): Promise<unknown> => {
      core.proxy.reset();
      const page = await core.store.list({ prefix: '' as Key, oneLevel: true });
      t.equal(page.objects.length, 1);
      return core.proxy.counts();
    };
    t.strictSame(await list(), { ListObjectsV2: 1, ListObjects: 1 });
    t.strictSame(await list(), { ListObjects: 1 });
    refused = 'ListObjects';
    t.strictSame(await list(), { ListObjects: 1, ListObjectsV2: 1 }, 'which knows the other only');
    t.strictSame(await list(), { ListObjectsV2: 1 });
    refused = 'ListObjectsV2';
    t.strictSame(await list(), { ListObjectsV2: 1, ListObjects: 1 }, 'and back');
    refused = 'Unknown';
    t.strictSame(await list(), { ListObjects: 1 });
    clock.pass(3_600_000);
    t.strictSame(await list(), { ListObjectsV2: 1 }, 'or that learns');
  });

  await t.test('understood', async (t) => {
    const core = await useCore(t, dayOptions);
    await listsAllPages(t, core);
    t.match(core.store.capabilities, { listings: 'ListObjectsV2' });
    t.equal(core.proxy.counts().ListObjects, undefined);
  });
});

/** Names that need encoding, or whose order is not that of JavaScript. */
const names = [
  'a b',
  'a+b',
  'a%2Fb',
  'é',
  '\u{1F600}',
  '\uFF5E',
  'line\nbreak',
  'x&<y>',
  'd/1',
  'd/2',
  'e/f/1',
  'z',
];

async function listsAllPages(t: Test, { store }: Core): Promise<void> {
  for (const name of names) await store.put(name as Key, [Buffer.from(name)]);
  const ordered = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const listed = async (query: Partial<ListOptions>): Promise<string[]> => {
    const found: string[] = [];
    let from: string | undefined;
    do {
      const page = await store.list({
        prefix: '' as Key,
        oneLevel: false,
        maxKeys: 2,
        ...query,
        ...(from === undefined ? {} : { from }),
      });
      found.push(...page.objects.map(({ key }) => key), ...page.prefixes);
      from = page.next;
    } while (from !== undefined);
    return found;
  };
  t.strictSame(await listed({}), ordered, 'all below');
  t.strictSame(
    await listed({ after: 'd/1' }),
    ordered.slice(ordered.indexOf('d/1') + 1),
    'after a name',
  );
  t.strictSame(await listed({ prefix: 'd/' as Key }), ['d/1', 'd/2']);
  const level = ordered.filter((name) => !name.includes('/'));
  t.strictSame(
    (await listed({ oneLevel: true })).sort(),
    [...level, 'd/', 'e/'].sort(),
    'one level',
  );
}

type Part = readonly [number: number, size: number];

/** Servers that demand more of parts than S3 does, in the way of Cloudflare R2. */
const partDemands = {
  'parts of one size': (parts: readonly Part[]) =>
    parts.slice(0, -1).every(([, size]) => size === parts[0]?.[1]),
  'part numbers without gaps': (parts: readonly Part[]) =>
    parts.every(([number], index) => number === index + 1),
};

/** Refuses to complete uploads whose parts do not meet the demand. */
function demandOfParts(isMet: (parts: readonly Part[]) => boolean): {
  refuse: Refusal;
  refusals: () => number;
} {
  let refusals = 0;
  const uploads = new Map<string, Map<number, number>>();
  const refuse: Refusal = ({ action, query, headers }) => {
    const parameters = new URLSearchParams(query);
    const id = parameters.get('uploadId') ?? '';
    const sizes = uploads.get(id) ?? new Map<number, number>();
    uploads.set(id, sizes);
    const number = Number(parameters.get('partNumber'));
    if (action === 'UploadPart') sizes.set(number, Number(headers['content-length']));
    if (action === 'UploadPartCopy') sizes.set(number, copiedBytes(headers));
    const parts = [...sizes].sort(([a], [b]) => a - b);
    if (action !== 'CompleteMultipartUpload' || isMet(parts)) return undefined;
    refusals += 1;
    return { status: 400, code: 'InvalidPart' };
  };
  return { refuse, refusals: () => refusals };
}

/** As a program that writes while it goes, so that parts leave before the close. */
async function append(program: Program, path: string, bytes: Buffer): Promise<void> {
  const { size } = await program.stat(path);
  const handle = await program.open(path, { access: 'write' });
  const step = 40_000;
  for (let at = 0; at < bytes.length; at += step) {
    await program.write(handle, bytes.subarray(at, at + step), size + at);
  }
  await program.close(handle);
}

const base = randomBytes(5.5 * dayOptions.minPart);
const more = randomBytes(3.25 * dayOptions.minPart);

for (const [demand, isMet] of Object.entries(partDemands)) {
  void t.test(demand, async (t) => {
    const { refuse, refusals } = demandOfParts(isMet);
    const warnings: string[] = [];
    const warn = (_fields: object, message: string): void => void warnings.push(message);
    const core = await useCore(t, { ...dayOptions, refuse, log: { ...silentLog, warn } });
    const program = new Program(core.fs);
    await program.put('/grown', base);
    await append(program, '/grown', more);
    t.ok((await program.get('/grown')).equals(Buffer.concat([base, more])), 'in other parts');
    t.equal(refusals(), 1);
    await append(program, '/grown', more);
    t.ok((await program.get('/grown')).equals(Buffer.concat([base, more, more])));
    t.equal(refusals(), 1, 'and so from then on');
    t.equal(warnings.filter((text) => text.includes('--equal-parts')).length, 1);
    t.match(core.store.capabilities, { 'parts of different sizes': 'refused' });
    await program.unlink('/grown');
    await liveADay(t, core);
  });
}

void t.test('parts of one size, learnt when the first bytes have left the disk', async (t) => {
  const { refuse, refusals } = demandOfParts(partDemands['parts of one size']);
  const mebibyte = 1024 * 1024;
  // The disk gets back what it gave in pieces of 16 MiB, the first of which holds the base's end.
  const settings = { partSize: 4 * mebibyte, tempLimit: 36 * mebibyte };
  const core = await useCore(t, { minPart: mebibyte / 2, settings, refuse });
  const program = new Program(core.fs);
  const start = randomBytes(2.5 * mebibyte);
  await program.put('/grown', start);
  const much = randomBytes(44 * mebibyte);
  await t.rejects(append(program, '/grown', much), { code: 'ENOSPC', message: /--temp-limit/ });
  t.equal(refusals(), 1);
  t.ok((await program.get('/grown')).equals(start), 'nothing of it is seen');
  const less = randomBytes(9 * mebibyte);
  await append(program, '/grown', less);
  t.ok((await program.get('/grown')).equals(Buffer.concat([start, less])), 'the next one is well');
  t.equal(refusals(), 1);
  t.strictSame(core.endpoint.openUploads(), []);
});

function copiedBytes(headers: LoggedRequest['headers']): number {
  const [, first, last] =
    /^bytes=(\d+)-(\d+)$/.exec(String(headers['x-amz-copy-source-range'])) ?? [];
  return Number(last) - Number(first) + 1;
}
