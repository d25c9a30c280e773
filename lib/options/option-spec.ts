/** What a row of the table of options is, and the forms that rows have. */
import type { Ambient, MountOptions } from './mount-options.js';
import { parseFlag, parseTime, showTime, within } from './values.js';

/** One row of the table. */
export interface OptionSpec<T> {
  /** as after `--`; in the environment upper case with underscores after S3JAIL_ */
  readonly name: string;
  readonly group: OptionGroup;
  /** what help calls the value; absent for switches */
  readonly value?: string;
  readonly help: string;
  /** the default as help shows it; absent where the option is off or empty */
  readonly defaultText?: string;
  /** given again it adds to the list that its value is, within one place: the later place wins as a whole */
  readonly repeats?: boolean;
  readonly parse: (text: string) => T;
  /** `given` holds the options before this one in the table, and all that were given */
  readonly byDefault: (given: Partial<MountOptions>, ambient: Ambient) => T;
}

export const optionGroups = [
  'S3',
  'Ownership and access',
  'Homes',
  'Semantics',
  'Transfer',
  'Process and logging',
] as const;
export type OptionGroup = (typeof optionGroups)[number];

type Row = Pick<OptionSpec<unknown>, 'name' | 'group' | 'help'> & { value?: string };

/** A switch that is off unless given. */
export function flag(row: Row): OptionSpec<boolean> {
  return { ...row, parse: parseFlag, byDefault: () => false };
}

/** An option that need not have a value at all. */
export function optional<T>(row: Row, parse: (text: string) => T): OptionSpec<T | undefined> {
  return { ...row, parse, byDefault: () => undefined };
}

/** An option whose default is a value like any other. */
export function valued<T>(row: Row, fallback: string, parse: (text: string) => T): OptionSpec<T> {
  return { ...row, defaultText: fallback, parse, byDefault: () => parse(fallback) };
}

/** A row for each option. */
export type OptionTable = { readonly [Key in keyof MountOptions]: OptionSpec<MountOptions[Key]> };

/** Timers of Node take at most 2^31 - 1 ms and fire at once above. */
export const time = within(parseTime, { most: 2 ** 31 - 1, show: showTime });
