/**
 * Which folder of lib may know which, read from the import lines: one table, by allowing. An arrow
 * that is not in it fails, and so do a folder that is not in it and a file at the root that is not
 * named here. The tests stand as the files of lib do, and scripts start what is there.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import ts from 'typescript';

const lib = fileURLToPath(new URL('../../lib', import.meta.url));
const top = join(lib, '..');
const files = readdirSync(lib, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.c?ts$/.test(name))
  .sort();
const sources = new Map(
  files.map((name) => {
    const text = readFileSync(join(lib, name), 'utf8');
    return [name, ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true)] as const;
  }),
);
/** What each file imports, types too: files of lib, relative to it, and names of packages. */
const imports = new Map([...sources].map(([name, source]) => [name, importsOf(name, source)]));

function importsOf(file: string, source: ts.SourceFile): string[] {
  const found: string[] = [];
  const add = (specifier: ts.Node | undefined): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return;
    found.push(targetOf(file, specifier.text));
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal);
    } else if (ts.isCallExpression(node) && isLoad(node.expression)) add(node.arguments[0]);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** `import(…)`, `require(…)` and `require.resolve(…)`. */
function isLoad(callee: ts.Expression): boolean {
  return callee.kind === ts.SyntaxKind.ImportKeyword || /^require\b/.test(callee.getText());
}

function targetOf(file: string, specifier: string): string {
  if (specifier.startsWith('.')) {
    return join(dirname(file), specifier).replace(/\.(c?)js$/, '.$1ts');
  }
  if (specifier.startsWith('node:')) return specifier;
  const [scope = '', name = ''] = specifier.split('/');
  return scope.startsWith('@') ? `${scope}/${name}` : scope;
}

function filesIn(...folders: string[]): string[] {
  return files.filter((name) => folders.some((folder) => name.startsWith(`${folder}/`)));
}

/** The names in `reached` that match, for a message that says what is wrong. */
function among(reached: Iterable<string>, pattern: RegExp): string[] {
  return [...reached].filter((name) => pattern.test(name)).sort();
}

function importersOf(pattern: RegExp): string[] {
  return files.filter((file) => imports.get(file)?.some((target) => pattern.test(target)));
}

/**
 * The words that every folder may use: ports, plain mechanisms, errors. They import each other only.
 */
const ground = [
  'clock.ts',
  'crc32.ts',
  'customer-key.ts',
  'errors.ts',
  'file-time.ts',
  'limitation.ts',
  'log.ts',
  'loopback.ts',
  'operations.ts',
  'part-rules.ts',
  'path.ts',
  'second-reading.ts',
  'store.ts',
];

/** Folders of the ground: mechanisms that are more than a file. */
const groundFolders = ['concurrency', 'limits'];

