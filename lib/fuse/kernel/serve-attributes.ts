/**
 * GETATTR, SETATTR, ACCESS, STATFS: what a node looks like and the changes to that.
 *
 * The kernel does not say whether a GETATTR stands for stat(2) by name or for fstat(2), so a node with
 * open files is asked for by its path as long as the path holds the same object, and through a handle
 * from then on.
 */
import { FsError, isFsError, toFsError } from '../../errors.js';
import type { Attributes, RequestContext } from '../../operations.js';
import { rootPath, type Path } from '../../path.js';
import { nodeOf, goneError, type Call, type Reply, done } from './call.js';
import type { MountState } from './mount-state.js';
import type { Node, KernelFile } from './node-table.js';
import { attrReply, statfsReply, type NodeView } from './replies.js';
import { decodeGetattr, decodeSetattr, type SetattrRequest } from './requests.js';

/** chown(2): leave this id as it is */
const unchangedId = -1;

/** The path a handle was last reached by; for detached nodes the core goes by the handle alone. */
function pathFor(state: MountState, node: Node): Path {
  return state.nodes.pathOf(node) ?? node.formerPath ?? rootPath;
}

/** What an open file says about itself. */
export async function attributesThrough(
  state: MountState,
  file: KernelFile,
  context: RequestContext,
): Promise<Attributes> {
  const path = pathFor(state, file.node);
  return state.operations.getattr(path, context, file.handle);
}

/** The same, where the core need not ask. */
export function attributesNow(state: MountState, file: KernelFile): Attributes | undefined {
  const known = state.operations.getattrNow(pathFor(state, file.node), file.handle);
  return known === 'absent' ? undefined : known;
}

async function viewThrough(
  state: MountState,
  file: KernelFile,
  context: RequestContext,
): Promise<NodeView> {
  return state.handleView(file.node, await attributesThrough(state, file, context));
}

function anyFile(node: Node): KernelFile | undefined {
  if (node.files === undefined) return undefined;
  const [first] = node.files.values();
  return first;
}

/** Attributes of a node that has no name: as its open files have them. */
function detachedView(state: MountState, node: Node, context: RequestContext): Promise<NodeView> {
  const file = anyFile(node);
  if (file === undefined) throw new FsError('ESTALE', `node ${node.id} has no name any more`);
  return viewThrough(state, file, context);
}

async function viewByPath(
  state: MountState,
  node: Node,
  context: RequestContext,
): Promise<NodeView> {
  const path = state.nodes.pathOf(node);
  if (path === undefined) return detachedView(state, node, context);
  let attributes: Attributes;
  try {
    attributes = await state.operations.getattr(path, context);
  } catch (error) {
    if (!isFsError(toFsError(error), 'ENOENT')) throw error;
    if (state.nodes.pathOf(node) !== path) return viewByPath(state, node, context);
    if (!node.isOnlyRead) throw goneError(node, error);
    state.loseName(node);
    return detachedView(state, node, context);
  }
  if (state.nodes.pathOf(node) !== path) return viewByPath(state, node, context);
  if (state.nodes.adopt(node, attributes)) return state.view(node, attributes);
  state.loseName(node);
  return detachedView(state, node, context);
}

export function getattr(state: MountState, call: Call): Reply | Promise<Reply> {
  const { handle } = decodeGetattr(call.body);
  const node = nodeOf(state, call.header.nodeId);
  const file = handle === undefined ? undefined : state.files.get(handle);
  const view = file === undefined ? viewNow(state, node) : handleViewNow(state, file);
  return view === undefined ? askView(state, call, { node, file }) : { pieces: [attrReply(view)] };
}

/** As viewByPath, where nothing has to be asked and the node stays what it is. */
function viewNow(state: MountState, node: Node): NodeView | undefined {
  const path = state.nodes.pathOf(node);
  const known = path === undefined ? undefined : state.operations.getattrNow(path);
  if (known === undefined || known === 'absent') return undefined;
  return state.nodes.adopt(node, known) ? state.view(node, known) : undefined;
}

