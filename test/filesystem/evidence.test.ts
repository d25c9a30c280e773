/**
 * Something that is not S3 answers a write with success: the caller is told EIO, and whatever was to
 * be written, replaced, moved or removed is as it was.
 */
import { randomBytes } from 'node:crypto';
import t from 'tap';
import { FsError } from '../../lib/errors.js';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';
import type { ProxyAction } from '../support/faults.js';
import { foreignAnswers } from '../support/foreign-answers.js';

const KiB = 1024;
const minPart = 64 * KiB;
const partSize = 100 * KiB;
const always = Number.POSITIVE_INFINITY;
const small = randomBytes(1000);
const large = randomBytes(350 * KiB);
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
      copyThreshold: 200 * KiB,
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

async function stored({ bucket }: Core): Promise<Record<string, string>> {
  const found: Record<string, Buffer> = {};
  for (const key of await bucket.keys()) {
    found[key.replace('alice/', '')] = await bucket.bytes(key);
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
