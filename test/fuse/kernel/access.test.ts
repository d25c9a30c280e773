/** Who is served, and what the kernel may keep so that it serves nobody else: on a fake device. */
import t, { type Test } from 'tap';
import { FsError } from '../../../lib/errors.js';
import type { HomeOwners } from '../../../lib/fuse/driver.js';
import { opcode } from '../../../lib/fuse/kernel/protocol.js';
import type { Path } from '../../../lib/path.js';
import { name, struct, type Message } from '../../support/fake-device.js';
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

void t.test('only root and the allowed users may use the mount', async (t) => {
  const rig = await Rig.start(t, { allowUids: [1000] });
  rig.core.fill('/' as Path, ['a']);
  const asks = (uid: number): Promise<Message> =>
    rig.ask({ opcode: opcode.lookup, uid, body: name('a') });
  t.equal((await asks(0)).error, 0);
  const { error, body } = await asks(1000);
  t.equal(error, 0);
  t.equal(body.readBigUInt64LE(16), 0n, 'the kernel asks for each walk, so each caller is checked');
  t.equal(body.readUInt32LE(32), 0);
  rig.core.records.splice(0);
  t.equal((await asks(1001)).error, errno('EACCES'));
  const { getattr, opendir, access, statfs, mkdir } = opcode;
  for (const code of [getattr, opendir, access, statfs, mkdir]) {
    const answer = await rig.ask({ opcode: code, uid: 1001, body: getattrBody });
    t.equal(answer.error, errno('EACCES'), `opcode ${code}`);
  }
  t.same(rig.core.records, [], 'the core never heard of them');
});

void t.test('below a closed directory the kernel keeps what it was told', async (t) => {
  const closedAncestor = { isThere: true };
  const rig = await Rig.start(t, { allowUids: [1000], closedAncestor });
  rig.core.fill('/' as Path, ['a']);
  const asks = async (): Promise<bigint> =>
    (await rig.ask({ opcode: opcode.lookup, uid: 1000, body: name('a') })).body.readBigUInt64LE(16);
  const asksRoot = async (): Promise<bigint> =>
    (await rig.ask({ opcode: opcode.getattr, uid: 1000, body: getattrBody })).body.readBigUInt64LE(
      0,
    );
  t.equal(await asks(), 5n, 'seconds');
  t.equal(await asksRoot(), 5n);
  const other = await rig.ask({ opcode: opcode.lookup, uid: 1001, body: name('a') });
  t.equal(other.error, errno('EACCES'), 'who asks is checked all the same');

  closedAncestor.isThere = false;
  const { sent } = rig.state.notices;
  rig.state.forgetFirstSteps();
  await until(() => rig.state.notices.sent === sent + 2);
  t.equal(await asks(), 0n, 'opened, each walk is asked for again');
  t.equal(await asksRoot(), 0n);
});

const alice = 1001;
const bob = 1002;

/** A user database: what it remembers, and what it says when it is asked. */
class Owners implements HomeOwners {
  readonly known = new Map<string, { owner: { uid: number } | undefined; forMs: number }>();
  /** names that have to be asked for, and what comes of it */
  readonly slow = new Map<string, Promise<{ uid: number } | undefined>>();

  constructor(forMs = 4000) {
    this.known.set('alice', { owner: { uid: alice }, forMs });
    this.known.set('bob', { owner: { uid: bob }, forMs });
  }

  peek(home: string) {
    return this.known.get(home);
  }

  find(home: string): Promise<{ uid: number } | undefined> {
    return this.slow.get(home) ?? Promise.resolve(undefined);
  }
}

/** Homes of alice and bob, with a directory and a file in each, as the kernel has got to know them. */
async function startHomes(t: Test, isThere: boolean) {
  const owners = new Owners();
  const rig = await Rig.start(t, { owners, closedAncestor: { isThere } });
  rig.core.validForMs = 60_000;
  const nodes: Record<string, number> = {};
  for (const home of ['alice', 'bob']) {
    await rig.core.mkdir(`/${home}` as Path, {});
    await rig.core.mkdir(`/${home}/dir` as Path, {});
    rig.core.fill(`/${home}` as Path, ['file']);
    nodes[home] = await rig.lookup(home);
    nodes[`${home}/dir`] = await rig.lookup('dir', nodes[home]);
    nodes[`${home}/file`] = await rig.lookup('file', nodes[home]);
  }
  rig.core.records.splice(0);
  const node = (path: string): number => nodes[path] ?? 0;
  return { rig, owners, node };
}

