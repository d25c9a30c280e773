/**
 * The node table: what the kernel's node ids mean, as long as the kernel knows them.
 *
 * A tree of nodes by name under the root, so that a path is read off by walking up and a rename moves
 * a whole subtree by changing one link. A node lives while the kernel holds lookups of it (each reply
 * that carries an entry adds one, FORGET takes them back), while it is open, or while a node below it
 * lives. Ids are counted up and never used twice. The first of a name is the inode number that stat(2)
 * shows, also when the kernel has forgotten the node and asks for the name again.
 *
 * A node that is *detached* has no name any more: unlinked, replaced by a rename, or its name now holds
 * another object. It lives on for the handles that are open on it.
 *
 * Version rule (Attributes.version), so that neither the kernel's page cache nor its idea of the size
 * ever mixes two objects, kept by `see`:
 * - a node nobody has open takes the new version over;
 * - a node with an open handle that can write keeps its id: the change is its own writer's commit;
 * - a node that is open for reading only stays what it was, detached; the name gets a new node.
 */
import { LRUCache } from 'lru-cache';
import type { Attributes, HandleId } from '../../operations.js';
import { childPath, rootPath, type Path } from '../../path.js';
import { rootNodeId } from './protocol.js';

const maxInodes = 50_000;

/** One open file of a node. */
export interface KernelFile {
  readonly handle: HandleId;
  readonly node: Node;
  readonly writes: boolean;
}

/** What one node id stands for. Only the table changes the links and counts. */
export class Node {
  parent: Node | undefined;
  name: string;
  /** how many entries the kernel was given and has not given back */
  lookups = 0;
  /** the version that the kernel's attributes of this node belong to */
  version: string;
  /** the version that the kernel's cached pages belong to; undefined once they may be anything */
  pagesVersion: string | undefined;
  children: Map<string, Node> | undefined;
  /** open files; undefined where there are none, as nearly always */
  files: Map<HandleId, KernelFile> | undefined;
  writers = 0;
  openDirectories = 0;
  /**
   * Names that changed while somebody has this directory open, with the change number: a listing
   * that is older must not bring their old attributes back. Undefined while nobody has it open.
   */
  changes: Map<string, number> | undefined;
  /** where a node lost its name while it was open */
  formerPath: Path | undefined;
  /** the kernel was told once that this node's name is gone */
  toldGone = false;
  /** the kernel was asked to drop its entry for this node */
  askedToForget = false;

  /** shown by stat(2) */
  readonly inode: number;
  /** the name in the root that it is under, which no rename changes where those are homes */
  readonly home: string | undefined;

  constructor(
    readonly id: number,
    readonly kind: 'file' | 'directory',
    place: { parent: Node | undefined; name: string; version: string; inode?: number | undefined },
  ) {
    this.inode = place.inode ?? id;
    this.parent = place.parent;
    this.home = place.parent?.id === rootNodeId ? place.name : place.parent?.home;
    this.name = place.name;
    this.version = place.version;
  }

  get isOpen(): boolean {
    return this.files !== undefined || this.openDirectories > 0;
  }

  /** Open for reading, and by nobody who could have changed it. */
  get isOnlyRead(): boolean {
    return this.files !== undefined && this.writers === 0;
  }
}

/** What `see` needs to know of an object. */
type Seen = Pick<Attributes, 'kind' | 'version'>;

export class NodeTable {
  readonly root = new Node(rootNodeId, 'directory', { parent: undefined, name: '', version: '' });
  readonly #nodes = new Map<number, Node>([[rootNodeId, this.root]]);
  #nextId = rootNodeId + 1;
  /** of nodes that the kernel forgot */
  readonly #inodes = new LRUCache<Path, number>({ max: maxInodes });
  #idle: Iterator<Node> | undefined;

  /** Nodes the kernel may name, the root among them. */
  get size(): number {
    return this.#nodes.size;
  }

  get(id: number): Node | undefined {
    return this.#nodes.get(id);
  }

  child(parent: Node, name: string): Node | undefined {
    return parent.children?.get(name);
  }

  /** The path of a node, or undefined where it or a directory above it is detached. */
  pathOf(node: Node): Path | undefined {
    const names: string[] = [];
    let at = node;
    while (at !== this.root) {
      if (at.parent === undefined) return undefined;
      names.push(at.name);
      at = at.parent;
    }
    let path = rootPath;
    for (let index = names.length - 1; index >= 0; index -= 1) {
      path = childPath(path, names[index] ?? '');
    }
    return path;
  }

  /** The node at a path, if the kernel knows it. */
  find(path: Path): Node | undefined {
    if (path === rootPath) return this.root;
    let at: Node = this.root;
    for (const name of path.slice(1).split('/')) {
      const child = at.children?.get(name);
      if (child === undefined) return undefined;
      at = child;
    }
    return at;
  }

