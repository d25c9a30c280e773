import fc from 'fast-check';
import t from 'tap';
import { FsError, type Errno } from '../../../lib/errors.js';
import { opcode } from '../../../lib/fuse/kernel/protocol.js';
import type { Path } from '../../../lib/path.js';
import {
  initBody,
  name,
  request,
  struct,
  systemError,
  type Message,
  type RequestFacts,
} from '../../support/fake-device.js';
import {
  errno,
  getattrBody,
  handleBody,
  readBody,
  readOnly,
  Rig,
  writeOnly,
} from '../../support/session-rig.js';
import { until } from '../../support/until.js';

const interruptOf = (unique: number): Omit<RequestFacts, 'unique'> => ({
  opcode: opcode.interrupt,
  body: struct([8, unique]),
});

void t.test('INIT takes what the kernel offers, of what this driver can do', async (t) => {
  for (const [label, minor, offered] of [
    ['a new kernel', 45, 0xffffffff],
    ['Linux 5.4', 31, 0x0fffffff],
  ] as const) {
    const rig = new Rig();
    const body = initBody(7, minor, offered);
    rig.device.push(request({ opcode: opcode.init, unique: 2, body }));
    t.match(await rig.session.negotiate(), { kernelMinor: minor, minor: Math.min(minor, 38) });
    const answer = await rig.device.answer(2);
    t.equal(answer.body.length, 64, label);
    const flags = answer.body.readUInt32LE(12);
    t.equal(flags & ~offered, 0, 'nothing that was not offered');
    t.ok(flags & (1 << 22), 'MAX_PAGES');
    t.ok(flags & (1 << 18), 'PARALLEL_DIROPS');
    t.notOk(flags & (1 << 16), 'no WRITEBACK_CACHE');
    t.equal(answer.body.readUInt32LE(20), 1 << 20, 'max_write');
    t.equal(answer.body.readUInt16LE(28), 256, 'max_pages');
  }
});

void t.test('INIT of a kernel that is too old is refused in a sentence', async (t) => {
  const rig = new Rig();
  rig.device.push(request({ opcode: opcode.init, unique: 2, body: initBody(7, 27) }));
  await t.rejects(rig.session.negotiate(), /7\.27.*7\.31/);
  t.not((await rig.device.answer(2)).error, 0);
});

void t.test('INIT of a newer major version is answered with ours, and comes again', async (t) => {
  const rig = new Rig();
  rig.device.push(request({ opcode: opcode.init, unique: 2, body: initBody(8, 0) }));
  rig.device.push(request({ opcode: opcode.init, unique: 4, body: initBody(7, 45) }));
  await rig.session.negotiate();
  t.equal((await rig.device.answer(2)).body.readUInt32LE(0), 7);
});

void t.test('random bytes are survived, and the next request is served', async (t) => {
  const rig = await Rig.start(t);
  rig.core.fill('/' as Path, ['a']);
  const codes = fc.oneof(fc.constantFrom(...Object.values(opcode)), fc.nat());
  await fc.assert(
    fc.asyncProperty(
      codes,
      fc.nat(5),
      fc.uint8Array({ maxLength: 200 }),
      async (code, id, bytes) => {
        if (code === opcode.init) return;
        rig.device.push(Buffer.from(bytes));
        rig.send({ opcode: code, nodeId: id, body: Buffer.from(bytes) });
        const answer = await rig.ask({ opcode: opcode.getattr, body: getattrBody });
        t.equal(answer.error, 0);
      },
    ),
    { numRuns: 2000 },
  );
  t.equal(rig.session.counters['inFlight'], 0);
});

void t.test('a malformed request is answered EIO', async (t) => {
  const rig = await Rig.start(t);
  t.equal((await rig.ask({ opcode: opcode.open, body: Buffer.alloc(2) })).error, errno('EIO'));
  t.equal(rig.logged.length, 1);
});

void t.test('unknown opcodes, and those the kernel does better, are ENOSYS', async (t) => {
  const rig = await Rig.start(t);
  const { getxattr, setxattr, lseek, copyFileRange, fallocate, ioctl, poll } = opcode;
  for (const code of [getxattr, setxattr, lseek, copyFileRange, fallocate, ioctl, poll, 9999]) {
    t.equal((await rig.ask({ opcode: code })).error, errno('ENOSYS'), `opcode ${code}`);
  }
});

