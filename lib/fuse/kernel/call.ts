/**
 * One request on its way through a handler, and what every handler needs to begin with.
 *
 * A handler decodes the body before it first waits: only the bytes of a WRITE outlive that moment.
 */
import { FsError, isFsError, toFsError } from '../../errors.js';
import type { Caller, HandleId, Lend, RequestContext } from '../../operations.js';
import { childPath, type Path } from '../../path.js';
import type { MountState } from './mount-state.js';
import type { Node, KernelFile } from './node-table.js';
import { emptyReply } from './replies.js';
import type { RequestHeader } from './requests.js';

/** What is known of every request. */
export interface CallContext extends RequestContext {
  readonly caller: Required<Caller>;
  readonly signal: AbortSignal;
  readonly lend: Lend;
}

export interface Call {
  readonly header: RequestHeader;
  readonly body: Buffer;
  readonly context: CallContext;
  /** From now on signals of the caller do not stop the work; a dying caller is let go before it ends. */
  makeUninterruptible(options: { dying: boolean }): void;
}

export interface Reply {
  /** the first piece has room for the header at its front */
  readonly pieces: readonly Uint8Array[];
  /** takes back what the reply handed out, where it could not be delivered */
  readonly undo?: () => void;
}

/** What is answered; a number is an errno. */
export type Outcome = Reply | number;

/** Serves one kind of request. A rejection is answered with its errno. */
export type Handler = (state: MountState, call: Call) => Outcome | Promise<Outcome>;

/** Success that says nothing more. */
export function done(undo?: () => void): Reply {
  return { pieces: [emptyReply()], ...(undo === undefined ? {} : { undo }) };
}

/** @throws FsError ESTALE for an id that was never given out or was forgotten */
export function nodeOf(state: MountState, id: number): Node {
  const node = state.nodes.get(id);
  if (node === undefined) throw new FsError('ESTALE', `node ${id} is not known`);
  return node;
}

/** @throws FsError EBADF for a handle that is not open */
export function fileOf(state: MountState, handle: HandleId): KernelFile {
  const file = state.files.get(handle);
  if (file === undefined) throw new FsError('EBADF', `handle ${handle} is not open`);
  return file;
}

/** A name in a directory. */
export interface Place {
  readonly parent: Node;
  readonly name: string;
  readonly path: Path;
}

/**
 * A name in the directory a request is about.
 * @throws FsError ENOENT in a directory that has no path any more; what childPath throws
 */
export function placeOf(state: MountState, parentId: number, name: string): Place {
  const parent = nodeOf(state, parentId);
  const parentPath = state.nodes.pathOf(parent);
  if (parentPath === undefined) throw new FsError('ENOENT', 'the directory is gone');
  return { parent, name, path: childPath(parentPath, name) };
}

/**
 * The error for a node whose name the kernel has cached and the core does not find. ESTALE makes the
 * kernel look the name up again and repeat the call (retry_estale), which also turns an open with
 * O_CREAT into a CREATE. It cannot look up a working directory again, so the second time says ENOENT.
 */
export function goneError(node: Node, error: unknown): FsError {
  const failure = toFsError(error);
  if (!isFsError(failure, 'ENOENT') || node.parent === undefined || node.toldGone) return failure;
  node.toldGone = true;
  return new FsError('ESTALE', failure.message, { cause: error });
}
