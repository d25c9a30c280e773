import { constants } from 'node:fs';
import t from 'tap';
import { isFsError } from '../../../lib/errors.js';
import type { Attributes } from '../../../lib/operations.js';
import {
  attributesNotice,
  attrReply,
  createReply,
  DirectoryPage,
  entryNotice,
  entryReply,
  initReply,
  openReply,
  pruneNotice,
  statfsReply,
  writeReply,
  writeReplyHeader,
  type EntryView,
} from '../../../lib/fuse/kernel/replies.js';
import {
  decodeBatchForget,
  decodeCreate,
  decodeForget,
  decodeGetattr,
  decodeHandle,
  decodeHeader,
  decodeInit,
  decodeInterrupt,
  decodeLink,
  decodeName,
  decodeOpen,
  decodeRead,
  decodeRename,
  decodeSetattr,
  decodeSymlink,
  decodeWrite,
  MalformedRequest,
} from '../../../lib/fuse/kernel/requests.js';
import { initBody, name, request, struct } from '../../support/fake-device.js';

const attributes: Attributes = {
  kind: 'file',
  size: 0x1_2345_6789,
  mode: 0o640,
  uid: 1001,
  gid: 1002,
  mtime: 1_700_000_000_123_000_000n,
  version: 'v',
};
const entry: EntryView = {
  nodeId: 77,
  inode: 77,
  attributes,
  unlinked: false,
  attributesForMs: 2500,
  entryForMs: 1250,
};

/** fuse_attr of `entry` */
const attrBytes = struct(
  [8, 77],
  [8, 0x1_2345_6789],
  [8, Math.ceil(0x1_2345_6789 / 512)],
  [8, 1_700_000_000],
  [8, 1_700_000_000],
  [8, 1_700_000_000],
  [4, 123_000_000],
  [4, 123_000_000],
  [4, 123_000_000],
  [4, 0o100640],
  [4, 1],
  [4, 1001],
  [4, 1002],
  [4, 0],
  [4, 1 << 20],
  [4, 0],
);
/** fuse_entry_out of `entry` */
const entryBytes = Buffer.concat([
  struct([8, 77], [8, 0], [8, 1], [8, 2], [4, 250_000_000], [4, 500_000_000]),
  attrBytes,
]);

function body(reply: Buffer): Buffer {
  return reply.subarray(16);
}

void t.test('replies have the bytes of the kernel header', (t) => {
  t.same(attrBytes.length, 88);
  t.same(body(entryReply(entry)), entryBytes, 'fuse_entry_out');
  const attrOut = Buffer.concat([struct([8, 2], [4, 500_000_000], [4, 0]), attrBytes]);
  t.same(body(attrReply(entry)), attrOut, 'fuse_attr_out');
  const openOut = struct([8, 9], [4, 3], [4, 0]);
  t.same(body(openReply({ handle: 9, flags: 3 })), openOut, 'fuse_open_out');
  const created = body(createReply(entry, { handle: 9, flags: 3 }));
  t.same(created, Buffer.concat([entryBytes, openOut]), 'CREATE');
  t.same(body(writeReply(4096)), struct([4, 4096], [4, 0]), 'fuse_write_out');
  const init = initReply({
    minor: 38,
    maxReadahead: 131072,
    flags: 0x8000_0001,
    maxBackground: 64,
    maxWrite: 1 << 20,
    maxPages: 256,
  });
  const initOut = struct(
    [4, 7],
    [4, 38],
    [4, 131072],
    [4, 0x8000_0001],
    [2, 64],
    [2, 48],
    [4, 1 << 20],
    [4, 1],
    [2, 256],
    [2, 0],
  );
  t.same(body(init), Buffer.concat([initOut, Buffer.alloc(32)]), 'fuse_init_out');
  const stats = statfsReply({
    blockSize: 4096,
    blocks: 100,
    blocksFree: 50,
    files: 10,
    filesFree: 5,
    nameMax: 255,
  });
  const kstatfs = struct(
    [8, 100],
    [8, 50],
    [8, 50],
    [8, 10],
    [8, 5],
    [4, 4096],
    [4, 255],
    [4, 4096],
  );
  t.same(body(stats), Buffer.concat([kstatfs, Buffer.alloc(28)]), 'fuse_statfs_out');
  t.end();
});

void t.test('a reply header has length, negative errno and the request it answers', (t) => {
  const bytes = Buffer.alloc(16);
  writeReplyHeader(bytes, { length: 16, unique: 0x1_0000_0002, error: 5 });
  t.same(bytes, struct([4, 16], [4, -5], [8, 0x1_0000_0002]));
  t.end();
});