/** What each folder may import beside itself and the ground; `a/b.ts` allows one file. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  concurrency: [],
  limits: [],
  // the core: a name, a byte in, a byte out, and the operations made of them
  tree: [],
  read: [],
  write: ['read'],
  filesystem: ['tree', 'read', 'write'],
  // the edges
  fuse: ['host'],
  s3: [],
  host: [],
  endpoint: [],
  homes: ['host'],
  // the program around it
  options: ['host'],
  observability: ['host', 'options', 'filesystem', 'homes', 'fuse/driver.ts', 's3'],
  mount: ['host', 'options', 'fuse', 'filesystem', 'homes', 's3', 'observability'],
  preflight: ['host', 'options', 'fuse/choose.ts', 's3', 'observability/process-log.ts'],
  status: ['host', 'options', 'observability'],
  setup: ['host', 'options', 'mount/unmount.ts', 'preflight/findings.ts', 'preflight/machine.ts'],
  demo: ['host', 'mount/stop-signals.ts', 'endpoint'],
  cli: ['host', 'observability', 'options', 'mount', 'preflight', 'status', 'setup', 'demo'],
};

function folderOf(file: string): string {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : 'ground';
}

void t.test('every import leads somewhere', (t) => {
  for (const [file, all] of imports) {
    for (const target of all) {
      if (/\.c?ts$/.test(target)) t.ok(sources.has(target), `${file} imports ${target}`);
    }
  }
  t.end();
});

void t.test('the root of lib is the ground, and every folder is in the table', (t) => {
  t.strictSame(
    files.filter((file) => !file.includes('/')),
    ground,
  );
  const folders = new Set(files.map(folderOf));
  folders.delete('ground');
  t.strictSame([...folders].sort(), Object.keys(allowed).sort());
  for (const folder of folders)
    t.notOk(sources.has(`${folder}.ts`), `${folder}.ts beside ${folder}/`);
  t.end();
});

void t.test('a folder imports what the table allows it, types too', (t) => {
  for (const [file, all] of imports) {
    const folder = folderOf(file);
    for (const target of all) {
      if (!sources.has(target)) continue;
      const wanted = folderOf(target);
      const may = [folder, 'ground', ...groundFolders, ...(allowed[folder] ?? [])];
      t.ok(may.includes(wanted) || may.includes(target), `${file} imports ${target}`);
    }
  }
  t.end();
});

void t.test('the core runs without a network and without programs', (t) => {
  const core = filesIn(...groundFolders, 'tree', 'read', 'write', 'filesystem');
  const packages = new Set([...core, ...ground].flatMap((file) => imports.get(file) ?? []));
  t.strictSame(among(packages, /^node:(child_process|http|https|net|tls)$/), []);
  t.strictSame(among(packages, /^(?!(lru-cache|mime)$|node:|.*\.c?ts$)/), []);
  t.end();
});

void t.test('the embedded endpoint needs no package', (t) => {
  const packages = filesIn('endpoint').flatMap((file) => imports.get(file) ?? []);
  t.strictSame(among(packages, /^(?!node:|.*\.c?ts$)/), []);
  t.end();
});

void t.test('each package has its place', (t) => {
  t.strictSame(importersOf(/^fuse-native$/), ['fuse/native/index.ts']);
  t.strictSame(among(importersOf(/^commander$/), /^(?!cli\/)/), []);
  t.strictSame(importersOf(/^pino/), ['observability/process-log.ts']);
  t.strictSame(importersOf(/^prom-client$/), ['observability/metrics.ts']);
  t.strictSame(
    importersOf(/^@(aws-sdk|smithy)\//).filter((name) => !name.startsWith('s3/')),
    [],
  );
  t.end();
});

void t.test('the environment is read at the edges only', (t) => {
  const inside = /^(concurrency|limits|tree|read|write|filesystem|endpoint)\/|^[^/]*$/;
  t.strictSame(among(mentioning('process.env'), inside), []);
  t.end();
});

void t.test('the date is no measure of time: only what shows or signs it asks for it', (t) => {
  t.strictSame(mentioning('Date.now'), ['clock.ts', 'endpoint/endpoint.ts']);
  t.end();
});

/** Files that have a property access of this text. */
function mentioning(text: string): string[] {
  const has = (node: ts.Node): boolean =>
    (ts.isPropertyAccessExpression(node) && node.getText() === text) ||
    ts.forEachChild(node, (child) => has(child) || undefined) === true;
  return [...sources].flatMap(([name, source]) => (has(source) ? [name] : [])).sort();
}

void t.test('no two files need each other, for types neither', (t) => {
  const done = new Set<string>();
  const circle = (file: string, above: readonly string[]): readonly string[] | undefined => {
    if (above.includes(file)) return [...above.slice(above.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const target of imports.get(file) ?? []) {
      const found = circle(target, [...above, file]);
      if (found !== undefined) return found;
    }
    done.add(file);
    return undefined;
  };
  for (const file of files) t.equal(circle(file, [])?.join(' → '), undefined, file);
  t.end();
});

void t.test('no file of lib imports tests or scripts', (t) => {
  for (const [file, all] of imports) {
    t.strictSame(
      all.filter((target) => relative('.', target).startsWith('..')),
      [],
      file,
    );
  }
  t.end();
});

/** Folders of tests that are about no folder of lib: what tests share, and programs of their own. */
const besideLib = ['bench', 'boot', 'e2e', 's3/servers', 'suites', 'support'];
/** Tests of the package as a whole. */
const ofTheWhole = [
  'architecture',
  'debian-package',
  'documents',
  'inspector',
  'package',
  'secrets',
];

void t.test('a test stands where what it tests does', (t) => {
  const folders = new Set(files.map(dirname));
  const tests = readdirSync(join(top, 'test'), { recursive: true, encoding: 'utf8' });
  for (const test of tests.filter((name) => name.endsWith('.ts'))) {
    const folder = dirname(test);
    const name = test.replace(/(\.test)?\.ts$/, '');
    const isBeside = besideLib.some((each) => `${folder}/`.startsWith(`${each}/`));
    const isOfTheRoot = ofTheWhole.includes(name) || ground.includes(`${name}.ts`);
    t.ok(isBeside || (folder === '.' ? isOfTheRoot : folders.has(folder)), `test/${test}`);
  }
  t.end();
});

void t.test('scripts start what is there', (t) => {
  const entries = readdirSync(join(top, 'scripts'), { withFileTypes: true });
  for (const { name: script } of entries.filter((entry) => entry.isFile())) {
    const text = readFileSync(join(top, 'scripts', script), 'utf8');
    for (const [, name = ''] of text.matchAll(/\bdist\/([\w./-]+)\.js\b/g)) {
      t.ok(existsSync(join(top, `${name}.ts`)), `scripts/${script} starts ${name}`);
    }
  }
  t.end();
});