const seconds = (body: Buffer, at: number): number =>
  Number(body.readBigUInt64LE(at)) + body.readUInt32LE(at === 0 ? 8 : at === 16 ? 32 : 36) / 1e9;
const entrySeconds = ({ body }: Message): number => seconds(body, 16);
const attributeSeconds = ({ body }: Message): number => seconds(body, 24);

void t.test('a home answers its user and root, whatever is asked', async (t) => {
  const { rig, node } = await startHomes(t, true);
  const [home, file] = [node('alice'), node('alice/file')];
  const write = await rig.open(file, writeOnly);
  const { handle } = await rig.open(file, readOnly);
  const opened = await rig.ask({ opcode: opcode.opendir, nodeId: home, body: struct([8, 0]) });
  const directory = Number(opened.body.readBigUInt64LE(0));
  rig.core.records.splice(0);
  const rename = Buffer.concat([struct([8, node('bob')]), name('file'), name('stolen')]);
  const requests: readonly (readonly [keyof typeof opcode, number, Buffer])[] = [
    ['lookup', home, name('file')],
    ['lookup', node('alice/dir'), name('x')],
    ['getattr', home, getattrBody],
    ['getattr', file, getattrBody],
    ['access', home, struct([4, 1], [4, 0])],
    ['opendir', home, struct([8, 0])],
    ['open', file, struct([4, readOnly], [4, 0])],
    ['create', home, Buffer.concat([struct([4, 1], [4, 0], [4, 0], [4, 0]), name('x')])],
    ['mkdir', home, Buffer.concat([struct([4, 0o755], [4, 0]), name('x')])],
    ['unlink', home, name('file')],
    ['rmdir', home, name('dir')],
    ['rename', home, rename],
    ['symlink', home, Buffer.concat([name('x'), name('y')])],
    ['link', home, Buffer.concat([struct([8, node('bob/file')]), name('x')])],
    ['statfs', file, Buffer.alloc(0)],
    ['read', file, readBody(handle, 0, 4096)],
    ['readdir', home, readBody(directory, 0, 4096)],
    ['readdirplus', home, readBody(directory, 0, 4096)],
  ];
  for (const [what, nodeId, body] of requests) {
    const { error } = await rig.ask({ opcode: opcode[what], nodeId, uid: bob, body });
    t.equal(error, errno('EACCES'), what);
  }
  t.same(rig.core.records, [], 'the core never heard of it');
  for (const uid of [alice, 0]) {
    const reads = { opcode: opcode.read, nodeId: file, uid, body: readBody(handle, 0, 4096) };
    t.equal((await rig.ask(reads)).error, 0, `uid ${uid}`);
    const lists = { opcode: opcode.opendir, nodeId: home, uid, body: struct([8, 0]) };
    t.equal((await rig.ask(lists)).error, 0);
  }
  const flush = { opcode: opcode.flush, nodeId: file, uid: bob, body: handleBody(write.handle) };
  t.equal((await rig.ask(flush)).error, 0, 'what was written is stored, whoever closes it');
});

void t.test(
  'the first level says to all that a home is there, and is listed by root',
  async (t) => {
    const { rig } = await startHomes(t, true);
    const looked = { opcode: opcode.lookup, uid: bob, body: name('alice') };
    t.equal((await rig.ask(looked)).error, 0, 'its entry stays for those who work in it');
    const listed = { opcode: opcode.opendir, body: struct([8, 0]) };
    t.equal((await rig.ask({ ...listed, uid: bob })).error, errno('EACCES'));
    t.equal((await rig.ask(listed)).error, 0);
  },
);