void t.test('directories, unlinked files and odd dates are shown as stat(2) has them', (t) => {
  const mode = (view: EntryView): number => body(attrReply(view)).readUInt32LE(16 + 60);
  const links = (view: EntryView): number => body(attrReply(view)).readUInt32LE(16 + 64);
  const directory = {
    ...entry,
    attributes: { ...attributes, kind: 'directory' as const, mode: 0o755 },
  };
  t.equal(mode(directory), 0o040755);
  t.equal(links(directory), 2);
  t.equal(links({ ...entry, unlinked: true }), 0);
  for (const [mtime, seconds, nanoseconds] of [
    [0n, 0n, 0],
    [1_700_000_000_123_456_789n, 1_700_000_000n, 123_456_789],
    [-1n, -1n, 999_999_999],
    [-1_500_000_000n, -2n, 500_000_000],
  ] as const) {
    const bytes = body(attrReply({ ...entry, attributes: { ...attributes, mtime } }));
    t.equal(bytes.readBigInt64LE(16 + 32), seconds, `seconds of ${mtime}`);
    t.equal(bytes.readUInt32LE(16 + 52), nanoseconds, `nanoseconds of ${mtime}`);
  }
  t.end();
});

void t.test('a page of names has the bytes of fuse_dirent and stops at its size', (t) => {
  const page = new DirectoryPage(24 + 8 + 24, { plus: false });
  t.ok(page.fits('abc'));
  page.add({ name: 'abc', kind: 'file', next: 3, inode: 5 });
  t.notOk(page.fits('x'), 'the second would need 32 bytes and has 24');
  const expected = Buffer.concat([
    struct([8, 5], [8, 3], [4, 3], [4, 8]),
    Buffer.from('abc\0\0\0\0\0'),
  ]);
  t.same(body(page.finish()), expected);
  t.end();
});

void t.test('a page with attributes has an entry before each name', (t) => {
  const page = new DirectoryPage(4096, { plus: true });
  page.add({ name: 'ä', kind: 'file', next: 3, inode: 77 }, entry);
  page.add({ name: 'b', kind: 'directory', next: 4 });
  const expected = Buffer.concat([
    entryBytes,
    struct([8, 77], [8, 3], [4, 2], [4, 8]),
    Buffer.from('ä\0\0\0\0\0\0'),
    Buffer.alloc(128),
    struct([8, 0xffffffff], [8, 4], [4, 1], [4, 4]),
    Buffer.from('b\0\0\0\0\0\0\0'),
  ]);
  t.same(body(page.finish()), expected);
  t.end();
});

void t.test('notices have a code for an error and no request', (t) => {
  const inode = struct([4, 40], [4, 2], [8, 0], [8, 12], [8, -1], [8, 0]);
  t.same(attributesNotice(12), inode, 'fuse_notify_inval_inode_out');
  const name = struct([4, 35], [4, 3], [8, 0], [8, 12], [4, 2], [4, 0]);
  const expected = Buffer.concat([name, Buffer.from('ü\0')]);
  t.same(entryNotice(12, 'ü'), expected, 'fuse_notify_inval_entry_out');
  const prune = struct([4, 48], [4, 9], [8, 0], [4, 2], [4, 0], [8, 0], [8, 5], [8, 6]);
  t.same(pruneNotice([5, 6]), prune, 'fuse_notify_prune_out');
  t.end();
});

