#!/usr/bin/env node
// Bundles the built program for the Debian package: usage: scripts/bundle.js DIRECTORY
//
// One file, not one for each part: a mount that runs through an upgrade must not look for parts of the
// version before. Whitespace and names are cut short, because V8 keeps the text of all it has loaded;
// classes and functions keep theirs, which errors and logs tell. Measured beside the modules: half the
// CPU of a start, 6 MB less of memory.
//
// What calls for files by its own place finds them as before: the bundle lies where lib/cli/main.js does.
import { readFileSync, readdirSync, mkdirSync, copyFileSync, cpSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const top = fileURLToPath(new URL('..', import.meta.url));
const [target] = process.argv.slice(2);
if (target === undefined) throw new Error('usage: scripts/bundle.js DIRECTORY');

/** Files that the program starts by their place beside a module: workers. */
function filesCalledByPlace() {
  const found = [];
  for (const entry of readdirSync(join(top, 'dist/lib'), {
    recursive: true,
    withFileTypes: true,
  })) {
    if (!entry.name.endsWith('.js')) continue;
    const directory = entry.parentPath ?? entry.path;
    const text = readFileSync(join(directory, entry.name), 'utf8');
    for (const [, path] of text.matchAll(/new URL\('(\.\/[^']+\.c?js)', import\.meta\.url\)/g)) {
      found.push(join(directory, path));
    }
  }
  return found;
}

const common = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  outdir: join(target, 'dist/lib/cli'),
  // Native code is found by its place.
  external: ['fuse-native'],
  minify: true,
  keepNames: true,
  // The texts of all licences go into one file.
  legalComments: 'none',
  // What CommonJS packages ask for by require().
  banner: {
    js:
      "import { createRequire as requireOfBundle } from 'node:module';" +
      'const require = requireOfBundle(import.meta.url);',
  },
  metafile: true,
  logLevel: 'warning',
};
const entries = [join(top, 'dist/lib/cli/main.js'), ...filesCalledByPlace()];
const inputs = new Set();
for (const entry of entries) {
  const { metafile } = await build({ ...common, entryPoints: [entry] });
  for (const path of Object.keys(metafile.inputs)) inputs.add(path);
}

// Started without the bundle, or before it.
for (const path of [
  'bin/launch.cjs',
  'bin/s3jail.cjs',
  'bin/mount.s3jail.cjs',
  'lib/host/mount-environment.cjs',
]) {
  mkdirSync(dirname(join(target, 'dist', path)), { recursive: true });
  copyFileSync(join(top, 'dist', path), join(target, 'dist', path));
}

/** A package of npm with all that it needs, but the libraries for other machines. */
function copyPackage(name) {
  const from = join(top, 'node_modules', name);
  const { dependencies = {} } = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8'));
  const isNeeded = (path) => !unneeded.test(path);
  cpSync(from, join(target, 'node_modules', name), { recursive: true, filter: isNeeded });
  licences.set(name, from);
  for (const each of Object.keys(dependencies)) copyPackage(each);
}

// libfuse itself is Debian's: the binding asks for libfuse.so.2 of the machine.
const unneeded =
  /\/(test|example|prebuilds\/darwin[^/]*|libfuse\/(bin|lib|include)|\.travis\.yml)$|\/(libfuse\.so|electron\..*)$|\.(md|c|h|gyp)$/;
const licences = new Map();
for (const path of inputs) {
  const [, directory, name] = /^(.*node_modules\/((?:@[^/]+\/)?[^/]+))\//.exec(path) ?? [];
  if (name !== undefined) licences.set(name, join(process.cwd(), directory));
}
copyPackage('fuse-native');
copyPackage('fuse-shared-library-linux');

const texts = [...licences].sort().map(([name, directory]) => {
  const { version, license } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  const file = readdirSync(directory).find((each) => /^(licen[cs]e|copying)/i.test(each));
  const text = file === undefined ? '' : `\n${readFileSync(join(directory, file), 'utf8')}`;
  return `== ${name} ${version} (${license})\n${text}`;
});
writeFileSync(join(target, 'third-party'), texts.join('\n'));
