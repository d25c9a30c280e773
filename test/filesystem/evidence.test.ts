/**
 * Something that is not S3 answers a write with success: the caller is told EIO, and whatever was to
 * be written, replaced, moved or removed is as it was. Where it answers what was asked, nothing is
 * shown, neither as empty nor as absent.
 */
import { randomBytes } from 'node:crypto';
import t from 'tap';
import { FsError } from '../../lib/errors.js';
import '../support/no-jitter.js';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';
import type { ProxyAction } from '../support/faults.js';
import { foreignAnswers } from '../support/foreign-answers.js';
import { kibibyte } from '../support/sizes.js';

const minPart = 64 * kibibyte;
const partSize = 100 * kibibyte;
const always = Number.POSITIVE_INFINITY;
const small = randomBytes(1000);
const large = randomBytes(350 * kibibyte);
const before: Readonly<Record<string, Buffer>> = {
  f: small,
  large: large,
  g: Buffer.from('g'),
  'd/': Buffer.alloc(0),
  'd/a': Buffer.from('a'),
  'd/b': Buffer.from('b'),
  'empty/': Buffer.alloc(0),
};

/** What fails, and which answer of S3's is somebody else's then. */
const cases: readonly [string, ProxyAction, (program: Program) => Promise<unknown>][] = [
  ['a small file over another', 'PutObject', (program) => program.put('/g', small)],
  ['a large file over another', 'CompleteMultipartUpload', (program) => program.put('/g', large)],
  ['parts', 'UploadPart', (program) => program.put('/g', large)],
  ['an empty file', 'PutObject', (program) => program.put('/new', '')],
  [
    'an append',
    'CompleteMultipartUpload',
    async (program) => {
      const handle = await program.open('/large', { access: 'write', append: true });
      await program.write(handle, large);
      await program.close(handle);
    },
  ],
  ['a rename', 'CopyObject', (program) => program.rename('/f', '/g')],
  ['a rename by parts', 'CompleteMultipartUpload', (program) => program.rename('/large', '/g')],
  ['copied parts', 'UploadPartCopy', (program) => program.rename('/large', '/g')],
  ['a rename of an empty directory', 'PutObject', (program) => program.rename('/empty', '/full')],
  ['mkdir', 'PutObject', (program) => program.mkdir('/made')],
  ['unlink', 'DeleteObject', (program) => program.unlink('/f')],
  ['rmdir', 'DeleteObject', (program) => program.rmdir('/empty')],
  // Last: its target is claimed before anything is copied.
  ['a rename of a directory', 'CopyObject', (program) => program.rename('/d', '/claimed')],
];

for (const [what, answer] of Object.entries(foreignAnswers)) {
  void t.test(what, async (t) => {
    const core = await useCore(t, {
      minPart,
      maxAttempts: 1,
      copyThreshold: 200 * kibibyte,
      settings: { partSize, renameDir: 'recursive' },
    });
    const program = new Program(core.fs);
    for (const [key, body] of Object.entries(before)) await core.bucket.put(`alice/${key}`, body);
    for (const [name, action, work] of cases) {
      if (action === 'DeleteObject' && answer({}).status === 204) continue;
      const injection = core.proxy.inject({
        action,
        count: always,
        fault: { kind: 'foreign', answer },
      });
      const end = await work(program).then(
        () => undefined,
        (error: unknown) => error,
      );
      injection.remove();
      t.ok(injection.fired > 0, `${name}: asked`);
      t.ok(end instanceof FsError && end.code === 'EIO', `${name}: EIO`, { end });
      const found = await stored(core);
      Reflect.deleteProperty(found, 'claimed/');
      t.strictSame(found, contents(before), `${name}: all is as it was`);
      t.strictSame(await core.bucket.uploads(), [], `${name}: no upload is left`);
    }
  });
}

/** What is asked, and what a wrong answer would make of it. */
const questions: readonly [string, (program: Program) => Promise<unknown>][] = [
  ['a listing', (program) => program.list('/')],
  ['a listing of a directory', (program) => program.list('/d')],
  ['stat of a file', (program) => program.stat('/f')],
  ['stat of a directory', (program) => program.stat('/d')],
  ['stat of nothing', (program) => program.stat('/absent')],
  ['reading', (program) => program.get('/f')],
  ['rmdir of a full directory', (program) => program.rmdir('/d')],
  ['rename of a full directory', (program) => program.rename('/d', '/moved')],
  ['mkdir', (program) => program.mkdir('/d')],
  ['open for writing', async (program) => program.open('/f', { access: 'readwrite' })],
];

const asked: Readonly<Record<string, readonly (ProxyAction | undefined)[]>> = {
  everything: [undefined],
  listings: ['ListObjectsV2', 'ListObjects'],
  objects: ['HeadObject', 'GetObject'],
};

for (const [what, answer] of Object.entries(foreignAnswers)) {
  // Without a prefix there is none in the answer that could be the wrong one.
  for (const prefix of ['alice/', '']) {
    void t.test(`${what}, to who asks below "${prefix}"`, async (t) => {
      const settings = { renameDir: 'recursive', metadataTtlMs: 0 } as const;
      const core = await useCore(t, { prefix, maxAttempts: 1, settings });
      const program = new Program(core.fs);
      for (const [key, body] of Object.entries(before)) await core.bucket.put(prefix + key, body);
      const opened = await program.open('/f', { access: 'read' });
      const all = [...questions, ['an open file', () => program.read(opened)] as const];
      for (const [sort, actions] of Object.entries(asked)) {
        for (const [name, ask] of all) {
          const fault = { kind: 'foreign', answer } as const;
          const injections = actions.map((action) =>
            core.proxy.inject({ ...(action && { action }), count: always, fault }),
          );
          const end = await ask(program).catch((error: unknown) => error);
          for (const injection of injections) injection.remove();
          const isAsked = injections.some(({ fired }) => fired > 0);
          if (sort === 'everything') t.ok(isAsked, `${name}: asked`);
          if (!isAsked) continue;
          t.ok(end instanceof FsError && end.code === 'EIO', `${sort}, ${name}: EIO`, { end });
        }
      }
      t.strictSame(await stored(core, prefix), contents(before), 'all is as it was');
    });
  }
}

async function stored({ bucket }: Core, prefix = 'alice/'): Promise<Record<string, string>> {
  const found: Record<string, Buffer> = {};
  for (const key of await bucket.keys()) {
    found[key.slice(prefix.length)] = await bucket.bytes(key);
  }
  return contents(found);
}

function contents(objects: Readonly<Record<string, Buffer>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(objects)
      .map(([key, body]) => [key, body.toString('base64')] as const)
      .sort(),
  );
}
