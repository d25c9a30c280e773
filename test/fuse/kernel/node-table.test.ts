import fc from 'fast-check';
import t from 'tap';
import { NodeTable, type Node, type KernelFile } from '../../../lib/fuse/kernel/node-table.js';
import type { Path } from '../../../lib/path.js';

const file = (version = '1') => ({ kind: 'file' as const, version });
const directory = { kind: 'directory' as const, version: '' };

function known(table: NodeTable, parent: Node, name: string, seen = file()): Node {
  const node = table.see(parent, name, seen);
  table.addLookup(node);
  return node;
}

function opened(table: NodeTable, node: Node, handle: number, writes = false): KernelFile {
  const open = { handle, node, writes };
  table.addFile(open);
  return open;
}

void t.test('a node keeps its id as long as the kernel knows it and gets a new one after', (t) => {
  const table = new NodeTable();
  const first = known(table, table.root, 'a');
  t.equal(known(table, table.root, 'a'), first);
  table.forget(first.id, 1);
  t.equal(table.get(first.id), first, 'one lookup is left');
  table.forget(first.id, 1);
  t.equal(table.get(first.id), undefined);
  t.equal(table.size, 1);
  t.not(known(table, table.root, 'a').id, first.id);
  t.end();
});

void t.test('a directory stays while a node below it is known', (t) => {
  const table = new NodeTable();
  const parent = known(table, table.root, 'd', directory as never);
  const child = known(table, parent, 'a');
  table.forget(parent.id, 1);
  t.equal(table.pathOf(child), '/d/a');
  table.forget(child.id, 1);
  t.equal(table.size, 1, 'both are gone');
  t.end();
});

void t.test('a rename moves a whole subtree and takes the name of what was there', (t) => {
  const table = new NodeTable();
  const from = known(table, table.root, 'from', directory as never);
  const deep = known(table, from, 'deep');
  const replaced = known(table, table.root, 'to', directory as never);
  table.move({ parent: table.root, name: 'from' }, { parent: table.root, name: 'to' });
  t.equal(table.pathOf(deep), '/to/deep');
  t.equal(table.find('/to/deep' as Path), deep);
  t.equal(table.find('/from' as Path), undefined);
  t.equal(table.pathOf(replaced), undefined);
  t.equal(table.get(replaced.id), replaced, 'the kernel still knows it');
  t.end();
});

void t.test('moving a directory below itself leaves no ring', (t) => {
  const table = new NodeTable();
  const outer = known(table, table.root, 'outer', directory as never);
  const inner = known(table, outer, 'inner', directory as never);
  table.move({ parent: table.root, name: 'outer' }, { parent: inner, name: 'x' });
  t.equal(table.pathOf(inner), undefined);
  t.end();
});

void t.test('an unlinked file lives on while it is open and remembers its path', (t) => {
  const table = new NodeTable();
  const node = known(table, table.root, 'a');
  const open = opened(table, node, 1);
  table.detach(node);
  table.forget(node.id, 1);
  t.equal(table.get(node.id), node);
  t.equal(table.pathOf(node), undefined);
  t.equal(node.formerPath, '/a');
  table.removeFile(open);
  t.equal(table.size, 1);
  t.end();
});

void t.test('version rule: a node nobody has open takes the new version over', (t) => {
  const table = new NodeTable();
  const node = known(table, table.root, 'a', file('1'));
  t.equal(table.see(table.root, 'a', file('2')), node);
  t.equal(node.version, '2');
  t.end();
});

void t.test('version rule: a node with a writer keeps its id when it commits', (t) => {
  const table = new NodeTable();
  const node = known(table, table.root, 'a', file('1'));
  opened(table, node, 1, true);
  opened(table, node, 2);
  t.equal(table.see(table.root, 'a', file('2')), node);
  t.equal(node.version, '2');
  t.end();
});

void t.test('version rule: readers keep their node and the name gets another', (t) => {
  const table = new NodeTable();
  const node = known(table, table.root, 'a', file('1'));
  const open = opened(table, node, 1);
  const next = known(table, table.root, 'a', file('2'));
  t.not(next.id, node.id);
  t.equal(table.pathOf(node), undefined);
  t.equal(node.version, '1');
  t.equal(table.pathOf(next), '/a');
  table.removeFile(open);
  t.equal(table.get(node.id), node, 'until the kernel forgets it');
  table.forget(node.id, 1);
  t.equal(table.get(node.id), undefined);
  t.end();
});

void t.test('a name that becomes a directory gets another node, open or not', (t) => {
  const table = new NodeTable();
  const node = known(table, table.root, 'a');
  const next = known(table, table.root, 'a', directory as never);
  t.not(next.id, node.id);
  t.equal(table.pathOf(node), undefined);
  t.end();
});

void t.test('changes are recorded while a directory is open, and only then', (t) => {
  const table = new NodeTable();
  t.equal(table.root.changes, undefined);
  table.openDirectory(table.root);
  table.openDirectory(table.root);
  table.closeDirectory(table.root);
  t.ok(table.root.changes);
  table.closeDirectory(table.root);
  t.equal(table.root.changes, undefined);
  t.end();
});