void t.test('a handler that throws is EIO and logged', async (t) => {
  const rig = await Rig.start(t);
  rig.core.failures.set('getattr', new TypeError('a bug'));
  const answer = await rig.ask({ opcode: opcode.lookup, body: name('a') });
  t.equal(answer.error, errno('EIO'));
  t.match(rig.logged, [/unexpectedly/]);
});

void t.test('ENOSYS of the core passes only where the kernel does not remember it', async (t) => {
  const rig = await Rig.start(t);
  rig.core.fill('/' as Path, ['a']);
  const nodeId = await rig.lookup('a');
  const { handle } = await rig.open(nodeId, writeOnly);
  const unsupported = new FsError('ENOSYS', 'no');
  for (const operation of ['flush', 'fsync', 'open', 'create', 'getattr', 'rename']) {
    rig.core.failures.set(operation, unsupported);
  }
  const names = Buffer.concat([name('a'), name('b')]);
  const create = Buffer.concat([struct([4, 1], [4, 0], [4, 0], [4, 0]), name('n')]);
  const cases: [string, Errno, Omit<RequestFacts, 'unique'>][] = [
    ['flush', 'EIO', { opcode: opcode.flush, nodeId, body: handleBody(handle) }],
    ['fsync', 'EIO', { opcode: opcode.fsync, nodeId, body: handleBody(handle) }],
    ['open', 'EIO', { opcode: opcode.open, nodeId, body: struct([4, 1], [4, 0]) }],
    ['create', 'EIO', { opcode: opcode.create, body: create }],
    ['lookup', 'EIO', { opcode: opcode.lookup, body: name('a') }],
    ['rename', 'ENOSYS', { opcode: opcode.rename, body: Buffer.concat([struct([8, 1]), names]) }],
    [
      'rename2',
      'EOPNOTSUPP',
      { opcode: opcode.rename2, body: Buffer.concat([struct([8, 1], [4, 1], [4, 0]), names]) },
    ],
    ['symlink', 'ENOSYS', { opcode: opcode.symlink, body: names }],
    [
      'link',
      'ENOSYS',
      { opcode: opcode.link, body: Buffer.concat([struct([8, nodeId]), name('b')]) },
    ],
    [
      'mknod',
      'ENOSYS',
      { opcode: opcode.mknod, body: Buffer.concat([Buffer.alloc(16), name('b')]) },
    ],
  ];
  for (const [label, code, facts] of cases)
    t.equal((await rig.ask(facts)).error, errno(code), label);
  t.equal((await rig.ask({ opcode: opcode.access, nodeId, body: Buffer.alloc(8) })).error, 0);
});

void t.test('names that S3 cannot hold are refused before the core hears of them', async (t) => {
  const rig = await Rig.start(t);
  const cases: [Errno, Buffer][] = [
    ['EILSEQ', name(Buffer.from([0xff, 0xfe]))],
    ['ENAMETOOLONG', name('x'.repeat(1025))],
    ['EINVAL', name('a/b')],
    ['EINVAL', name('..')],
    ['EINVAL', name('')],
  ];
  for (const [code, body] of cases) {
    t.equal((await rig.ask({ opcode: opcode.lookup, body })).error, errno(code));
    t.equal((await rig.ask({ opcode: opcode.unlink, body })).error, errno(code));
  }
  t.same(rig.core.records, []);
});

void t.test('an interrupted request has its work aborted and is answered EINTR', async (t) => {
  const rig = await Rig.start(t);
  rig.core.hung.add('getattr');
  const unique = rig.send({ opcode: opcode.lookup, body: name('a') });
  await until(() => rig.core.inside.get('getattr') === 1);
  rig.send(interruptOf(unique));
  t.equal((await rig.device.answer(unique)).error, errno('EINTR'));
  t.equal(rig.session.counters['inFlight'], 0);
});

