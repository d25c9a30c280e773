/**
 * The manual page s3jail(8), in the man(7) language, from the commands and the option table: what
 * `--help` says, and how it belongs together.
 */
import { optionGroups } from '../options/option-spec.js';
import { optionRows } from '../options/table.js';
import { variableOf } from '../options/options.js';

/** A command as the command line knows it. */
export interface CommandFacts {
  readonly name: string;
  /** its arguments, as in help */
  readonly usage: string;
  readonly description: string;
  readonly options: readonly { readonly flags: string; readonly description: string }[];
}

export function manualPage(commands: readonly CommandFacts[], version: string): string {
  return [
    `.TH S3JAIL 8 "" "s3jail ${roff(version)}" "System administration"`,
    '.SH NAME',
    's3jail, mount.s3jail \\- mount one S3 prefix as a chroot for SFTP users',
    '.SH SYNOPSIS',
    ...commands.flatMap(({ name, usage }, index) => [
      ...(index === 0 ? [] : ['.br']),
      `.B s3jail ${roff(name)}`,
      ...(usage === '' ? [] : [roff(usage)]),
    ]),
    '.SH DESCRIPTION',
    'Mounts one prefix of an S3 bucket as a directory that OpenSSH takes as ChrootDirectory, so that',
    'its stock sftp\\-server serves the objects to SFTP users. When close(2) or fsync(2) returned 0,',
    'the object is stored in S3. A mount serves one prefix and, usually, one user.',
    '.PP',
    'SOURCE is s3://bucket/prefix/ or bucket[/prefix]; for the bucket also the ARN of an access point.',
    '.SH COMMANDS',
    ...commands.flatMap((command) => [...commandText(command)]),
    '.SH MOUNT OPTIONS',
    'Each can also be written \\-o name=value, as in fstab(5), or set as environment variable. The',
    'command line comes first, then \\-o, then the environment. A switch NAME is turned off by',
    '\\-\\-no\\-NAME. Sizes: 8MiB, 1GiB. Times: 500ms, 5s, 2m.',
    ...optionGroups.flatMap((group) => [`.SS ${roff(group)}`, ...groupText(group)]),
    ...ending,
    '',
  ].join('\n');
}

function* commandText({ name, usage, description, options }: CommandFacts): Iterable<string> {
  yield '.TP';
  yield `.B ${roff(`${name} ${usage}`.trim())}`;
  yield `${roff(upperFirst(description))}.`;
  const takesMountOptions = options.some(isMountOption);
  if (takesMountOptions) yield 'Takes the options below, and:';
  const own = options.filter((option) => !isMountOption(option));
  if (own.length === 0) return;
  yield '.RS';
  for (const { flags, description: help } of own) {
    yield '.TP';
    yield `.B ${roff(flags.replace(/[<>[\]]/g, ''))}`;
    yield roff(help);
  }
  yield '.RE';
}

/** Those of the option table have a chapter of their own. */
function isMountOption({ flags }: CommandFacts['options'][number]): boolean {
  return optionRows.some(({ name }) => new RegExp(`^--${name}( |$)`).test(flags));
}

function* groupText(group: string): Iterable<string> {
  for (const row of optionRows.filter((each) => each.group === group)) {
    yield '.TP';
    yield `.B ${roff(row.value === undefined ? `--${row.name}` : `--${row.name} ${row.value}`)}`;
    yield `${roff(upperFirst(row.help))}.`;
    if (row.defaultText !== undefined) yield `Default: ${roff(row.defaultText)}.`;
    yield `Environment: ${roff(variableOf(row.name))}.`;
  }
}

const ending = [
  '.SH ENVIRONMENT',
  "Credentials come from where the AWS CLI takes them: AWS's own variables, ~/.aws, web identity,",
  'container and instance roles. S3JAIL_SOURCE may hold SOURCE, also in the form',
  's3://KEY:SECRET@HOST/BUCKET/prefix, which is refused as an argument.',
  '.SH FILES',
  ...[
    ['/etc/s3jail/NAME.env', 'environment of s3jail@NAME.service'],
    ['/etc/s3jail/defaults', 'the same for all mounts made at boot, before their own'],
    ['/etc/credstore/s3jail.NAME', 'keys for that mount alone, in the form of ~/.aws/credentials'],
    ['/etc/credstore/s3jail', 'keys for all mounts made at boot that have none of their own'],
    ['/run/s3jail', 'which process serves which mount point'],
    ['/var/log/s3jail', 'logs of mounts in the background'],
  ].flatMap(([path = '', what = '']) => ['.TP', `.I ${roff(path)}`, roff(what)]),
  '.SH EXIT STATUS',
  '0 done, 1 wrong call, 2 system failure or data not stored, 32 the mount failed.',
  '.SH SEE ALSO',
  'mount(8), fstab(5), sshd_config(5), sftp\\-server(8), systemd.service(5)',
];

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** man(7): a hyphen that is typed is `\-`, and a line must not begin like a request. */
function roff(text: string): string {
  return text
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .replace(/^([.'])/, '\\&$1');
}
