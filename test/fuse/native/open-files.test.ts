import t from 'tap';
import { isHiddenName, OpenFiles } from '../../../lib/fuse/native/open-files.js';
import { parsePath } from '../../../lib/path.js';

const a = parsePath('/d/a');
const hidden = parsePath('/d/.fuse_hidden0000000200000001');

void t.test('only libfuse’s own form of a name is a hidden one', (t) => {
  t.ok(isHiddenName(hidden));
  for (const name of [
    '.fuse_hidden',
    '.fuse_hidden0000000200000001x',
    '.fuse_hidden000000020000000G',
  ]) {
    t.notOk(isHiddenName(parsePath(`/${name}`)), name);
  }
  t.end();
});

void t.test('a hidden file keeps the name that the core knows', (t) => {
  const files = new OpenFiles();
  files.add(1, a);
  files.add(2, a);
  files.hide(a, hidden);
  t.equal(files.coreName(1), a);
  t.equal(files.handleAt(a), undefined);
  t.ok([1, 2].includes(files.handleAt(hidden) ?? 0));
  t.equal(files.removedName(hidden), a);
  t.equal(files.removedName(a), undefined);
  files.forget(hidden);
  t.equal(files.removedName(hidden), undefined);
  t.end();
});

void t.test('open files follow the rename of their directory', (t) => {
  const files = new OpenFiles();
  files.add(1, a);
  files.add(2, parsePath('/d/sub/b'));
  files.add(3, parsePath('/dd/c'));
  files.hide(a, hidden);
  files.move(parsePath('/d'), parsePath('/e'));
  t.equal(files.removedName(parsePath('/e/.fuse_hidden0000000200000001')), a);
  t.equal(files.coreName(1), a);
  t.equal(files.coreName(2), '/e/sub/b');
  t.equal(files.coreName(3), '/dd/c');
  t.ok(files.isAnyBelow(parsePath('/e')));
  t.notOk(files.isAnyBelow(parsePath('/d')));
  t.end();
});

void t.test('a file is not below itself', (t) => {
  const files = new OpenFiles();
  files.add(1, a);
  t.notOk(files.isAnyBelow(a));
  files.delete(1);
  t.notOk(files.isAnyBelow(parsePath('/d')));
  t.end();
});
