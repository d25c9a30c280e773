/**
 * A directory that gets another name while files below it are being written and stored: what close(2)
 * was told is stored is below the new name, in whichever order things happen.
 */
import t, { type Test } from 'tap';
import { Program, useCore, type Core } from '../support/core.js';
import type { HandleId } from '../../lib/operations.js';

const old = 'as it was';
const fresh = 'written meanwhile';

interface Setting {
  readonly name: string;
  readonly open: (program: Program) => Promise<HandleId>;
  readonly content: string;
}

const settings: Setting[] = [
  {
    name: 'a new file',
    open: (program) => program.create('/d/new'),
    content: fresh,
  },
  {
    name: 'a file written anew',
    open: (program) => program.open('/d/f', { access: 'write', truncate: true }),
    content: fresh,
  },
  {
    name: 'a file that is appended to',
    open: (program) => program.open('/d/f', { access: 'write', append: true }),
    content: old + fresh,
  },
];

async function begin(t: Test, { open }: Setting) {
  const core = await useCore(t, { settings: { renameDir: 'recursive' } });
  const program = new Program(core.fs);
  for (const name of ['f', 'other']) await core.bucket.put(`alice/d/${name}`, old);
  const handle = await open(program);
  await program.write(handle, fresh);
  return {
    core,
    program,
    handle,
    name: (core.fs.status.uploads[0]?.path ?? '').slice('/d/'.length),
  };
}

async function isMoved(t: Test, core: Core, name: string, content: string): Promise<void> {
  const keys = (await core.bucket.keys('alice/')).filter((key) => !key.endsWith('/'));
  const wanted = new Set(['alice/e/f', 'alice/e/other', `alice/e/${name}`]);
  t.same(keys, [...wanted].sort());
  t.equal(await core.bucket.text(`alice/e/${name}`), content);
  t.equal(await core.bucket.text('alice/e/other'), old);
  t.equal(core.fs.status.handles + core.fs.status.tempBytes, 0, 'nothing is left');
}

for (const setting of settings) {
  void t.test(`${setting.name}, whose commit is under way`, async (t) => {
    const { core, program, handle, name } = await begin(t, setting);
    const gate = core.proxy.gate({ action: 'PutObject', at: 'answer' });
    const closing = program.close(handle);
    await gate.arrived;
    const renaming = program.rename('/d', '/e');
    gate.open();
    await Promise.all([closing, renaming]);
    await isMoved(t, core, name, setting.content);
  });

  for (const at of ['request', 'answer'] as const) {
    void t.test(`${setting.name}, closed while others are copied (${at})`, async (t) => {
      const { core, program, handle, name } = await begin(t, setting);
      const gate = core.proxy.gate({ action: 'CopyObject', at });
      const renaming = program.rename('/d', '/e');
      await gate.arrived;
      const closing = program.close(handle);
      gate.open();
      await Promise.all([closing, renaming]);
      await isMoved(t, core, name, setting.content);
    });
  }
}

void t.test('what is made below a directory that is renamed waits', async (t) => {
  const core = await useCore(t, { settings: { renameDir: 'recursive' } });
  const program = new Program(core.fs);
  await core.bucket.put('alice/d/f', old);
  const gate = core.proxy.gate({ action: 'DeleteObject', at: 'request' });
  const renaming = program.rename('/d', '/e');
  await gate.arrived;
  let isMade = false;
  const making = program.create('/d/late', { exclusive: true }).then((handle) => {
    isMade = true;
    return handle;
  });
  await program.exists('/elsewhere');
  t.notOk(isMade);
  gate.open();
  await renaming;
  await program.close(await making);
  t.equal(await core.bucket.text('alice/e/f'), old);
});