void t.test('an interrupt may come before its request', async (t) => {
  const rig = await Rig.start(t);
  rig.core.hung.add('getattr');
  rig.send(interruptOf(6));
  t.equal(rig.send({ opcode: opcode.lookup, body: name('a') }), 6);
  t.equal((await rig.device.answer(6)).error, errno('EINTR'));
});

void t.test('an interrupt that comes too late hits nobody', async (t) => {
  const rig = await Rig.start(t);
  const first = rig.send({ opcode: opcode.getattr, body: getattrBody });
  await rig.device.answer(first);
  for (let late = 0; late < 1000; late += 1) rig.send(interruptOf(first));
  t.equal((await rig.ask({ opcode: opcode.getattr, body: getattrBody })).error, 0);
});

void t.test('work that does not end is answered EINTR once, and undone when it ends', async (t) => {
  const rig = await Rig.start(t);
  rig.core.fill('/' as Path, ['a']);
  const nodeId = await rig.lookup('a');
  rig.core.gate('open', 2);
  const unique = rig.send({ opcode: opcode.open, nodeId, body: struct([4, 0], [4, 0]) });
  await until(() => rig.core.inside.get('open') === 1);
  rig.send(interruptOf(unique));
  t.equal((await rig.device.answer(unique)).error, errno('EINTR'));
  t.equal(rig.core.handles, 0);
  // A second caller opens the gate for both.
  const { handle } = await rig.open(nodeId, readOnly);
  await until(() => rig.core.inside.get('open') === 0);
  await rig.ask({ opcode: opcode.release, nodeId, body: handleBody(handle) });
  await until(() => rig.core.handles === 0);
  t.equal(rig.session.counters['openFiles'], 0);
  t.equal(rig.device.messages.filter((message) => message.unique === unique).length, 1);
});

void t.test('what a reply handed out is taken back if the kernel does not take it', async (t) => {
  const rig = await Rig.start(t);
  rig.core.fill('/' as Path, ['a']);
  rig.device.writeFailures.push(systemError('ENOENT'));
  rig.send({ opcode: opcode.lookup, body: name('a') });
  await until(() => rig.device.writeFailures.length === 0);
  t.equal(rig.session.counters['nodes'], 1, 'no node for a lookup nobody got');
  const nodeId = await rig.lookup('a');
  rig.device.writeFailures.push(systemError('ENOENT'));
  rig.send({ opcode: opcode.open, nodeId, body: struct([4, 0], [4, 0]) });
  await until(() => rig.device.writeFailures.length === 0);
  await until(() => rig.core.handles === 0);
  t.equal(rig.session.counters['openFiles'], 0);
});

void t.test('a reply that the kernel calls wrong is logged and answered EIO', async (t) => {
  const rig = await Rig.start(t);
  rig.device.writeFailures.push(systemError('EINVAL'));
  const answer = await rig.ask({ opcode: opcode.getattr, body: getattrBody });
  t.equal(answer.error, errno('EIO'));
  t.match(rig.logged, [/refused a reply/]);
});

void t.test('the data of a write stays untouched until the core has taken it', async (t) => {
  const rig = await Rig.start(t);
  rig.core.fill('/' as Path, ['a']);
  const nodeId = await rig.lookup('a');
  const { handle } = await rig.open(nodeId, writeOnly);
  rig.core.gate('write', 40);
  const chunk = 5000;
  const sent = Array.from({ length: 40 }, (_, index) => {
    const at = index * chunk;
    const head = struct([8, handle], [8, at], [4, chunk], [4, 0], [8, 0], [4, 0], [4, 0]);
    const body = Buffer.concat([head, Buffer.alloc(chunk, index + 1)]);
    return rig.send({ opcode: opcode.write, nodeId, body });
  });
  for (const unique of sent) {
    t.equal((await rig.device.answer(unique)).body.readUInt32LE(0), chunk);
  }
  const size = 40 * chunk;
  const { body } = await rig.ask({ opcode: opcode.read, nodeId, body: readBody(handle, 0, size) });
  const expected = Buffer.concat(Array.from({ length: 40 }, (_, i) => Buffer.alloc(chunk, i + 1)));
  t.ok(body.equals(expected));
});

