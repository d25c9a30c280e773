/**
 * The two places that can hold a user's mount: an environment file for the unit, and a line of
 * /etc/fstab. Both belong to the administrator, so what is not asked to change is left as it stands.
 */
import { Failure } from '../host/failure.js';
import { parseVariables, type Variables } from '../host/environment-file.js';
import { splitOptionList } from '../options/options.js';
import { isSameOption } from './mount-words.js';

/**
 * The file with these variables set: their lines are replaced or added, all others stay; undefined
 * takes a variable's lines away.
 * The form is that of EnvironmentFile= in systemd.exec(5), which sh(1) reads alike.
 * @throws Failure for a value that no line can hold
 */
export function withVariables(
  text: string,
  variables: Readonly<Record<string, string | undefined>>,
): string {
  let lines = text.split('\n').filter((line, index, all) => line !== '' || index < all.length - 1);
  for (const [name, value] of Object.entries(variables)) {
    const isOurs = (line: string) => line.startsWith(`${name}=`);
    if (value === undefined) {
      lines = lines.filter((line) => !isOurs(line));
      continue;
    }
    const line = `${name}=${quoted(name, value)}`;
    // The last of a name is the one that counts.
    const index = lines.findLastIndex(isOurs);
    if (index < 0) lines.push(line);
    else if (readVariable(lines[index] ?? '', name) !== value) lines[index] = line;
  }
  return `${lines.join('\n')}\n`;
}

function quoted(name: string, value: string): string {
  if (/^[\w@%+=:,./-]*$/.test(value)) return value;
  if (!/['\p{Cc}]/u.test(value)) return `'${value}'`;
  throw new Failure(1, `${name}: a quotation mark or line break cannot be written into a file`);
}

export function readVariable(text: string, name: string): string | undefined {
  const variables: Variables = parseVariables(text);
  return variables[name];
}

export interface FstabLine {
  readonly source: string;
  readonly mountPoint: string;
  /** as after -o */
  readonly options: string;
}

/** The line for a mount point replaced or added; all others stay, and so does what is behind it. */
export function withFstabLine(text: string, line: FstabLine): string {
  const [source, mountPoint, options] = [line.source, line.mountPoint, line.options].map(escaped);
  const lines = text.replace(/\n+$/, '').split('\n');
  const index = lines.findIndex((each) => parseLine(each)?.mountPoint === line.mountPoint);
  const present = lines[index];
  if (present === undefined) {
    const written = `${source} ${mountPoint} s3jail ${options} 0 0`;
    return `${[...lines.filter((each, at) => at > 0 || each), written].join('\n')}\n`;
  }
  const fields = /^(\s*)\S+(\s+\S+\s+s3jail)(\s+)\S+(.*)$/.exec(present);
  const [, indent, middle, space, end] = fields ?? ['', '', ` ${mountPoint} s3jail`, ' ', ' 0 0'];
  lines[index] = `${indent}${source}${middle}${space}${options}${end}`;
  return `${lines.join('\n')}\n`;
}

export function withoutFstabLine(text: string, mountPoint: string): string {
  const lines = text.split('\n');
  return lines.filter((line) => parseLine(line)?.mountPoint !== mountPoint).join('\n');
}

/** The lines of type s3jail. */
export function fstabLines(text: string): FstabLine[] {
  return text.split('\n').flatMap((line) => parseLine(line) ?? []);
}

/**
 * The options of a line with those of `changes` in it: each takes the place of its like, or of its
 * opposite, or comes last; all others stay as they are.
 */
export function withOptions(list: string, changes: readonly string[]): string {
  let items = splitOptionList(list) ?? [];
  for (const change of changes) {
    const index = items.findIndex((item) => isSameOption(item, change));
    if (index < 0) items.push(change);
    else items = items.flatMap((item, at) => replaced(item, { by: change, isFirst: at === index }));
  }
  return items.map(quotedItem).join(',');
}

function replaced(item: string, { by, isFirst }: { by: string; isFirst: boolean }): string[] {
  if (!isSameOption(item, by)) return [item];
  return isFirst ? [by] : [];
}

/** A comma inside a value stands in quotes (mount(8)). */
function quotedItem(option: string): string {
  const plain = option.replace(/["\\]/g, '\\$&');
  const [name = '', ...rest] = plain.split('=');
  return option.includes(',') ? `${name}="${rest.join('=')}"` : plain;
}

function parseLine(line: string): FstabLine | undefined {
  const [source, mountPoint, type, options = ''] = line.trim().split(/\s+/).map(unescaped);
  if (source === undefined || mountPoint === undefined || source.startsWith('#')) return undefined;
  return type === 's3jail' ? { source, mountPoint, options } : undefined;
}

/** fstab(5): white space is written as three octal digits; so is the backslash that begins them. */
function escaped(field: string): string {
  if (field.includes('\n')) throw new Failure(1, 'a line of /etc/fstab cannot hold a line break');
  return field.replace(/[ \t\\]/g, (letter) => {
    const code = letter.charCodeAt(0).toString(8).padStart(3, '0');
    return `\\${code}`;
  });
}

function unescaped(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_all, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
