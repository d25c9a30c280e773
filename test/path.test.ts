import fc from 'fast-check';
import t from 'tap';
import { isFsError } from '../lib/errors.js';
import {
  childPath,
  classifyKey,
  isWithin,
  keyOf,
  markerOf,
  maxKeyBytes,
  movedPath,
  nameFault,
  nameOf,
  normalisePrefix,
  parentOf,
  parsePath,
  rootPath,
} from '../lib/path.js';
import type { Path } from '../lib/path.js';

/** Any string at all, weighted towards the dangerous ones. */
const nasty = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.constantFrom('/', '.', '\0', 'a', '\ud800', '\\', '%', '2', 'e', 'é') }),
);
const name = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
  .filter((text) => nameFault(text) === undefined);
const path = fc.array(name, { maxLength: 6 }).map((names) => parsePath(`/${names.join('/')}`));

const attempt = (work: () => Path): Path | undefined => {
  try {
    return work();
  } catch (error) {
    if (isFsError(error)) return undefined;
    throw error;
  }
};

/** How S3 resolves nothing: a key is inside a prefix if and only if it starts with it. */
const leadsOutside = (key: string): boolean =>
  key.split('/').some((segment) => segment === '..' || segment === '.') || key.startsWith('/');

void t.test('no input yields a key outside the prefix', (t) => {
  fc.assert(
    fc.property(nasty, (text) => {
      const parsed = attempt(() => parsePath(text));
      return parsed === undefined || !leadsOutside(keyOf(parsed));
    }),
    { numRuns: 5000 },
  );
  fc.assert(
    fc.property(path, nasty, (parent, text) => {
      const child = attempt(() => childPath(parent, text));
      return child === undefined || (!leadsOutside(keyOf(child)) && parentOf(child) === parent);
    }),
    { numRuns: 5000 },
  );
  t.end();
});

void t.test('a path and its key tell each other', (t) => {
  fc.assert(
    fc.property(path, (at) => {
      t.equal(`/${keyOf(at)}`, at);
      t.equal(markerOf(at), at === rootPath ? '' : `${keyOf(at)}/`);
      return at === rootPath || childPath(parentOf(at), nameOf(at)) === at;
    }),
  );
  t.end();
});

void t.test('what a listing shows can be named again', (t) => {
  fc.assert(
    fc.property(path, nasty, (directory, rest) => {
      const found = classifyKey(markerOf(directory), markerOf(directory) + rest);
      if (found.kind !== 'entry') return true;
      const child = childPath(directory, found.name);
      const key = found.isDirectory ? markerOf(child) : keyOf(child);
      return (markerOf(directory) + rest).startsWith(key);
    }),
    { numRuns: 5000 },
  );
  t.end();
});

void t.test('keys are what they look like', (t) => {
  const cases: [string, string, string][] = [
    ['a/', 'a/', 'marker'],
    ['a/', 'a/b', 'entry b'],
    ['a/', 'a/b/c', 'entry b/'],
    ['a/', 'a/b/', 'entry b/'],
    ['a/', 'a//b', 'odd'],
    ['a/', 'a/./b', 'odd'],
    ['a/', 'a/../b', 'odd'],
    ['a/', 'a/..', 'odd'],
    ['a/', 'a/x\0y', 'odd'],
    ['a/', `a/${'x'.repeat(1025)}`, 'odd'],
    ['a/', `a/${'x'.repeat(1024)}`, `entry ${'x'.repeat(1024)}`],
    ['a/', 'alice/b', 'odd'],
    ['', '/lead', 'odd'],
    ['', '..', 'odd'],
    ['', 'a', 'entry a'],
  ];
  for (const [directory, key, want] of cases) {
    const found = classifyKey(directory as ReturnType<typeof markerOf>, key);
    const got =
      found.kind === 'entry' ? `entry ${found.name}${found.isDirectory ? '/' : ''}` : found.kind;
    t.equal(got, want, `${JSON.stringify(key.slice(0, 20))} in ${directory}`);
  }
  t.end();
});

void t.test('names that cannot exist are refused with the errno that says why', (t) => {
  for (const [text, want] of [
    ['', 'EINVAL'],
    ['.', 'EINVAL'],
    ['..', 'EINVAL'],
    ['a/b', 'EINVAL'],
    ['a\0', 'EINVAL'],
    ['\ud800', 'EILSEQ'],
    ['é'.repeat(513), 'ENAMETOOLONG'],
    ['é'.repeat(512), undefined],
    ['...', undefined],
    [' ', undefined],
  ] as const) {
    t.equal(nameFault(text), want, JSON.stringify(text.slice(0, 10)));
  }
  t.throws(() => parsePath('relative'), { code: 'EINVAL' });
  t.throws(() => parsePath('/a//b'), { code: 'EINVAL' });
  t.throws(() => parsePath('/a/'), { code: 'EINVAL' });
  t.end();
});

void t.test('a prefix ends in one slash, so that alice never shows alice2', (t) => {
  t.equal(normalisePrefix('alice'), 'alice/');
  t.equal(normalisePrefix('/alice/'), 'alice/');
  t.equal(normalisePrefix('a/b'), 'a/b/');
  t.equal(normalisePrefix(''), '');
  t.equal(normalisePrefix('///'), '');
  t.throws(() => normalisePrefix('a//b'), { code: 'EINVAL' });
  t.throws(() => normalisePrefix('a/../b'), { code: 'EINVAL' });
  t.throws(() => normalisePrefix('x'.repeat(maxKeyBytes)), { code: 'ENAMETOOLONG' });
  t.end();
});

void t.test('moving a path keeps what is below', (t) => {
  const at = parsePath('/a/b/c');
  t.equal(movedPath(at, parsePath('/a'), parsePath('/z')), '/z/b/c');
  t.ok(isWithin(at, parsePath('/a')));
  t.ok(isWithin(at, rootPath));
  t.notOk(isWithin(parsePath('/ab'), parsePath('/a')));
  t.end();
});
