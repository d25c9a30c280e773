/**
 * OPEN to RELEASE: open files and their bytes.
 *
 * How the kernel may cache, and why:
 * - A handle that can write gets FOPEN_DIRECT_IO: write(2) arrives as it was made, in up to 1 MiB at
 *   once instead of cut at page borders and copied once more; no page holds bytes that are not staged;
 *   and a shared writable mapping is refused (ENODEV) instead of losing what is written after close.
 * - A handle for reading uses the page cache, for read-ahead and repeated reads, and keeps the pages of
 *   the last open where they belong to the same version. While a writer has the node open it reads
 *   directly, so that pages never hold a mixture.
 * - An open for writing of a file that others only read gets a node of its own (the kernel is sent to
 *   look again by ESTALE, which open(2) hides): size and pages of the readers' node stay those of the
 *   object they opened, so that a download never ends early because the file is replaced.
 * - Where others than who may read get as far as the mount, and each home is somebody else's, every read
 *   asks (access.ts).
 * - A handle for reading needs no FLUSH (FOPEN_NOFLUSH, 7.35; older kernels ignore it).
 */
import { FsError, isFsError, toFsError } from '../../errors.js';
import type { Attributes, HandleId, OpenFlags, RequestContext } from '../../operations.js';
import type { Path } from '../../path.js';
import { done, fileOf, nodeOf, placeOf, type Call, type Place, type Reply } from './call.js';
import type { MountState } from './mount-state.js';
import type { Node, KernelFile } from './node-table.js';
import { closerState } from './process-state.js';
import { fopen } from './protocol.js';
import { createReply, emptyReply, openReply, writeReply } from './replies.js';
import { decodeCreate, decodeHandle, decodeOpen, decodeRead, decodeWrite } from './requests.js';
import type { WriteRequest } from './requests.js';
import { attributesNow, attributesThrough } from './serve-attributes.js';

function canWrite(flags: OpenFlags): boolean {
  return flags.access !== 'read';
}

/** Enters a new handle into the table; `fopen` flags as the head of this file has them. */
function enter(state: MountState, file: KernelFile, version: string): number {
  const { node } = file;
  const isDirect = node.writers > 0 || !state.access.keepsPages;
  state.files.set(file.handle, file);
  state.nodes.addFile(file);
  if (file.writes) {
    node.pagesVersion = undefined;
    return fopen.directIo;
  }
  if (isDirect || node.version !== version) return fopen.directIo | fopen.noFlush;
  const isKept = node.pagesVersion === version;
  if (isKept) state.operations.kept?.(file.handle);
  node.pagesVersion = version;
  return (isKept ? fopen.keepCache : 0) | fopen.noFlush;
}

function close(state: MountState, file: KernelFile): void {
  state.files.delete(file.handle);
  state.nodes.removeFile(file);
  state.release(file.handle);
}

/** An OPEN on its way. */
interface Opening {
  readonly node: Node;
  readonly path: Path;
  readonly pid: number;
  /** the caller was told to look again already */
  readonly again: boolean;
}

function lookAgain(state: MountState, opening: Opening): FsError {
  state.sendBack(opening.path, opening.pid);
  state.nodes.detach(opening.node);
  return new FsError('ESTALE', 'the name needs another node now; look again');
}

/**
 * Brings the node in line with the version that a new handle of it has.
 * @throws FsError ESTALE where that version needs a node of its own
 */
function agree(state: MountState, opening: Opening, version: string): void {
  const { node } = opening;
  if (state.nodes.pathOf(node) === undefined) throw lookAgain(state, opening);
  if (node.version === version) return;
  const adopted = state.nodes.adopt(node, { kind: 'file', version });
  if (!adopted && !opening.again) throw lookAgain(state, opening);
  // The kernel's size and times are those of the version before.
  state.notices.attributes(node.id);
}

