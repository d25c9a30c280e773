/**
 * Endpoints that name or measure one version in several ways: weak ETags, listings with tags or
 * sizes of their own, content that is decoded on its way, objects encrypted with a key of their own.
 */
import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';
import type { Fault, ProxyAction, WholeAnswer } from '../support/faults.js';
import { kibibyte } from '../support/sizes.js';

const minPart = 64 * kibibyte;
const partSize = 100 * kibibyte;
const options = { minPart, copyThreshold: 200 * kibibyte, settings: { partSize } };
const small = randomBytes(1000);
const large = randomBytes(350 * kibibyte);
const more = randomBytes(10 * kibibyte);
const always = Number.POSITIVE_INFINITY;

function rewrite(
  core: Core,
  action: ProxyAction,
  change: (answer: WholeAnswer) => WholeAnswer,
): void {
  const fault: Fault = { kind: 'rewrite', rewrite: change };
  core.proxy.inject({ action, count: always, fault });
}

/** Changes listings and nothing else. */
function listAs(core: Core, pattern: RegExp, replacement: string): void {
  rewrite(core, 'ListObjectsV2', (answer) => ({
    ...answer,
    body: answer.body.replaceAll(pattern, replacement),
  }));
}

async function append(program: Program, path: string): Promise<void> {
  const handle = await program.open(path, { access: 'write', append: true });
  await program.write(handle, more);
  await program.close(handle);
}

/** All that is done with files that a listing has just shown. */
async function useListed(t: Test, core: Core): Promise<void> {
  const program = new Program(core.fs);
  await core.bucket.put('alice/small', small);
  await core.bucket.put('alice/large', large);
  for (const [name, content] of [
    ['small', small],
    ['large', large],
  ] as const) {
    const longer = Buffer.concat([content, more]);
    await program.list('/');
    t.ok((await program.get(`/${name}`)).equals(content), `${name}: read`);
    await program.list('/');
    t.ok((await program.get(`/${name}`)).equals(content), `${name}: read again`);
    await program.list('/');
    await append(program, `/${name}`);
    t.ok((await core.bucket.bytes(`alice/${name}`)).equals(longer), `${name}: appended to`);
    await program.list('/');
    const handle = await program.open(`/${name}`, { access: 'write' });
    await program.write(handle, 'X', 0);
    await program.close(handle);
    longer.write('X');
    t.ok((await core.bucket.bytes(`alice/${name}`)).equals(longer), `${name}: edited`);
    await program.list('/');
    await program.rename(`/${name}`, `/moved-${name}`);
    t.ok((await core.bucket.bytes(`alice/moved-${name}`)).equals(longer), `${name}: renamed`);
    await program.list('/');
    await program.unlink(`/moved-${name}`);
  }
  t.strictSame(await core.bucket.keys(), []);
}

void t.test('weak ETags, except in listings', async (t) => {
  const core = await useCore(t, { ...options, settings: { partSize, metadataTtlMs: 60_000 } });
  for (const action of ['HeadObject', 'PutObject'] as const) {
    rewrite(core, action, (answer) => ({
      ...answer,
      headers: {
        ...answer.headers,
        ...(answer.headers['etag'] && { etag: `W/${String(answer.headers['etag'])}` }),
      },
    }));
  }
  await useListed(t, core);
});

void t.test('weak ETags in listings alone', async (t) => {
  const core = await useCore(t, options);
  listAs(core, /<ETag>(.*?)<\/ETag>/g, '<ETag>W/$1</ETag>');
  await useListed(t, core);
});

void t.test('listings with tags of their own', async (t) => {
  const core = await useCore(t, options);
  listAs(core, /<ETag>.*?<\/ETag>/g, '<ETag>"0123456789abcdef0123456789abcdef"</ETag>');
  await useListed(t, core);
});

void t.test('listings that say too little under the right tag', async (t) => {
  for (const [name, content] of [
    ['small', small],
    ['large', large],
  ] as const) {
    const core = await useCore(t, options);
    const program = new Program(core.fs);
    await core.bucket.put(`alice/${name}`, content);
    listAs(core, /<Size>\d+<\/Size>/g, '<Size>700</Size>');
    await program.list('/');
    await append(program, `/${name}`);
    const longer = Buffer.concat([content, more]);
    t.ok((await core.bucket.bytes(`alice/${name}`)).equals(longer), `${name}: appended to`);
  }
});

void t.test('a large object whose listing says too little is renamed whole', async (t) => {
  const core = await useCore(t, options);
  const program = new Program(core.fs);
  const long = randomBytes(11 * kibibyte * kibibyte);
  await core.bucket.put('alice/long', long);
  listAs(core, /<Size>\d+<\/Size>/g, `<Size>${6 * kibibyte * kibibyte}</Size>`);
  await program.list('/');
  await program.rename('/long', '/moved');
  t.ok((await core.bucket.bytes('alice/moved')).equals(long));
});

void t.test('what is stored comes, where others get it decoded', async (t) => {
  const packed = gzipSync(large);
  const core = await useCore(t, options);
  const program = new Program(core.fs);
  for (const name of ['one', 'two']) {
    await core.client.send(
      new PutObjectCommand({
        Bucket: core.bucket.name,
        Key: `alice/${name}`,
        Body: packed,
        ContentEncoding: 'gzip',
      }),
    );
  }
  // As Google Cloud Storage answers whoever does not take gzip.
  for (const action of ['HeadObject', 'GetObject'] as const) {
    core.proxy.inject({
      action,
      count: always,
      fault: {
        kind: 'decoded',
        content: large,
        unless: ({ 'accept-encoding': taken }) => String(taken).includes('gzip'),
      },
    });
  }
  t.equal((await program.stat('/one')).size, packed.length);
  t.ok((await program.get('/one')).equals(packed), 'after stat');
  await program.list('/');
  core.proxy.reset();
  t.ok((await program.get('/two')).equals(packed), 'after ls');
  t.ok(
    core.proxy.log.every(({ headers }) => headers['accept-encoding'] === 'gzip'),
    'remembered',
  );
  await append(program, '/two');
  t.ok((await core.bucket.bytes('alice/two')).equals(Buffer.concat([packed, more])));
});

void t.test('objects encrypted with a key of their own', async (t) => {
  for (const before of ['by name', 'after ls'] as const) {
    const core = await useCore(t, { ...options, settings: { partSize, metadataTtlMs: 60_000 } });
    const program = new Program(core.fs);
    await core.bucket.put('alice/secret', small);
    await core.bucket.put('alice/other', more);
    const code = 'InvalidRequest';
    const fault: Fault = { kind: 'status', status: 400, code };
    core.proxy.inject({ action: 'CopyObject', count: always, fault });
    for (const action of ['HeadObject', 'GetObject'] as const) {
      core.proxy.inject({ action, key: 'alice/secret', count: always, fault });
    }
    if (before === 'after ls') t.strictSame(await program.list('/'), ['other', 'secret']);
    t.equal((await program.stat('/secret')).size, small.length, `${before}: shown`);
    await t.rejects(program.get('/secret'), { code: 'EACCES' }, `${before}: not read`);
    await t.rejects(append(program, '/secret'), { code: 'EACCES' }, `${before}: not appended to`);
    await t.rejects(program.rename('/secret', '/moved'), { code: /^(EACCES|EIO)$/ }, before);
    t.strictSame(await core.bucket.keys(), ['alice/other', 'alice/secret'], `${before}: all there`);
    await program.unlink('/secret');
    t.strictSame(await core.bucket.keys(), ['alice/other'], `${before}: removed`);
  }
});
