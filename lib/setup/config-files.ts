/**
 * The two places that can hold a user's mount: an environment file for the unit, and a line of
 * /etc/fstab. Both belong to the administrator, so what is not ours is left as it stands.
 */
import { Failure } from '../host/failure.js';

/** A variable of an environment file. */
export type Variables = Readonly<Record<string, string>>;

/**
 * The file with these variables set: their lines are replaced or added, all others stay.
 * The form is that of EnvironmentFile= in systemd.exec(5), which sh(1) reads alike.
 * @throws Failure for a value that no line can hold
 */
export function withVariables(text: string, variables: Variables): string {
  const lines = text
    .split('\n')
    .filter((line, index, all) => line !== '' || index < all.length - 1);
  for (const [name, value] of Object.entries(variables)) {
    const line = `${name}=${quoted(name, value)}`;
    const index = lines.findIndex((each) => each.startsWith(`${name}=`));
    if (index < 0) lines.push(line);
    else lines[index] = line;
  }
  return `${lines.join('\n')}\n`;
}

function quoted(name: string, value: string): string {
  if (/^[\w@%+=:,./-]*$/.test(value)) return value;
  if (!/['\p{Cc}]/u.test(value)) return `'${value}'`;
  throw new Failure(1, `${name}: a quotation mark or line break cannot be written into a file`);
}

/** The value of a variable as this program writes it, or plain as administrators do. */
export function readVariable(text: string, name: string): string | undefined {
  const line = text.split('\n').findLast((each) => each.startsWith(`${name}=`));
  return line?.slice(name.length + 1).replace(/^(['"])(.*)\1$/, '$2');
}

export interface FstabLine {
  readonly source: string;
  readonly mountPoint: string;
  /** as after -o */
  readonly options: string;
}

/** The line for a mount point replaced or added; all others stay. */
export function withFstabLine(text: string, line: FstabLine): string {
  const written = `${escaped(line.source)} ${escaped(line.mountPoint)} s3jail ${escaped(line.options)} 0 0`;
  const lines = withoutEnd(text).split('\n');
  const index = lines.findIndex((each) => parseLine(each)?.mountPoint === line.mountPoint);
  if (index < 0) return `${[...lines.filter((each, at) => at > 0 || each), written].join('\n')}\n`;
  lines[index] = written;
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

function parseLine(line: string): FstabLine | undefined {
  const [source, mountPoint, type, options = ''] = line.trim().split(/\s+/).map(unescaped);
  if (source === undefined || mountPoint === undefined || source.startsWith('#')) return undefined;
  return type === 's3jail' ? { source, mountPoint, options } : undefined;
}

function withoutEnd(text: string): string {
  return text.replace(/\n+$/, '');
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
