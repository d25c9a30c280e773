/** What a status with the code of this or that server comes to for programs. */
import t from 'tap';
import { Program, useCore, type Core } from '../support/core.js';
import type { ProxyAction } from '../support/faults.js';

/** All requests of these actions are answered like this. */
function answer(core: Core, actions: readonly ProxyAction[], status: number, code: string): void {
  for (const action of actions) {
    core.proxy.inject({ action, count: Infinity, fault: { kind: 'status', status, code } });
  }
}

void t.test('404 with another code than NoSuchKey is no absence', async (t) => {
  for (const code of ['NoSuchRoute', 'XAdminUserNotFound', '']) {
    const core = await useCore(t);
    await core.bucket.put('alice/f', 'f');
    answer(core, ['HeadObject', 'ListObjectsV2', 'ListObjects', 'DeleteObject'], 404, code);
    const program = new Program(core.fs);
    for (const trial of [
      () => program.stat('/f'),
      () => program.list('/'),
      () => program.mkdir('/d'),
      () => program.rmdir('/d'),
    ]) {
      const failure: unknown = await trial().catch((error: unknown) => error);
      t.match(failure, { code: /^(EIO|EACCES)$/ }, code);
    }
  }
});

void t.test('a DELETE that somebody else answers with 404 has deleted nothing', async (t) => {
  const core = await useCore(t);
  await core.bucket.put('alice/f', 'f');
  const program = new Program(core.fs);
  t.ok(await program.exists('/f'));
  answer(core, ['DeleteObject'], 404, 'NoSuchRoute');
  await t.rejects(program.unlink('/f'), { code: 'EIO' });
  t.equal((await program.stat('/f')).size, 1);
});

void t.test('409 for a directory or a file of the server', async (t) => {
  for (const [code, errno] of [
    ['ExistingObjectIsDirectory', 'EISDIR'],
    ['ObjectParentIsFile', 'ENOTDIR'],
    ['ExistingObjectIsFile', 'ENOTDIR'],
  ] as const) {
    const core = await useCore(t);
    await core.bucket.put('alice/g', 'g');
    answer(core, ['PutObject', 'CopyObject', 'CreateMultipartUpload'], 409, code);
    const program = new Program(core.fs);
    await t.rejects(program.put('/f', 'x'), { code: errno }, `${code}: close`);
    await t.rejects(program.mkdir('/d'), { code: errno }, `${code}: mkdir`);
    await t.rejects(program.rename('/g', '/h'), { code: errno }, `${code}: rename`);
  }
});
