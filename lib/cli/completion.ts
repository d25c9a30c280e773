/**
 * Completion of `s3jail` for shells, from its commands and options: words alone, so that nothing of
 * this program is run while somebody types.
 */
import type { CommandFacts } from './manual.js';
import { optionRows } from '../options/table.js';
import { wordsOf } from '../options/values.js';

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** A script for the shell to source. */
export function completionScript(shell: Shell, commands: readonly CommandFacts[]): string {
  if (shell === 'fish') return fish(commands);
  // zsh understands scripts for bash once told to.
  const start = shell === 'zsh' ? 'autoload -U +X bashcompinit && bashcompinit\n' : '';
  return start + bash(commands);
}

function longNames({ options }: CommandFacts): string[] {
  return options.flatMap(({ flags }) => /--[a-z0-9-]+/.exec(flags)?.[0] ?? []);
}

/** What comes behind an option, or as a word of a command, in bash. */
const users = 'compgen -u -- "$word"';
const groups = 'compgen -g -- "$word"';
const mountPoints = 'compgen -W "$(findmnt -rno TARGET -t fuse.s3jail)" -- "$word"';
const files = 'compgen -f -- "$word"';

const valuesOf: Readonly<Record<string, string>> = { uid: users, 'run-as': users, gid: groups };

function bashValues(): string[] {
  return optionRows.flatMap(({ name, parse }) => {
    const words = wordsOf(parse);
    const source = valuesOf[name] ?? (words && `compgen -W "${words.join(' ')}" -- "$word"`);
    return source === undefined ? [] : `    --${name}) COMPREPLY=($(${source})); return ;;`;
  });
}

function bash(commands: readonly CommandFacts[]): string {
  const cases = commands.map(
    (command) => `    ${command.name}) words="${[...longNames(command), '--help'].join(' ')}" ;;`,
  );
  return [
    '_s3jail() {',
    '  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words',
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')} --help --version" -- "$word"))`,
    '    return',
    '  fi',
    '  case $before in',
    ...bashValues(),
    '  esac',
    '  case ${COMP_WORDS[1]} in',
    ...cases,
    '  esac',
    '  case ${COMP_WORDS[1]}:$COMP_CWORD:$word in',
    '    *:*:-*) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;',
    `    setup:2:*) COMPREPLY=($(${users})) ;;`,
    `    unmount:2:* | status:2:*) COMPREPLY=($(${mountPoints})) ;;`,
    `    *) COMPREPLY=($(${files})) ;;`,
    '  esac',
    '}',
    'complete -o filenames -F _s3jail s3jail',
    '',
  ].join('\n');
}

function fish(commands: readonly CommandFacts[]): string {
  const lines: string[] = [];
  for (const command of commands) {
    lines.push(
      `complete -c s3jail -n __fish_use_subcommand -f -a ${command.name} -d ${quoted(command.description)}`,
    );
    for (const { flags, description } of command.options) {
      const name = /--([a-z0-9-]+)/.exec(flags)?.[1];
      if (name === undefined) continue;
      const words = optionRows.flatMap((row) =>
        row.name === name ? (wordsOf(row.parse) ?? []) : [],
      );
      const takes = words.length === 0 ? '' : ` -f -a ${quoted(words.join(' '))}`;
      const needsValue = /[<[]/.test(flags) ? ` -r${takes}` : '';
      lines.push(
        `complete -c s3jail -n '__fish_seen_subcommand_from ${command.name}' -l ${name}${needsValue} -d ${quoted(description)}`,
      );
    }
  }
  for (const [command, source] of [
    ['setup', '(__fish_complete_users)'],
    ['unmount', '(findmnt -rno TARGET -t fuse.s3jail)'],
    ['status', '(findmnt -rno TARGET -t fuse.s3jail)'],
  ] as const) {
    lines.push(
      `complete -c s3jail -n '__fish_seen_subcommand_from ${command}' -f -a ${quoted(source)}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}