void t.test('reads beyond the end bring nothing, and never more than asked', async (t) => {
  const rig = await Rig.start(t);
  rig.core.replace('/a' as Path, 'hello');
  const nodeId = await rig.lookup('a');
  const { handle } = await rig.open(nodeId, readOnly);
  const read = async (offset: number): Promise<string> => {
    const facts = { opcode: opcode.read, nodeId, body: readBody(handle, offset, 3) };
    return (await rig.ask(facts)).body.toString();
  };
  t.equal(await read(0), 'hel');
  t.equal(await read(3), 'lo');
  t.equal(await read(1000), '');
});

void t.test(
  'writers read and write directly; readers keep pages of the same version',
  async (t) => {
    const rig = await Rig.start(t);
    rig.core.replace('/a' as Path, 'one');
    const nodeId = await rig.lookup('a');
    const release = (handle: number): Promise<Message> =>
      rig.ask({ opcode: opcode.release, nodeId, body: handleBody(handle) });
    const [directIo, keepCache, noFlush] = [1, 2, 32];
    const first = await rig.open(nodeId, readOnly);
    t.equal(first.flags, noFlush, 'nothing to keep yet');
    t.equal((await rig.open(nodeId, readOnly)).flags, keepCache | noFlush);
    await release(first.handle);
    await release(first.handle + 1);
    const writer = await rig.open(nodeId, writeOnly);
    t.equal(writer.flags, directIo);
    const beside = await rig.open(nodeId, readOnly);
    t.equal(beside.flags, directIo | noFlush, 'a reader beside a writer');
    await release(writer.handle);
    await release(beside.handle);
    t.equal((await rig.open(nodeId, readOnly)).flags, noFlush, 'pages from before are not kept');
  },
);

void t.test('who opens for writing what others read is sent to look again, once', async (t) => {
  const rig = await Rig.start(t);
  rig.core.replace('/a' as Path, 'one');
  const readers = await rig.lookup('a');
  const { handle } = await rig.open(readers, readOnly);
  const body = struct([4, writeOnly], [4, 0]);
  const refused = await rig.ask({ opcode: opcode.open, nodeId: readers, pid: 7, body });
  t.equal(refused.error, errno('ESTALE'));
  const writers = await rig.lookup('a');
  t.not(writers, readers);
  // Another reader gets in between: the writer is let in all the same.
  await rig.open(writers, readOnly);
  const answer = await rig.ask({ opcode: opcode.open, nodeId: writers, pid: 7, body });
  t.equal(answer.error, 0);
  const read = await rig.ask({
    opcode: opcode.read,
    nodeId: readers,
    body: readBody(handle, 0, 9),
  });
  t.equal(read.body.toString(), 'one');
});

void t.test(
  'an object replaced from outside gets a node of its own while the old is read',
  async (t) => {
    const rig = await Rig.start(t);
    rig.core.replace('/a' as Path, 'one');
    const before = await rig.lookup('a');
    const { handle } = await rig.open(before, readOnly);
    rig.core.replace('/a' as Path, 'other', { tell: false });
    const after = await rig.lookup('a');
    t.not(after, before);
    const size = async (nodeId: number): Promise<number> => {
      const { body } = await rig.ask({ opcode: opcode.getattr, nodeId, body: getattrBody });
      return Number(body.readBigUInt64LE(24));
    };
    t.equal(await size(before), 3, 'fstat of the reader');
    t.equal(await size(after), 5);
    await rig.ask({ opcode: opcode.release, nodeId: before, body: handleBody(handle) });
    const gone = await rig.ask({ opcode: opcode.getattr, nodeId: before, body: getattrBody });
    t.equal(gone.error, errno('ESTALE'), 'the kernel looks the name up again');
  },
);

void t.test('a writer that commits keeps its node', async (t) => {
  const rig = await Rig.start(t);
  rig.core.replace('/a' as Path, 'one');
  const nodeId = await rig.lookup('a');
  const { handle } = await rig.open(nodeId, writeOnly);
  const head = struct([8, handle], [8, 0], [4, 3], [4, 0], [8, 0], [4, 0], [4, 0]);
  const body = Buffer.concat([head, Buffer.from('two')]);
  await rig.ask({ opcode: opcode.write, nodeId, body });
  t.equal(await rig.lookup('a'), nodeId);
  await rig.ask({ opcode: opcode.flush, nodeId, body: handleBody(handle) });
  await rig.ask({ opcode: opcode.release, nodeId, body: handleBody(handle) });
  t.equal(await rig.lookup('a'), nodeId);
});

