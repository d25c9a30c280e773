/** What the commands share in how their words are read. */
import { Command, Option } from 'commander';
import type { WrittenOption } from '../options/options.js';

/** Takes the exit code of the command that ran. */
export type Done = (exitCode: number) => void;

/** A commander command that throws instead of printing and exiting. */
export function baseCommand(name: string): Command {
  return new Command(name)
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .helpOption('-h, --help', 'print this help');
}

/**
 * Takes SOURCE, MOUNTPOINT and `-o`; what commander does not know is told with all other faults. Help
 * shows the operands by the usage line alone, and options without the brackets of their values.
 */
export function withOperands(command: Command): Command {
  return command
    .argument('[operands...]')
    .allowUnknownOption()
    .configureHelp({
      optionTerm: (option) => option.flags.replace(/[[\]<>]/g, ''),
      visibleArguments: () => [],
    })
    .addOption(listOption());
}

/** `-o`, which may be given more than once. */
export function listOption(): Option {
  return new Option('-o <LIST>', 'options as in fstab: -o name=value,name="a,b",name').argParser(
    (list: string, before: string[] | undefined) => [...(before ?? []), list],
  );
}

/** Operands, and options that commander does not know (it leaves both in one list). */
export function separate(args: readonly string[]): [operands: string[], unknown: WrittenOption[]] {
  const isOption = (arg: string) => arg.length > 1 && arg.startsWith('-');
  const unknown = args.filter(isOption).map((arg) => {
    const equals = arg.indexOf('=');
    const name = (equals < 0 ? arg : arg.slice(0, equals)).replace(/^--?/, '');
    return equals < 0 ? { name } : { name, text: arg.slice(equals + 1) };
  });
  return [args.filter((arg) => !isOption(arg)), unknown];
}
