/**
 * What the handlers of one mount share: the core, the node table, what is open, and the rules for how
 * long the kernel may believe an answer.
 *
 * Local changes are what the kernel itself asked for and knows; changes the core tells of (`onChange`)
 * are what it cannot know. While a request changes a name, what the core says about that name is the
 * same news, and is left to the request.
 */
import { systemClock, type Clock } from '../../clock.js';
import type { Log } from '../../log.js';
import type { Attributes, Change, HandleId, Operations } from '../../operations.js';
import { nameOf, parentOf, type Path } from '../../path.js';
import type { Access } from './access.js';
import type { Node, NodeTable, KernelFile } from './node-table.js';
import type { Notices } from './notices.js';
import type { EntryView, NodeView } from './replies.js';

/** An open directory. */
export interface KernelDirectory {
  readonly node: Node;
  /** number of the last change when its listing was begun */
  readonly changesSeen: number;
  /** when the whole listing had come, as Clock.nowMs */
  readonly listedAtMs: number;
  /** its attributes may be kept from then on */
  freshAtMs: number;
}

export interface MountStateSettings {
  readonly operations: Operations;
  readonly nodes: NodeTable;
  readonly notices: Notices;
  readonly log: Log;
  readonly metadataTtlMs: number;
  readonly access: Access;
  readonly clock?: Clock;
}

/** A listing counts as new no longer than this after it came. */
const longestReadingMs = 60_000;
/** How many callers told to look again are remembered; each comes back within microseconds. */
const sentBackMax = 256;

export class MountState {
  readonly operations: Operations;
  readonly nodes: NodeTable;
  readonly notices: Notices;
  readonly access: Access;
  readonly log: Log;
  readonly clock: Clock;
  readonly files = new Map<HandleId, KernelFile>();
  readonly directories = new Map<HandleId, KernelDirectory>();
  /** releases the core has not finished */
  readonly releasing = new Set<Promise<void>>();
  readonly #ttlMs: number;
  readonly #changing = new Map<Path, number>();
  readonly #sentBack = new Set<string>();
  #changes = 0;

