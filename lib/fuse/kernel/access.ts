/**
 * Who may use the mount, by the caller's uid, and what the kernel may answer without asking so that this
 * holds: without default_permissions it lets anybody use what it has cached.
 *
 * A look-up that is refused has the kernel drop the entry that it had (fuse_dentry_revalidate), and
 * getcwd(3) fails in a process with that working directory until it is looked up again.
 */
import { FsError } from '../../errors.js';
import type { ClosedAncestor } from '../../host/closed-ancestor.js';
import type { HomeOwners } from '../driver.js';
import type { Node, NodeTable } from './node-table.js';
import { opcode } from './protocol.js';
import type { RequestHeader } from './requests.js';

/**
 * Who has to have the right to use what a request is about: its caller; its caller too, but by what was
 * opened, which needed the right; nobody, where it ends what was begun.
 */
export type Entitled = 'caller' | 'holder' | 'nobody';

export interface Access {
  /** Whether a request is to be served; a promise where that has to be asked for. */
  admits(entitled: Entitled, header: RequestHeader): boolean | Promise<boolean>;
  /** For how long at most the kernel may show the attributes of `node` without asking. */
  attributesForMs(node: Node): number;
  /** The same for the names in `directory`. */
  entriesForMs(directory: Node): number;
  /** Whether it may keep content. */
  readonly keepsPages: boolean;
}

/** `--access`: the mount is one user's, or everybody's. */
export class MountAccess implements Access {
  readonly keepsPages = true;
  readonly #nodes: NodeTable;
  readonly #uids: ReadonlySet<number> | undefined;
  readonly #closed: Pick<ClosedAncestor, 'isThere'> | undefined;

  /**
   * @param uids callers to serve besides root; undefined for all
   * @param closed where it is there, nobody else gets this far
   */
  constructor(
    nodes: NodeTable,
    uids: readonly number[] | undefined,
    closed?: Pick<ClosedAncestor, 'isThere'>,
  ) {
    this.#nodes = nodes;
    this.#uids = uids === undefined ? undefined : new Set([0, ...uids]);
    this.#closed = closed;
  }

  admits(entitled: Entitled, { uid, opcode: code }: RequestHeader): boolean {
    if (entitled !== 'caller' || this.#uids === undefined || this.#uids.has(uid)) return true;
    // STATFS tells nothing of what is inside, and is how a mount asks whether it answers itself.
    return code === opcode.statfs && uid === process.geteuid?.();
  }

  attributesForMs(node: Node): number {
    return this.#entryForMs(node);
  }

  entriesForMs(directory: Node): number {
    return this.#entryForMs(directory);
  }

  /** Every walk through the mount's root asks, so that its caller is checked. */
  #entryForMs(node: Node): number {
    const isChecked = this.#uids !== undefined && this.#closed?.isThere !== true;
    return node === this.#nodes.root && isChecked ? 0 : Infinity;
  }
}

/**
 * `--homes`: what is below a name of the root is one user's, which may change at any time. Root gets in
 * everywhere. That a home is there is no secret, and is told to all: a refusal would take the entry away
 * under those whose root directory it is.
 */
export class HomeAccess implements Access {
  readonly #nodes: NodeTable;
  readonly #owners: HomeOwners;
  readonly #closed: Pick<ClosedAncestor, 'isThere'> | undefined;

  constructor(
    nodes: NodeTable,
    owners: HomeOwners,
    closed: Pick<ClosedAncestor, 'isThere'> | undefined,
  ) {
    this.#nodes = nodes;
    this.#owners = owners;
    this.#closed = closed;
  }

  admits(
    entitled: Entitled,
    { uid, nodeId, opcode: code }: RequestHeader,
  ): boolean | Promise<boolean> {
    if (entitled === 'nobody' || uid === 0) return true;
    const node = this.#nodes.get(nodeId);
    if (node === undefined) throw new FsError('ESTALE', `node ${nodeId} is not known`);
    const { home } = node;
    if (home === undefined) return code !== opcode.opendir && entitled === 'caller';
    const known = this.#owners.peek(home);
    if (known !== undefined) return known.owner?.uid === uid;
    return this.#owners.find(home).then((owner) => owner?.uid === uid);
  }

  /**
   * No longer than it is known whose the home is. Where others may get this far, not at all: a directory
   * that was handed on as a descriptor leads past the first step.
   */
  attributesForMs({ home }: Node): number {
    if (home === undefined || !this.keepsPages) return 0;
    return this.#owners.peek(home)?.forMs ?? 0;
  }

  entriesForMs(directory: Node): number {
    return this.attributesForMs(directory);
  }

  get keepsPages(): boolean {
    return this.#closed?.isThere === true;
  }
}
