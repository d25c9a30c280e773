import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { optionGroups, optionRows } from '../lib/options/table.js';

const top = join(import.meta.dirname, '../..');
const readme = readFileSync(join(top, 'README.md'), 'utf8');

/** The rows that the option table itself gives. */
function optionsTable(): string {
  const rows = optionGroups.flatMap((group) =>
    optionRows
      .filter((row) => row.group === group)
      .map(({ name, value, help, defaultText }) => {
        const option = value === undefined ? `--${name}` : `--${name} ${value}`;
        return `| ${group} | \`${option}\` | ${help.replaceAll('|', '\\|')} | ${defaultText ?? ''} |`;
      }),
  );
  return ['| group | option | meaning | default |', '| --- | --- | --- | --- |', ...rows].join(
    '\n',
  );
}

void t.test('the options table of the README is the one of the program', (t) => {
  t.ok(readme.includes(optionsTable()), `it should be:\n${optionsTable()}`);
  t.end();
});

void t.test('files and commands that the README names exist', (t) => {
  const named = [...readme.matchAll(/`(?:\.\/)?((?:lib|test|scripts)\/[\w./-]+)`/g)];
  t.ok(named.length > 10);
  for (const [, path = ''] of named) t.ok(existsSync(join(top, path)), path);
  t.end();
});
