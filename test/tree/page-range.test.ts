/** What a page of a directory tells of which names. */
import t from 'tap';
import { DirectoryPage, startBefore } from '../../lib/tree/page-range.js';
import { Listing } from '../../lib/tree/listing.js';
import { parsePath, sortsAfter, type Key } from '../../lib/path.js';
import type { ETag, ListPage, ObjectInfo } from '../../lib/store.js';

function info(key: string): ObjectInfo {
  return { key: key as Key, size: 1, mtimeMs: 0, etag: '"e"' as ETag };
}

/** The page of `/d` that S3 answers with, asked from before `child` on. */
function pageOf(child: string, found: { files: string[]; directories?: string[]; next?: string }) {
  const { files, directories = [], next } = found;
  const page: ListPage = {
    objects: files.map((name) => info(`d/${name}`)),
    prefixes: directories.map((name) => `d/${name}/`),
    ...(next === undefined ? {} : { next }),
  };
  const listing = new Listing(0);
  for (const name of files) listing.set(name, { kind: 'file', info: info(`d/${name}`) });
  for (const name of directories) listing.set(name, { kind: 'directory', mtimeMs: 0 });
  const directory = parsePath('/d');
  const after = startBefore(parsePath(`/d/${child}`));
  const told = new DirectoryPage(directory, listing, { page, after });
  return (name: string) => {
    const answer = told.lookup(parsePath(`/d/${name}`));
    return answer === undefined ? 'untold' : (answer.entry?.kind ?? 'absent');
  };
}

void t.test('the last page tells all from where it begins', (t) => {
  const kindOf = pageOf('f2', { files: ['f2', 'f3'], directories: ['g'] });
  t.equal(kindOf('f2'), 'file');
  t.equal(kindOf('g'), 'directory');
  t.equal(kindOf('f4'), 'absent');
  t.equal(kindOf('zz'), 'absent');
  t.equal(kindOf('f1'), 'untold');
  t.equal(kindOf('a'), 'untold');
  t.end();
});

void t.test('a page that is followed by others tells no more than it can', (t) => {
  const files = ['a', 'a-1', 'b', 'b!'];
  const kindOf = pageOf('a', { files, next: 'token' });
  t.equal(kindOf('a'), 'file', '`a/` would stand before b');
  t.equal(kindOf('a-1'), 'file');
  t.equal(kindOf('a-2'), 'absent');
  t.equal(kindOf('b'), 'untold', '`b/` may follow, and beats the file');
  t.equal(kindOf('b!'), 'untold');
  t.equal(kindOf('c'), 'untold');
  t.equal(pageOf('a', { files, directories: ['b'], next: 'token' })('b'), 'directory');
  t.equal(pageOf('a', { files: [], next: 'token' })('a'), 'untold', 'an empty page');
  t.end();
});

void t.test('the start sorts before the name and what is in its directory', (t) => {
  for (const name of ['a', 'f10', '!', 'a b ', 'grüß', '😀', 'x\u0001', 'a0', '~', 'a/b']) {
    const path = parsePath(`/d/${name}`);
    t.ok(sortsAfter(`d/${name}`, startBefore(path)), name);
    t.ok(sortsAfter(`d/${name}/`, startBefore(path)), name);
  }
  t.notOk(sortsAfter('d/f09', startBefore(parsePath('/d/f10'))));
  t.notOk(sortsAfter('d/f0z', startBefore(parsePath('/d/f1'))));
  t.end();
});