void t.test('requests are read as the kernel header lays them out', (t) => {
  const bytes = request({ opcode: 3, unique: 8, nodeId: 5, uid: 33, pid: 4242 });
  t.match(decodeHeader(bytes), { opcode: 3, unique: 8, nodeId: 5, uid: 33, gid: 0, pid: 4242 });
  t.match(decodeInit(initBody(7, 45, 1)), { major: 7, minor: 45, maxReadahead: 131072, flags: 1 });
  t.equal(decodeName(name('naïve')), 'naïve');
  t.same(decodeSymlink(Buffer.concat([name('n'), name('t')])), { name: 'n', target: 't' });
  t.same(decodeGetattr(struct([4, 1], [4, 0], [8, 9])), { handle: 9 });
  t.same(decodeGetattr(struct([4, 0], [4, 0], [8, 9])), { handle: undefined });
  t.match(decodeOpen(struct([4, 0], [4, 0])), { access: 'read', truncate: false });
  t.match(decodeOpen(struct([4, 0o2001], [4, 0])), { access: 'write', append: true });
  t.match(decodeOpen(struct([4, 0o1002], [4, 0])), { access: 'readwrite', truncate: true });
  t.match(decodeOpen(struct([4, 0o1000], [4, 0])), { access: 'readwrite', truncate: true });
  const create = Buffer.concat([struct([4, 0o301], [4, 0o644], [4, 0o22], [4, 0]), name('n')]);
  t.match(decodeCreate(create), { name: 'n', flags: { access: 'write', exclusive: true } });
  const names = Buffer.concat([name('a'), name('b')]);
  const moved = { newParentId: 6, from: 'a', to: 'b' };
  t.match(decodeRename(Buffer.concat([struct([8, 6]), names]), false), { ...moved, flags: 0 });
  const rename2 = Buffer.concat([struct([8, 6], [4, 1], [4, 0]), names]);
  t.match(decodeRename(rename2, true), { ...moved, flags: 1 });
  t.same(decodeLink(Buffer.concat([struct([8, 6]), name('n')])), { nodeId: 6, name: 'n' });
  const read = struct([8, 9], [8, 0x1_0000_0000], [4, 4096], [4, 0], [8, 0], [4, 0], [4, 0]);
  t.same(decodeRead(read), { handle: 9, offset: 0x1_0000_0000, size: 4096 });
  const write = struct([8, 9], [8, 7], [4, 3], [4, 0], [8, 0], [4, 0], [4, 0]);
  const written = decodeWrite(Buffer.concat([write, Buffer.from('abc')]));
  t.match(written, { handle: 9, offset: 7, isSynchronous: false });
  for (const flag of [constants.O_SYNC, constants.O_DSYNC]) {
    write.writeUInt32LE(constants.O_RDWR | flag, 32);
    t.match(decodeWrite(Buffer.concat([write, Buffer.from('abc')])), { isSynchronous: true });
  }
  t.equal(written.data.toString(), 'abc');
  t.equal(decodeHandle(struct([8, 9], [8, 0], [8, 0])), 9);
  t.equal(decodeForget(struct([8, 3])), 3);
  const batch = struct([4, 2], [4, 0], [8, 5], [8, 1], [8, 6], [8, 2]);
  const forgotten = [
    { nodeId: 5, lookups: 1 },
    { nodeId: 6, lookups: 2 },
  ];
  t.same(decodeBatchForget(batch), forgotten);
  t.equal(decodeInterrupt(struct([8, 14])), 14);
  t.end();
});

void t.test('SETATTR says what changes and leaves out what does not', (t) => {
  const setattr = (valid: number): Buffer =>
    struct(
      [4, valid],
      [4, 0],
      [8, 9],
      [8, 100],
      [8, 0],
      [8, 50],
      [8, -2],
      [8, 0],
      [4, 999_999_999],
      [4, 500_000_000],
      [4, 0],
      [4, 0o100600],
      [4, 0],
      [4, 11],
      [4, 12],
      [4, 0],
    );
  t.same(decodeSetattr(setattr(0)), {
    handle: undefined,
    size: undefined,
    mode: undefined,
    uid: undefined,
    gid: undefined,
    atime: 'omit',
    mtime: 'omit',
  });
  t.same(decodeSetattr(setattr(0x7f)), {
    handle: 9,
    size: 100,
    mode: 0o600,
    uid: 11,
    gid: 12,
    atime: 50_999_999_999n,
    mtime: -1_500_000_000n,
  });
  t.match(decodeSetattr(setattr(0x1b0)), { atime: 'now', mtime: 'now' });
  t.end();
});

void t.test('what is too short, does not end or lies about its length is malformed', (t) => {
  const short = Buffer.alloc(3);
  const decoders = {
    decodeBatchForget,
    decodeCreate,
    decodeForget,
    decodeGetattr,
    decodeHandle,
    decodeHeader,
    decodeInit,
    decodeInterrupt,
    decodeLink,
    decodeOpen,
    decodeRead,
    decodeRename: (bytes: Buffer) => decodeRename(bytes, true),
    decodeSetattr,
    decodeWrite,
  };
  for (const [label, decode] of Object.entries(decoders)) {
    t.throws(() => decode(short), MalformedRequest, label);
  }
  t.throws(() => decodeName(Buffer.from('abc')), MalformedRequest, 'no end');
  t.throws(() => decodeBatchForget(struct([4, 0xffffffff], [4, 0])), MalformedRequest, 'count');
  const write = struct([8, 9], [8, 7], [4, 30], [4, 0], [8, 0], [4, 0], [4, 0]);
  t.throws(() => decodeWrite(write), MalformedRequest, 'data missing');
  t.throws(() => decodeHeader(request({ opcode: 1, unique: 2 }).subarray(0, 39)), MalformedRequest);
  t.end();
});

void t.test('a name that is not UTF-8 is EILSEQ', (t) => {
  try {
    decodeName(name(Buffer.from([0x61, 0xff])));
    t.fail('was taken');
  } catch (error) {
    t.ok(isFsError(error, 'EILSEQ'));
  }
  t.end();
});