async function openHandle(
  state: MountState,
  path: Path,
  options: { flags: OpenFlags; context: RequestContext },
): Promise<HandleId> {
  try {
    return await state.operations.open(path, options.flags, options.context);
  } catch (error) {
    // With O_CREAT only a fresh lookup makes the kernel create, so never plain ENOENT here.
    if (!isFsError(toFsError(error), 'ENOENT')) throw error;
    throw new FsError('ESTALE', `${path} is gone`, { cause: error });
  }
}

export function open(state: MountState, call: Call): Reply | Promise<Reply> {
  const flags = decodeOpen(call.body);
  const { pid } = call.header;
  const node = nodeOf(state, call.header.nodeId);
  if (node.kind === 'directory') throw new FsError('EISDIR', 'is a directory');
  const path = state.nodes.pathOf(node);
  if (path === undefined) throw new FsError('ESTALE', `node ${node.id} has no name any more`);
  const opening = { node, path, pid, again: state.wasSentBack(path, pid) };
  const writes = canWrite(flags);
  if (writes && node.isOnlyRead && !opening.again) throw lookAgain(state, opening);
  const handle = state.operations.openNow(path, flags, call.context);
  if (handle === undefined) return openAndWait(state, call, { opening, flags });
  const file: KernelFile = { handle, node, writes };
  const known = attributesNow(state, file);
  return known === undefined
    ? askVersion(state, call, { opening, file })
    : opened(state, { opening, file }, known.version);
}

async function openAndWait(
  state: MountState,
  call: Call,
  { opening, flags }: { opening: Opening; flags: OpenFlags },
): Promise<Reply> {
  const { node, path } = opening;
  const handle = await openHandle(state, path, { flags, context: call.context });
  return askVersion(state, call, { opening, file: { handle, node, writes: canWrite(flags) } });
}

/** An OPEN that has its handle. */
interface OpenedFile {
  readonly opening: Opening;
  readonly file: KernelFile;
}

async function askVersion(state: MountState, call: Call, open: OpenedFile): Promise<Reply> {
  const { file } = open;
  const asking = attributesThrough(state, file, call.context);
  const { version } = await asking.catch((error: unknown) => {
    state.release(file.handle);
    throw error;
  });
  return opened(state, open, version);
}

function opened(state: MountState, { opening, file }: OpenedFile, version: string): Reply {
  try {
    agree(state, opening, version);
  } catch (error) {
    state.release(file.handle);
    throw error;
  }
  const view = { handle: file.handle, flags: enter(state, file, version) };
  return { pieces: [openReply(view)], undo: () => close(state, file) };
}

export function create(state: MountState, call: Call): Reply | Promise<Reply> {
  const { flags, name } = decodeCreate(call.body);
  const place = placeOf(state, call.header.nodeId, name);
  const { path } = place;
  const endChange = state.beginChange(path);
  try {
    const handle = state.operations.createNow(path, flags, call.context);
    const known = handle === undefined ? undefined : state.operations.getattrNow(path, handle);
    return handle === undefined || known === undefined || known === 'absent'
      ? createAndWait(state, call, { place, flags, handle })
      : created(state, { place, handle }, known);
  } finally {
    endChange();
  }
}

async function createAndWait(
  state: MountState,
  { context }: Call,
  ask: { place: Place; flags: OpenFlags; handle: HandleId | undefined },
): Promise<Reply> {
  const { place, flags } = ask;
  const { path } = place;
  const endChange = state.beginChange(path);
  try {
    const handle = ask.handle ?? (await state.operations.create(path, flags, context));
    try {
      const attributes = await state.operations.getattr(path, context, handle);
      return created(state, { place, handle }, attributes);
    } catch (error) {
      state.release(handle);
      throw error;
    }
  } finally {
    endChange();
  }
}

function created(
  state: MountState,
  { place, handle }: { place: Place; handle: HandleId },
  attributes: Attributes,
): Reply {
  const { parent, name } = place;
  const node = state.nodes.see(parent, name, attributes);
  // Also one for reading only: its close stores what it made.
  const file: KernelFile = { handle, node, writes: true };
  state.nodes.addLookup(node);
  const view = { handle, flags: enter(state, file, attributes.version) };
  const undo = (): void => {
    close(state, file);
    state.nodes.forget(node.id, 1);
    state.notices.entry(parent.id, name);
  };
  return { pieces: [createReply(state.entry(node, attributes), view)], undo };
}