void t.test('changes from outside are told to the kernel', async (t) => {
  const rig = await Rig.start(t);
  rig.core.replace('/a' as Path, 'one');
  const nodeId = await rig.lookup('a');
  const notices = (): [number, bigint][] =>
    rig.device.messages
      .filter((message) => message.unique === 0)
      .map((message) => [message.error, message.body.readBigUInt64LE(0)]);
  rig.core.replace('/a' as Path, 'two');
  t.same(notices(), [[2, BigInt(nodeId)]], 'attributes of a file nobody reads');
  const reading = await rig.lookup('a');
  await rig.open(reading, readOnly);
  rig.core.vanish('/a' as Path);
  await until(() => notices().length === 2);
  t.same(notices()[1], [3, 1n], 'the name of one that is read');
});

void t.test('a name that vanished makes the kernel look again, and then says so', async (t) => {
  const rig = await Rig.start(t);
  rig.core.fill('/' as Path, ['a']);
  const nodeId = await rig.lookup('a');
  rig.core.vanish('/a' as Path, { tell: false });
  const getattr = { opcode: opcode.getattr, nodeId, body: getattrBody };
  t.equal((await rig.ask(getattr)).error, errno('ESTALE'));
  t.equal((await rig.ask(getattr)).error, errno('ENOENT'));
  const open = { opcode: opcode.open, nodeId, body: struct([4, 1], [4, 0]) };
  t.equal((await rig.ask(open)).error, errno('ESTALE'), 'so that O_CREAT creates');
});

void t.test('READDIRPLUS counts a lookup for each entry, and FORGET gives them back', async (t) => {
  const rig = await Rig.start(t);
  rig.core.fill('/' as Path, ['a', 'b', 'c']);
  const opened = await rig.ask({ opcode: opcode.opendir, body: struct([4, 0], [4, 0]) });
  const handle = Number(opened.body.readBigUInt64LE(0));
  const page = (offset: number, code: number = opcode.readdirplus): Promise<Message> =>
    rig.ask({ opcode: code, body: readBody(handle, offset, 4096) });
  await page(0);
  t.equal(rig.session.counters['nodes'], 4, 'the root and three files; no dots');
  await page(0);
  t.equal((await page(5)).body.length, 0, 'the end');
  t.equal((await page(0, opcode.readdir)).body.length, 5 * 32);
  const ids = await Promise.all(['a', 'b', 'c'].map((text) => rig.lookup(text)));
  const batch = struct([4, 3], [4, 0], ...ids.flatMap((id) => [[8, id] as const, [8, 3] as const]));
  rig.send({ opcode: opcode.batchForget, nodeId: 0, body: batch });
  await rig.ask({ opcode: opcode.getattr, body: getattrBody });
  t.equal(rig.session.counters['nodes'], 1);
  await rig.ask({ opcode: opcode.releasedir, body: handleBody(handle) });
  t.equal(rig.core.handles, 0);
});

void t.test('a listing does not bring back what changed after it was begun', async (t) => {
  const rig = await Rig.start(t);
  rig.core.fill('/' as Path, ['a', 'b']);
  const opened = await rig.ask({ opcode: opcode.opendir, body: struct([4, 0], [4, 0]) });
  const handle = Number(opened.body.readBigUInt64LE(0));
  await rig.lookup('a');
  await rig.ask({ opcode: opcode.unlink, body: name('a') });
  const body = readBody(handle, 2, 4096);
  const listed = await rig.ask({ opcode: opcode.readdirplus, body });
  t.equal(listed.body.readBigUInt64LE(0), 0n, 'a comes without attributes');
  t.not(listed.body.readBigUInt64LE(160), 0n, 'b with them');
});

