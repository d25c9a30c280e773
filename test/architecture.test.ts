/**
 * Which part may know which, read from the import lines of lib.
 *
 * The arrows: the command line wires everything; drivers know the operations they call, the core
 * knows the store it calls, S3 knows the store it is, and the embedded endpoint knows none of them.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import ts from 'typescript';

interface Import {
  /** a file of lib, relative to it, or the name of a package */
  readonly target: string;
  /** vanishes when compiled */
  readonly isTypeOnly: boolean;
}

const lib = fileURLToPath(new URL('../../lib', import.meta.url));
const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.ts'),
);
const sources = new Map(
  files.map((name) => {
    const text = readFileSync(join(lib, name), 'utf8');
    return [name, ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true)] as const;
  }),
);
const imports = new Map([...sources].map(([name, source]) => [name, importsOf(name, source)]));

function importsOf(file: string, source: ts.SourceFile): Import[] {
  const found: Import[] = [];
  const add = (specifier: ts.Node | undefined, isTypeOnly: boolean): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return;
    found.push({ target: targetOf(file, specifier.text), isTypeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, isTypeOnlyImport(node));
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal, true);
    } else if (ts.isCallExpression(node) && isLoad(node.expression)) add(node.arguments[0], false);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function isTypeOnlyImport({ importClause }: ts.ImportDeclaration): boolean {
  if (importClause === undefined) return false;
  if (importClause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const { name, namedBindings } = importClause;
  if (name !== undefined || namedBindings === undefined) return false;
  return (
    ts.isNamedImports(namedBindings) && namedBindings.elements.every((each) => each.isTypeOnly)
  );
}

/** `import(…)`, `require(…)` and `require.resolve(…)`. */
function isLoad(callee: ts.Expression): boolean {
  return callee.kind === ts.SyntaxKind.ImportKeyword || /^require\b/.test(callee.getText());
}

function targetOf(file: string, specifier: string): string {
  if (specifier.startsWith('.')) {
    return join(dirname(file), specifier).replace(/\.js$/, '.ts');
  }
  if (specifier.startsWith('node:')) return specifier;
  const [scope = '', name = ''] = specifier.split('/');
  return scope.startsWith('@') ? `${scope}/${name}` : scope;
}

/** Everything that the files reach, through any number of imports, themselves included. */
function reachOf(starts: readonly string[]): Set<string> {
  const reached = new Set(starts);
  for (const file of reached) {
    for (const { target } of imports.get(file) ?? []) reached.add(target);
  }
  return reached;
}

function filesIn(...folders: string[]): string[] {
  return files.filter((name) => folders.some((folder) => name.startsWith(`${folder}/`)));
}

/** The names in `reached` that match, for a message that says what is wrong. */
function among(reached: Iterable<string>, pattern: RegExp): string[] {
  return [...reached].filter((name) => pattern.test(name)).sort();
}

function importersOf(pattern: RegExp): string[] {
  return files.filter((file) => imports.get(file)?.some(({ target }) => pattern.test(target)));
}

function packagesOf(reached: Iterable<string>): string[] {
  return [...reached].filter((name) => !name.endsWith('.ts') && !name.startsWith('node:')).sort();
}

const outside = /^(fuse|s3|endpoint|demo)\/|^(cli|demo|mount|unmount|background|options?)\b/;

void t.test('every import leads somewhere', (t) => {
  for (const [file, all] of imports) {
    for (const { target } of all) {
      if (target.endsWith('.ts')) t.ok(sources.has(target), `${file} imports ${target}`);
    }
  }
  t.ok(sources.has('filesystem.ts') && filesIn('fuse', 's3', 'endpoint').length > 20);
  t.end();
});

void t.test('the core knows neither drivers nor S3 nor the endpoint nor the command line', (t) => {
  const core = reachOf(['filesystem.ts']);
  for (const name of [
    'store.ts',
    'operations.ts',
    'path.ts',
    'errors.ts',
    'tree.ts',
    'reader.ts',
  ]) {
    t.ok(core.has(name), name);
  }
  t.strictSame(among(core, outside), []);
  t.strictSame(among(core, /^node:(child_process|http|https|net|tls)$/), []);
  const packages = packagesOf(core);
  t.strictSame(among(packages, /^(?!(lru-cache|mime|pino|pino-pretty)$)/), []);
  t.end();
});

void t.test('a driver knows the operations it calls and nothing behind them', (t) => {
  const drivers = reachOf(filesIn('fuse'));
  t.strictSame(among(drivers, /^(s3|endpoint|demo)\//), []);
  t.strictSame(
    among(drivers, /^(filesystem|store|tree|namespace|reader|staged-|spool|mount)\b(?!-table)/),
    [],
  );
  t.end();
});

void t.test('the store on S3 knows the port it implements and nothing above it', (t) => {
  const s3 = reachOf(filesIn('s3'));
  t.ok(s3.has('store.ts'));
  t.strictSame(among(s3, /^(fuse|endpoint|demo)\//), []);
  t.strictSame(among(s3, /^(filesystem|operations|tree|namespace|reader|staged-)\b/), []);
  t.end();
});

void t.test('the embedded endpoint learnt nothing from the program it judges', (t) => {
  const endpoint = reachOf(filesIn('endpoint'));
  t.strictSame(among(endpoint, /^(fuse|s3|demo)\//), []);
  t.strictSame(among(endpoint, /^(filesystem|store|operations|tree|namespace|reader)\b/), []);
  t.strictSame(packagesOf(endpoint), []);
  t.end();
});

void t.test('each package has its place', (t) => {
  t.strictSame(importersOf(/^fuse-native$/), ['fuse/fuse-native.ts']);
  t.strictSame(among(importersOf(/^commander$/), /^(?!cli[./])/), []);
  t.strictSame(importersOf(/^pino/), ['log.ts']);
  t.strictSame(importersOf(/^prom-client$/), ['metrics.ts']);
  t.strictSame(
    importersOf(/^@(aws-sdk|smithy)\//).filter((name) => !name.startsWith('s3/')),
    [],
  );
  t.end();
});

void t.test('the environment is read at the edges only', (t) => {
  const readers = mentioning('process.env');
  const core = reachOf(['filesystem.ts']);
  t.strictSame(
    readers.filter((name) => core.has(name)),
    [],
  );
  t.strictSame(among(readers, /^endpoint\//), []);
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

void t.test('no two files need each other to load', (t) => {
  const done = new Set<string>();
  const circle = (file: string, above: readonly string[]): readonly string[] | undefined => {
    if (above.includes(file)) return [...above.slice(above.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const { target, isTypeOnly } of imports.get(file) ?? []) {
      const found = isTypeOnly ? undefined : circle(target, [...above, file]);
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
    const escapes = all.filter(({ target }) => relative('.', target).startsWith('..'));
    t.strictSame(
      escapes.map(({ target }) => target),
      [],
      file,
    );
  }
  t.end();
});