function handleViewNow(state: MountState, file: KernelFile): NodeView | undefined {
  const known = attributesNow(state, file);
  return known && state.handleView(file.node, known);
}

async function askView(
  state: MountState,
  { context }: Call,
  { node, file }: { node: Node; file: KernelFile | undefined },
): Promise<Reply> {
  const view =
    file === undefined
      ? await viewByPath(state, node, context)
      : await viewThrough(state, file, context);
  return { pieces: [attrReply(view)] };
}

/** The open file that a change of a node's size goes through, if any. */
function fileToChange(state: MountState, node: Node, ask: SetattrRequest): KernelFile | undefined {
  const given = ask.handle === undefined ? undefined : state.files.get(ask.handle);
  if (given !== undefined || node.parent !== undefined || node === state.nodes.root) return given;
  const writer = [...(node.files?.values() ?? [])].find((file) => file.writes);
  const file = writer ?? anyFile(node);
  if (file === undefined) throw new FsError('ESTALE', `node ${node.id} has no name any more`);
  return file;
}

async function applyChanges(
  state: MountState,
  ask: SetattrRequest,
  options: { path: Path; named: boolean; file: KernelFile | undefined; context: RequestContext },
): Promise<void> {
  const { operations } = state;
  const { path, context, file } = options;
  if (ask.size !== undefined) await operations.truncate(path, ask.size, context, file?.handle);
  // Mode, owner and times belong to the name; a file without one has nowhere to keep them.
  if (!options.named) return;
  if (ask.mode !== undefined) await operations.chmod(path, ask.mode, context);
  if (ask.uid !== undefined || ask.gid !== undefined) {
    await operations.chown(path, ask.uid ?? unchangedId, ask.gid ?? unchangedId, context);
  }
  const untouched = ask.atime === 'omit' && ask.mtime === 'omit';
  // truncate(2) comes with both times set to now, which the new size brings about anyway.
  const implied = ask.size !== undefined && typeof ask.mtime !== 'bigint';
  if (!untouched && !implied) await operations.utimens(path, ask.atime, ask.mtime, context);
}

/**
 * A truncate by name of a file that others are reading: they keep the old object under the old node,
 * and the caller is sent to look again and finds a new one.
 */
function keepReadersApart(
  state: MountState,
  node: Node,
  options: { path: Path; pid: number },
): void {
  const { path, pid } = options;
  if (state.wasSentBack(path, pid) || !node.isOnlyRead) return;
  state.sendBack(path, pid);
  state.nodes.detach(node);
  throw new FsError('ESTALE', 'the file is being read; look again');
}

export async function setattr(state: MountState, call: Call): Promise<Reply> {
  const ask = decodeSetattr(call.body);
  const node = nodeOf(state, call.header.nodeId);
  const file = fileToChange(state, node, ask);
  const named = state.nodes.pathOf(node);
  const path = named ?? pathFor(state, node);
  if (named !== undefined && file === undefined && ask.size !== undefined) {
    keepReadersApart(state, node, { path: named, pid: call.header.pid });
  }
  const { context } = call;
  try {
    await applyChanges(state, ask, { path, named: named !== undefined, file, context });
  } catch (error) {
    throw goneError(node, error);
  }
  if (file !== undefined) return { pieces: [attrReply(await viewThrough(state, file, context))] };
  const attributes = await state.operations.getattr(path, context);
  if (attributes.kind !== node.kind) throw new FsError('ESTALE', `${path} changed its kind`);
  node.version = attributes.version;
  return { pieces: [attrReply(state.view(node, attributes))] };
}

/** The caller was checked already; what it may do is the core's to say, operation by operation. */
export function access(state: MountState, call: Call): Reply {
  nodeOf(state, call.header.nodeId);
  return done();
}

export function statfs(state: MountState): Reply {
  return { pieces: [statfsReply(state.operations.statfs())] };
}