void t.test('a listing that took long to come is as good as any', async (t) => {
  const rig = await Rig.start(t);
  rig.core.fill('/' as Path, ['a']);
  const opendir = { opcode: opcode.opendir, body: struct([4, 0], [4, 0]) };
  rig.core.gate('opendir', 2);
  const first = rig.ask(opendir);
  await until(() => rig.core.inside.get('opendir') === 1);
  rig.clock.pass(10_000);
  await rig.ask(opendir);
  const handle = Number((await first).body.readBigUInt64LE(0));
  const entry = async (): Promise<{ node: bigint; seconds: bigint }> => {
    const page = { opcode: opcode.readdirplus, body: readBody(handle, 2, 4096) };
    const { body } = await rig.ask(page);
    return { node: body.readBigUInt64LE(0), seconds: body.readBigUInt64LE(24) };
  };
  const fresh = await entry();
  t.not(fresh.node, 0n, 'it comes with attributes');
  t.equal(fresh.seconds, 5n, 'which the kernel may keep from the end of the listing on');
  rig.clock.pass(5000);
  t.equal((await entry()).node, 0n, 'and no longer');
});

void t.test('what can never be there is told once, for a day', async (t) => {
  const rig = await Rig.start(t);
  const { error, body } = await rig.ask({ opcode: opcode.lookup, body: name('etc') });
  t.equal(error, 0);
  t.equal(body.readBigUInt64LE(0), 0n, 'node 0: there is none');
  t.equal(body.readBigUInt64LE(16), 86_400n);
  t.equal(body.length, 128);
  t.strictSame(rig.core.records, [], 'the core is not asked');
  const absent = await rig.ask({ opcode: opcode.lookup, body: name('else') });
  t.strictSame(rig.session.requestsByName, { LOOKUP: 2 }, 'both are counted by their name');
  t.equal(absent.error, errno('ENOENT'), 'what others may make is asked for each time');
});

void t.test(
  'attributes are not left to the kernel for longer than the core answers for them',
  async (t) => {
    const rig = await Rig.start(t);
    rig.core.fill('/' as Path, ['a']);
    const validity = async (): Promise<[bigint, number]> => {
      const { body } = await rig.ask({ opcode: opcode.lookup, body: name('a') });
      return [body.readBigUInt64LE(24), body.readUInt32LE(36)];
    };
    rig.core.validForMs = 1500;
    t.same(await validity(), [1n, 500_000_000]);
    rig.core.validForMs = 60_000;
    t.same(await validity(), [5n, 0], 'nor than the time set for the mount');
    rig.core.validForMs = -10;
    t.same(await validity(), [0n, 0]);
  },
);

void t.test('unmounting releases what the kernel did not', async (t) => {
  const rig = new Rig();
  rig.device.push(request({ opcode: opcode.init, unique: 2, body: initBody(7, 45) }));
  await rig.session.negotiate();
  const served = rig.session.serve();
  rig.core.fill('/' as Path, ['a']);
  await rig.open(await rig.lookup('a'), readOnly);
  await rig.ask({ opcode: opcode.opendir, body: struct([4, 0], [4, 0]) });
  rig.core.hung.add('getattr');
  rig.send({ opcode: opcode.lookup, body: name('b') });
  await until(() => rig.core.inside.get('getattr') === 1);
  rig.device.end();
  await served;
  t.equal(rig.core.handles, 0);
  t.ok(rig.device.closed);
  await until(() => rig.core.inside.get('getattr') === 0);
});

void t.test(
  'the kernel is asked to forget when it knows more nodes than are to be kept',
  async (t) => {
    const names = Array.from({ length: 150 }, (_, index) => `f${index}`);
    for (const [minor, code] of [
      [45, 9],
      [44, 3],
    ] as const) {
      const rig = await Rig.start(t, { minor });
      rig.core.fill('/' as Path, names);
      for (const text of names) await rig.lookup(text);
      const asked = (): Message[] => rig.device.messages.filter((message) => message.unique === 0);
      await until(() => asked().length > 0);
      t.equal(asked()[0]!.error, code, `7.${minor}`);
      if (code === 9) t.equal(asked()[0]!.body.readUInt32LE(0), 100, 'all that were known then');
      else await until(() => asked().length >= 100);
    }
  },
);