  /**
   * The node for what `parent` holds under `name` now, by the version rule. It is not counted as
   * known to the kernel yet; see `addLookup`.
   */
  see(parent: Node, name: string, seen: Seen): Node {
    const known = this.child(parent, name);
    if (known !== undefined && this.adopt(known, seen)) return known;
    const inode = known === undefined ? this.#takeInode(parent, name) : undefined;
    const place = { parent, name, version: seen.version, inode };
    const node = new Node(this.#nextId, seen.kind, place);
    this.#nextId += 1;
    this.#nodes.set(node.id, node);
    parent.children ??= new Map();
    parent.children.set(name, node);
    if (known !== undefined) this.#orphan(known);
    return node;
  }

  /** Applies the version rule to a node; false where the name needs another node. */
  adopt(node: Node, seen: Seen): boolean {
    if (node.kind !== seen.kind) return false;
    if (node.kind === 'file' && node.version !== seen.version) {
      if (node.isOnlyRead) return false;
      node.version = seen.version;
    }
    node.toldGone = false;
    return true;
  }

  /** The kernel is being given one more entry for this node. */
  addLookup(node: Node): void {
    node.lookups += 1;
    node.askedToForget = false;
  }

  /** The kernel gives lookups back. Unknown ids are ignored. */
  forget(id: number, lookups: number): void {
    const node = this.#nodes.get(id);
    if (node === undefined || node === this.root) return;
    node.lookups = Math.max(0, node.lookups - lookups);
    this.#collect(node);
  }

  /** Takes a node's name away. */
  detach(node: Node): void {
    const { parent } = node;
    if (parent === undefined) return;
    parent.children?.delete(node.name);
    if (parent.children?.size === 0) parent.children = undefined;
    this.#orphan(node);
    this.#collect(parent);
  }

  /** A rename: what was at `to` loses its name to what was at `from`. */
  move(from: { parent: Node; name: string }, to: { parent: Node; name: string }): void {
    const node = this.child(from.parent, from.name);
    const replaced = this.child(to.parent, to.name);
    if (node === replaced) return;
    if (node === undefined) {
      if (replaced !== undefined) this.detach(replaced);
      return;
    }
    // The kernel refuses to move a directory below itself; a table with a ring would never end.
    if (this.#isBelow(to.parent, node)) {
      this.detach(node);
      return;
    }
    to.parent.children ??= new Map();
    to.parent.children.set(to.name, node);
    from.parent.children?.delete(from.name);
    if (from.parent.children?.size === 0) from.parent.children = undefined;
    node.parent = to.parent;
    node.name = to.name;
    if (replaced !== undefined) this.#orphan(replaced);
    this.#collect(from.parent);
  }

  addFile(file: KernelFile): void {
    const { node } = file;
    node.files ??= new Map();
    node.files.set(file.handle, file);
    if (file.writes) node.writers += 1;
  }

  removeFile(file: KernelFile): void {
    const { node } = file;
    if (node.files?.delete(file.handle) !== true) return;
    if (file.writes) node.writers -= 1;
    if (node.files.size === 0) node.files = undefined;
    this.#collect(node);
  }

  /** Somebody opens this directory: its changes are recorded until the last one closes it. */
  openDirectory(node: Node): void {
    node.openDirectories += 1;
    node.changes ??= new Map();
  }

  closeDirectory(node: Node): void {
    node.openDirectories -= 1;
    if (node.openDirectories > 0) return;
    node.changes = undefined;
    this.#collect(node);
  }

  /**
   * Up to `count` nodes that nobody has open and that have no known nodes below, the longest known
   * first as far as the walk through the table goes; each once, until it is looked up again.
   */
  idleNodes(count: number, options: { directories: boolean }): Node[] {
    const idle: Node[] = [];
    for (let left = count * 8; left > 0 && idle.length < count; left -= 1) {
      this.#idle ??= this.#nodes.values();
      const next = this.#idle.next();
      if (next.done === true) {
        this.#idle = undefined;
        break;
      }
      const node = next.value;
      if (node.isOpen || node.askedToForget || node.parent === undefined) continue;
      if (node.kind === 'directory' && (!options.directories || node.children !== undefined)) {
        continue;
      }
      node.askedToForget = true;
      idle.push(node);
    }
    return idle;
  }

  /** A node whose place in its parent is already taken away or taken by another. */
  #orphan(node: Node): void {
    if (node.files !== undefined) node.formerPath = this.pathOf(node);
    node.parent = undefined;
    this.#collect(node);
  }

  #isBelow(node: Node, ancestor: Node): boolean {
    for (let at: Node | undefined = node; at !== undefined; at = at.parent) {
      if (at === ancestor) return true;
    }
    return false;
  }

  /** The number that was shown for a name, and that nothing else shows by now. */
  #takeInode(parent: Node, name: string): number | undefined {
    const directory = this.#inodes.size === 0 ? undefined : this.pathOf(parent);
    if (directory === undefined) return undefined;
    const path = childPath(directory, name);
    const inode = this.#inodes.get(path);
    this.#inodes.delete(path);
    return inode;
  }

  /** Drops a node that nothing holds any more, and then its parent likewise. */
  #collect(node: Node): void {
    let at: Node | undefined = node;
    while (at !== undefined && at !== this.root) {
      if (at.lookups > 0 || at.isOpen || at.children !== undefined) return;
      const path = this.pathOf(at);
      if (path !== undefined) this.#inodes.set(path, at.inode);
      this.#nodes.delete(at.id);
      const parent: Node | undefined = at.parent;
      if (parent?.children?.get(at.name) === at) {
        parent.children.delete(at.name);
        if (parent.children.size === 0) parent.children = undefined;
      }
      at.parent = undefined;
      at = parent;
    }
  }
}