  constructor(settings: MountStateSettings) {
    this.operations = settings.operations;
    this.nodes = settings.nodes;
    this.notices = settings.notices;
    this.access = settings.access;
    this.log = settings.log;
    this.clock = settings.clock ?? systemClock;
    this.#ttlMs = settings.metadataTtlMs;
    settings.operations.onChange((change) => this.#changed(change));
  }

  /** Number of the latest change of any name. */
  get changes(): number {
    return this.#changes;
  }

  /** Attributes of a node by its path, for as long as the core itself would believe them. */
  view(node: Node, attributes: Attributes): NodeView {
    const { id: nodeId, inode } = node;
    const attributesForMs = this.#validForMs(node, attributes);
    return { nodeId, inode, attributes, unlinked: false, attributesForMs };
  }

  /**
   * Attributes of a node as an open handle has them. They are what that handle's reads go by, so they
   * may be kept; what the path holds is asked again when the entry's time is over.
   */
  handleView(node: Node, attributes: Attributes): NodeView {
    const unlinked = node.parent === undefined;
    const { id: nodeId, inode } = node;
    const attributesForMs = Math.min(this.#ttlMs, this.access.attributesForMs(node));
    return { nodeId, inode, attributes, unlinked, attributesForMs };
  }

  /** A node as an entry of its directory. @param ageMs how old the attributes are already */
  entry(node: Node, attributes: Attributes, ageMs = 0): EntryView {
    const { id: nodeId, inode } = node;
    const attributesForMs = Math.max(0, this.#validForMs(node, attributes) - ageMs);
    const entryForMs = Math.min(attributesForMs, this.access.entriesForMs(node.parent ?? node));
    return { nodeId, inode, attributes, unlinked: false, attributesForMs, entryForMs };
  }

  #validForMs(node: Node, { validForMs = 0 }: Attributes): number {
    return Math.min(validForMs, this.#ttlMs, this.access.attributesForMs(node));
  }

  /** Marks names as being changed by a request until the returned function is called. */
  beginChange(...paths: Path[]): () => void {
    for (const path of paths) this.#changing.set(path, (this.#changing.get(path) ?? 0) + 1);
    return () => {
      for (const path of paths) {
        const left = (this.#changing.get(path) ?? 1) - 1;
        if (left > 0) this.#changing.set(path, left);
        else this.#changing.delete(path);
        this.#record(this.nodes.find(parentOf(path)), nameOf(path));
      }
    };
  }

  /** Whether a request is changing this name just now. */
  isChanging(path: Path): boolean {
    return this.#changing.has(path);
  }

  /**
   * A page of an open directory is asked for. As long as they follow each other the listing counts as new:
   * reading a long one outlasts the TTL (see metadata-cache.ts, which answers from it as long).
   */
  noteReading(directory: KernelDirectory): void {
    const nowMs = this.clock.nowMs();
    const isGoingOn = nowMs - directory.freshAtMs < this.#ttlMs;
    if (isGoingOn && nowMs - directory.listedAtMs < longestReadingMs) directory.freshAtMs = nowMs;
  }

  /** Whether the kernel may keep these attributes for some time, as entries of `parent`. */
  mayKeep(parent: Node, attributes: Attributes, ageMs: number): boolean {
    if (this.access.entriesForMs(parent) <= 0) return false;
    return Math.min(attributes.validForMs ?? 0, this.#ttlMs) > ageMs;
  }

  /** Remembers that this caller was told to look a path up again; see `wasSentBack`. */
  sendBack(path: Path, pid: number): void {
    this.#sentBack.add(`${pid} ${path}`);
    const [oldest] = this.#sentBack;
    if (this.#sentBack.size > sentBackMax && oldest !== undefined) this.#sentBack.delete(oldest);
  }

  /**
   * Whether this caller has just been told to look the path up again, which is then forgotten. It is
   * not told twice in a row: the kernel repeats a call once, and somebody else may have brought the
   * same situation about in between.
   */
  wasSentBack(path: Path, pid: number): boolean {
    return this.#sentBack.delete(`${pid} ${path}`);
  }

  /** Callers are to be checked from now on: the kernel asks again before anybody walks in. */
  forgetFirstSteps(): void {
    const { root } = this.nodes;
    this.notices.attributes(root.id);
    for (const name of root.children?.keys() ?? []) this.notices.entry(root.id, name);
  }

  /** The name of this node holds something else now, which the kernel does not know. */
  loseName(node: Node): void {
    const { parent, name } = node;
    if (parent === undefined) return;
    this.nodes.detach(node);
    this.notices.entry(parent.id, name);
  }

  /** Has the core release a handle; nobody waits but the unmount. */
  release(handle: HandleId): void {
    if (this.operations.releaseNow(handle)) return;
    const done = this.operations
      .release(handle)
      .catch((error: unknown) => this.log.error({ handle, err: error }, 'release failed'))
      .finally(() => this.releasing.delete(done));
    this.releasing.add(done);
  }

  /** What is read of a home from now on is asked for. Its names and attributes are kept no longer anyway. */
  #forgetPages(home: string): void {
    for (const { node } of this.files.values()) {
      if (node.home === home) this.notices.pages(node.id);
    }
  }

  #record(directory: Node | undefined, name: string): void {
    this.#changes += 1;
    directory?.changes?.set(name, this.#changes);
  }

  #changed(change: Change): void {
    if (change.what === 'owner') {
      this.#forgetPages(nameOf(change.path));
      return;
    }
    const parent = this.nodes.find(parentOf(change.path));
    const name = nameOf(change.path);
    this.#record(parent, name);
    if (this.#changing.has(change.path)) return;
    const node = this.nodes.find(change.path);
    if (node === undefined) return;
    // Its readers go on with the object they opened; the name gets a node for what it holds now.
    if (node.isOnlyRead) this.loseName(node);
    else this.notices.attributes(node.id);
  }
}
