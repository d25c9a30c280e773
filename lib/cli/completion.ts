/**
 * Completion of `s3jail` for shells, from its commands and options: words alone, so that nothing is
 * run while somebody types.
 */
import type { CommandFacts } from './manual.js';

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

function bash(commands: readonly CommandFacts[]): string {
  const cases = commands.map(
    (command) => `    ${command.name}) words="${[...longNames(command), '--help'].join(' ')}" ;;`,
  );
  return [
    '_s3jail() {',
    '  local word=${COMP_WORDS[COMP_CWORD]} words',
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')} --help --version" -- "$word"))`,
    '    return',
    '  fi',
    '  case ${COMP_WORDS[1]} in',
    ...cases,
    '  esac',
    '  case $word in',
    '    -*) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;',
    '    *) COMPREPLY=($(compgen -f -- "$word")) ;;',
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
      const needsValue = /[<[]/.test(flags) ? ' -r' : '';
      lines.push(
        `complete -c s3jail -n '__fish_seen_subcommand_from ${command.name}' -l ${name}${needsValue} -d ${quoted(description)}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}

function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}
