/**
 * OPENDIR, READDIR, READDIRPLUS, RELEASEDIR: listings, page by page.
 *
 * Offsets 0 and 1 are `.` and `..`, which the core leaves out; its own offsets follow.
 * READDIRPLUS gives each entry with its attributes, as if each had been looked up. An entry whose name
 * changed since the listing was begun, or whose attributes may no longer be kept, comes as a bare name
 * instead: the kernel would believe the older attributes.
 */
import { FsError } from '../../errors.js';
import type { DirectoryEntry, HandleId } from '../../operations.js';
import { done, goneError, nodeOf, type Call, type Reply } from './call.js';
import type { MountState, KernelDirectory } from './mount-state.js';
import type { Node } from './node-table.js';
import { DirectoryPage, openReply, type EntryView } from './replies.js';
import { decodeHandle, decodeRead } from './requests.js';

const dots = 2;

function directoryOf(state: MountState, handle: number): KernelDirectory {
  const directory = state.directories.get(handle);
  if (directory === undefined) throw new FsError('EBADF', `directory ${handle} is not open`);
  return directory;
}

function closeDirectory(state: MountState, handle: number): void {
  const { node } = directoryOf(state, handle);
  state.directories.delete(handle);
  state.nodes.closeDirectory(node);
  state.operations.releasedir(handle);
}

export function opendir(state: MountState, call: Call): Reply | Promise<Reply> {
  const node = nodeOf(state, call.header.nodeId);
  if (node.kind !== 'directory') throw new FsError('ENOTDIR', 'is a file');
  const path = state.nodes.pathOf(node);
  if (path === undefined) throw new FsError('ENOENT', 'the directory is gone');
  // From here on, not from the reply on: what changes while the listing comes may be missing in it.
  state.nodes.openDirectory(node);
  const begun = { node, changesSeen: state.changes };
  const known = state.operations.opendirNow(path, call.context);
  if (known !== undefined) return opened(state, begun, known);
  return state.operations.opendir(path, call.context).then(
    (handle) => opened(state, begun, handle),
    (error: unknown) => {
      state.nodes.closeDirectory(node);
      throw goneError(node, error);
    },
  );
}

function opened(
  state: MountState,
  begun: Pick<KernelDirectory, 'node' | 'changesSeen'>,
  handle: HandleId,
): Reply {
  const nowMs = state.clock.nowMs();
  state.directories.set(handle, { ...begun, listedAtMs: nowMs, freshAtMs: nowMs });
  const view = { handle, flags: 0 };
  return { pieces: [openReply(view)], undo: () => closeDirectory(state, handle) };
}

export function releasedir(state: MountState, call: Call): Reply {
  closeDirectory(state, decodeHandle(call.body));
  return done();
}

/** Names change at once and for all here, so there is nothing to wait for. */
export function fsyncdir(): Reply {
  return done();
}

/** What READDIRPLUS may say of an entry, or undefined where the name alone has to do. */
function plusView(
  state: MountState,
  directory: KernelDirectory,
  entry: DirectoryEntry,
  ageMs: number,
): { node: Node; view: EntryView } | undefined {
  const { node: parent } = directory;
  if ((parent.changes?.get(entry.name) ?? 0) > directory.changesSeen) return undefined;
  if (!state.mayKeep(parent, entry.attributes, ageMs)) return undefined;
  const node = state.nodes.see(parent, entry.name, entry.attributes);
  return { node, view: state.entry(node, entry.attributes, ageMs) };
}

interface DirectoryReply {
  readonly page: DirectoryPage;
  readonly plus: boolean;
  /** nodes the kernel gets to know by this page */
  readonly given: Node[];
}

function addDots(listing: DirectoryReply, directory: KernelDirectory, offset: number): void {
  const { node } = directory;
  const both = [
    { name: '.', inode: node.inode },
    { name: '..', inode: (node.parent ?? node).inode },
  ];
  for (const [index, dot] of both.entries()) {
    if (index < offset || !listing.page.fits(dot.name)) continue;
    listing.page.add({ ...dot, kind: 'directory', next: index + 1 });
  }
}

function addEntries(
  state: MountState,
  listing: DirectoryReply,
  { directory, entries }: { directory: KernelDirectory; entries: readonly DirectoryEntry[] },
): void {
  const { page, given } = listing;
  const ageMs = state.clock.nowMs() - directory.freshAtMs;
  for (const entry of entries) {
    const { name, attributes } = entry;
    if (!page.fits(name)) return;
    const next = entry.next + dots;
    const plus = listing.plus ? plusView(state, directory, entry, ageMs) : undefined;
    const inode = plus?.node.inode ?? state.nodes.child(directory.node, name)?.inode;
    page.add({ name, kind: attributes.kind, next, inode }, plus?.view);
    if (plus === undefined) continue;
    state.nodes.addLookup(plus.node);
    given.push(plus.node);
  }
}

function list(state: MountState, call: Call, plus: boolean): Reply | Promise<Reply> {
  const { handle, offset, size } = decodeRead(call.body);
  const directory = directoryOf(state, handle);
  const listing: DirectoryReply = { page: new DirectoryPage(size, { plus }), plus, given: [] };
  const { roomFor } = listing.page;
  const from = Math.max(0, offset - dots);
  const finish = (entries: readonly DirectoryEntry[]): Reply =>
    pageReply(state, listing, { directory, offset, entries });
  const known = state.operations.readdirNow(handle, from, roomFor);
  if (known !== undefined) return finish(known);
  return state.operations.readdir(handle, from, roomFor).then(finish);
}

function pageReply(
  state: MountState,
  listing: DirectoryReply,
  options: { directory: KernelDirectory; offset: number; entries: readonly DirectoryEntry[] },
): Reply {
  const { directory, offset, entries } = options;
  state.noteReading(directory);
  addDots(listing, directory, offset);
  addEntries(state, listing, { directory, entries });
  const undo = (): void => {
    for (const node of listing.given) state.nodes.forget(node.id, 1);
  };
  return { pieces: [listing.page.finish()], undo };
}

export function readdir(state: MountState, call: Call): Reply | Promise<Reply> {
  return list(state, call, false);
}

export function readdirplus(state: MountState, call: Call): Reply | Promise<Reply> {
  return list(state, call, true);
}