void t.test(
  'idle nodes are offered once each, and nothing that is open or has nodes below',
  (t) => {
    const table = new NodeTable();
    const nodes = Array.from({ length: 10 }, (_, index) => known(table, table.root, `f${index}`));
    const parent = known(table, table.root, 'd', directory as never);
    known(table, parent, 'below');
    const empty = known(table, table.root, 'e', directory as never);
    opened(table, nodes[3]!, 1);
    const offered = new Set<Node>();
    const offer = (directories: boolean): void => {
      for (let round = 0; round < 6; round += 1) {
        for (const node of table.idleNodes(4, { directories })) {
          t.notOk(offered.has(node));
          offered.add(node);
        }
      }
    };
    offer(false);
    t.equal(offered.size, 10, 'nine files and the one below');
    t.notOk(offered.has(nodes[3]!));
    offer(true);
    t.ok(offered.has(empty));
    t.equal(offered.size, 11);
    known(table, table.root, 'f0');
    t.same(table.idleNodes(100, { directories: true }), [nodes[0]!], 'looked up again');
    t.end();
  },
);

interface Model {
  /** path → id */
  readonly paths: Map<string, number>;
}

void t.test(
  'whatever is looked up, moved, removed and forgotten, paths agree with a plain map',
  (t) => {
    const names = fc.constantFrom('a', 'b', 'c');
    const steps = fc.array(
      fc.oneof(
        fc.record({ do: fc.constant('lookup' as const), at: fc.nat(20), name: names }),
        fc.record({ do: fc.constant('remove' as const), at: fc.nat(20), name: names }),
        fc.record({
          do: fc.constant('move' as const),
          at: fc.nat(20),
          name: names,
          to: fc.nat(20),
          toName: names,
        }),
        fc.record({ do: fc.constant('forget' as const), at: fc.nat(20) }),
      ),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(steps, (run) => {
        const table = new NodeTable();
        const model: Model = { paths: new Map([['', 1]]) };
        const lookups = new Map<number, number>();
        const drop = (path: string): void => {
          for (const known of [...model.paths.keys()]) {
            if (known === path || known.startsWith(`${path}/`)) model.paths.delete(known);
          }
        };
        const pick = (index: number): string => {
          const paths = [...model.paths.keys()];
          return paths[index % paths.length]!;
        };
        for (const step of run) {
          const at = pick(step.at);
          const parent = table.get(model.paths.get(at)!)!;
          if (step.do === 'lookup') {
            const node = known(table, parent, step.name, directory as never);
            lookups.set(node.id, (lookups.get(node.id) ?? 0) + 1);
            model.paths.set(`${at}/${step.name}`, node.id);
          } else if (step.do === 'remove') {
            const child = table.child(parent, step.name);
            if (child !== undefined) table.detach(child);
            drop(`${at}/${step.name}`);
          } else if (step.do === 'move') {
            const to = pick(step.to);
            const [source, target] = [`${at}/${step.name}`, `${to}/${step.toName}`];
            // The kernel refuses these two.
            if (`${to}/`.startsWith(`${source}/`) || `${at}/`.startsWith(`${target}/`)) continue;
            const toParent = table.get(model.paths.get(to)!)!;
            table.move({ parent, name: step.name }, { parent: toParent, name: step.toName });
            const moved = [...model.paths].filter(
              ([path]) => path === source || path.startsWith(`${source}/`),
            );
            if (source !== target) drop(target);
            drop(source);
            for (const [path, id] of moved) model.paths.set(target + path.slice(source.length), id);
          } else if (at !== '' && ![...model.paths.keys()].some((p) => p.startsWith(`${at}/`))) {
            const id = model.paths.get(at)!;
            table.forget(id, lookups.get(id) ?? 0);
            lookups.delete(id);
            model.paths.delete(at);
          }
          for (const [path, id] of model.paths) {
            const node = table.get(id);
            if (node === undefined) throw new Error(`${path} lost its node`);
            if (table.pathOf(node) !== (path === '' ? '/' : path)) throw new Error(`${path} moved`);
          }
        }
        for (const [id, count] of lookups) table.forget(id, count);
        return table.size === 1;
      }),
    );
    t.end();
  },
);

void t.test(
  'the inode number of a name outlasts the kernel’s memory, and is shared by nobody',
  (t) => {
    const table = new NodeTable();
    const first = known(table, table.root, 'a');
    const { inode } = first;
    table.forget(first.id, 1);
    const again = known(table, table.root, 'a');
    t.equal(again.inode, inode);
    t.not(again.id, first.id);
    // It goes along with a rename, and the name left gets another.
    table.move({ parent: table.root, name: 'a' }, { parent: table.root, name: 'b' });
    t.not(known(table, table.root, 'a').inode, inode);
    table.forget(again.id, 1);
    t.equal(known(table, table.root, 'b').inode, inode);
    // What was removed takes its number along.
    const removed = known(table, table.root, 'c');
    table.detach(removed);
    t.not(known(table, table.root, 'c').inode, removed.inode);
    t.end();
  },
);
