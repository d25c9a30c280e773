/**
 * LOOKUP, FORGET and the operations that make, remove and move names.
 *
 * The kernel holds a directory's lock while it asks to change a name in it, but not always while it
 * looks one up again, so what a lookup finds is only applied to the table where the name did not
 * change meanwhile.
 */
import { errnoNumber, FsError, isFsError, toFsError } from '../../errors.js';
import type { Attributes } from '../../operations.js';
import { done, nodeOf, placeOf, type Call, type Outcome, type Place, type Reply } from './call.js';
import type { MountState } from './mount-state.js';
import type { Node } from './node-table.js';
import { renameNoReplace } from './protocol.js';
import { absentReply, entryReply } from './replies.js';
import {
  decodeBatchForget,
  decodeForget,
  decodeLink,
  decodeName,
  decodeRename,
  decodeSymlink,
} from './requests.js';

/** An entry reply; the kernel holds one more lookup of the node once it has it. */
function entryFor(
  state: MountState,
  node: Node,
  attributes: Attributes,
  alsoUndo?: () => void,
): Reply {
  state.nodes.addLookup(node);
  return {
    pieces: [entryReply(state.entry(node, attributes))],
    undo: () => {
      state.nodes.forget(node.id, 1);
      alsoUndo?.();
    },
  };
}

/** What can never be there is asked for once a day: libc looks for /etc/localtime line by line. */
const neverForMs = 24 * 60 * 60 * 1000;

export function lookup(state: MountState, call: Call): Outcome | Promise<Outcome> {
  const place = placeOf(state, call.header.nodeId, decodeName(call.body));
  if (state.operations.neverExists(place.path)) return { pieces: [absentReply(neverForMs)] };
  const known = state.operations.getattrNow(place.path);
  if (known === undefined) return lookUp(state, call, place);
  const { parent, name } = place;
  if (known !== 'absent') return entryFor(state, state.nodes.see(parent, name, known), known);
  noteAbsence(state, place, state.nodes.child(parent, name));
  return errnoNumber('ENOENT');
}

/** @param before the node that the name had when it was looked for */
function noteAbsence(state: MountState, place: Place, before: Node | undefined): void {
  const { parent, name, path } = place;
  const unchanged = before !== undefined && state.nodes.child(parent, name) === before;
  if (unchanged && !state.isChanging(path)) state.nodes.detach(before);
}

async function lookUp(state: MountState, call: Call, place: Place): Promise<Reply> {
  const { parent, name, path } = place;
  const before = state.nodes.child(parent, name);
  let attributes: Attributes;
  try {
    attributes = await state.operations.getattr(path, call.context);
  } catch (error) {
    if (isFsError(toFsError(error), 'ENOENT')) noteAbsence(state, place, before);
    throw error;
  }
  return entryFor(state, state.nodes.see(parent, name, attributes), attributes);
}

/** FORGET has no reply. */
export function forget(state: MountState, call: Pick<Call, 'header' | 'body'>): void {
  state.nodes.forget(call.header.nodeId, decodeForget(call.body));
}

export function batchForget(state: MountState, call: Pick<Call, 'body'>): void {
  for (const { nodeId, lookups } of decodeBatchForget(call.body)) {
    state.nodes.forget(nodeId, lookups);
  }
}

export async function mkdir(state: MountState, call: Call): Promise<Reply> {
  const { parent, name, path } = placeOf(state, call.header.nodeId, decodeName(call.body, 8));
  const endChange = state.beginChange(path);
  try {
    await state.operations.mkdir(path, call.context);
    const attributes = await state.operations.getattr(path, call.context);
    const node = state.nodes.see(parent, name, attributes);
    return entryFor(state, node, attributes, () => state.notices.entry(parent.id, name));
  } finally {
    endChange();
  }
}

async function remove(
  state: MountState,
  call: Call,
  operation: 'unlink' | 'rmdir',
): Promise<Reply> {
  const { parent, name, path } = placeOf(state, call.header.nodeId, decodeName(call.body));
  const before = state.nodes.child(parent, name);
  const endChange = state.beginChange(path);
  try {
    await state.operations[operation](path, call.context);
    if (before !== undefined && state.nodes.child(parent, name) === before) {
      state.nodes.detach(before);
    }
  } finally {
    endChange();
  }
  return done(() => state.notices.entry(parent.id, name));
}

export function unlink(state: MountState, call: Call): Promise<Reply> {
  return remove(state, call, 'unlink');
}

export function rmdir(state: MountState, call: Call): Promise<Reply> {
  return remove(state, call, 'rmdir');
}

async function move(state: MountState, call: Call, withFlags: boolean): Promise<Reply> {
  const ask = decodeRename(call.body, withFlags);
  if ((ask.flags & ~renameNoReplace) !== 0) {
    throw new FsError('EINVAL', 'of renameat2(2) flags only RENAME_NOREPLACE is supported');
  }
  const from = placeOf(state, call.header.nodeId, ask.from);
  const to = placeOf(state, ask.newParentId, ask.to);
  const noReplace = (ask.flags & renameNoReplace) !== 0;
  const endChange = state.beginChange(from.path, to.path);
  try {
    await state.operations.rename(from.path, to.path, call.context, { noReplace });
    state.nodes.move(from, to);
  } finally {
    endChange();
  }
  return done(() => {
    state.notices.entry(from.parent.id, from.name);
    state.notices.entry(to.parent.id, to.name);
  });
}

export function rename(state: MountState, call: Call): Promise<Reply> {
  return move(state, call, false);
}

export function rename2(state: MountState, call: Call): Promise<Reply> {
  return move(state, call, true);
}

export function symlink(state: MountState, call: Call): Promise<Reply> {
  const { name, target } = decodeSymlink(call.body);
  const { path } = placeOf(state, call.header.nodeId, name);
  return state.operations.symlink(target, path, call.context);
}

export function link(state: MountState, call: Call): Promise<Reply> {
  const { nodeId, name } = decodeLink(call.body);
  const from = state.nodes.pathOf(nodeOf(state, nodeId));
  if (from === undefined) throw new FsError('ESTALE', `node ${nodeId} has no name any more`);
  const { path } = placeOf(state, call.header.nodeId, name);
  return state.operations.link(from, path, call.context);
}

export function mknod(state: MountState, call: Call): Promise<Reply> {
  const { path } = placeOf(state, call.header.nodeId, decodeName(call.body, 16));
  return state.operations.mknod(path, call.context);
}