export function read(state: MountState, call: Call): Reply | Promise<Reply> {
  const { handle, offset, size } = decodeRead(call.body);
  fileOf(state, handle);
  const { operations } = state;
  const known = operations.readNow(handle, offset, size, call.context);
  if (known !== undefined) return readReply(known, size);
  return operations
    .read(handle, offset, size, call.context)
    .then((pieces) => readReply(pieces, size));
}

function readReply(pieces: readonly Uint8Array[], size: number): Reply {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (length > size) throw new Error(`a read of ${size} bytes brought ${length}`);
  return { pieces: [emptyReply(), ...pieces] };
}

/**
 * Of an upload nearly all writes are answered at once, in the turn of the event loop that read them. The
 * data of the others stays in the request's buffer, which the session keeps until this settles. With
 * O_SYNC or O_DSYNC that is once S3 has it.
 */
export function write(state: MountState, call: Call): Reply | Promise<Reply> {
  const ask = decodeWrite(call.body);
  const { handle, offset, data, isSynchronous } = ask;
  if (!isSynchronous && state.operations.writeNow(handle, data, offset)) {
    return { pieces: [writeReply(data.length)] };
  }
  return writeAndWait(state, call, ask);
}

async function writeAndWait(state: MountState, call: Call, ask: WriteRequest): Promise<Reply> {
  const { handle, offset, data, isSynchronous } = ask;
  const file = fileOf(state, handle);
  await state.operations.write(handle, data, offset, call.context);
  if (isSynchronous) await sync(state, file, call.context);
  return { pieces: [writeReply(data.length)] };
}

/**
 * After a commit the path holds another version, and this node is its writer's. After a failed one the
 * path holds the old object or none, so nobody may be shown the size that was never stored; the kernel
 * is told before the caller hears of the failure.
 */
async function commit(
  state: MountState,
  file: KernelFile,
  work: { run: () => Promise<void>; context: RequestContext },
): Promise<void> {
  try {
    await work.run();
    if (!file.writes) return;
    file.node.version = (await attributesThrough(state, file, work.context)).version;
  } finally {
    if (file.writes) {
      file.node.pagesVersion = undefined;
      state.notices.attributes(file.node.id);
    }
  }
}

export function flush(state: MountState, call: Call): Reply | Promise<Reply> {
  const file = fileOf(state, decodeHandle(call.body));
  return state.operations.flushNow(file.handle) ? done() : flushAndWait(state, call, file);
}

async function flushAndWait(state: MountState, call: Call, file: KernelFile): Promise<Reply> {
  let context: RequestContext = call.context;
  if (file.writes) {
    const closer = closerState(call.header.pid);
    // What a program leaves to exit(3) is to be stored all the same, and whoever waits for the program
    // relies on it. One that was killed shall go, also while S3 hangs.
    if (closer.closing !== 'close')
      call.makeUninterruptible({ dying: closer.closing === 'killed' });
    const { caller, signal } = call.context;
    context = { caller, signal, ...closer };
  }
  await commit(state, file, {
    run: () => state.operations.flush(file.handle, context),
    context,
  });
  return done();
}

async function sync(state: MountState, file: KernelFile, context: RequestContext): Promise<void> {
  await commit(state, file, { run: () => state.operations.fsync(file.handle, context), context });
}

export async function fsync(state: MountState, call: Call): Promise<Reply> {
  await sync(state, fileOf(state, decodeHandle(call.body)), call.context);
  return done();
}

/** Answered at once: the kernel tells nobody, and its few background slots are for reads. */
export function release(state: MountState, call: Call): Reply {
  close(state, fileOf(state, decodeHandle(call.body)));
  return done();
}