void t.test(
  'below a closed directory the kernel keeps it while it is known whose it is',
  async (t) => {
    const { rig, owners, node } = await startHomes(t, true);
    const first = await rig.ask({ opcode: opcode.lookup, uid: alice, body: name('alice') });
    t.equal(entrySeconds(first), 0, 'the first step is always asked for');
    const looks = () =>
      rig.ask({ opcode: opcode.lookup, nodeId: node('alice'), uid: alice, body: name('file') });
    t.equal(entrySeconds(await looks()), 4);
    t.equal(attributeSeconds(await looks()), 4);
    owners.known.set('alice', { owner: { uid: alice }, forMs: 1500 });
    t.equal(entrySeconds(await looks()), 1.5);
    const { handle, flags } = await rig.open(node('alice/file'), readOnly);
    t.equal(flags & 1, 0, 'pages are kept');
    const body = struct([4, 1], [4, 0], [8, handle]);
    const through = await rig.ask({ opcode: opcode.getattr, nodeId: node('alice/file'), body });
    t.equal(seconds(through.body, 0), 1.5, 'through what is open too');
  },
);

void t.test('in the open it keeps nothing', async (t) => {
  const { rig, node } = await startHomes(t, false);
  const looked = await rig.ask({
    ...{ opcode: opcode.lookup, nodeId: node('alice'), uid: alice, body: name('file') },
  });
  t.same([entrySeconds(looked), attributeSeconds(looked)], [0, 0]);
  const { flags } = await rig.open(node('alice/file'), readOnly);
  t.equal(flags & 1, 1, 'reads go past the page cache');
  const { body } = await rig.ask({
    ...{ opcode: opcode.opendir, nodeId: node('alice'), uid: alice, body: struct([8, 0]) },
  });
  const directory = Number(body.readBigUInt64LE(0));
  const known = rig.state.nodes.size;
  const page = readBody(directory, 0, 4096);
  const lists = { opcode: opcode.readdirplus, nodeId: node('alice'), uid: alice, body: page };
  t.equal((await rig.ask(lists)).error, 0);
  t.equal(rig.state.nodes.size, known, 'a listing gives names alone');
});

void t.test('whose a home is may have to be waited for', async (t) => {
  const { rig, owners, node } = await startHomes(t, true);
  owners.known.clear();
  let say: (owner: { uid: number }) => void = () => undefined;
  owners.slow.set('alice', new Promise((resolve) => (say = resolve)));
  const asks = (uid: number): number =>
    rig.send({ opcode: opcode.lookup, nodeId: node('alice'), uid, body: name('file') });
  const [hers, his, roots] = [asks(alice), asks(bob), asks(0)];
  t.equal((await rig.device.answer(roots)).error, 0, 'root is not held up');
  const others = await rig.ask({ opcode: opcode.getattr, body: getattrBody, uid: bob });
  t.equal(others.error, 0, 'nor who is about something else');
  // The buffers they came in have been used again by now.
  say({ uid: alice });
  t.equal((await rig.device.answer(hers)).error, 0);
  t.equal((await rig.device.answer(his)).error, errno('EACCES'));
  owners.slow.set('alice', Promise.reject(new FsError('EIO', 'no answer')));
  t.equal((await rig.device.answer(asks(alice))).error, errno('EIO'));
  owners.slow.set('alice', Promise.resolve(undefined));
  t.equal((await rig.device.answer(asks(alice))).error, errno('EACCES'), 'a home that is nobody’s');
});

void t.test('of a home that changes hands the kernel keeps no content', async (t) => {
  const { rig, node } = await startHomes(t, true);
  await rig.open(node('alice/file'), readOnly);
  await rig.open(node('bob/file'), readOnly);
  const { sent } = rig.state.notices;
  rig.core.tell({ path: '/alice' as Path, what: 'owner' });
  await until(() => rig.state.notices.sent > sent);
  const notices = rig.device.messages.filter(({ unique, error }) => unique === 0 && error === 2);
  const dropped = notices.filter(({ body }) => body.readBigInt64LE(8) === 0n);
  t.same(
    dropped.map(({ body }) => Number(body.readBigUInt64LE(0))),
    [node('alice/file')],
  );
});
